"""Compile once, render many times: the public face of this room."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TextIO, cast

from liquid import BoundTemplate
from liquid.ast import Node
from liquid.exceptions import LiquidError
from liquid.token import Token

from posthorn.templating.braze.book import Book, blocks_included
from posthorn.templating.braze.context import BrazeContext
from posthorn.templating.braze.nodes import BRAZE_ENVIRONMENT
from posthorn.templating.braze.places import braze_variables
from posthorn.templating.braze.rewriting import rewrite
from posthorn.templating.braze.sinks import BRAZE_SINKS
from posthorn.templating.braze.specialise import BrazeSpecialiser
from posthorn.templating.context import DEFAULT_LIMITS, Context, Limits
from posthorn.templating.failures import (
    Aborted,
    AbortSignal,
    ContentSignal,
    ContentUnanswered,
    ContentWanted,
    Fault,
    TemplateRenderFailed,
    UnansweredSignal,
)
from posthorn.templating.nodes import ENVIRONMENT
from posthorn.templating.parsing import parse
from posthorn.templating.shape import check_length, check_shape
from posthorn.templating.sinks import SINKS, Escape
from posthorn.templating.source import Source
from posthorn.templating.specialise import Read, Specialiser

Dialect = Literal["liquid", "braze"]

_CACHED_TEMPLATES: Final = 512
_BLOCKS_NAMESPACE: Final = "content_blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedText:
    """What a rendering made: the text, and the pairs of `message_extras` (Braze) in their order."""

    text: str
    extras: tuple[tuple[str, str], ...] = ()


class Template:
    """A compiled template. Immutable and free of values, so one may serve many renderings at once."""

    __slots__ = (
        "_bound",
        "_keeps_json",
        "_limits",
        "_sink",
        "_source",
        "dialect",
        "escape",
        "reads",
        "secrets",
        "variables",
    )

    def __init__(
        self,
        text: str,
        *,
        escape: Escape,
        limits: Limits,
        dialect: Dialect,
        blocks: Mapping[str, str],
        trail: tuple[str, ...] = (),
    ) -> None:
        check_length(text)
        specialiser: Specialiser
        single_line = escape == "header"
        book = Book(blocks)
        is_braze = dialect == "braze"
        environment = BRAZE_ENVIRONMENT if is_braze else ENVIRONMENT
        source = rewrite(text, book, trail) if is_braze else Source(text)
        check_shape(source)
        nodes = parse(source, environment)
        if is_braze:
            specialiser = BrazeSpecialiser(source, nodes, book, single_line=single_line)
        else:
            specialiser = Specialiser(source, nodes, single_line=single_line)
        specialiser.run()
        self._source = source
        self._keeps_json = escape == "json" or book.has_calls
        self._bound = BoundTemplate(environment, nodes)
        self._limits = limits
        self._sink = (BRAZE_SINKS if dialect == "braze" else SINKS)[escape]
        self.dialect: Final = dialect
        self.escape: Final = escape
        self.variables: Final = specialiser.variables()
        self.secrets: Final = specialiser.secrets()
        self.reads: Final[tuple[Read, ...]] = specialiser.reads()

    def render(self, variables: Mapping[str, object]) -> str:
        """Print the template over the facts: JSON-like `event`, `user`, `profile`, `source`, `secrets` and so on.

        The same variables always give the same text: there is no clock, file or socket in here. An instant
        for `"now" | date: …` comes as the variable `now` (ISO 8601 text, seconds since 1970, or a datetime), the
        seed of `{% random %}` as `random` (an id of the delivery, say), and the answers to connected content as
        `content` (ContentAnswers).

        Both dialects read the same facts. For a rendering that people see, pass `secrets` whose values are `Masked`
        and `content` as `ShownContent`: no secret enters it, so that nothing computed in it can tell one.

        Raises TemplateRenderFailed for an unknown variable without `default` (default dialect), for a value that
        cannot be printed at its place, and when a limit is reached; Aborted where the template says so;
        ContentWanted when an answer is not there, ContentUnanswered when it may come later (`:retry`).
        """
        return self._rendered(self._context(variables))

    def render_whole(self, variables: Mapping[str, object]) -> RenderedText:
        """Do what `render` does, and return what the template keeps beside its text, too."""
        context = self._context(variables)
        text = self._rendered(context)
        extras = tuple(context.extras.items()) if isinstance(context, BrazeContext) else ()
        return RenderedText(text=text, extras=extras)

    def _rendered(self, context: Context) -> str:
        sink = self._sink(self._limits.output_bytes)
        stream = cast("TextIO", sink)
        node: Node | None = None
        try:
            for node in self._bound.nodes:
                node.render_to_output(context, stream)
        except Exception as error:  # noqa: BLE001 - whatever happens inside is a failure of this template
            failure = self._failure(error, node)
        else:
            return sink.getvalue()
        # Raised outside of the handler: a library error that quotes a value must not hang on ours as context.
        raise failure

    def _context(self, variables: Mapping[str, object]) -> Context:
        if self.dialect == "liquid":
            return Context(self._bound, variables, self._limits)
        facts = braze_variables(variables)
        return BrazeContext(self._bound, facts, self._limits, keeps_json=self._keeps_json)

    def _failure(self, error: Exception, node: Node | None) -> TemplateRenderFailed:
        message, token = _reason(error)
        token = token or (node.token if node else None)
        index = token.start_index if token else 0
        line, column = self._source.place(index)
        if isinstance(error, AbortSignal):
            return Aborted(error.message, line=line, column=column)
        if isinstance(error, ContentSignal):
            return ContentWanted(error.request, line=line, column=column)
        if isinstance(error, UnansweredSignal):
            return ContentUnanswered(self._source.said(index, message), line=line, column=column)
        return self._source.failed(index, message)

    def __repr__(self) -> str:
        return f"<Template {self.dialect}, {self.escape}>"


def compile_template(
    text: str,
    *,
    escape: Escape,
    dialect: Dialect = "liquid",
    blocks: Mapping[str, str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Template:
    """Compile a Liquid template; the last 512 are kept. Raises TemplateSyntaxInvalid with line and column.

    `dialect` "braze" reads what Braze's editor reads, with `blocks` as its content blocks by name; a variable that
    is missing is nil there. Line and column always count in `text` itself.

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
    known = tuple(sorted(blocks_included(text, blocks).items())) if blocks and includes_blocks(text) else ()
    return _compiled(text, escape, dialect, known, limits)


