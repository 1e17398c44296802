"""From the parse tree of a rewritten template to that of Braze's dialect: placeholders become what they stand for."""

from typing import ClassVar, Final, cast

from liquid import Environment
from liquid.ast import BlockNode, Node
from liquid.builtin.expressions import FilteredExpression, Path, tokenize
from liquid.builtin.expressions.logical import ContainsExpression, EqExpression, NeExpression
from liquid.builtin.expressions.primitive import StringLiteral
from liquid.exceptions import LiquidError
from liquid.expression import Expression
from liquid.stream import TokenStream
from liquid.token import TOKEN_CONTENT, TOKEN_EXPRESSION, Token

from posthorn.templating.braze.book import BlockText, Book, ContentCall, Extra, Inner, Literal, Parts
from posthorn.templating.braze.guard import BrazeFilter
from posthorn.templating.braze.nodes import BRAZE_ENVIRONMENT, ContentNode, ExtrasNode
from posthorn.templating.braze.paths import (
    BlockPath,
    BrazeContains,
    BrazeEq,
    BrazeNe,
    InnerPath,
    LiteralPath,
    NamedPath,
)
from posthorn.templating.braze.places import NAMESPACES, Place, place_of_name
from posthorn.templating.braze.requesting import BoundCall, Nodes, headers_of
from posthorn.templating.braze.sinks import BrazeJsonSink, Structure, is_structure
from posthorn.templating.guard import GuardedFilter
from posthorn.templating.nodes import MeterNode, TextNode, ValueNode
from posthorn.templating.parsing import parse_shifted
from posthorn.templating.paths import OptionalPath
from posthorn.templating.source import PLACEHOLDER, Source
from posthorn.templating.specialise import SECRETS, FactPath, Specialiser, static_segments

_HEADERS_PROBE_BYTES: Final = 64 * 1024


