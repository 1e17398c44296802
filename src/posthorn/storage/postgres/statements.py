"""Named SQL statements, and rows turned into the columns that they take."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

_MARK = "--| "
_MARKED_LINE = re.compile(r"^--\| .*\n", re.MULTILINE)
_WHOLE = " (whole)"
_NAME = re.compile(r"^-- (\w+): .+$", re.MULTILINE)


@cache
def _named() -> dict[str, str]:
    source = files("posthorn.storage.postgres").joinpath("hot.sql").read_text()
    parts = _NAME.split(source)
    bodies = dict(zip(parts[1::2], parts[2::2], strict=True))
    named = {name: _MARKED_LINE.sub("", body).strip() for name, body in bodies.items()}
    return named | {
        f"{name}{_WHOLE}": body.replace(_MARK, "").strip() for name, body in bodies.items() if _MARK in body
    }


@cache
def statement(name: str) -> str:
    """Return the statement of this name from hot.sql."""
    return _named()[name]


def whole(name: str) -> str:
    """Return the name of a statement's whole form."""
    return f"{name}{_WHOLE}"


def columns(fields: Callable[[Any], tuple[Any, ...]], rows: Iterable[Any], width: int) -> Sequence[Sequence[Any]]:
    """Turn rows into columns: `fields` gives a row's values, `width` says how many there are."""
    return tuple(zip(*map(fields, rows), strict=True)) or ((),) * width
