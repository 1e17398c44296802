"""Strict variables and bounded ranges: our evaluation of the library's parsed expressions.

The library offers no hook for these two, so the parse tree's own objects change their class after parsing
(`posthorn.templating.specialise`). All state stays in the library's slots.
"""

from collections.abc import Mapping
from typing import Final

from liquid import RenderContext
from liquid.builtin.expressions import Path
from liquid.builtin.expressions.primitive import RangeLiteral

from posthorn.templating.context import ABSENT, CHARACTERS_PER_STEP_LOG2, Context, ours
from posthorn.templating.failures import Fault
from posthorn.templating.printing import extent

_SIZED: Final = (str, list, tuple, dict, range)
_ORDERED: Final = (list, tuple, range)


class StrictPath(Path):
    """A variable that must exist: an unknown name or an absent attribute is a Fault that names the path."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """Return the value; raise Fault when there is none."""
        value = self.find(context)
        if value is ABSENT:
            # The path's source text, not its evaluated keys: a key may be a secret.
            raise Fault(f"unknown variable '{self}'", self.token)
        return value

    def find(self, context: RenderContext) -> object:
        """Return the value, or ABSENT."""
        mine: Context = context  # type: ignore[assignment]  # a cast() is a call, and this is a hot path
        path = self.path
        root = path[0]
        value = mine.scope.find(root) if isinstance(root, str) else ABSENT
        for segment in path[1:]:
            if value is ABSENT:
                break
            value = item_of(value, segment if isinstance(segment, (str, int)) else segment.evaluate(context))
        mine.budget.spend(1 + (extent(value) >> CHARACTERS_PER_STEP_LOG2), self.token)
        return value


class OptionalPath(StrictPath):
    """A variable whose first filter is `default`: nil when it does not exist."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """Return the value or nil."""
        value = self.find(context)
        return None if value is ABSENT else value


def item_of(value: object, key: object) -> object:
    """Return one attribute or element. Never an attribute of a Python object, never a character of a text."""
    # The exact type first: an abstract base class costs ten times as much to ask, and data are plain dicts.
    if type(value) is dict or isinstance(value, Mapping):
        if isinstance(key, str):
            found = value.get(key, ABSENT)
            return len(value) if found is ABSENT and key == "size" else found
        return ABSENT
    if isinstance(value, _ORDERED):
        if key == "first":
            key = 0
        elif key == "last":
            key = -1
        if isinstance(key, int) and not isinstance(key, bool) and -len(value) <= key < len(value):
            return value[key]
    return len(value) if key == "size" and isinstance(value, _SIZED) else ABSENT


class BoundedRange(RangeLiteral):
    """A range `(a..b)` of limited length: the library would happily reverse a list of 10^9 numbers."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        """Return the range; raise Fault when it is too long."""
        made = super().evaluate(context)
        budget = ours(context).budget
        if made.stop - made.start > budget.range_items:
            raise Fault("the range is too long", self.token)
        budget.spend(extent(made) >> CHARACTERS_PER_STEP_LOG2, self.token)
        return made
