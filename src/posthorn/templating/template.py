"""Compile once, render many times: the public face of this room."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TextIO, cast

from liquid import BoundTemplate
from liquid.ast import Node
from liquid.exceptions import LiquidError
from liquid.parser import get_parser
from liquid.stream import TokenStream
from liquid.token import TOKEN_OUTPUT, TOKEN_TAG, Token

from posthorn.templating.context import DEFAULT_LIMITS, Context, Limits
from posthorn.templating.failures import Fault, TemplateRenderFailed, place_of, syntax_invalid
from posthorn.templating.nodes import ENVIRONMENT
from posthorn.templating.shape import check_shape
from posthorn.templating.sinks import SINKS, Escape
from posthorn.templating.specialise import Specialiser

_CACHED_TEMPLATES: Final = 512


class Template:
    """A compiled template. Immutable and free of values, so one may serve many renderings at once."""

    __slots__ = ("_bound", "_limits", "_text", "escape", "secrets", "variables")

    def __init__(self, text: str, *, escape: Escape, limits: Limits) -> None:
        check_shape(text)
        nodes = _parse(text)
        specialiser = Specialiser(text, nodes, single_line=escape == "header")
        specialiser.run()
        self._text = text
        self._bound = BoundTemplate(ENVIRONMENT, nodes)
        self._limits = limits
        self.escape: Final = escape
        self.variables: Final = specialiser.variables()
        self.secrets: Final = specialiser.secrets()

    def render(self, variables: Mapping[str, object]) -> str:
        """Print the template over JSON-like variables: `event`, `user`, `source`, `secrets`.

        The same variables always give the same text: there is no clock, file or socket in here. An instant
        for `"now" | date: …` comes as the variable `now` (ISO 8601 text, seconds since 1970, or a datetime).

        Raises TemplateRenderFailed for an unknown variable without `default`, for a value that cannot be
        printed at its place, and when a limit is reached.
        """
        context = Context(self._bound, variables, self._limits)
        sink = SINKS[self.escape](self._limits.output_bytes)
        stream = cast("TextIO", sink)
        node: Node | None = None
        try:
            for node in self._bound.nodes:
                node.render_to_output(context, stream)
        except Exception as error:  # noqa: BLE001 - whatever happens inside is a failure of this template
            message, token = _reason(error)
        else:
            return sink.getvalue()
        # Raised outside of the handler: a library error that quotes a value must not hang on ours as context.
        raise self._failure(message, token or (node.token if node else None))

    def _failure(self, message: str, token: Token | None) -> TemplateRenderFailed:
        line, column = place_of(self._text, token.start_index if token else 0)
        return TemplateRenderFailed(message, line=line, column=column)

    def __repr__(self) -> str:
        return f"<Template {self.escape}, {len(self._text)} characters>"


@lru_cache(maxsize=_CACHED_TEMPLATES)
def compile_template(text: str, *, escape: Escape, limits: Limits = DEFAULT_LIMITS) -> Template:
    """Compile a Liquid template; the last 512 are kept. Raises TemplateSyntaxInvalid with line and column.

    `escape` says what `{{ … }}` does to a value:

    - `json`: outside of quotes it prints a whole JSON value (a string with its quotes); between quotes it
      prints the inside of a JSON string (nil as nothing, numbers and booleans as text, arrays and objects as
      escaped JSON text). No value can end a string or add structure. `| json` yields JSON text: outside of
      quotes it is not escaped again, between quotes it is a string of JSON; a filter after it makes it plain
      text again.
    - `url`: percent-encodes everything that is not unreserved, `/` included.
    - `header`: prints text; a control character is a failure.
    - `none`: prints text.

    `| unescaped` as the last filter opts one value out (in a URL or header it still may not hold control
    characters). `capture` keeps unescaped text, which is escaped where it is printed.
    """
    return Template(text, escape=escape, limits=limits)


def uses_secrets(template: Template) -> frozenset[str]:
    """Return the names under `secrets` that a template reads; `*` when data choose or all are read."""
    return template.secrets


def variables(template: Template) -> frozenset[str]:
    """Return the paths that a template reads from its variables, as written: `event.data.items[0].name`."""
    return template.variables


def _parse(text: str) -> list[Node]:
    stream: TokenStream | None = None
    try:
        stream = TokenStream(ENVIRONMENT.tokenizer()(text))
        return get_parser(ENVIRONMENT).parse(stream)
    except LiquidError as error:
        raise syntax_invalid(text, _index_of(error, stream), str(error.message)) from None
    except RecursionError:
        raise syntax_invalid(text, 0, "an expression is nested too deeply") from None


def _index_of(error: LiquidError, stream: TokenStream | None) -> int:
    """Return where a parser error is; an error at the end of a tag belongs to that tag."""
    if error.token and error.token.start_index >= 0:
        return error.token.start_index
    read = stream.tokens[: stream.pos + 1] if stream else []
    return next((token.start_index for token in reversed(read) if token.kind in {TOKEN_TAG, TOKEN_OUTPUT}), 0)


def _reason(error: Exception) -> tuple[str, Token | None]:
    """Put an exception into words that quote no value."""
    if isinstance(error, Fault):
        return error.message, error.token
    if isinstance(error, LiquidError):
        # Outside of filters the library's messages name types and limits only.
        return str(error.message), error.token
    return f"cannot be rendered ({type(error).__name__})", None
