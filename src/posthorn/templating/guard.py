"""The application of a filter: counted, bounded, and with failures that tell no value."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from liquid import RenderContext
from liquid.builtin.expressions.filtered import Filter

from posthorn.templating.context import CHARACTERS_PER_STEP_LOG2, Context, ours
from posthorn.templating.failures import Fault
from posthorn.templating.filters import (
    CONTEXT_FILTERS,
    MAX_TEXT_CHARACTERS,
    TEXT_FILTERS,
    VALUE_FILTERS,
)
from posthorn.templating.printing import Masked, extent, liquid_text

# More than any float, and small enough that multiplying in a loop stays cheap.
_MAX_INTEGER_BITS: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a filter is called: with text or any value, and with the rendering where it needs variables."""

    function: Callable[..., object]
    takes_text: bool = False
    takes_context: bool = False


RULES: Final[dict[str, Rule]] = {
    **{name: Rule(function=function, takes_text=True) for name, function in TEXT_FILTERS.items()},
    **{name: Rule(function=function) for name, function in VALUE_FILTERS.items()},
    **{name: Rule(function=function, takes_context=True) for name, function in CONTEXT_FILTERS.items()},
}


def filter_problem(used: Filter, rules: Mapping[str, Rule]) -> str | None:
    """Say at compile time what is wrong with a filter's name or number of arguments, if anything is."""
    rule = rules.get(used.name)
    if rule is None:
        return f"unknown filter '{used.name}'"
    names = [getattr(argument, "name", None) for argument in used.args]
    keywords = {name: None for name in names if name}
    if rule.takes_context:
        keywords["context"] = None
    try:
        inspect.signature(rule.function).bind(None, *[None for name in names if not name], **keywords)
    except TypeError as error:
        return f"the filter '{used.name}': {error}"
    return None


class GuardedFilter(Filter):
    """A filter of a template. Shares the library's slots: the parse tree's own objects become this class."""

    __slots__ = ()

    rules: ClassVar[Mapping[str, Rule]] = RULES

    def evaluate(self, left: object, context: RenderContext) -> object:
        """Apply the filter; raise Fault when it cannot be applied or makes too much."""
        mine = ours(context)
        rule = self.rules[self.name]
        if self.args:
            positional, keywords = self.evaluate_args(context)
            for argument in positional:
                if type(argument) is Masked:
                    return argument
        else:
            positional, keywords = [], {}
        if type(left) is Masked:
            return left
        if rule.takes_text:
            left = left if isinstance(left, str) else liquid_text(left)
            positional = [_text_argument(argument) for argument in positional]
        if rule.takes_context:
            keywords["context"] = mine
        return self._apply(rule, left, positional, keywords, mine)

    def _apply(
        self,
        rule: Rule,
        left: object,
        positional: list[object],
        keywords: dict[str, object],
        context: Context,
    ) -> object:
        # What a filter reads is paid: it comes from a variable, a range, the template or another filter.
        try:
            made = rule.function(left, *positional, **keywords)
        except Fault as fault:
            raise Fault(f"the filter '{self.name}': {fault.message}", self.token) from None
        except Exception as error:  # noqa: BLE001 - the library's messages quote values, so none may get out
            raise Fault(self._refusal(left, error), self.token) from None
        self._check(made)
        context.budget.spend(1 + (extent(made) >> CHARACTERS_PER_STEP_LOG2), self.token)
        return made

    def _refusal(self, left: object, error: Exception) -> str:
        return (
            f"the filter '{self.name}' cannot be applied to a value of type {_kind(left)} "
            f"with these arguments ({type(error).__name__})"
        )

    def _check(self, made: object) -> None:
        if isinstance(made, str):
            if len(made) > MAX_TEXT_CHARACTERS:
                raise Fault(f"the filter '{self.name}': text limit reached", self.token)
        elif isinstance(made, int):
            if made.bit_length() > _MAX_INTEGER_BITS:
                raise Fault(f"the filter '{self.name}': the number is too large", self.token)
        elif isinstance(made, float) and not math.isfinite(made):
            raise Fault(f"the filter '{self.name}': the result is not a finite number", self.token)


def _text_argument(argument: object) -> object:
    if isinstance(argument, (str, int, float)) and not isinstance(argument, bool):
        return argument
    return liquid_text(argument)


_KINDS: Final = {
    "NoneType": "nil",
    "str": "string",
    "int": "number",
    "float": "number",
    "bool": "boolean",
    "dict": "object",
    "list": "array",
    "tuple": "array",
}


def _kind(value: object) -> str:
    name = type(value).__name__
    return _KINDS.get(name, name)
