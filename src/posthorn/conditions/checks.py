"""What each part of a condition may be: a check answers with a sentence when a value is wrong, with None when not."""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from posthorn.conditions.instants import instant_ms
from posthorn.conditions.patterns import pattern_fault
from posthorn.conditions.timing import UNITS_MS, span_ms
from posthorn.conditions.tree import MAX_DEPTH, MAX_LISTED_VALUES, NOW, Operator

MAX_NAME_CHARACTERS: Final = 256
MAX_SECONDS: Final = 10 * 366 * 86_400

Check = Callable[[Any], str | None]


def _wants(holds: Callable[[Any], bool], wanted: str) -> Check:
    return lambda value: None if holds(value) else f"expected {wanted}"


def one_of(choices: type[StrEnum]) -> Check:
    """Accept one of the texts of an enum."""
    texts = frozenset(map(str, choices))
    return _wants(lambda value: isinstance(value, str) and value in texts, f"one of {', '.join(choices)}")


def some_of(choices: type[StrEnum]) -> Check:
    """Accept a list of different texts of an enum, with at least one."""
    single = one_of(choices)

    def is_list(value: Any) -> bool:
        # A tuple comes from a tree that was built in code.
        if not isinstance(value, (list, tuple)) or not value or any(single(item) for item in value):
            return False
        return len(set(value)) == len(value)

    return _wants(is_list, f"a list of at least one of {', '.join(choices)}")


def whole_number(low: int, high: int) -> Check:
    """Accept an integer within bounds."""
    return _wants(lambda value: type(value) is int and low <= value <= high, f"a whole number of {low:,} to {high:,}")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARACTERS


name: Final = _wants(_is_name, f"a text of 1 to {MAX_NAME_CHARACTERS} characters")


def value_fault(operator: Operator | None, value: object) -> str | None:
    """Say what is wrong with the value that an operator compares with, if anything is."""
    fault = _json_fault(value, 1)
    if fault:
        return fault
    check = _VALUES.get(operator) if operator else None
    if operator is Operator.MATCHES:
        wanted = pattern_fault(value)
        return f"'matches' needs {wanted}" if wanted else None
    return None if check is None or check[0](value) else f"'{operator}' needs {check[1]}"


def _json_fault(value: object, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"the value is nested more than {MAX_DEPTH} deep"
    if value is None or isinstance(value, (bool, int, str)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else "the number is not finite"
    if isinstance(value, list):
        return next(filter(None, (_json_fault(item, depth + 1) for item in value)), None)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return next(filter(None, (_json_fault(item, depth + 1) for item in value.values())), None)
    return f"a {type(value).__name__} is no JSON value"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_orderable(value: object) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MAX_LISTED_VALUES


def _is_range(value: object) -> bool:
    """Whether it is two numbers or two texts, the lower one first."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    low, high = value
    comparable = all(map(_is_number, value)) or all(isinstance(bound, str) for bound in value)
    return comparable and low <= high


_SIZE_NAMES: Final = frozenset({Operator.EQ, Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})


def _is_size(value: object) -> bool:
    if isinstance(value, dict):
        return bool(value) and value.keys() <= _SIZE_NAMES and all(type(size) is int for size in value.values())
    return type(value) is int


_ORDERABLE: Final = (_is_orderable, "a number or a text")
_LIST: Final = (_is_list, f"a list of 1 to {MAX_LISTED_VALUES:,} values")
_TEXT: Final = (lambda value: isinstance(value, str), "a text")
_TIME: Final = (
    lambda value: value == NOW or instant_ms(value) is not None,
    'a time: ISO 8601 like "2026-11-22T10:00:00Z" or "2026-11-22", a Unix time, or "now"',
)
_SPAN: Final = (
    lambda value: span_ms(value) is not None,
    f'a span of time like {{"days": 7}}, with {", ".join(UNITS_MS)}, of at most 100 years',
)
_VALUES: Final[Mapping[Operator, tuple[Callable[[object], bool], str]]] = {
    Operator.GT: _ORDERABLE,
    Operator.GTE: _ORDERABLE,
    Operator.LT: _ORDERABLE,
    Operator.LTE: _ORDERABLE,
    Operator.BETWEEN: (_is_range, "a list of two numbers or two texts, the lower one first"),
    Operator.IN: _LIST,
    Operator.NOT_IN: _LIST,
    Operator.CONTAINS_ANY: _LIST,
    Operator.CONTAINS_ALL: _LIST,
    Operator.CONTAINS_NONE: _LIST,
    Operator.EQ_IGNORE_CASE: _TEXT,
    Operator.STARTS_WITH: _TEXT,
    Operator.ENDS_WITH: _TEXT,
    Operator.SIZE: (_is_size, 'a whole number, or bounds like {"gte": 1, "lt": 5}'),
    Operator.EXISTS: (lambda value: isinstance(value, bool), "true or false"),
    Operator.BEFORE: _TIME,
    Operator.AFTER: _TIME,
    Operator.WITHIN_LAST: _SPAN,
    Operator.WITHIN_NEXT: _SPAN,
    Operator.OLDER_THAN: _SPAN,
}
