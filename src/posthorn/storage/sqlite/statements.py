"""Named SQL statements, and their forms for many rows at once.

One statement for many rows is what makes this store fast: Python's sqlite3 gives up and re-takes the interpreter
lock around each step, and while the event loop is busy each re-take waits for it. A statement per row would pay that
wait per row; one statement for 64 rows pays it once, and meanwhile runs beside the loop.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import TypeVar

Item = TypeVar("Item")

_MOST_ROWS = 64
_NAME = re.compile(r"^-- (\w+): .+$", re.MULTILINE)


@cache
def _named() -> dict[str, str]:
    source = files("posthorn.storage.sqlite").joinpath("hot.sql").read_text()
    parts = _NAME.split(source)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def statement(name: str) -> str:
    """Return the statement of this name from hot.sql."""
    return _named()[name]


@cache
def for_rows(name: str, columns: int, rows: int) -> str:
    """Return the statement with `:rows` spelled out as so many rows of so many parameters."""
    row = "(" + ",".join("?" * columns) + ")"
    return _named()[name].replace(":rows", ",".join([row] * rows))


@cache
def for_list(name: str, length: int) -> str:
    """Return the statement with `:list` spelled out as so many parameters."""
    return _named()[name].replace(":list", ",".join("?" * length))


@cache
def for_column(name: str, length: int) -> str:
    """Return the statement with `(:list)` spelled out as so many rows of one parameter, which keep their order."""
    return _named()[name].replace("(:list)", ",".join(["(?)"] * length))


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cut into runs of 64, 32, 16 … so that few statement texts exist and all stay prepared."""
    start, size = 0, _MOST_ROWS
    while start < len(items):
        while size > len(items) - start:
            size //= 2
        yield items[start : start + size]
        start += size
