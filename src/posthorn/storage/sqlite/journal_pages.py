"""Pages of the journal: place, direction and range as conditions over `seq`."""

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Table, select

from posthorn.clock import HOUR_MS
from posthorn.engine.journal import JournalQuery, Page
from posthorn.errors import Invalid
from posthorn.ids import time_of
from posthorn.storage.sqlite.database import run

Row = TypeVar("Row")

_SEQ_BITS = 20
_LAST_SEQ = 2**63 - 1
_LONGEST_COMMIT_MS = HOUR_MS


def read_page(
    connection: sqlite3.Connection,
    statement: Select[Any],
    table: Table,
    at_ms: ColumnElement[int],
    query: JournalQuery,
    to_row: Callable[[Any], Row],
) -> Page[Row]:
    """Cut one page out of a statement over a journal table, in commit order."""
    statement = _in_range(statement, table, at_ms, query)
    upwards = query.ascending != query.backwards
    if query.after is not None:
        place = place_of(connection, table, query.after)
        statement = statement.where(table.c.seq > place if upwards else table.c.seq < place)
    statement = statement.order_by(table.c.seq.asc() if upwards else table.c.seq.desc()).limit(query.limit + 1)
    rows = [to_row(row) for row in run(connection, statement)]
    return page_of(rows, query)


def page_of(rows: list[Row], query: JournalQuery) -> Page[Row]:
    """Take the one row too many as the sign that more follows."""
    done = len(rows) <= query.limit
    rows = rows[: query.limit]
    return Page(rows=rows[::-1] if query.backwards else rows, done=done)


def place_of(connection: sqlite3.Connection, table: Table, identifier: str) -> int:
    """Return the seq of a row, or of the time in its id when the row is gone. Raises Invalid for what is no id."""
    row = run(connection, select(table.c.seq).where(table.c.id == identifier)).fetchone()
    if row is not None:
        return int(row[0])
    at_ms = time_of(identifier)
    if at_ms is None:
        raise Invalid.at("query", "iterator", msg=f"{identifier!r} is not an iterator that a list answered")
    return at_ms << _SEQ_BITS


def _seq_at(at_ms: int) -> int:
    """Return the first seq of an instant; of one before 1970 or after 2248, the nearest that there can be."""
    return max(0, min(at_ms << _SEQ_BITS, _LAST_SEQ))


def _in_range(statement: Select[Any], table: Table, at_ms: ColumnElement[int], query: JournalQuery) -> Select[Any]:
    # A row's time is never later than its commit, so `seq` narrows the range by index and the column makes it exact.
    if query.since_ms is not None:
        statement = statement.where(table.c.seq >= _seq_at(query.since_ms), at_ms >= query.since_ms)
    if query.before_ms is not None:
        edge = _seq_at(query.before_ms + _LONGEST_COMMIT_MS)
        statement = statement.where(table.c.seq < edge, at_ms < query.before_ms)
    return statement
