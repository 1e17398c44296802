"""The library's environment with our nodes: only tags that are safe here, printing only through sinks."""

from typing import Final, TextIO

from liquid import Environment, Mode, RenderContext
from liquid.ast import Node
from liquid.builtin.content import ContentNode, Literal
from liquid.builtin.illegal import Illegal
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags import (
    assign_tag,
    capture_tag,
    case_tag,
    comment_tag,
    cycle_tag,
    decrement_tag,
    doc_tag,
    echo_tag,
    for_tag,
    if_tag,
    increment_tag,
    inline_comment_tag,
    liquid_tag,
    unless_tag,
)
from liquid.exceptions import LiquidSyntaxError
from liquid.stream import TokenStream
from liquid.tag import Tag
from liquid.token import TOKEN_EXPRESSION, TOKEN_TAG, Token
from liquid.undefined import StrictDefaultUndefined

from posthorn.templating.context import ours
from posthorn.templating.failures import AbortSignal, Fault
from posthorn.templating.sinks import AFTER_BACKSLASH, INSIDE, OUTSIDE, Moves, Sink, json_position

_QUOTES: Final = "\"'“”„‟‘’‚‛"


class TextNode(ContentNode):
    """Text of the template itself, with what it does to the position in JSON."""

    __slots__ = ("moves",)

    moves: Moves

    def __init__(self, token: Token, text: str) -> None:
        super().__init__(token, text)
        self.moves = (
            json_position(text, OUTSIDE),
            json_position(text, INSIDE),
            json_position(text, AFTER_BACKSLASH),
        )

    def render_to_output(self, _context: RenderContext, buffer: TextIO) -> int:
        """Add the text."""
        if self.blank:
            # Blank blocks are rendered into the library's null stream; spaces move no position.
            return buffer.write(self.text)
        sink: Sink = buffer  # type: ignore[assignment]  # a cast() is a call, and this is a hot path
        return sink.literal(self.text, self.moves)


class ValueNode(OutputNode):
    """`{{ … }}` and `{% echo … %}`: print a value through the sink."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Print the value."""
        return emit(self.expression.evaluate(context), buffer, self.expression.token)


class CycleNode(cycle_tag.CycleNode):
    """`{% cycle … %}`: print the next of its values through the sink."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Print the value whose turn it is."""
        values = [argument.evaluate(context) for argument in self.args]
        group = str(self.group) if self.group else "".join(map(str, self.args))
        return emit(values[context.cycle(group, len(values))], buffer, self.token)


def emit(value: object, buffer: TextIO, token: Token) -> int:
    """Print a value, and say where when it cannot be printed."""
    sink: Sink = buffer  # type: ignore[assignment]  # a cast() is a call, and this is a hot path
    try:
        return sink.emit(value, token)
    except Fault as fault:
        raise Fault(fault.message, fault.token or token) from None
    except (ValueError, RecursionError) as error:
        raise Fault(f"cannot print this value ({type(error).__name__})", token) from None


class MeterNode(Node):
    """The first node of every block: pays for one turn of it."""

    __slots__ = ("weight",)

    def __init__(self, token: Token, weight: int) -> None:
        super().__init__(token)
        self.weight: Final = weight

    def render_to_output(self, context: RenderContext, _buffer: TextIO) -> int:
        """Spend the steps of one turn."""
        ours(context).budget.spend(self.weight, self.token)
        return 0


class AbortNode(Node):
    """`{% abort_message('reason') %}`: stop, because the author says so."""

    __slots__ = ("reason",)

    def __init__(self, token: Token, reason: str) -> None:
        super().__init__(token)
        self.reason: Final = reason

    def render_to_output(self, _context: RenderContext, _buffer: TextIO) -> int:
        """Raise AbortSignal."""
        raise AbortSignal(self.reason, self.token)


class _Abort(Tag):
    """Reads the reason in all spellings of Braze: no parentheses, no quotes, quotes of either kind."""

    name = "abort_message"
    block = False

    def parse(self, stream: TokenStream) -> AbortNode:
        token = stream.expect(TOKEN_TAG)
        if stream.peek.kind != TOKEN_EXPRESSION:
            return AbortNode(token, "")
        next(stream)
        reason = stream.current.value.strip()
        if "{{" in reason:
            raise LiquidSyntaxError("the reason of abort_message is literal text", token=stream.current)
        if reason.startswith("(") != reason.endswith(")"):
            raise LiquidSyntaxError("abort_message: a parenthesis is never closed", token=stream.current)
        if reason.startswith("("):
            reason = reason[1:-1].strip()
        if len(reason) > 1 and reason[0] in _QUOTES and reason[-1] in _QUOTES:
            reason = reason[1:-1]
        return AbortNode(token, reason.strip())


class _Text(Literal):
    node_class = TextNode


class _Output(Output):
    node_class = ValueNode


class _Echo(echo_tag.EchoTag):
    node_class = ValueNode  # type: ignore[assignment]  # the parser only constructs it


class _Cycle(cycle_tag.CycleTag):
    node_class = CycleNode


class _If(if_tag.IfTag):
    # The library's lax default ignores the condition in `{% else if x %}`.
    mode = Mode.STRICT


class _Unless(unless_tag.UnlessTag):
    mode = Mode.STRICT


class SafeEnvironment(Environment):
    """No tag loads another template, prints HTML or keeps text that is already escaped."""

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:  # noqa: ARG002 - the library's signature
        """Register the tags; filters have a register of their own (`posthorn.templating.guard`)."""
        for tag in (
            _Abort,
            _Text,
            _Output,
            _Echo,
            _Cycle,
            _If,
            _Unless,
            Illegal,
            assign_tag.AssignTag,
            capture_tag.CaptureTag,
            case_tag.CaseTag,
            comment_tag.CommentTag,
            decrement_tag.DecrementTag,
            doc_tag.DocTag,
            for_tag.BreakTag,
            for_tag.ContinueTag,
            for_tag.ForTag,
            increment_tag.IncrementTag,
            inline_comment_tag.InlineCommentTag,
            liquid_tag.LiquidTag,
        ):
            self.add_tag(tag)


ENVIRONMENT: Final = SafeEnvironment(undefined=StrictDefaultUndefined)
