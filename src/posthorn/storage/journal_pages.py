"""Pages of the journal: place, direction and range as conditions over `seq`."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Table, select

from posthorn.clock import HOUR_MS
from posthorn.engine.journal import JournalQuery, Page
from posthorn.errors import Invalid
from posthorn.ids import time_of
from posthorn.storage.questions import AnySelect, Questions, by_id
from posthorn.storage.sequence import seq_at

Row = TypeVar("Row")

_LONGEST_COMMIT_MS = HOUR_MS


def page(
    statement: AnySelect,
    table: Table,
    at_ms: ColumnElement[int],
    query: JournalQuery,
    to_row: Callable[[Any], Row],
) -> Questions[Page[Row]]:
    """Cut one page out of a statement over a journal table, in commit order. Raises Invalid for a wrong iterator."""
    statement = _in_range(statement, table, at_ms, query)
    upwards = is_upwards(query)
    if query.after is not None:
        place = yield from _place_of(table, query.after)
        statement = statement.where(table.c.seq > place if upwards else table.c.seq < place)
    statement = statement.order_by(table.c.seq.asc() if upwards else table.c.seq.desc()).limit(query.limit + 1)
    rows = yield statement
    return page_of([to_row(row) for row in rows], query)


def is_upwards(query: JournalQuery) -> bool:
    """Tell whether the rows have to be read from the oldest on."""
    return query.ascending != query.backwards


def page_of(rows: list[Row], query: JournalQuery) -> Page[Row]:
    """Take the one row too many as the sign that more follows."""
    done = len(rows) <= query.limit
    rows = rows[: query.limit]
    return Page(rows=rows[::-1] if query.backwards else rows, done=done)


def instant_of(identifier: str) -> int:
    """Read the time (ms) in an id that somebody goes on from; raises Invalid for what is none."""
    at_ms = time_of(identifier)
    if at_ms is None:
        raise Invalid.at("query", "iterator", msg=f"{identifier!r} is not an iterator that a list answered")
    return at_ms


def _place_of(table: Table, identifier: str) -> Questions[int]:
    """Ask for the seq of a row; it is that of the time in its id when the row is gone."""
    row = yield from by_id(select(table.c.seq), table, identifier)
    return int(row[0]) if row is not None else seq_at(instant_of(identifier))


def _in_range(statement: AnySelect, table: Table, at_ms: ColumnElement[int], query: JournalQuery) -> AnySelect:
    # A row's time is never later than its commit, so `seq` narrows the range by index and the column makes it exact.
    if query.since_ms is not None:
        statement = statement.where(table.c.seq >= seq_at(query.since_ms), at_ms >= query.since_ms)
    if query.before_ms is not None:
        edge = seq_at(query.before_ms + _LONGEST_COMMIT_MS)
        statement = statement.where(table.c.seq < edge, at_ms < query.before_ms)
    return statement
