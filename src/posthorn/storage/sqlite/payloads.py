"""Events' bytes, kept for a while after they were written: most deliveries happen within the second."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from posthorn.engine.records import Append, Payload
from posthorn.storage.sqlite.database import Database
from posthorn.storage.sqlite.statements import chunks, for_column

_KEPT_SECONDS = 30.0
_MOST_BYTES = 16 * 1024 * 1024
_ENTRY_BYTES = 400  # what an entry costs beside its payload


class Payloads:
    """A bounded cache of payloads in front of the store, in two generations: the older one goes as a whole.

    Events never change, but their payloads may be erased. This process hears of it when it is the one that erases;
    what another one erases is forgotten within 30 seconds.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._young: dict[str, Payload] = {}
        self._old: dict[str, Payload] = {}
        self._young_bytes = 0
        self._born = database.clock.monotonic()

    def remember(self, units: Iterable[Append]) -> None:
        """Keep the payloads of units that were just committed and are to be delivered."""
        self._age()
        for unit in units:
            event = unit.event
            if event is None or not unit.deliveries:
                continue
            body = event.payload if event.payload is not None else (unit.request.body if unit.request else b"")
            payload = Payload(
                type=event.type,
                body=body,
                content_type=event.content_type,
                content_encoding=event.content_encoding,
            )
            self._keep(event.id, payload)

    def forget(self, event: str) -> None:
        """Drop an event whose payload was erased."""
        self._young.pop(event, None)
        self._old.pop(event, None)

    def get(self, events: Sequence[str], *, most_bytes: int) -> dict[str, Payload | None]:
        """Return the payloads of these events in order, None for an event that is gone.

        Once they are `most_bytes` together, the others are absent. The first one always comes.
        """
        self._age()
        wanted = dict.fromkeys(events)
        young, old = self._young, self._old
        missing = [event for event in wanted if event not in young and event not in old]
        found: dict[str, Payload | None] = {}
        size = 0
        with closing(self._read(missing)) as read:
            for event in wanted:
                if size >= most_bytes:
                    break
                payload = young.get(event) or old.get(event) or next(read)
                found[event] = payload
                if payload is not None:
                    size += len(payload.body)
        return found

    def _read(self, events: Sequence[str]) -> Generator[Payload | None, None, None]:
        for chunk in chunks(events):
            with closing(self._database.walk(for_column("payloads", len(chunk)), list(chunk))) as rows:
                for name, body, content_type, content_encoding in rows:
                    if name is None:
                        yield None
                    else:
                        yield Payload(
                            type=name, body=body, content_type=content_type, content_encoding=content_encoding
                        )

    def _keep(self, event: str, payload: Payload) -> None:
        size = len(payload.body) + _ENTRY_BYTES
        if size > _MOST_BYTES // 8:
            return
        if self._young_bytes + size > _MOST_BYTES // 2:
            self._next_generation(self._database.clock.monotonic())
        self._young[event] = payload
        self._young_bytes += size

    def _age(self) -> None:
        age = self._database.clock.monotonic() - self._born
        if age < _KEPT_SECONDS / 2:
            return
        if age >= _KEPT_SECONDS:
            self._young = {}
            self._next_generation(self._born + age)
        else:
            # Nobody may have called for a while: the next generation counts from when this one should have ended.
            self._next_generation(self._born + _KEPT_SECONDS / 2)

    def _next_generation(self, born: float) -> None:
        self._old, self._young = self._young, {}
        self._young_bytes = 0
        self._born = born
