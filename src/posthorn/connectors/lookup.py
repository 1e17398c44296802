"""Finding a value in decoded JSON and asking a question about it. Nothing in here can fail on hostile data."""

from collections.abc import Callable
from operator import ge, gt, le, lt
from typing import Any, Final

MISSING: Final = object()
"""There is nothing at this path."""


def find(document: object, path: str) -> Any:
    """Return what is at a dotted path, or MISSING. A number is an index where it meets a list."""
    value = document
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 10:
            index = int(part)
            value = value[index] if index < len(value) else MISSING
        else:
            return MISSING
        if value is MISSING:
            return MISSING
    return value


def holds(operator: str, found: Any, value: Any) -> bool:
    """Answer a predicate. What is missing equals nothing, is contained in nothing, and is empty."""
    return _OPERATORS[operator](found, value)


def _exists(found: Any, value: Any) -> bool:
    return (found is not MISSING and found is not None) is (value is not False)


def _is_empty(found: Any, value: Any) -> bool:
    is_empty = found is MISSING or found is None or found in ("", [], {})
    return is_empty is (value is not False)


def _equals(found: Any, value: Any) -> bool:
    return found is not MISSING and _same(found, value)


def _is_in(found: Any, values: Any) -> bool:
    return found is not MISSING and any(_same(found, value) for value in values)


def _same(found: Any, value: Any) -> bool:
    # `true` is not 1, as everywhere in the house.
    return isinstance(found, bool) is isinstance(value, bool) and bool(found == value)


def _contains(found: Any, value: Any) -> bool:
    if isinstance(found, str) and isinstance(value, str):
        return value.casefold() in found.casefold()
    return isinstance(found, list) and any(_same(item, value) for item in found)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Compare numbers only: text is never greater than a number."""
    return lambda found, value: (
        isinstance(found, (int, float)) and not isinstance(found, bool) and compare(found, value)
    )


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "exists": _exists,
    "empty": _is_empty,
    "eq": _equals,
    "ne": lambda found, value: not _equals(found, value),
    "in": _is_in,
    "not_in": lambda found, values: not _is_in(found, values),
    "contains": _contains,
    "gt": _ordered(gt),
    "gte": _ordered(ge),
    "lt": _ordered(lt),
    "lte": _ordered(le),
}
