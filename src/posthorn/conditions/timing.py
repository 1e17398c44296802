"""Time operators: what they mean for a field, and when time alone changes their result."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from posthorn.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from posthorn.conditions.fields import Facts, Reader
from posthorn.conditions.instants import instant_ms
from posthorn.conditions.nodes import Change, Test
from posthorn.conditions.tree import NOW, SPAN_OPERATORS, Comparison, Operator

UNITS_MS: Final[Mapping[str, int]] = {
    "weeks": 7 * DAY_MS,
    "days": DAY_MS,
    "hours": HOUR_MS,
    "minutes": MINUTE_MS,
    "seconds": SECOND_MS,
}
MAX_SPAN_MS: Final = 100 * 366 * DAY_MS

# The two instants between which a rule holds, as a function of the field's instant and the rule's own instant or
# span: from the first on, up to and without the second. None: without an end on that side.
_Bounds = Callable[[int, int], tuple[int | None, int | None]]
_RELATIVE: Final[dict[Operator, _Bounds]] = {
    Operator.WITHIN_LAST: lambda at_ms, span_ms: (at_ms, at_ms + span_ms),
    Operator.WITHIN_NEXT: lambda at_ms, span_ms: (at_ms - span_ms, at_ms),
    Operator.OLDER_THAN: lambda at_ms, span_ms: (at_ms + span_ms, None),
    Operator.BEFORE: lambda at_ms, _: (at_ms + 1, None),
    Operator.AFTER: lambda at_ms, _: (None, at_ms),
}


def span_ms(value: object) -> int | None:
    """Read a span, like `{"days": 7}`; None when it is none, is not longer than zero or is over a hundred years."""
    if not isinstance(value, dict) or not value or not value.keys() <= UNITS_MS.keys():
        return None
    if any(type(amount) is not int or not 0 <= amount <= MAX_SPAN_MS for amount in value.values()):
        return None
    total_ms = sum(amount * UNITS_MS[unit] for unit, amount in value.items())
    return total_ms if 0 < total_ms <= MAX_SPAN_MS else None


def now_of(facts: Facts) -> int | None:
    """Return the instant of the decision, in ms; None when the facts have none."""
    return instant_ms(facts.get(NOW))


def is_relative(comparison: Comparison) -> bool:
    """Tell whether a comparison by a time operator depends on the present instant."""
    if comparison.operator not in _RELATIVE:
        return False
    return comparison.operator in SPAN_OPERATORS or NOW in {comparison.field, comparison.value}


def time_test(comparison: Comparison, read: Reader) -> Test:
    """Return the test of a time operator. A field that is absent or no time does not match."""
    operator, value = comparison.operator, comparison.value
    if operator in {Operator.BEFORE, Operator.AFTER} and value != NOW:
        return _fixed_test(operator, instant_ms(value), read)
    bounds, span = _RELATIVE[operator], span_ms(value) or 0

    def test(facts: Facts) -> bool:
        at_ms, now_ms = instant_ms(read(facts)), now_of(facts)
        if at_ms is None or now_ms is None:
            return False
        first_ms, end_ms = bounds(at_ms, span)
        return (first_ms is None or first_ms <= now_ms) and (end_ms is None or now_ms < end_ms)

    return test


def time_change(comparison: Comparison, read: Reader) -> Change:
    """Return when time changes the result of a relative time operator."""
    if comparison.field == NOW:
        return _now_change(comparison)
    bounds, span = _RELATIVE[comparison.operator], span_ms(comparison.value) or 0

    def change(facts: Facts, now_ms: int) -> int | None:
        at_ms = instant_ms(read(facts))
        return None if at_ms is None else next(_behind(now_ms, bounds(at_ms, span)), None)

    return change


def _behind(now_ms: int, instants: tuple[int | None, ...]) -> Any:
    return (at_ms for at_ms in instants if at_ms is not None and at_ms > now_ms)


def _fixed_test(operator: Operator, limit_ms: int | None, read: Reader) -> Test:
    if limit_ms is None:
        # Unreachable from decode_conditions(), which has read the value as a time.
        raise TypeError(operator)

    def is_before(facts: Facts) -> bool:
        at_ms = instant_ms(read(facts))
        return at_ms is not None and at_ms < limit_ms

    def is_after(facts: Facts) -> bool:
        at_ms = instant_ms(read(facts))
        return at_ms is not None and at_ms > limit_ms

    return is_before if operator is Operator.BEFORE else is_after


def _now_change(comparison: Comparison) -> Change:
    """`now` before an instant holds until it, and after an instant from the next millisecond on."""
    limit_ms = instant_ms(comparison.value)
    if limit_ms is None:
        raise TypeError(comparison.value)
    turn_ms = limit_ms if comparison.operator is Operator.BEFORE else limit_ms + 1
    return lambda _, now_ms: turn_ms if turn_ms > now_ms else None
