"""Conditions turned into closures: decided many times, explained on demand."""

from collections.abc import Callable
from typing import Final

import msgspec

from posthorn.conditions.changing import change_of
from posthorn.conditions.compiling import compile_node
from posthorn.conditions.decoding import decode_conditions
from posthorn.conditions.explaining import Explanation, matched, why_not
from posthorn.conditions.fields import Facts
from posthorn.conditions.needing import needs_of
from posthorn.conditions.needs import Needs
from posthorn.conditions.tree import Condition
from posthorn.conditions.windows import Window, WindowNeed


class CompiledConditions:
    """Conditions over facts (`event`, `profile`, `counts` …, each a JSON object). Immutable.

    `needs` says which facts they look at; a fact that is missing is absent and never an error.
    """

    __slots__ = ("_root", "condition", "matches", "needs", "next_change_ms")

    def __init__(self, condition: Condition) -> None:
        self.condition: Final = condition
        self.needs: Final[Needs] = needs_of(condition)
        self._root: Final = compile_node(condition)
        # The closures themselves, so that the hot path has no method call in between.
        self.matches: Final[Callable[[Facts], bool]] = self._root.test
        self.next_change_ms: Final[Callable[[Facts, int], int | None]] = change_of(self._root)
        """The earliest instant behind `now_ms` at which the answer may change without any event.

        `facts["now"]` must be the same instant. Until that instant the answer stays as it is, if no fact changes;
        at it the answer may have changed, and is to be asked for again. None: it changes by events only.
        """

    def explain(self, facts: Facts) -> Explanation:
        """Say whether the facts match, and if not, which condition is the first that fails."""
        return matched() if self.matches(facts) else why_not(self._root, facts)


def compile_conditions(condition: Condition) -> CompiledConditions:
    """Compile a tree of conditions. Raises Invalid as `decode_conditions` does."""
    # A tree may have been built in code: what counts as valid is said in one place only.
    return CompiledConditions(decode_conditions(msgspec.to_builtins(condition)))


def compile_window(need: WindowNeed) -> Window:
    """Compile a window's filter. Raises Invalid when it is none."""
    if need.where is None:
        return Window(need=need, key=need.key, admits=None)
    where = decode_conditions(need.where.encode())
    return Window(need=need, key=need.key, admits=CompiledConditions(where).matches)
