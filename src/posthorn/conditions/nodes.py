"""The compiled tree: each node has its place, its closure, and what an explanation needs."""

from collections.abc import Callable
from dataclasses import dataclass

from posthorn.conditions.fields import Facts, Reader
from posthorn.conditions.tree import Comparison

Test = Callable[[Facts], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A comparison."""

    path: tuple[str | int, ...]
    comparison: Comparison
    read: Reader
    test: Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """`all`, or `any` when `is_any`."""

    path: tuple[str | int, ...]
    children: "tuple[Node, ...]"
    is_any: bool
    test: Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """`not`."""

    path: tuple[str | int, ...]
    child: "Node"
    test: Test


Node = Leaf | Branch | Inversion
