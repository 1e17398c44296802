"""Append: claims, requests, events, fan-out and decision work of a batch, in one statement."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from posthorn.engine.records import (
    AlreadyClaimed,
    Append,
    Appended,
    AppendResult,
    Event,
    NewDelivery,
)
from posthorn.engine.shards import shard_of
from posthorn.errors import StoreUnavailable
from posthorn.storage.people_rows import told
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.statements import columns, statement
from posthorn.storage.postgres.writing import MOST_JOURNAL_ROWS, HotWriter

_APPENDED = Appended()
_MOST_UNITS = MOST_JOURNAL_ROWS // 2  # Each may have a request and an event.

_CLAIM = attrgetter("scope", "key", "fingerprint", "answer_status", "answer_body", "event", "expires_ms")
_REQUEST = attrgetter(
    "id", "workspace", "source", "received_ms", "method", "target", "http_version", "head", "peer", "duration_us",
    "outcome", "cause", "detail", "answer_status", "event", "body",
)  # fmt: skip
_EVENT = attrgetter(
    "id", "workspace", "type", "occurred_ms", "received_ms", "user", "uid", "source", "request", "application",
)  # fmt: skip
_EVENT_LABELS = attrgetter("content_type", "content_encoding", "payload", "context")
_DELIVERY = attrgetter("shard", "endpoint", "due_ms", "id", "event")

Key: TypeAlias = tuple[str, str]
Unit: TypeAlias = tuple[int, Append]  #: a unit and its number in the call


async def append_units(writer: HotWriter, units: Sequence[Append]) -> list[AppendResult]:
    """Write the units whose claims are free; of the others keep the captured request as a duplicate."""
    if not units:
        return []
    call = _Call(writer, units)
    outcome = await writer.commit(call.run_all, is_one_statement=fits_one_statement(units))
    if outcome.is_recalled:
        await writer.look(lambda connection: call.recall(connection, outcome.refused))
    return call.results


def fits_one_statement(units: Sequence[Append]) -> bool:
    """Tell whether one statement can hold the units: not too many journal rows, and no claim wanted twice."""
    keys = [(claim.scope, claim.key) for unit in units for claim in unit.claims]
    return len(set(keys)) == len(keys) and len(units) <= _MOST_UNITS


class _Call:
    """The units of one call and what becomes of them."""

    def __init__(self, writer: HotWriter, units: Sequence[Append]) -> None:
        self._writer = writer
        self._units = units
        self.results: list[AppendResult] = [_APPENDED] * len(units)

    async def run_all(self, connection: Connection, batch: str | None) -> Sequence[int]:
        """Run as many statements as it takes, so that none has a claim that another unit of it may take as well."""
        self.results = [_APPENDED] * len(self._units)
        left: list[Unit] = list(enumerate(self._units))
        taken: set[Key] = set()
        while left:
            now, left = _next_wave(left, taken)
            rows = await self._writer.run(connection, "append", batch, *_arguments(now))
            self._refuse(row for row in rows if row["unit"] is not None)
            taken |= self._now_taken(now)
        return [number for number, result in enumerate(self.results) if result is not _APPENDED]

    async def recall(self, connection: Connection, refused: Sequence[int]) -> None:
        """Work out the answers of a try that was committed and whose answers were lost."""
        self.results = [_APPENDED] * len(self._units)
        claims = [(number, claim) for number in refused for claim in self._units[number].claims]
        wanted = columns(lambda row: (row[0], row[1].scope, row[1].key, row[1].fingerprint), claims, 4)
        rows = await connection.fetch(statement("find_claims"), *wanted)
        if len(rows) != len(refused):
            raise StoreUnavailable("the units were committed, but what they repeat is forgotten")
        self._refuse(rows)

    def _refuse(self, rows: Any) -> None:
        for row in rows:
            self.results[row["unit"]] = AlreadyClaimed(
                scope=row["scope"],
                same_request=row["is_same"],
                answer_status=row["answer_status"],
                answer_body=row["answer_body"],
                event=row["event"],
            )

    def _now_taken(self, units: Sequence[Unit]) -> set[Key]:
        now_ms = self._writer.stamps.now_ms()
        return {
            (claim.scope, claim.key)
            for number, unit in units
            if self.results[number] is _APPENDED
            for claim in unit.claims
            if claim.expires_ms > now_ms
        }


def _next_wave(units: Sequence[Unit], taken: set[Key]) -> tuple[list[Unit], list[Unit]]:
    """Split off the units that can go into one statement.

    Of the units that want the same claim only the first goes, unless one of its claims is known to be taken: such
    a unit takes nothing, so that any number of repeats of one request go together.
    """
    now: list[Unit] = []
    later: list[Unit] = []
    wanted: set[Key] = set()
    for number, unit in units:
        # A unit may name one claim twice; it is its own all the same.
        keys = {(claim.scope, claim.key) for claim in unit.claims}
        if len(now) < _MOST_UNITS and (wanted.isdisjoint(keys) or not taken.isdisjoint(keys)):
            now.append((number, unit))
        else:
            later.append((number, unit))
        wanted |= keys
    return now, later


def _arguments(units: Sequence[Unit]) -> list[Any]:
    claims = [(n, claim) for n, unit in units for claim in _own_claims(unit)]
    requests = [(n, unit.request) for n, unit in units if unit.request is not None]
    events = [(n, unit.event) for n, unit in units if unit.event is not None]
    deliveries = [(n, delivery) for n, unit in units for delivery in unit.deliveries]
    return [
        [n for n, _ in claims],
        *columns(_CLAIM, [claim for _, claim in claims], 7),
        [n for n, _ in requests],
        *columns(_REQUEST, [request for _, request in requests], 16),
        *event_columns(events),
        *delivery_columns(deliveries),
        *_undecided_columns(units),
    ]


def _own_claims(unit: Append) -> Sequence[Any]:
    claims = unit.claims
    if len(claims) < 2:
        return claims
    return list({(claim.scope, claim.key): claim for claim in reversed(claims)}.values())[::-1]


def event_columns(events: Sequence[tuple[int, Event]]) -> list[Any]:
    """Spell out events, each with a number of the caller's: sixteen columns."""
    return [
        [n for n, _ in events],
        *columns(_EVENT, [event for _, event in events], 10),
        [",".join(event.channels) for _, event in events],
        *columns(_EVENT_LABELS, [event for _, event in events], 4),
    ]


def delivery_columns(deliveries: Sequence[tuple[int, NewDelivery]]) -> list[Any]:
    """Spell out deliveries and what is rendered for them, each with a number of the caller's: eleven columns."""
    rendered = [
        (n, d.id, d.rendered.shown, d.rendered.sealed, told(d.rendered.tells))
        for n, d in deliveries
        if d.rendered is not None
    ]
    return [
        [n for n, _ in deliveries],
        *columns(_DELIVERY, [delivery for _, delivery in deliveries], 5),
        *columns(tuple, rendered, 5),
    ]


def _undecided_columns(units: Sequence[Unit]) -> Sequence[Any]:
    rows = [
        (n, shard_of(unit.profile), unit.event.received_ms, unit.event.id, unit.profile)
        for n, unit in units
        if unit.event is not None and unit.profile is not None
    ]
    return columns(tuple, rows, 5)
