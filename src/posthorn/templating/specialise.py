"""From the library's parse tree to ours: strict paths, bounded ranges, guarded filters, metered blocks.

One walk visits every node and expression once, changes what must change, and notes which variables the
template reads. The library offers no hooks for expressions, so its objects change their class in place;
our classes add no state.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import BlockNode, Node
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.tags.for_tag import BreakNode, ContinueNode, ForNode
from liquid.expression import Expression

from posthorn.templating.guard import GuardedFilter, filter_problem
from posthorn.templating.nodes import ENVIRONMENT, MeterNode, TextNode, ValueNode
from posthorn.templating.paths import BoundedRange, OptionalPath, StrictPath
from posthorn.templating.sinks import has_controls
from posthorn.templating.source import Source

RESERVED: Final = frozenset({"event", "user", "source", "secrets", "now"})
SECRETS: Final = "secrets"
EVERY_SECRET: Final = "*"  # noqa: S105 - a wildcard, not a credential
_MAX_EXPRESSION_DEPTH: Final = 100


FactPath = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One variable that a template reads: as written, the paths that may hold it, and its place in the text.

    None in a path is a key that only a rendering knows. `is_optional`: a `default` stands by, or nil is no fault.
    """

    written: str
    alternatives: tuple[FactPath, ...]
    line: int
    column: int
    is_optional: bool


class Specialiser:
    """Walks one parsed template. Raises TemplateSyntaxInvalid for what can be known to fail."""

    environment: ClassVar[Environment] = ENVIRONMENT
    reserved: ClassVar[frozenset[str]] = RESERVED
    filter_class: ClassVar[type[GuardedFilter]] = GuardedFilter

    def __init__(self, source: Source, nodes: list[Node], *, single_line: bool) -> None:
        self._source = source
        self._nodes = nodes
        self._single_line = single_line
        self._static = RenderContext(BoundTemplate(self.environment, nodes))
        self._paths: list[Path] = []
        self._locals: set[str] = set()

    def run(self) -> None:
        """Specialise the whole tree."""
        for node in self._nodes:
            self._visit(node, in_loop=False)

    def variables(self) -> frozenset[str]:
        """Return the paths that the template reads from outside, as written: `event.data.total`."""
        return frozenset(str(path) for path in self._paths if not self._is_local(path))

    def reads(self) -> tuple[Read, ...]:
        """Return every reading of a variable from outside, in the order of the tree."""
        found = []
        for path in self._paths:
            if not self._is_local(path):
                line, column = self._source.place(path.token.start_index)
                is_optional = isinstance(path, OptionalPath)
                alternatives = self._alternatives(path)
                read = Read(
                    written=str(path), alternatives=alternatives, line=line, column=column, is_optional=is_optional
                )
                found.append(read)
        return tuple(found)

    def _is_local(self, path: Path) -> bool:
        return path.path[0] in self._locals

    def _alternatives(self, path: Path) -> tuple[FactPath, ...]:
        return (static_segments(path.path),)

    def secrets(self) -> frozenset[str]:
        """Return the names under `secrets`; `*` stands for access that only a rendering can tell."""
        found = set()
        for path in self._paths:
            if path.path[0] == SECRETS:
                name = path.path[1] if len(path.path) > 1 else None
                found.add(name if isinstance(name, str) else EVERY_SECRET)
        return frozenset(found)

    def _visit(self, node: Node, *, in_loop: bool) -> int:
        """Specialise a node and what is below it; return its weight without that of its blocks."""
        self._check_node(node, in_loop=in_loop)
        weight = 1
        for expression in node.expressions():
            weight += self._expression(expression)
        if isinstance(node, ValueNode) and isinstance(node.expression, FilteredExpression):
            node.expression = node.expression if node.expression.filters else node.expression.left
        in_loop = in_loop or isinstance(node, ForNode)
        for child in node.children(self._static, include_partials=False):
            if isinstance(child, BlockNode):
                inner = sum(self._visit(part, in_loop=in_loop) for part in child.nodes)
                child.nodes.insert(0, MeterNode(child.token, 1 + inner))
            else:
                weight += self._visit(child, in_loop=in_loop)
        return weight

    def _check_node(self, node: Node, *, in_loop: bool) -> None:
        if isinstance(node, (BreakNode, ContinueNode)) and not in_loop:
            raise self._source.invalid(node.token.start_index, f"'{node.token.value}' outside of a loop")
        if self._single_line and isinstance(node, TextNode) and has_controls(node.text):
            at = node.token.start_index
            raise self._source.invalid(at, "a header's value cannot contain a line break or control character")
        for name in (*node.template_scope(), *node.block_scope()):
            if name in self.reserved:
                raise self._source.invalid(name.token.start_index, f"the name '{name}' is reserved")
            self._locals.add(str(name))

    def _expression(self, expression: Expression, depth: int = 1) -> int:
        if depth > _MAX_EXPRESSION_DEPTH:
            message = f"an expression is nested more than {_MAX_EXPRESSION_DEPTH} deep (`and` and `or` nest)"
            raise self._source.invalid(expression.token.start_index, message)
        weight = 1
        if isinstance(expression, FilteredExpression):
            weight += self._filters(expression)
        elif isinstance(expression, RangeLiteral):
            expression.__class__ = BoundedRange
        elif isinstance(expression, Path):
            weight += self._path(expression)
        else:
            self._other(expression)
        children: Iterable[Expression] = expression.children()
        return weight + sum(self._expression(child, depth + 1) for child in children)

    def _other(self, expression: Expression) -> None:
        """Change what another dialect changes."""

    def _filters(self, expression: FilteredExpression) -> int:
        filters = expression.filters or []
        for used in filters:
            problem = filter_problem(used, self.filter_class.rules)
            if problem:
                raise self._source.invalid(used.token.start_index, problem)
            used.__class__ = self.filter_class
        if filters and filters[0].name == "default" and isinstance(expression.left, Path):
            expression.left.__class__ = OptionalPath
        return len(filters)

    def _path(self, path: Path) -> int:
        """Specialise a variable; return the weight of what it stands for."""
        if not isinstance(path.path[0], str):
            # `[event.data.name]` would let data choose the variable, a secret among them.
            raise self._source.invalid(path.token.start_index, "a variable must start with a name")
        if not isinstance(path, StrictPath):
            path.__class__ = StrictPath
        self._paths.append(path)
        return 0


def static_segments(segments: Iterable[object]) -> FactPath:
    """Return the segments of a path, with None for what only a rendering knows."""
    return tuple(segment if isinstance(segment, (str, int)) else None for segment in segments)
