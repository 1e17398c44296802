"""Text that PostgreSQL cannot hold: U+0000, which it refuses, and half a surrogate pair, which is no character."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # It ships no types.
from msgspec import Struct
from msgspec.structs import asdict, replace

Value = TypeVar("Value")
Result = TypeVar("Result")

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_INSTEAD = "\N{REPLACEMENT CHARACTER}"

REFUSALS = (
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.DataError,
    UnicodeEncodeError,
)
"""What a statement with such text raises, or what writes such text into a document."""


def storable(value: Value) -> Value:
    """Return a record, however deep, with such text replaced by U+FFFD; the very same one if there is none."""
    cleaned: Any = value
    match value:
        case str():
            cleaned = _UNSTORABLE.sub(_INSTEAD, value) if _UNSTORABLE.search(value) else value
        case Struct():
            fields = {name: storable(field) for name, field in asdict(value).items()}
            cleaned = replace(value, **fields)
        case tuple() | list():
            cleaned = type(value)(storable(item) for item in value)
        case dict():
            cleaned = {storable(key): storable(item) for key, item in value.items()}
    result: Value = cleaned
    return result


async def with_storable(records: Value, write: Callable[[Value], Awaitable[Result]]) -> Result:
    """Write records; when there is text in them that PostgreSQL cannot hold, write them with U+FFFD in its place.

    Looking for it in every text beforehand would cost more than the rare repeat.
    """
    try:
        return await write(records)
    except REFUSALS:
        mended = storable(records)
        if mended == records:
            raise
    return await write(mended)
