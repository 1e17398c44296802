"""Variables of Braze's dialect: what is missing is nil, and `blank` and `empty` mean what they mean in Ruby."""

from typing import TYPE_CHECKING, TextIO, cast

from liquid import RenderContext
from liquid.ast import BlockNode
from liquid.builtin.expressions import Path
from liquid.builtin.expressions.logical import ContainsExpression, EqExpression, NeExpression
from liquid.builtin.expressions.primitive import Blank
from liquid.expression import Expression

from posthorn.templating.braze.context import braze
from posthorn.templating.braze.places import Place, walk
from posthorn.templating.context import ABSENT, CHARACTERS_PER_STEP_LOG2
from posthorn.templating.paths import OptionalPath, item_of
from posthorn.templating.printing import extent, liquid_text

if TYPE_CHECKING:
    from posthorn.templating.context import Context


class NamedPath(OptionalPath):
    """`${…}` with what follows it. The first segment is the Place that the name stands for."""

    __slots__ = ()

    @property
    def place(self) -> Place:
        """What the name stands for."""
        return cast("Place", self.path[0])

    def find(self, context: RenderContext) -> object:
        """Return the value, or ABSENT."""
        mine: Context = context  # type: ignore[assignment]  # a cast() is a call, and this is a hot path
        place = self.place
        if place.is_local:
            root = mine.scope.find(cast("str", place.alternatives[0][0]))
            found = (walk({"": root}, ("", *path[1:])) for path in place.alternatives)
            value = next((each for each in found if each is not ABSENT), ABSENT)
        else:
            value = place.find(mine.globals)
        for segment in self.path[1:]:
            if value is ABSENT:
                break
            value = item_of(value, segment.evaluate(context) if isinstance(segment, Path) else segment)
        mine.budget.spend(1 + (extent(value) >> CHARACTERS_PER_STEP_LOG2), self.token)
        return value

    def __str__(self) -> str:
        rest = "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in self.path[1:])
        return self.place.written + rest


class LiteralPath(Path):
    """A quoted text that Liquid cannot quote."""

    __slots__ = ()

    def evaluate(self, _context: RenderContext) -> object:
        """Return the text."""
        return self.path[0]

    def children(self) -> list[Expression]:
        """Nothing is read."""
        return []


class InnerPath(Path):
    """An expression with filters that stands between inner braces."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """Return the value of the expression."""
        return cast("Expression", self.path[0]).evaluate(context)

    def children(self) -> list[Expression]:
        """Return the expression."""
        return [cast("Expression", self.path[0])]


class BlockPath(Path):
    """A content block whose text is a value."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """Return the rendered text."""
        sink = braze(context).text_buffer()
        cast("BlockNode", self.path[0]).render(context, cast("TextIO", sink))
        return sink.getvalue()

    def children(self) -> list[Expression]:
        """Its nodes are visited as nodes."""
        return []


def is_blank(value: object) -> bool:
    """Tell whether Ruby on Rails calls a value blank: nil, false, nothing in it, nothing but white space."""
    if value is None or value is False:
        return True
    if isinstance(value, str):
        return not value or value.isspace()
    return isinstance(value, (list, tuple, dict)) and not value


class BrazeEq(EqExpression):
    """`==`, with Ruby's meaning of `blank`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """Compare."""
        return _is_equal(self, context)


class BrazeNe(NeExpression):
    """`!=`, with Ruby's meaning of `blank`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """Compare."""
        return not _is_equal(self, context)


class BrazeContains(ContainsExpression):
    """`contains`: false for what can contain nothing, as in Ruby, instead of a failure."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """Look for the right side in the left."""
        left = self.left.evaluate(context)
        right = self.right.evaluate(context)
        if right is None or not left:
            return False
        if isinstance(left, str):
            return liquid_text(right) in left
        return isinstance(left, (list, tuple, dict, range)) and right in left


def _is_equal(expression: EqExpression | NeExpression, context: RenderContext) -> bool:
    left = expression.left.evaluate(context)
    right = expression.right.evaluate(context)
    if isinstance(right, Blank):
        return isinstance(left, Blank) or is_blank(left)
    if isinstance(left, Blank):
        return is_blank(right)
    if isinstance(left, bool) or isinstance(right, bool):
        # 1 == True in Python.
        return left is right
    return left == right
