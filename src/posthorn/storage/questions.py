"""Questions that both databases answer: steps that yield statements and are sent their rows, with no connection.

Beside them what the two databases spell differently. PostgreSQL keeps the journal in a partition for each day, and a
lookup by id that says nothing of the time would search them all: an id carries its time, so the question can.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Executable,
    Integer,
    Select,
    Table,
    Text,
    func,
    literal,
    literal_column,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.functions import FunctionElement

from posthorn.clock import HOUR_MS, MINUTE_MS
from posthorn.ids import time_of
from posthorn.storage.sequence import LAST_SEQ, seq_at

if TYPE_CHECKING:
    AnySelect = Select[*tuple[Any, ...]]
else:
    AnySelect = Select  # A parameter for each column is for type checkers alone.

Answer = TypeVar("Answer")
Questions = Generator[Executable, Sequence[Any], Answer]
"""What asks any number of statements, one after another, and makes an answer of their rows.

A store that has to begin anew, because its connection broke, makes new ones: they can be run through only once.
"""

EARLIEST_MS = 10 * MINUTE_MS
"""By how much a row may have been committed earlier than the time in its id: clocks of nodes differ a little."""
LATEST_MS = 2 * HOUR_MS
"""By how much a row may have been committed later than the time in its id, when nothing is out of order."""


class Within(FunctionElement[bool]):
    """A column lies between two values, both included: it does anyway, and is said where there are partitions."""

    type = Boolean()
    inherit_cache = True


class Position(FunctionElement[int]):
    """Where a text stands in another, counted from 1; 0 when it does not."""

    type = Integer()
    inherit_cache = True


class Filtered(FunctionElement[str]):
    """A text column that SQLite must not choose an index by: it would read and sort all rows of a workspace.

    PostgreSQL knows from its statistics which index serves a page.
    """

    type = Text()
    inherit_cache = True


@compiles(Within, "sqlite")
def _say_nothing(element: Within, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ARG001 - SQLAlchemy's call
    return "1"


@compiles(Within, "postgresql")
def _say_between(element: Within, compiler: SQLCompiler, **options: Any) -> str:
    column, low, high = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({column} BETWEEN {low} AND {high})"


@compiles(Position, "sqlite")
def _call_instr(element: Position, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)})"


@compiles(Position, "postgresql")
def _call_strpos(element: Position, compiler: SQLCompiler, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)})"


@compiles(Filtered, "sqlite")
def _hide_from_planner(element: Filtered, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(Filtered, "postgresql")
def _leave_as_it_is(element: Filtered, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


def between(column: ColumnElement[int], low_ms: int, high_ms: int) -> ColumnElement[bool]:
    """Say that a `seq` lies between two instants."""
    return Within(column, literal(seq_at(low_ms), BigInteger), literal(seq_at(high_ms), BigInteger))


def beside(column: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[bool]:
    """Say that two rows were committed together, or nearly."""
    slack = seq_at(EARLIEST_MS)
    return Within(column, other - slack, other + slack)


def not_after(column: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[bool]:
    """Say that a row was committed before another, or nearly."""
    return Within(column, literal(0, BigInteger), other + seq_at(EARLIEST_MS))


def since_id(table: Table, identifier: str) -> ColumnElement[bool]:
    """Say that rows of a journal table are no older than what they refer to by this id."""
    at_ms = time_of(identifier)
    if at_ms is None:
        return true()
    return Within(table.c.seq, literal(seq_at(at_ms - EARLIEST_MS), BigInteger), literal(LAST_SEQ, BigInteger))


def near_ids(table: Table, identifiers: Iterable[str]) -> ColumnElement[bool] | None:
    """Say when rows with these ids were committed, if nothing is out of order; None when an id does not tell."""
    times = [time_of(identifier) for identifier in identifiers]
    known = [at_ms for at_ms in times if at_ms is not None]
    if not known or len(known) < len(times):
        return None
    return between(table.c.seq, min(known) - EARLIEST_MS, max(known) + LATEST_MS)


def has(one: AnySelect) -> ColumnElement[bool]:
    """Say that a correlated query finds a row, so that a page is still walked through in its own order.

    Written as EXISTS or as a join, PostgreSQL may read whole tables to answer one page. Into a value it looks row by
    row, and it guesses of "is not" that nearly all rows pass: so it takes the index of the order and stops when the
    page is full.
    """
    return _found(one) != literal_column("0")


def lacks(one: AnySelect) -> ColumnElement[bool]:
    """Say that a correlated query finds no row, in the same manner."""
    return _found(one) != literal_column("1")


def _found(one: AnySelect) -> ColumnElement[int]:
    value = one.with_only_columns(literal_column("1", Integer)).limit(1).scalar_subquery()
    return func.coalesce(value, literal_column("0", Integer))


def by_id(
    statement: AnySelect | ReturningUpdate[*tuple[Any, ...]], table: Table, identifier: str
) -> Questions[Any | None]:
    """Ask for the one row of a journal table with this id: where it should be, and then everywhere."""
    statement = statement.where(table.c.id == identifier)
    near = near_ids(table, [identifier])
    rows = (yield statement.where(near)) if near is not None else ()
    if not rows:
        rows = yield statement
    return rows[0] if rows else None
