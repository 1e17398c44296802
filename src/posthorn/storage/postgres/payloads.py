"""Events' bytes, kept for a short while after they were written: most deliveries happen within the second."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from posthorn import ids
from posthorn.clock import HOUR_MS
from posthorn.engine.records import Append, Payload
from posthorn.storage.postgres.database import Database
from posthorn.storage.postgres.statements import statement
from posthorn.storage.sequence import LAST_SEQ, seq_at

_MOST_BYTES = 16 * 1024 * 1024
_ENTRY_BYTES = 400  # what an entry costs beside its payload
_KEPT_SECONDS = 20.0  # A payload that another node erased may not live on here for longer.
_SLACK_MS = HOUR_MS  # An event is committed soon after the instant in its id.
_EVER = (0, LAST_SEQ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """The payloads of some events. An event that has none and was not left out is gone."""

    of: dict[str, Payload]
    left_out: frozenset[str]  #: not read, because enough bytes were
    size_bytes: int  #: what was read from the store


class Payloads:
    """A bounded cache of payloads in front of the store, oldest out first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[str, tuple[float, Payload]] = {}
        self._bytes = 0

    def remember(self, units: Iterable[Append]) -> None:
        """Keep the payloads of units that were just committed and are to be delivered."""
        now = time.monotonic()
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
            self._keep(event.id, payload, now)
        self._drop_old(now)

    def forget(self, event: str) -> None:
        """Drop an event whose payload was erased."""
        if event in self._kept:
            self._drop(event)

    async def get(self, events: Sequence[str], *, most_bytes: int) -> Bodies:
        """Return the payloads of these events, reading no more from the store once `most_bytes` (at least 1) are read.

        The first ones come. When some are left out, at least `most_bytes` were read.
        """
        self._drop_old(time.monotonic())
        kept = self._kept
        found = {event: kept[event][1] for event in events if event in kept}
        missing = [event for event in dict.fromkeys(events) if event not in found]
        size, left_out = 0, frozenset[str]()
        if missing:
            rows, left_out = await find_events(self._database, "payloads", missing, most_bytes)
            for row in rows:
                found[row["id"]] = Payload(
                    type=row["type"],
                    body=row["body"],
                    content_type=row["content_type"],
                    content_encoding=row["content_encoding"],
                )
                size += len(row["body"])
        return Bodies(of=found, left_out=left_out, size_bytes=size)

    def _keep(self, event: str, payload: Payload, now: float) -> None:
        size = len(payload.body) + _ENTRY_BYTES
        if size > _MOST_BYTES // 8 or event in self._kept:
            return
        self._kept[event] = (now, payload)
        self._bytes += size
        while self._bytes > _MOST_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop_old(self, now: float) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            if self._kept[oldest][0] > now - _KEPT_SECONDS:
                return
            self._drop(oldest)

    def _drop(self, event: str) -> None:
        _, payload = self._kept.pop(event)
        self._bytes -= len(payload.body) + _ENTRY_BYTES


async def find_events(
    database: Database, name: str, events: Sequence[str], most_bytes: int
) -> tuple[list[Any], frozenset[str]]:
    """Run a statement that reads events by id up to a size, in the partitions where they should be, then in all.

    Tells too which ones were left out because the size was reached. Others that did not come are gone.
    """
    around = _around(events)
    rows = await _read(database, name, events, (*around, most_bytes))
    if len(rows) == len(events):
        return rows, frozenset()
    size = _size(rows)
    absent, left_out = _missed(events, rows, is_cut=size >= most_bytes)
    if not absent or around == _EVER:
        return rows, left_out
    # They may not be where their ids say. One is read whatever its size, or those that are gone could not be told.
    most_bytes = max(most_bytes - size, 1)
    elsewhere = await _read(database, name, absent, (*_EVER, most_bytes))
    _, also_left_out = _missed(absent, elsewhere, is_cut=_size(elsewhere) >= most_bytes)
    return rows + elsewhere, left_out | also_left_out


def _missed(events: Sequence[str], rows: Sequence[Any], *, is_cut: bool) -> tuple[list[str], frozenset[str]]:
    """Return the events that a read did not find, and those that it did not come to when its size was reached.

    A read takes events in order: what stands before the last one that it found was looked for.
    """
    found = {row["id"] for row in rows}
    end = len(events)
    while is_cut and events[end - 1] not in found:
        end -= 1
    return [event for event in events[:end] if event not in found], frozenset(events[end:])


def _size(rows: Iterable[Any]) -> int:
    return sum(len(row["body"] or b"") for row in rows)


async def _read(database: Database, name: str, events: Sequence[str], bounds: tuple[int, int, int]) -> list[Any]:
    database.count(1)
    rows: list[Any] = await database.look(lambda connection: connection.fetch(statement(name), events, *bounds))
    return rows


def _around(events: Sequence[str]) -> tuple[int, int]:
    """Return the range of `seq` in which events must be, by the earliest and the latest instant in their ids."""
    times: list[int | None] = []
    for _, kind in groupby(sorted(events), key=lambda event: event.partition("_")[0]):
        of_kind = list(kind)
        times += (ids.time_of(of_kind[0]), ids.time_of(of_kind[-1]))
    known = [at_ms for at_ms in times if at_ms is not None]
    if len(known) < len(times):
        return _EVER
    return seq_at(min(known) - _SLACK_MS), seq_at(max(known) + _SLACK_MS)
