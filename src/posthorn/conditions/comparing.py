"""What each operator means for a value that is present. Strict types, exact numbers, no exception for any value."""

from collections.abc import Callable
from typing import Any, Final

from posthorn.conditions.tree import Operator

Predicate = Callable[[Any], bool]

# By exact type, because a boolean is an int to isinstance().
_NUMBERS: Final = frozenset({int, float})


def predicate(operator: Operator, expected: Any) -> Predicate:
    """Return the test of a present value. `expected` has been checked against the operator."""
    return _MAKERS[operator](expected)


def same(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are equal: 1 equals 1.0 but not true, and integers are never rounded."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    # Python compares an int with a float by their exact values.
    return bool(left == right)


def is_ordered_with(actual: object, expected: object) -> bool:
    """Tell whether two values can be ordered: both numbers, or both texts (by code point)."""
    if isinstance(expected, str):
        return isinstance(actual, str)
    return type(actual) in _NUMBERS


def _eq(expected: Any) -> Predicate:
    if isinstance(expected, str):
        return lambda actual: bool(actual == expected)
    if expected is None or isinstance(expected, bool):
        return lambda actual: actual is expected
    if isinstance(expected, (int, float)):
        return lambda actual: actual == expected and type(actual) in _NUMBERS
    return lambda actual: same(actual, expected)


def _negated(maker: Callable[[Any], Predicate]) -> Callable[[Any], Predicate]:
    def make(expected: Any) -> Predicate:
        holds = maker(expected)
        return lambda actual: not holds(actual)

    return make


def _gt(expected: Any) -> Predicate:
    if isinstance(expected, str):
        return lambda actual: isinstance(actual, str) and actual > expected
    return lambda actual: type(actual) in _NUMBERS and actual > expected


def _gte(expected: Any) -> Predicate:
    if isinstance(expected, str):
        return lambda actual: isinstance(actual, str) and actual >= expected
    return lambda actual: type(actual) in _NUMBERS and actual >= expected


def _lt(expected: Any) -> Predicate:
    if isinstance(expected, str):
        return lambda actual: isinstance(actual, str) and actual < expected
    return lambda actual: type(actual) in _NUMBERS and actual < expected


def _lte(expected: Any) -> Predicate:
    if isinstance(expected, str):
        return lambda actual: isinstance(actual, str) and actual <= expected
    return lambda actual: type(actual) in _NUMBERS and actual <= expected


def _in(expected: Any) -> Predicate:
    """Test membership by hash for texts and numbers, and one by one for what cannot be hashed."""
    texts = frozenset(value for value in expected if isinstance(value, str))
    numbers = frozenset(value for value in expected if type(value) in _NUMBERS)
    others = [value for value in expected if not isinstance(value, str) and type(value) not in _NUMBERS]

    def holds(actual: Any) -> bool:
        if isinstance(actual, str):
            return actual in texts
        if type(actual) in _NUMBERS:
            return actual in numbers
        return any(same(actual, value) for value in others)

    return holds


def _contains(expected: Any) -> Predicate:
    is_text = isinstance(expected, str)
    equal = _eq(expected)

    def holds(actual: Any) -> bool:
        if isinstance(actual, str):
            return is_text and expected in actual
        return isinstance(actual, list) and any(map(equal, actual))

    return holds


def _starts_with(expected: Any) -> Predicate:
    return lambda actual: isinstance(actual, str) and actual.startswith(expected)


def _ends_with(expected: Any) -> Predicate:
    return lambda actual: isinstance(actual, str) and actual.endswith(expected)


def _exists(expected: Any) -> Predicate:
    return lambda _: bool(expected)


_MAKERS: Final[dict[Operator, Callable[[Any], Predicate]]] = {
    Operator.EQ: _eq,
    Operator.NE: _negated(_eq),
    Operator.GT: _gt,
    Operator.GTE: _gte,
    Operator.LT: _lt,
    Operator.LTE: _lte,
    Operator.IN: _in,
    Operator.NOT_IN: _negated(_in),
    Operator.CONTAINS: _contains,
    Operator.STARTS_WITH: _starts_with,
    Operator.ENDS_WITH: _ends_with,
    Operator.EXISTS: _exists,
}
