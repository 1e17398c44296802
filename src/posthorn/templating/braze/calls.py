"""Reads the tags of Braze whose arguments are no Liquid: `connected_content` and `message_extras`."""

import re
from typing import Final

from posthorn.templating.braze.book import ContentCall, Extra, Inner, Page, Part, Parts
from posthorn.templating.braze.scanning import Scanner

_HOLE: Final = "\ufffc"
_SCHEMES: Final = ("http://", "https://")
_METHODS: Final = frozenset({"get", "post"})
_FLAGS: Final = frozenset({"no_cache", "retry"})
_LITERALS: Final = frozenset({"auth_credentials", "basic_auth", "cache_max_age", "content_type", "method", "save"})
_TEMPLATES: Final = frozenset({"body", "headers"})
_OPTION: Final = re.compile(
    rf"(?:^|\s):({'|'.join(sorted(_FLAGS | _LITERALS | _TEMPLATES))})(?=\s|$)", re.ASCII | re.MULTILINE
)
_PAIR: Final = re.compile(r"(?:^|\s):(key|value)(?=\s|$)", re.ASCII)
_VARIABLE: Final = re.compile(r"[^\W\d][\w-]*")


class _Arguments:
    """The raw text of a tag, with a hole of one character for every `{{ … }}` in it."""

    def __init__(self, page: Page, scanner: Scanner, at: int, limit: int) -> None:
        self._page = page
        self._at = at
        self._inners: list[Inner] = []
        self._origins: list[int] = []
        pieces: list[str] = []
        while at < limit:
            start = page.text.find("{{", at, limit)
            start = limit if start < 0 else start
            self._check(at, page.text[at:start])
            pieces.append(page.text[at:start])
            self._origins += range(at, start)
            at = start
            if start < limit:
                inner, at = scanner.interpolation(start, limit)
                self._inners.append(inner)
                pieces.append(_HOLE)
                self._origins.append(start)
        self.text: Final = "".join(pieces)

    def _check(self, at: int, text: str) -> None:
        for wrong, message in ((_HOLE, "unexpected character"), ("${", "write {{${name}}} to fill in a name")):
            if wrong in text:
                raise self._page.invalid(at + text.index(wrong), message)

    def origin(self, index: int) -> int:
        """Return where a character of these arguments stands in the page."""
        return self._origins[index] if index < len(self._origins) else self._at

    def parts(self, start: int, end: int) -> Parts:
        """Return a piece of the arguments as texts and the expressions between them, without outer space."""
        text = self.text[start:end]
        before = self.text.count(_HOLE, 0, start)
        made: list[Part] = []
        for number, literal in enumerate(text.strip().split(_HOLE)):
            if number:
                made.append(self._inners[before + number - 1])
            if literal:
                made.append(literal)
        return tuple(made)


def content_call(page: Page, scanner: Scanner, at: int, limit: int) -> ContentCall:
    """Read `URL :method post :headers {…} :body … :save x …`. Raises TemplateSyntaxInvalid."""
    arguments = _Arguments(page, scanner, at, limit)
    found = list(_OPTION.finditer(arguments.text))
    url_end = found[0].start() if found else len(arguments.text)
    url = arguments.text[:url_end].strip()
    if not url:
        raise page.invalid(at, "connected_content: the URL is missing")
    if space := re.search(r"\s", url):
        index = arguments.text.index(url) + space.end()
        raise page.invalid(arguments.origin(index), "connected_content: unexpected text after the URL")
    if not url.startswith(_HOLE) and not url.startswith(_SCHEMES):
        place = arguments.origin(arguments.text.index(url))
        raise page.invalid(place, "connected_content: the URL must start with http:// or https://")
    literals, templates, flags = _options(page, arguments, found)
    return ContentCall(
        url=arguments.parts(0, url_end),
        headers=templates.get("headers"),
        body=templates.get("body"),
        method=literals.get("method", "get").upper(),
        content_type=literals.get("content_type"),
        basic_auth=literals.get("basic_auth"),
        auth_credentials=literals.get("auth_credentials"),
        save=literals.get("save"),
        cache_max_age_seconds=int(literals["cache_max_age"]) if "cache_max_age" in literals else None,
        no_cache="no_cache" in flags,
        retry="retry" in flags,
    )


def extra(page: Page, scanner: Scanner, at: int, limit: int) -> Extra:
    """Read `:key k :value v`, in this order. Raises TemplateSyntaxInvalid."""
    arguments = _Arguments(page, scanner, at, limit)
    found = list(_PAIR.finditer(arguments.text))
    is_ordered = [match[1] for match in found] == ["key", "value"]
    if not is_ordered or arguments.text[: found[0].start()].strip():
        raise page.invalid(at, "message_extras: expected ':key' and ':value', in this order")
    key, value = found
    return Extra(key=arguments.parts(key.end(), value.start()), value=arguments.parts(value.end(), len(arguments.text)))


def _options(
    page: Page, arguments: _Arguments, found: list[re.Match[str]]
) -> tuple[dict[str, str], dict[str, Parts], set[str]]:
    literals: dict[str, str] = {}
    templates: dict[str, Parts] = {}
    flags: set[str] = set()
    for number, match in enumerate(found, start=1):
        end = found[number].start() if number < len(found) else len(arguments.text)
        name = match[1]
        place = arguments.origin(match.start(1))
        value = arguments.text[match.end() : end].strip()
        if name in literals or name in templates or name in flags:
            raise page.invalid(place, f"connected_content: ':{name}' is given twice")
        if bool(value) == (name in _FLAGS):
            wrong = "takes no value" if value else "needs a value"
            raise page.invalid(place, f"connected_content: ':{name}' {wrong}")
        if name in _TEMPLATES:
            templates[name] = arguments.parts(match.end(), end)
        elif name in _FLAGS:
            flags.add(name)
        elif problem := _literal_problem(name, value):
            raise page.invalid(place, f"connected_content: ':{name}' {problem}")
        else:
            literals[name] = value
    return literals, templates, flags


def _literal_problem(name: str, value: str) -> str | None:
    if _HOLE in value or re.search(r"\s", value):
        return "takes one word"
    if name == "method" and value.lower() not in _METHODS:
        return "is get or post"
    if name == "cache_max_age" and not (value.isascii() and value.isdigit() and len(value) < 10):
        return "is a number of seconds"
    if name == "save" and not _VARIABLE.fullmatch(value):
        return "needs a variable's name"
    return None
