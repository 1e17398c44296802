"""Reads from a tree which facts it looks at."""

from posthorn.conditions.cel import needs_of_expression
from posthorn.conditions.fields import parse_field
from posthorn.conditions.needs import Needs, needs_of_field, union
from posthorn.conditions.timing import is_relative
from posthorn.conditions.tree import (
    AllOf,
    AnyOf,
    Cel,
    Comparison,
    Condition,
    Count,
    InSegment,
    Items,
    LocalTime,
    Not,
    Performed,
    Rule,
    Subscription,
)
from posthorn.conditions.windows import window_need


def needs_of(condition: Condition) -> Needs:
    """Return what a decoded tree looks at."""
    match condition:
        case AllOf() | AnyOf():
            return union(map(needs_of, condition.conditions))
        case Not():
            return needs_of(condition.condition)
        case Comparison():
            return _of_field(condition.field) | Needs(times=is_relative(condition))
    return _of_rule(condition)


def _of_rule(rule: Rule) -> Needs:  # noqa: PLR0911 - one for each kind of rule
    match rule:
        case Items():
            return _of_field(rule.items.field) | needs_of(rule.items.where)
        case Count():
            return Needs(counts=frozenset({rule.count.event}))
        case Performed():
            need = window_need(rule.performed)
            return Needs(windows=(need,), times=need.within_seconds is not None)
        case InSegment():
            return Needs(segments=frozenset({rule.segment.segment}))
        case Subscription():
            return Needs(profile=True)
        case LocalTime():
            return Needs(local=True, times=True)
        case Cel():
            return needs_of_expression(rule.cel)


def _of_field(field: str) -> Needs:
    steps = parse_field(field)
    if isinstance(steps, str):
        # Unreachable from compile_conditions(), which has decoded the tree again.
        raise TypeError(steps)
    return needs_of_field(steps[0][0], steps[1][0] if len(steps) > 1 else None)
