"""The tags of Braze's dialect, and its environment."""

from collections.abc import Iterable
from typing import Final, TextIO

from liquid import RenderContext
from liquid.ast import Node
from liquid.builtin.expressions import Identifier, parse_primitive
from liquid.exceptions import LiquidSyntaxError
from liquid.expression import Expression
from liquid.stream import TokenStream
from liquid.tag import Tag
from liquid.token import TOKEN_EXPRESSION, TOKEN_TAG, Token
from liquid.undefined import StrictDefaultUndefined

from posthorn.templating.braze.context import braze
from posthorn.templating.braze.requesting import BoundCall, Nodes, printed
from posthorn.templating.content import saved_value
from posthorn.templating.context import CHARACTERS_PER_STEP_LOG2
from posthorn.templating.failures import ContentSignal, Fault, UnansweredSignal
from posthorn.templating.nodes import SafeEnvironment, emit
from posthorn.templating.sinks import Sink

_MAX_EXTRA_BYTES: Final = 64 * 1024
_DEFAULT_VARIABLE: Final = "connected"


class NumberedNode(Node):
    """A node whose arguments are an entry of the book; `bind` brings them before the first rendering."""

    __slots__ = ("number",)

    def __init__(self, token: Token, number: int) -> None:
        super().__init__(token)
        self.number: Final = number


class ContentNode(NumberedNode):
    """`{% connected_content … %}`: takes the answer to a request, or says which it wants."""

    __slots__ = ("bound",)

    bound: BoundCall

    def __init__(self, token: Token, number: int) -> None:
        super().__init__(token, number)
        self.blank = False

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Save the answer, or print it where it is text; raise ContentSignal when it is not there."""
        mine = braze(context)
        request = self.bound.request(mine, self.token)
        answers = mine.globals.get("content")
        response = answers.answer(request, call=mine.content_calls) if answers is not None else None  # type: ignore[attr-defined]  # the caller's ContentAnswers
        mine.content_calls += 1
        if response is None:
            raise ContentSignal(request, self.token)
        if request.retry and response.is_transient:
            raise UnansweredSignal(self.token)
        mine.budget.spend(1 + (len(response.body) >> CHARACTERS_PER_STEP_LOG2), self.token)
        value = saved_value(response)
        if request.save is None and isinstance(value, str):
            return emit(value, buffer, self.token)
        mine.assign(request.save or _DEFAULT_VARIABLE, value)
        return 0

    def template_scope(self) -> Iterable[Identifier]:
        """Return the variable that gets the answer."""
        yield Identifier(self.bound.call.save or _DEFAULT_VARIABLE, token=self.token)


class ExtrasNode(NumberedNode):
    """`{% message_extras :key … :value … %}`: keeps a pair beside the text."""

    __slots__ = ("key", "value")

    key: Nodes
    value: Nodes

    def render_to_output(self, context: RenderContext, _buffer: TextIO) -> int:
        """Keep the pair."""
        mine = braze(context)
        texts = [printed(nodes, Sink(_MAX_EXTRA_BYTES), mine).strip() for nodes in (self.key, self.value)]
        mine.add_extra(*texts)
        return 0


class RandomNode(Node):
    """`{% random %}` prints a number of [0, 1), `{% random 10 %}` one of 0–9."""

    __slots__ = ("bound",)

    def __init__(self, token: Token, bound: Expression | None) -> None:
        super().__init__(token)
        self.bound: Final = bound
        self.blank = False

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Print the next number of this rendering."""
        mine = braze(context)
        try:
            drawn = mine.random()
        except Fault as fault:
            raise Fault(fault.message, self.token) from None
        if self.bound is None:
            return emit(drawn, buffer, self.token)
        bound = self.bound.evaluate(context)
        bound = int(bound) if isinstance(bound, str) and bound.isascii() and bound.isdigit() else bound
        if not isinstance(bound, int) or isinstance(bound, bool) or bound < 1:
            raise Fault("'random' needs a whole number of 1 or more", self.token)
        return emit(int(drawn * bound), buffer, self.token)

    def expressions(self) -> Iterable[Expression]:
        """Return the bound, if one is given."""
        return () if self.bound is None else (self.bound,)


class _Numbered(Tag):
    block = False
    node_class: type[NumberedNode]

    def parse(self, stream: TokenStream) -> NumberedNode:
        token = stream.eat(TOKEN_TAG)
        return self.node_class(token, int(stream.expect(TOKEN_EXPRESSION).value))


class _Content(_Numbered):
    name = "connected_content"
    node_class = ContentNode


class _Extras(_Numbered):
    name = "message_extras"
    node_class = ExtrasNode


class _Random(Tag):
    name = "random"
    block = False

    def parse(self, stream: TokenStream) -> RandomNode:
        token = stream.expect(TOKEN_TAG)
        if stream.peek.kind != TOKEN_EXPRESSION:
            return RandomNode(token, None)
        next(stream)
        tokens = stream.into_inner(tag=token, eat=False)
        bound = parse_primitive(self.env, tokens)
        if tokens.current is not tokens.eof:
            raise LiquidSyntaxError("random takes one number", token=tokens.current)
        return RandomNode(token, bound)


class _Environment(SafeEnvironment):
    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register Braze's tags beside the others."""
        super().setup_tags_and_filters(extra=extra)
        for tag in (_Content, _Extras, _Random):
            self.add_tag(tag)


BRAZE_ENVIRONMENT: Final[SafeEnvironment] = _Environment(undefined=StrictDefaultUndefined)
