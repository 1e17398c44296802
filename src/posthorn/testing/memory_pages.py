"""How the journal in memory cuts its pages: forwards and backwards, in both orders, no gap and no repeat."""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TypeVar

from posthorn import ids
from posthorn.engine.journal import DeliveryRow, JournalQuery, Page
from posthorn.engine.records import Attempt, CapturedRequest, Decision, Event
from posthorn.errors import Invalid
from posthorn.testing.memory_tables import Numbered

Row = TypeVar("Row", CapturedRequest, Event, Decision, Attempt)
AnyRow = TypeVar("AnyRow")
Place = TypeVar("Place", float, str)


def in_workspace(workspace: str, numbered: Numbered[Row] | None) -> Row | None:
    """Show a row to its own workspace only."""
    return numbered.row if numbered is not None and numbered.row.workspace == workspace else None


def cut_by_number(
    table: Mapping[str, Numbered[Row]],
    query: JournalQuery,
    time_of: Callable[[Row], int],
    wanted: Callable[[Row], bool],
) -> Page[Row]:
    """Answer a question to a table in the order of commits."""
    placed: list[tuple[float, Row]] = [
        (one.number, one.row)
        for one in table.values()
        if one.row.workspace == query.workspace
        and _in_range(time_of(one.row), query.since_ms, query.before_ms)
        and wanted(one.row)
    ]
    after = _number_of(table, query, time_of) if query.after is not None else None
    return _cut(placed, query, after)


def _in_range(at_ms: int, since_ms: int | None, before_ms: int | None) -> bool:
    return (since_ms is None or at_ms >= since_ms) and (before_ms is None or at_ms < before_ms)


def _number_of(table: Mapping[str, Numbered[Row]], query: JournalQuery, time_of: Callable[[Row], int]) -> float:
    identifier = query.after or ""
    if in_workspace(query.workspace, table.get(identifier)) is not None:
        return table[identifier].number
    at_ms = instant_of(identifier)
    # Between the last row from before this instant and the first one from it on.
    return min((one.number for one in table.values() if time_of(one.row) >= at_ms), default=inf) - 0.5


def cut_by_id(rows: Sequence[DeliveryRow], query: JournalQuery) -> Page[DeliveryRow]:
    """Answer a question to rows in the order of their ids, of which a range of time is a range."""
    since = ids.first_id(ids.DELIVERY, query.since_ms) if query.since_ms is not None else ""
    before = ids.first_id(ids.DELIVERY, query.before_ms) if query.before_ms is not None else "~"
    placed = sorted(((row.id, row) for row in rows if since <= row.id < before), key=lambda pair: pair[0])
    after = query.after
    if after is not None:
        at_ms = instant_of(after)
        after = after if after.startswith(f"{ids.DELIVERY}_") else ids.first_id(ids.DELIVERY, at_ms)
    return _cut(placed, query, after)


def instant_of(identifier: str) -> int:
    """Read the instant (ms) in an id; raises Invalid when it is none."""
    at_ms = ids.time_of(identifier)
    if at_ms is None:
        raise Invalid.at("query", "iterator", msg="this is no iterator of a list; leave it out to start anew")
    return at_ms


def _cut(placed: Sequence[tuple[Place, AnyRow]], query: JournalQuery, after: Place | None) -> Page[AnyRow]:
    """Cut a page out of rows that are given in ascending order of place."""
    upwards = query.ascending != query.backwards
    walked = [
        row
        for place, row in (placed if upwards else reversed(placed))
        if after is None or (place > after if upwards else place < after)
    ]
    rows = walked[: query.limit]
    return Page(rows=rows[::-1] if query.backwards else rows, done=len(walked) <= query.limit)
