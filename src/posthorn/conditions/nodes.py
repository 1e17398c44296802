"""The compiled tree: each node has its place, its closure, and what an explanation needs."""

from collections.abc import Callable
from dataclasses import dataclass

from posthorn.conditions.fields import ABSENT, Facts, Reader
from posthorn.conditions.tree import Comparison, Operator

Test = Callable[[Facts], bool]
Path = tuple[str | int, ...]
Change = Callable[[Facts, int], int | None]
"""The earliest instant (ms) behind a given one at which time alone may turn a result around; None when it never does.

It tells the instants exactly or too early, never too late.
"""


def never(_: Facts, __: int) -> None:
    """Tell that time alone changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a rule found: a clause that says so ("login happened 2 times in all, which is not at least 3"), and data."""

    clause: str
    field: str | None = None
    operator: Operator | None = None
    expected: object = ABSENT
    actual: object = ABSENT
    absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A comparison."""

    path: Path
    comparison: Comparison
    read: Reader
    test: Test
    change: Change = never


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a kind of rule is made of: its test, what it says about facts, and when time changes its result."""

    test: Test
    account: Callable[[Facts], Account]
    change: Change = never


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleNode:
    """A leaf that is no comparison: a counter, a window, a segment, an expression and the like."""

    path: Path
    test: Test
    account: Callable[[Facts], Account]
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """`all`, or `any` when `is_any`."""

    path: Path
    children: "tuple[Node, ...]"
    is_any: bool
    test: Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """`not`."""

    path: Path
    child: "Node"
    test: Test


Node = Leaf | RuleNode | Branch | Inversion
