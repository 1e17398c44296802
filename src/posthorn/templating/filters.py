"""The filters of our templates: Shopify's set, `json`, `unescaped`, and those of `encodings` and `dates`.

None of them reads a clock, a file or the machine's time zone. A text filter gets every value as Liquid text,
so that no Python notation (`True`, `{'a': 1}`) reaches a request.
"""

import html
import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote_plus

from liquid.builtin.filters import array, math, misc, string
from liquid.filter import int_arg, sequence_filter

from posthorn.templating.context import Context
from posthorn.templating.dates import date, time_zone
from posthorn.templating.encodings import TEXT_ENCODINGS, VALUE_ENCODINGS
from posthorn.templating.failures import Fault
from posthorn.templating.printing import Verbatim, json_text, liquid_text

MAX_TEXT_CHARACTERS: Final = 2 * 1024 * 1024

_LINE_END = re.compile(r"\r?\n")
_HTML_OPAQUE: Final = (("<script", "</script>"), ("<style", "</style>"), ("<!--", "-->"))


def _replace(value: str, old: str, new: str = "") -> str:
    grown = len(value) + value.count(old) * (len(new) - len(old))
    if grown > MAX_TEXT_CHARACTERS:
        raise Fault("text limit reached")
    return value.replace(old, new)


def _newline_to_br(value: str) -> str:
    return _LINE_END.sub("<br />\n", value)


def _strip_newlines(value: str) -> str:
    return _LINE_END.sub("", value)


def _truncate(value: str, length: object = 50, end: object = "...") -> str:
    """Cut to so many characters, the end included. Unlike the library's, a text of just so many stays as it is."""
    most, ending = int_arg(length), liquid_text(end)
    return value if len(value) <= most else value[: max(most - len(ending), 0)] + ending


def _truncatewords(value: str, words: object = 15, end: object = "...") -> str:
    """Cut after so many words. Unlike the library's, a text of just so many stays as it is."""
    most = min(max(int_arg(words), 1), MAX_TEXT_CHARACTERS)
    kept = value.split(None, most)
    return value if len(kept) <= most else " ".join(kept[:most]) + liquid_text(end)


def _escape_once(value: str) -> str:
    return html.escape(html.unescape(value))


def _strip_html(value: object, *, context: Context) -> str:
    """Remove tags, comments, scripts and styles in linear time, which html.parser does not promise."""
    value = liquid_text(value)
    context.budget.spend(value.count("<"))  # each takes as long as a step does
    lowered = value.lower() if len(value.lower()) == len(value) else value
    kept: list[str] = []
    at = 0
    while (start := value.find("<", at)) >= 0:
        closing = next((end for begin, end in _HTML_OPAQUE if lowered.startswith(begin, start)), ">")
        end = lowered.find(closing, start)
        if end < 0:
            break
        kept.append(value[at:start])
        at = end + len(closing)
    kept.append(value[at:])
    return "".join(kept)


@sequence_filter
def _join(values: Sequence[object], separator: object = " ") -> str:
    texts = [liquid_text(value) for value in values]
    between = liquid_text(separator)
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_TEXT_CHARACTERS:
        raise Fault("text limit reached")
    return between.join(texts)


@sequence_filter
def _map(values: Sequence[object], key: object) -> list[object]:
    name = liquid_text(key)
    return [value.get(name) if isinstance(value, dict) else None for value in values]


@sequence_filter
def _uniq(values: Sequence[Any], key: object = None) -> list[object]:
    kept: dict[str, object] = {}
    for value in values:
        part = value if key is None else value.get(liquid_text(key)) if isinstance(value, dict) else None
        kept.setdefault(json_text(part), value)
    return list(kept.values())


def _slice(value: object, start: object, length: object = 1) -> object:
    sliced = value if isinstance(value, (list, tuple, range)) else liquid_text(value)
    return string.slice_(sliced, start, length)


def _first(values: object) -> object:
    return values[0] if isinstance(values, (list, tuple, range)) and values else None


def _last(values: object) -> object:
    return values[-1] if isinstance(values, (list, tuple, range)) and values else None


def _default(value: object, fallback: object = "", *, allow_false: bool = False) -> object:
    if value is False:
        return value if allow_false else fallback
    if value is None or (isinstance(value, (str, list, tuple, dict, range)) and not value):
        return fallback
    return value


def _unescaped(value: object) -> Verbatim:
    return Verbatim(liquid_text(value))


TEXT_FILTERS: Final[dict[str, Callable[..., object]]] = {
    "append": string.append,
    "base64_decode": string.base64_decode,
    "base64_encode": string.base64_encode,
    "base64_url_safe_decode": string.base64_url_safe_decode,
    "base64_url_safe_encode": string.base64_url_safe_encode,
    "capitalize": string.capitalize,
    "downcase": string.downcase,
    "escape": html.escape,
    "escape_once": _escape_once,
    "lstrip": string.lstrip,
    "newline_to_br": _newline_to_br,
    "prepend": string.prepend,
    "remove": _replace,
    "remove_first": string.remove_first,
    "remove_last": string.remove_last,
    "replace": _replace,
    "replace_first": string.replace_first,
    "replace_last": string.replace_last,
    "rstrip": string.rstrip,
    "split": string.split,
    "squish": string.squish,
    "strip": string.strip,
    "strip_newlines": _strip_newlines,
    "truncate": _truncate,
    "truncatewords": _truncatewords,
    "upcase": string.upcase,
    "url_decode": string.url_decode,
    "url_encode": quote_plus,
    **TEXT_ENCODINGS,
}

VALUE_FILTERS: Final[dict[str, Callable[..., object]]] = {
    "abs": math.abs_,
    "at_least": math.at_least,
    "at_most": math.at_most,
    "ceil": math.ceil,
    "compact": array.compact,
    "concat": array.concat,
    "default": _default,
    "divided_by": math.divided_by,
    "find": array.find,
    "find_index": array.find_index,
    "first": _first,
    "floor": math.floor,
    "has": array.has,
    "join": _join,
    "json": json_text,
    "last": _last,
    "map": _map,
    "minus": math.minus,
    "modulo": math.modulo,
    "plus": math.plus,
    "reject": array.reject,
    "reverse": array.reverse,
    "round": math.round_,
    "size": misc.size,
    "slice": _slice,
    "sort": array.sort,
    "sort_natural": array.sort_natural,
    "sum": array.sum_,
    "times": math.times,
    "unescaped": _unescaped,
    "uniq": _uniq,
    "where": array.where,
    **VALUE_ENCODINGS,
}

CONTEXT_FILTERS: Final[dict[str, Callable[..., object]]] = {
    "date": date,
    "strip_html": _strip_html,
    "time_zone": time_zone,
}
