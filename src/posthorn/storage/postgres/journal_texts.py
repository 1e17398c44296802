"""Texts in questions that PostgreSQL cannot hold: it knows no U+0000, and UTF-8 has no lone surrogates."""

from typing import Any


def is_storable(value: Any) -> bool:
    """Tell whether a row can hold a value. What it cannot hold is equal to nothing that is stored."""
    if not isinstance(value, str):
        return True
    if value.isascii():
        return "\0" not in value
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def place_above(text: str) -> str:
    """Return a text that every stored text above this one is above, and no other."""
    return text.partition("\0")[0]


def place_below(text: str) -> str:
    """Return a text that every stored text below this one is below, and no other."""
    start, found, _ = text.partition("\0")
    return f"{start}\x01" if found else text
