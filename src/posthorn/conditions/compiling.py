"""From a decoded tree to closures, one module of rules beside another."""

from posthorn.conditions.cel import make_cel
from posthorn.conditions.changing import change_of
from posthorn.conditions.comparing import predicate
from posthorn.conditions.fields import ABSENT, Facts, Reader, Step, parse_field, reader
from posthorn.conditions.items import make_items
from posthorn.conditions.local_time import field_change, make_time
from posthorn.conditions.membership import make_count, make_segment, make_subscription
from posthorn.conditions.nodes import Branch, Change, Inversion, Leaf, Made, Node, Path, RuleNode, Test, never
from posthorn.conditions.timing import is_relative, time_change, time_test
from posthorn.conditions.tree import (
    TIME_OPERATORS,
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
from posthorn.conditions.windows import make_performed


def compile_node(condition: Condition, path: Path = ()) -> Node:
    """Compile a tree that has been decoded."""
    match condition:
        case AllOf(conditions=conditions):
            children = tuple(compile_node(child, (*path, "all", at)) for at, child in enumerate(conditions))
            return Branch(path=path, children=children, is_any=False, test=_all(children))
        case AnyOf(conditions=conditions):
            children = tuple(compile_node(child, (*path, "any", at)) for at, child in enumerate(conditions))
            return Branch(path=path, children=children, is_any=True, test=_any(children))
        case Not(condition=inner):
            child = compile_node(inner, (*path, "not"))
            return Inversion(path=path, child=child, test=_inverted(child.test))
        case Comparison():
            return _compile_leaf(condition, path)
    made = _make(condition, path)
    return RuleNode(path=path, test=made.test, account=made.account, change=made.change)


def _make(rule: Rule, path: Path) -> Made:  # noqa: PLR0911 - one for each kind of rule
    match rule:
        case Count():
            return make_count(rule)
        case Performed():
            return make_performed(rule)
        case InSegment():
            return make_segment(rule)
        case Subscription():
            return make_subscription(rule)
        case LocalTime():
            return make_time(rule)
        case Cel():
            return make_cel(rule)
        case Items():
            inner = compile_node(rule.items.where, (*path, "items", "where"))
            return make_items(rule, reader(_steps(rule.items.field)), inner.test, change_of(inner))


def _steps(field: str) -> tuple[Step, ...]:
    steps = parse_field(field)
    if isinstance(steps, str):
        # Unreachable from compile_conditions(), which has decoded the tree again.
        raise TypeError(steps)
    return steps


def _compile_leaf(comparison: Comparison, path: Path) -> Leaf:
    steps = _steps(comparison.field)
    read = reader(steps)
    if comparison.wants_absence:
        test: Test = _absent(read)
    elif comparison.operator in TIME_OPERATORS:
        test = time_test(comparison, read)
    else:
        test = _present(read, comparison)
    return Leaf(path=path, comparison=comparison, read=read, test=test, change=_leaf_change(comparison, steps, read))


def _leaf_change(comparison: Comparison, steps: tuple[Step, ...], read: Reader) -> Change:
    if is_relative(comparison):
        return time_change(comparison, read)
    return field_change(steps[1][0]) if steps[0][0] == "local" else never


def _present(read: Reader, comparison: Comparison) -> Test:
    holds = predicate(comparison.operator, comparison.value)

    def test(facts: Facts) -> bool:
        value = read(facts)
        return value is not ABSENT and holds(value)

    return test


def _absent(read: Reader) -> Test:
    return lambda facts: read(facts) is ABSENT


def _all(children: tuple[Node, ...]) -> Test:
    tests = tuple(child.test for child in children)

    def test(facts: Facts) -> bool:
        for holds in tests:  # noqa: SIM110 - all() with a generator costs twice as much
            if not holds(facts):
                return False
        return True

    return test


def _any(children: tuple[Node, ...]) -> Test:
    tests = tuple(child.test for child in children)

    def test(facts: Facts) -> bool:
        for holds in tests:  # noqa: SIM110 - any() with a generator costs twice as much
            if holds(facts):
                return True
        return False

    return test


def _inverted(holds: Test) -> Test:
    return lambda facts: not holds(facts)
