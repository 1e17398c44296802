"""What is copied: the tables, the order of their rows, and how many of them are held in memory at once. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Table, Text

from posthorn.storage.copying.mark import COPYING
from posthorn.storage.tables import metadata

Row = tuple[Any, ...]
Key = tuple[int | str, ...]

# Leases and nodes say who works on a store now, and nobody works on either.
_LEFT_OUT = frozenset({"shard", "node"})
# What a database says of itself is not true of another one.
_OWN_META = ("schema_oldest", "migrating", COPYING)

COPIED: tuple[Table, ...] = tuple(table for table in metadata.tables.values() if table.name not in _LEFT_OUT)
JOURNAL: tuple[Table, ...] = tuple(table for table in COPIED if "seq" in table.c)

_SIZED: frozenset[type] = frozenset({bytes, str})
_NUL = "\x00"
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is read, and committed, at once."""

    rows: int = 5_000
    bytes: int = 8 * 1024 * 1024
    fetch_rows: int = 500  #: asked of a server at once, which sends them all however large they are
    first_rows: int = 16  #: the same before it is known how large rows are


def name_of(table: Table) -> str:
    """Return a table's name as plain text; SQLAlchemy's own kind of text cannot be encoded."""
    return str(table.name)


def columns(table: Table) -> list[str]:
    """Return the names of a table's columns in the order of every row here."""
    return [str(column.name) for column in table.columns]


def key_of(table: Table) -> Callable[[Row], Key]:
    """Make the function that takes the key out of a row."""
    places = [list(table.columns).index(column) for column in table.primary_key.columns]
    return lambda row: tuple(row[place] for place in places)


def reading(table: Table, placeholder: Callable[[int], str], *, resumes: bool) -> str:
    """Spell the query for the rows of a table in the order of its key, behind a given key when it resumes."""
    keys = ", ".join(_quoted(column.name) for column in table.primary_key.columns)
    conditions = [_own(table)] if _own(table) else []
    if resumes:
        marks = ", ".join(placeholder(number) for number in range(1, len(table.primary_key.columns) + 1))
        conditions.append(f"({keys}) > ({marks})")
    return f"{_selection(table, conditions)} ORDER BY {keys}"


def scanning(table: Table) -> str:
    """Spell the query for all rows of a table in whatever order is quickest."""
    return _selection(table, [_own(table)] if _own(table) else [])


def counting(table: Table) -> str:
    """Spell the query for the number of rows."""
    condition = f" WHERE {_own(table)}" if _own(table) else ""
    return f"SELECT count(*) FROM {_quoted(table.name)}{condition}"  # noqa: S608 - names of our own tables


def inserting(table: Table) -> str:
    """Spell the insertion of one row, as SQLite reads it."""
    names = ", ".join(map(_quoted, columns(table)))
    marks = ", ".join("?" * len(table.columns))
    return f"INSERT INTO {_quoted(table.name)} ({names}) VALUES ({marks})"  # noqa: S608 - names of our own tables


def weight(rows: Sequence[Row]) -> int:
    """Return about how many bytes of text and payload the rows hold."""
    return sum([len(value) for row in rows for value in row if type(value) in _SIZED])


def without_nul(table: Table) -> Callable[[Row], Row]:
    """Make the function that writes U+FFFD for U+0000 in a row's texts, which PostgreSQL cannot hold.

    A row without any comes back as the same object.
    """
    places = [place for place, column in enumerate(table.columns) if isinstance(column.type, Text)]
    texts = itemgetter(places[0], *places)  # the first one twice, for it would return a single one bare

    def replaced(row: Row) -> Row:
        try:
            if _NUL not in "".join(filter(None, texts(row))):
                return row
        except TypeError:
            return row  # SQLite's columns hold anything: what is no text is refused where it is written
        return tuple(
            value.replace(_NUL, _REPLACEMENT) if place in places and value is not None else value
            for place, value in enumerate(row)
        )

    return replaced


def _selection(table: Table, conditions: Sequence[str]) -> str:
    names = ", ".join(map(_quoted, columns(table)))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {names} FROM {_quoted(table.name)}{where}"  # noqa: S608 - names of our own tables


def _own(table: Table) -> str:
    names = ", ".join(f"'{name}'" for name in _OWN_META)
    return f"key NOT IN ({names})" if table.name == "meta" else ""


def _quoted(name: str) -> str:
    return f'"{name}"'
