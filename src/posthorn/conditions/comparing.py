"""What each operator means for a value that is present. Strict types, exact numbers, no exception for any value."""

from collections.abc import Callable
from typing import Any, Final

from posthorn.conditions.patterns import pattern_test
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


def _not_contains(expected: Any) -> Predicate:
    """A value that can contain nothing, like a number, does not match: it is neither."""
    contains = _contains(expected)
    return lambda actual: isinstance(actual, (str, list)) and not contains(actual)


def _contains_any(expected: Any) -> Predicate:
    parts = tuple(map(_contains, expected))
    return lambda actual: any(contains(actual) for contains in parts)


def _contains_all(expected: Any) -> Predicate:
    parts = tuple(map(_contains, expected))
    return lambda actual: all(contains(actual) for contains in parts)


def _contains_none(expected: Any) -> Predicate:
    contains_any = _contains_any(expected)
    return lambda actual: isinstance(actual, (str, list)) and not contains_any(actual)


def _between(expected: Any) -> Predicate:
    from_low, to_high = _gte(expected[0]), _lte(expected[1])
    return lambda actual: from_low(actual) and to_high(actual)


def _eq_ignore_case(expected: Any) -> Predicate:
    folded = expected.casefold()
    return lambda actual: isinstance(actual, str) and actual.casefold() == folded


def _matches(expected: Any) -> Predicate:
    holds = pattern_test(expected)
    return lambda actual: isinstance(actual, str) and holds(actual)


def _size(expected: Any) -> Predicate:
    """Compare the size of a text (characters), an array (items) or an object (names)."""
    bounds = expected if isinstance(expected, dict) else {Operator.EQ: expected}
    tests = tuple(_MAKERS[Operator(name)](bound) for name, bound in bounds.items())

    def holds(actual: Any) -> bool:
        if not isinstance(actual, (str, list, dict)):
            return False
        size = len(actual)
        return all(test(size) for test in tests)

    return holds


def _starts_with(expected: Any) -> Predicate:
    return lambda actual: isinstance(actual, str) and actual.startswith(expected)


def _ends_with(expected: Any) -> Predicate:
    return lambda actual: isinstance(actual, str) and actual.endswith(expected)


def _exists(_: Any) -> Predicate:
    """An absent value does not come this far, and what must be absent is tested without a predicate."""
    return lambda _: True


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
    Operator.IS_SET: _exists,
    Operator.EQ_IGNORE_CASE: _eq_ignore_case,
    Operator.BETWEEN: _between,
    Operator.NOT_CONTAINS: _not_contains,
    Operator.CONTAINS_ANY: _contains_any,
    Operator.CONTAINS_ALL: _contains_all,
    Operator.CONTAINS_NONE: _contains_none,
    Operator.MATCHES: _matches,
    Operator.SIZE: _size,
}