def compile_block(name: str, blocks: Mapping[str, str]) -> Template:
    """Compile a content block by itself. Raises TemplateSyntaxInvalid with line and column in the block's own text."""
    return Template(blocks[name], escape="none", limits=DEFAULT_LIMITS, dialect="braze", blocks=blocks, trail=(name,))


def includes_blocks(text: str) -> bool:
    """Tell whether a text may include content blocks: false is certain, and cheap."""
    return _BLOCKS_NAMESPACE in text


@lru_cache(maxsize=_CACHED_TEMPLATES)
def _compiled(
    text: str, escape: Escape, dialect: Dialect, blocks: tuple[tuple[str, str], ...], limits: Limits
) -> Template:
    return Template(text, escape=escape, limits=limits, dialect=dialect, blocks=dict(blocks))


def uses_secrets(template: Template) -> frozenset[str]:
    """Return the names under `secrets` that a template reads; `*` when data choose or all are read."""
    return template.secrets


def variables(template: Template) -> frozenset[str]:
    """Return the paths that a template reads from its variables, as written: `event.data.items[0].name`."""
    return template.variables


def _reason(error: Exception) -> tuple[str, Token | None]:
    """Put an exception into words that quote no value."""
    if isinstance(error, Fault):
        return error.message, error.token
    if isinstance(error, LiquidError):
        # Outside of filters the library's messages name types and limits only.
        return str(error.message), error.token
    return f"cannot be rendered ({type(error).__name__})", None
