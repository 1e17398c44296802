"""What one rendering may see and spend: its variables, its budget of steps, its limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from liquid import BoundTemplate, RenderContext
from liquid.token import Token
from liquid.utils import ReadOnlyChainMap

from posthorn.templating.failures import Fault
from posthorn.templating.sinks import Sink

CHARACTERS_PER_STEP_LOG2: Final = 6
ABSENT: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one rendering.

    `output_bytes` counts the result as UTF-8. `steps` stands for time, because this room has no clock: a
    node, a variable, a filter or a turn of a loop is one step, and so are 64 characters or two items that are
    read or made. A step is about a microsecond. `range_items` bounds `(1..n)`.
    """

    output_bytes: int = 2 * 1024 * 1024
    steps: int = 200_000
    range_items: int = 10_000


DEFAULT_LIMITS: Final = Limits()


class Budget:
    """The steps that are left to one rendering."""

    __slots__ = ("left", "range_items")

    def __init__(self, limits: Limits) -> None:
        self.left = limits.steps
        self.range_items = limits.range_items

    def spend(self, steps: int, token: Token | None = None) -> None:
        """Take steps from the budget; raise Fault when it is used up."""
        self.left -= steps
        if self.left < 0:
            raise Fault("step limit reached: the template does too much work", token)


class Scope(ReadOnlyChainMap):
    """Namespaces, innermost first. Unlike the library's, without `now` and `today` of the machine's clock."""

    def find(self, name: str) -> object:
        """Return the value of a name, or ABSENT: an exception per namespace costs more than the lookup."""
        for namespace in self._maps:
            if name in namespace:
                return namespace[name]
        return ABSENT


class CaptureSink(Sink):
    """Collects a `capture` block unescaped, so that escaping happens once, where the text is printed."""

    __slots__ = ("_budget",)

    def __init__(self, limit_bytes: int, budget: Budget) -> None:
        super().__init__(limit_bytes)
        self._budget = budget

    def write(self, text: str) -> int:
        """Add text and pay for it: the limit of the output counts only what is printed in the end."""
        self._budget.spend(1 + (len(text) >> CHARACTERS_PER_STEP_LOG2))
        return super().write(text)


class Context(RenderContext):
    """The library's render context with our scope and budget."""

    __slots__ = ("_output_bytes", "budget")

    def __init__(self, template: BoundTemplate, variables: Mapping[str, object], limits: Limits) -> None:
        super().__init__(template, globals=variables)
        self.scope: Scope = Scope(self.locals, variables, self.counters)
        self.budget = Budget(limits)
        self._output_bytes = limits.output_bytes

    def get_buffer(self, buf: object = None) -> Any:  # noqa: ARG002 - the library's signature
        """Return the sink of a `capture` block."""
        return CaptureSink(self._output_bytes, self.budget)

    def parentloop(self) -> object:
        """Return the loop around this one, or nil."""
        return self.loops[-1] if self.loops else None


def ours(context: RenderContext) -> Context:
    """Narrow the context that the library hands to nodes and expressions of ours."""
    return cast("Context", context)
