"""Events' bytes, kept for a while after they were written: most deliveries happen within the second."""

from collections.abc import Iterable, Sequence
from contextlib import closing

from posthorn.engine.records import Append, Payload
from posthorn.storage.sqlite.database import Database
from posthorn.storage.sqlite.statements import chunks, for_list

_MOST_BYTES = 16 * 1024 * 1024
_ENTRY_BYTES = 400  # what an entry costs beside its payload


class Payloads:
    """A bounded cache of payloads in front of the store, oldest out first. Events never change: it is never stale."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[str, Payload] = {}
        self._bytes = 0

    def remember(self, units: Iterable[Append]) -> None:
        """Keep the payloads of units that were just committed and are to be delivered."""
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
        payload = self._kept.pop(event, None)
        if payload is not None:
            self._bytes -= len(payload.body) + _ENTRY_BYTES

    def get(self, events: Sequence[str], *, most_bytes: int) -> dict[str, Payload]:
        """Return the payloads of these events, reading no more from the store once `most_bytes` are read.

        An event that is gone, or whose turn did not come, is absent.
        """
        kept = self._kept
        found = {event: kept[event] for event in events if event in kept}
        missing = [event for event in dict.fromkeys(events) if event not in found]
        size = 0
        for chunk in chunks(missing):
            with closing(self._database.walk(for_list("payloads", len(chunk)), list(chunk))) as rows:
                for identifier, name, body, content_type, content_encoding in rows:
                    found[identifier] = Payload(
                        type=name, body=body, content_type=content_type, content_encoding=content_encoding
                    )
                    size += len(body)
                    if size >= most_bytes:
                        return found
        return found

    def _keep(self, event: str, payload: Payload) -> None:
        size = len(payload.body) + _ENTRY_BYTES
        if size > _MOST_BYTES // 8:
            return
        self._kept[event] = payload
        self._bytes += size
        while self._bytes > _MOST_BYTES:
            oldest = self._kept.pop(next(iter(self._kept)))
            self._bytes -= len(oldest.body) + _ENTRY_BYTES
