"""What a cell of a CSV file says: by an explicit rule, or by the type that was named for its column. Pure."""

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NoReturn

from posthorn.cli.texts import _

# A number of more digits is a name (of a card, an account, a phone), and a double would not hold it exactly.
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
_MOST_DIGITS = 15
_WORDS = {"true": True, "false": False}
ANY_COLUMN = "*"


class CellType(StrEnum):
    """How the cells of a column are read."""

    AUTO = "auto"  #: see `guessed`
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"


class NoSuchType(ValueError):
    """A column was given a type that there is not. The message says which there are."""


class WrongCell(ValueError):
    """A cell does not fit the type of its column."""


def parse_types(text: str) -> dict[str, CellType]:
    """Read `zip=text,age=number`; a type alone, or `*=type`, is for all other columns. Raises NoSuchType."""
    types: dict[str, CellType] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        column, separator, name = part.rpartition("=")
        if name not in list(CellType):
            known = ", ".join(CellType)
            raise NoSuchType(_("{name!r} is no type of cells; there are {known}").format(name=name, known=known))
        types[column if separator else ANY_COLUMN] = CellType(name)
    return types


def type_of(column: str, types: Mapping[str, CellType]) -> CellType:
    """Return the type of a column."""
    return types.get(column, types.get(ANY_COLUMN, CellType.AUTO))


def cell_value(cell: str, kind: CellType) -> Any:
    """Return what a cell says, None when it is empty: not set. Raises WrongCell."""
    trimmed = cell.strip()
    if not trimmed:
        return None
    match kind:
        case CellType.AUTO:
            return guessed(cell)
        case CellType.TEXT:
            return cell
        case CellType.NUMBER:
            return _number(trimmed)
        case CellType.BOOLEAN:
            return _boolean(trimmed)
        case CellType.JSON:
            return _json(trimmed)


def guessed(cell: str) -> Any:
    """Return what a cell says by the rule of the guide.

    true and false are yes and no; a whole number of up to 15 digits without leading zeros, and a decimal number of up
    to 15 digits, are numbers; JSON arrays and objects are read as such; all else is the text as it stands.
    """
    trimmed = cell.strip()
    word = _WORDS.get(trimmed.lower())
    if word is not None:
        return word
    if _WHOLE.fullmatch(trimmed):
        return int(trimmed)
    if _DECIMAL.fullmatch(trimmed) and sum(map(str.isdigit, trimmed)) <= _MOST_DIGITS:
        return float(trimmed)
    if trimmed[:1] in {"[", "{"}:
        try:
            return _json(trimmed)
        except WrongCell:
            return cell
    return cell


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        raise WrongCell(_("{text!r} is no number").format(text=text[:100])) from None
    if not math.isfinite(number):
        raise WrongCell(_("{text!r} is no number").format(text=text[:100]))
    return number


def _boolean(text: str) -> bool:
    word = (_WORDS | {"1": True, "0": False, "yes": True, "no": False}).get(text.lower())
    if word is None:
        raise WrongCell(_("{text!r} is neither true nor false").format(text=text[:100]))
    return word


def _json(text: str) -> Any:
    def refuse(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise WrongCell(_("{text!r} is no JSON").format(text=text[:100])) from None
