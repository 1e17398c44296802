"""The filters of Braze's dialect: those of the default one, forgiving where Ruby is."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from liquid import RenderContext

from posthorn.templating.dates import lenient_date, lenient_time_zone
from posthorn.templating.encodings import lenient_json_parse, url_encode_once
from posthorn.templating.guard import RULES, GuardedFilter, Rule

_OF_ARRAYS: Final = frozenset(
    {"compact", "concat", "join", "map", "reject", "reverse", "sort", "sort_natural", "sum", "uniq", "where"}
)

_CONTEXT: Final[dict[str, Callable[..., object]]] = {"date": lenient_date, "time_zone": lenient_time_zone}


def _same(value: object, _editor_id: object = None) -> object:
    """The editor of Braze marks each content block that it inserts with `id: 'cb1'`."""
    return value


BRAZE_RULES: Final[dict[str, Rule]] = {
    **RULES,
    **{name: Rule(function=function, takes_context=True) for name, function in _CONTEXT.items()},
    "id": Rule(function=_same),
    "json_parse": Rule(function=lenient_json_parse),
    "url_encode": Rule(function=url_encode_once, takes_text=True),
}


class BrazeFilter(GuardedFilter):
    """A filter of Braze's dialect: to the filters of arrays nil is an empty array."""

    __slots__ = ()

    rules: ClassVar[Mapping[str, Rule]] = BRAZE_RULES

    def evaluate(self, left: object, context: RenderContext) -> object:
        """Apply the filter."""
        return super().evaluate([] if left is None and self.name in _OF_ARRAYS else left, context)
