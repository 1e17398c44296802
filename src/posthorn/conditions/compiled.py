"""Conditions turned into closures: decided many times, explained on demand."""

from collections.abc import Callable
from typing import Final

import msgspec

from posthorn.conditions.comparing import predicate
from posthorn.conditions.decoding import decode_conditions
from posthorn.conditions.explaining import Explanation, matched, why_not
from posthorn.conditions.fields import ABSENT, Facts, Reader, parse_field, reader
from posthorn.conditions.nodes import Branch, Inversion, Leaf, Node, Test
from posthorn.conditions.tree import AllOf, AnyOf, Comparison, Condition, Not, Operator

Path = tuple[str | int, ...]


class CompiledConditions:
    """Conditions over facts (`event`, `user`, `source`, each a JSON object). Immutable."""

    __slots__ = ("_root", "condition", "matches")

    def __init__(self, condition: Condition) -> None:
        self.condition: Final = condition
        self._root: Final = _compile(condition, ())
        # The closure itself, so that the hot path has no method call in between.
        self.matches: Final[Callable[[Facts], bool]] = self._root.test

    def explain(self, facts: Facts) -> Explanation:
        """Say whether the facts match, and if not, which condition is the first that fails."""
        return matched() if self.matches(facts) else why_not(self._root, facts)


def compile_conditions(condition: Condition) -> CompiledConditions:
    """Compile a tree of conditions. Raises Invalid as `decode_conditions` does."""
    # A tree may have been built in code: what counts as valid is said in one place only.
    return CompiledConditions(decode_conditions(msgspec.to_builtins(condition)))


def _compile(condition: Condition, path: Path) -> Node:
    match condition:
        case AllOf(conditions=conditions):
            children = tuple(_compile(child, (*path, "all", at)) for at, child in enumerate(conditions))
            return Branch(path=path, children=children, is_any=False, test=_all(children))
        case AnyOf(conditions=conditions):
            children = tuple(_compile(child, (*path, "any", at)) for at, child in enumerate(conditions))
            return Branch(path=path, children=children, is_any=True, test=_any(children))
        case Not(condition=inner):
            child = _compile(inner, (*path, "not"))
            return Inversion(path=path, child=child, test=_inverted(child.test))
        case Comparison():
            return _compile_leaf(condition, path)


def _compile_leaf(comparison: Comparison, path: Path) -> Leaf:
    steps = parse_field(comparison.field)
    if isinstance(steps, str):
        # Unreachable from compile_conditions(), which has decoded the tree again.
        raise TypeError(steps)
    read = reader(steps)
    if comparison.operator is Operator.EXISTS and not comparison.value:
        return Leaf(path=path, comparison=comparison, read=read, test=_absent(read))
    return Leaf(path=path, comparison=comparison, read=read, test=_present(read, comparison))


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