class BrazeSpecialiser(Specialiser):
    """Walks one template of Braze's dialect."""

    environment: ClassVar[Environment] = BRAZE_ENVIRONMENT
    # Braze's authors name variables as they like (`now`, `event`), and `${…}` never reads a variable of theirs.
    reserved: ClassVar[frozenset[str]] = frozenset({SECRETS})
    filter_class: ClassVar[type[GuardedFilter]] = BrazeFilter

    def __init__(self, source: Source, nodes: list[Node], book: Book, *, single_line: bool) -> None:
        super().__init__(source, nodes, single_line=single_line)
        self._book = book

    def _visit(self, node: Node, *, in_loop: bool) -> int:
        if isinstance(node, ContentNode):
            node.bound = self._bound(node)
            self._check_headers(node)
            return super()._visit(node, in_loop=in_loop) + self._weight(node.bound.nodes)
        if isinstance(node, ExtrasNode):
            extra = cast("Extra", self._book.entries[node.number])
            node.key, node.value = self._parts(extra.key, node.token), self._parts(extra.value, node.token)
            return super()._visit(node, in_loop=in_loop) + self._weight([*node.key, *node.value])
        return super()._visit(node, in_loop=in_loop)

    def _check_node(self, node: Node, *, in_loop: bool) -> None:
        for name in (*node.template_scope(), *node.block_scope()):
            if name.startswith(PLACEHOLDER):
                raise self._source.invalid(name.token.start_index, f"a value cannot be given to '{name}'")
        super()._check_node(node, in_loop=in_loop)

    def _other(self, expression: Expression) -> None:
        if isinstance(expression, EqExpression):
            expression.__class__ = BrazeEq
        elif isinstance(expression, NeExpression):
            expression.__class__ = BrazeNe
        elif isinstance(expression, ContainsExpression):
            expression.__class__ = BrazeContains
        elif isinstance(expression, StringLiteral) and is_structure(expression.value):
            expression.value = Structure(expression.value)

    def _path(self, path: Path) -> int:
        first = path.path[0]
        if not isinstance(first, str) or not first.startswith(PLACEHOLDER):
            super()._path(path)
            path.__class__ = OptionalPath
            return 0
        entry = self._book.entries[int(first[len(PLACEHOLDER) :])]
        if isinstance(entry, Place):
            path.path[0] = cast("str", entry)
            path.__class__ = NamedPath
            self._paths.append(path)
            return 0
        if len(path.path) > 1:
            raise self._source.invalid(path.token.start_index, "nothing can follow an expression in inner braces")
        return self._stand_in(path, entry)

    def _stand_in(self, path: Path, entry: object) -> int:
        # The library's list is for strings, numbers and paths; ours hold the one thing that the path stands for.
        held = cast("list[object]", path.path)
        if isinstance(entry, Inner):
            held[0] = self._parsed(entry)
            path.__class__ = InnerPath
            return 0
        if isinstance(entry, BlockText):
            nodes = parse_shifted(self._source, entry.draft.text, self._book.base(entry.draft), self.environment)
            weight = self._weight(nodes)
            held[0] = BlockNode(path.token, [MeterNode(path.token, 1), *nodes])
            path.__class__ = BlockPath
            return weight
        held[0] = cast("Literal", entry).value
        path.__class__ = LiteralPath
        return 0

    def _weight(self, nodes: Nodes) -> int:
        # Parts of a tag are no lines of a header's own text.
        single_line, self._single_line = self._single_line, False
        try:
            return sum(self._visit(node, in_loop=False) for node in nodes)
        finally:
            self._single_line = single_line

    def _bound(self, node: ContentNode) -> BoundCall:
        call = cast("ContentCall", self._book.entries[node.number])
        return BoundCall(
            call=call,
            url=self._parts(call.url, node.token),
            headers=None if call.headers is None else self._parts(call.headers, node.token),
            body=None if call.body is None else self._parts(call.body, node.token),
        )

    def _check_headers(self, node: ContentNode) -> None:
        """Refuse headers that are no JSON object, whatever their values will be."""
        parts = node.bound.call.headers
        if parts is None or not isinstance(parts[0], str):
            return
        probe = BrazeJsonSink(_HEADERS_PROBE_BYTES)
        for part in node.bound.headers or ():
            if isinstance(part, TextNode):
                probe.literal(part.text, part.moves)
            else:
                probe.emit("x", node.token)
        if headers_of(probe.getvalue()) is None:
            message = "connected_content: ':headers' must be a JSON object of texts"
            raise self._source.invalid(node.token.start_index, message)

    def _parts(self, parts: Parts, token: Token) -> Nodes:
        return [
            TextNode(token._replace(kind=TOKEN_CONTENT), part)
            if isinstance(part, str)
            else ValueNode(token, self._parsed(part))
            for part in parts
        ]

    def _parsed(self, inner: Inner) -> Expression:
        text = inner.draft.text
        whole = Token(TOKEN_EXPRESSION, text, self._book.base(inner.draft), text)
        try:
            return FilteredExpression.parse(self.environment, TokenStream(tokenize(text, whole)))
        except LiquidError as error:
            token = error.token
            index = token.start_index if token and token.start_index >= 0 else whole.start_index
            raise self._source.invalid(index, str(error.message)) from None

    def _is_local(self, path: Path) -> bool:
        first: object = path.path[0]
        if isinstance(first, Place):
            return first.is_local and first.alternatives[0][0] in self._locals
        return super()._is_local(path)

    def _alternatives(self, path: Path) -> tuple[FactPath, ...]:
        first: object = path.path[0]
        rest = static_segments(path.path[1:])
        if isinstance(first, Place):
            # What is derived has a value whatever the attributes are; what is kept nowhere never has one.
            places = tuple((*known, *rest) for known in first.alternatives) or ((first.written,),)
            return () if first.derive else places
        if isinstance(first, str) and first in NAMESPACES:
            if rest and isinstance(rest[0], str):
                place = place_of_name(first, rest[0])
                return tuple((*known, *rest[1:]) for known in place.alternatives) or ((place.written,),)
            return tuple((*known, *rest) for known in NAMESPACES[first])
        return super()._alternatives(path)

    def secrets(self) -> frozenset[str]:
        """Return the names under `secrets`, however they are reached."""
        places = (first for path in self._paths if isinstance(first := cast("object", path.path[0]), Place))
        written = {
            str(known[1]) for place in places for known in place.alternatives if place.is_local and known[0] == SECRETS
        }
        return super().secrets() | written
