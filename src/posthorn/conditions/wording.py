"""Values, spans and numbers as an explanation writes them."""

import json
from typing import Any, Final

import msgspec

MAX_SHOWN_CHARACTERS: Final = 200
_MORE: Final = "…"
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def shown(value: object) -> str:
    """Return a value as JSON text of at most 200 characters, without encoding much more than is shown."""
    if isinstance(value, str):
        return _shortened(_quoted(value[: MAX_SHOWN_CHARACTERS + 1]))
    if type(value) is int:
        return _shortened(str(value))
    if not isinstance(value, (list, tuple, dict)):
        return _shortened(_encoder.encode(value))
    text = ""
    for piece in _encoder.iterencode(value):
        text += piece
        if len(text) > MAX_SHOWN_CHARACTERS:
            break
    return _shortened(text)


def _quoted(text: str) -> str:
    """Return a text as JSON. Every event that meets a condition which fails is explained, so this is a hot path."""
    try:
        return msgspec.json.encode(text).decode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return _encoder.encode(text)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 1] + _MORE


def kind_of(value: Any) -> str:
    """Name the JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "an array"
    return "an object"


def spoken_span(seconds: int) -> str:
    """Say a span in the largest units that fit: "7 days", "1 hour 30 minutes"."""
    parts = []
    for unit, size in _UNITS:
        amount, seconds = divmod(seconds, size)
        if amount:
            parts.append(f"{amount:,} {unit}{'' if amount == 1 else 's'}")
    return " ".join(parts)


def spoken_times(count: int) -> str:
    """Say how often: "once" or "3 times"."""
    return "once" if count == 1 else f"{count:,} times"
