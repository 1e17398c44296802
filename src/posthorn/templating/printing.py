"""How a value becomes text: as Liquid text, as JSON, or as the inside of a JSON string."""

import json
import math
import re
from collections.abc import Callable
from datetime import datetime
from json.encoder import encode_basestring
from types import NoneType
from typing import Any, Final

from liquid.builtin.expressions.primitive import Blank, Empty

from posthorn.templating.failures import Fault


class JsonText(str):
    """Text that is already a JSON value (what the `json` filter returns)."""

    __slots__ = ()


class Verbatim(str):
    """Text that the author vouches for (what the `unescaped` filter returns)."""

    __slots__ = ()


class JsonInside(str):
    """Text that already is the inside of a JSON string (what the `json_escape` filter returns)."""

    __slots__ = ()


class UrlText(str):
    """Text that is already percent-encoded (what `url_param_escape` and its kin return)."""

    __slots__ = ()


class Masked(str):
    """What stands for a secret where people look. Every filter leaves it as it is.

    So nothing is computed from it, and a filter that would refuse such a text does not fail a preview.
    """

    __slots__ = ()


class CapturedText(str):
    """The text of a `capture` block, and the same block printed as JSON by position (None when it cannot be)."""

    __slots__ = ("json",)

    json: str | None


class ZonedText(str):
    """An instant in a time zone, readable as text (what the `time_zone` filter returns)."""

    __slots__ = ("instant",)

    instant: datetime


_CONTAINERS: Final = (dict, list, tuple)
_CHARACTERS_PER_ITEM: Final = 32

# Both line separators are legal in JSON but end a line for JavaScript and for naive line readers;
# a lone surrogate cannot be encoded as UTF-8 at all.
_UNEASY: Final = re.compile("[\u2028\u2029\ud800-\udfff]")


def _escape_uneasy(text: str) -> str:
    if text.isascii():
        return text
    return _UNEASY.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def json_inside(text: str) -> str:
    """Escape a text so that it can stand between the quotes of a JSON string (RFC 8259 section 7)."""
    return _escape_uneasy(encode_basestring(text)[1:-1])


def _json_default(value: object) -> object:
    if isinstance(value, range):
        return list(value)
    if isinstance(value, (Empty, Blank)):
        return ""
    raise Fault(f"cannot print a value of type {type(value).__name__}")


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json_default)


def json_text(value: object) -> JsonText:
    """Return a value as JSON text in one line. Raises Fault or ValueError for what JSON cannot say."""
    return JsonText(_escape_uneasy(_encoder.encode(value)))


def liquid_text(value: object) -> str:
    """Return a value as Liquid prints it: nil as nothing, true and false, arrays and objects as JSON."""
    if isinstance(value, str):
        return value
    printer = _PRINTERS.get(type(value))
    return printer(value) if printer else json_text(value)


def _finite(value: float) -> str:
    if not math.isfinite(value):
        raise Fault("cannot print a number that is not finite")
    return repr(value)


_PRINTERS: Final[dict[type, Callable[[Any], str]]] = {
    NoneType: lambda _: "",
    Empty: lambda _: "",
    Blank: lambda _: "",
    bool: lambda value: "true" if value else "false",
    int: str,
    float: _finite,
    range: lambda value: f"{value.start}..{value.stop - 1}",
}


def extent(value: object) -> int:
    """Estimate what reading a value costs, in characters; containers count all that they hold."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, range):
        return _CHARACTERS_PER_ITEM * len(value)
    if not isinstance(value, _CONTAINERS):
        return 0
    total = 0
    pending: list[Any] = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            current = current.values()
        total += _CHARACTERS_PER_ITEM * len(current)
        for item in current:
            if isinstance(item, str):
                total += len(item)
            elif isinstance(item, _CONTAINERS):
                pending.append(item)
    return total
