"""Rewrites a template of Braze's dialect into Liquid that the parser of the default dialect reads.

Every character of the result knows where it comes from, so that failures name the author's own line and column.
"""

import re
from typing import Final

from posthorn.templating.braze.book import Book, Page
from posthorn.templating.braze.calls import content_call, extra
from posthorn.templating.braze.scanning import Scanner
from posthorn.templating.shape import MAX_TAG_CHARACTERS
from posthorn.templating.source import Draft, Source

CONTENT_TAG: Final = "connected_content"
EXTRAS_TAG: Final = "message_extras"
ABORT_TAG: Final = "abort_message"

_UNAVAILABLE: Final = {
    "catalog_items": "catalogs are",
    "catalog_selection_items": "catalog selections are",
    "product_recommendation": "product recommendations are",
    "promotion": "promotion codes are",
    "shopping_cart": "the shopping cart is",
}
_CONDITIONS: Final = frozenset({"if", "elsif", "unless"})
_DELIMITER: Final = re.compile(r"\{[{%]")
_TAG: Final = re.compile(r"\{%-?\s*(#|\w*)\s*")
_LINE: Final = re.compile(r"[ \t]*(#|\w+)[ \t]*")
_OPAQUE_END: Final = {name: re.compile(r"\{%-?\s*end" + name + r"\s*-?%\}") for name in ("raw", "doc")}
_COMMENT: Final = re.compile(r"\{%-?\s*(comment|endcomment)\s*-?%\}")
_BLOCK_OUTPUT: Final = re.compile(
    r"\{\{(-?)\s*content_blocks\s*\.\s*\$\{([^}]*)\}\s*(?:\|\s*id:\s*['\"][^'\"}]*['\"]\s*)?(-?)\}\}"
)


def rewrite(text: str, book: Book, trail: tuple[str, ...] = ()) -> Source:
    """Rewrite a whole template, or a content block to which a trail of inclusions led. Raises TemplateSyntaxInvalid."""
    draft = Draft()
    rewrite_page(Page(text=text, author=text, trail=trail), book, draft)
    return book.close(text, draft)


def rewrite_page(page: Page, book: Book, draft: Draft) -> None:
    """Rewrite one text, the author's or a content block's, into a draft."""
    _Rewriter(page, book, draft).run()


class _Rewriter:
    def __init__(self, page: Page, book: Book, draft: Draft) -> None:
        self._page = page
        self._text = page.text
        self._book = book
        self._draft = draft
        self._scanner = Scanner(page, book)

    def run(self) -> None:
        at = 0
        while (start := self._next_delimiter(at)) >= 0:
            self._copy(at, start)
            at = self._tag(start) if self._text.startswith("{%", start) else self._output(start)
        self._copy(at, len(self._text))

    def _next_delimiter(self, at: int) -> int:
        found = _DELIMITER.search(self._text, at)
        return found.start() if found else -1

    def _output(self, start: int) -> int:
        block = _BLOCK_OUTPUT.match(self._text, start)
        if block:
            return self._inline(start, block)
        end = self._scanner.output(start, self._copy(start, start + 2), self._draft)
        return self._copy(end, end + 2)

    def _inline(self, start: int, found: re.Match[str]) -> int:
        page = self._book.page_of_block(found[2].strip(), self._page, start)
        # Empty comments trim what the dashes of the output would have trimmed.
        self._add("{%- # %}" if found[1] else "", start)
        rewrite_page(page, self._book, self._draft)
        self._add("{% # -%}" if found[3] else "", start)
        return found.end()

    def _tag(self, start: int) -> int:
        end = self._text.find("%}", start + 2)
        if end < 0:
            raise self._page.invalid(start, "'{%' is never closed: '%}' is missing")
        if end - start > MAX_TAG_CHARACTERS:
            raise self._page.invalid(start, f"longer than {MAX_TAG_CHARACTERS:,} characters between delimiters")
        opening = _TAG.match(self._text, start, end)
        name = opening[1] if opening else ""
        if name in _OPAQUE_END:
            return self._copy(start, self._end_of(start, name, _OPAQUE_END[name].search(self._text, end)))
        if name == "comment":
            return self._comment(start, end + 2)
        at = self._copy(start, opening.end() if opening else start + 2)
        limit = end - 1 if end > at and self._text[end - 1] == "-" else end
        self._body(name, at, max(at, limit))
        return self._copy(max(at, limit), end + 2)

    def _comment(self, start: int, at: int) -> int:
        """Drop what a comment says: it need not be Liquid."""
        self._copy(start, at)
        depth = 1
        closing = None
        for closing in _COMMENT.finditer(self._text, at):
            depth += 1 if closing[1] == "comment" else -1
            if depth == 0:
                break
        end = self._end_of(start, "comment", closing if depth == 0 else None)
        return self._copy(closing.start() if closing else end, end)

    def _end_of(self, start: int, name: str, closing: re.Match[str] | None) -> int:
        if closing is None:
            raise self._page.invalid(start, f"'{name}' is never closed: 'end{name}' is missing")
        return closing.end()

    def _body(self, name: str, at: int, limit: int) -> None:
        if name in _UNAVAILABLE:
            tag_at = self._text.rfind(name, 0, at)
            why = f"{_UNAVAILABLE[name]} not kept here; ask the system that has it with {CONTENT_TAG}"
            raise self._page.invalid(tag_at, f"the tag '{name}' is not available: {why}")
        if name == CONTENT_TAG:
            call = content_call(self._page, self._scanner, at, limit)
            self._add(self._number_of(self._book.enter(call, CONTENT_TAG)), at)
        elif name == EXTRAS_TAG:
            self._add(self._number_of(self._book.enter(extra(self._page, self._scanner, at, limit))), at)
        elif name == "liquid":
            self._lines(at, limit)
        elif name in {ABORT_TAG, "#"}:
            self._copy(at, limit)
        else:
            self._scanner.body(at, limit, self._draft, is_condition=name in _CONDITIONS)

    def _lines(self, at: int, limit: int) -> None:
        while at < limit:
            end = self._text.find("\n", at, limit)
            end = limit if end < 0 else end
            found = _LINE.match(self._text, at, end)
            if found:
                self._copy(at, found.end())
                self._body(found[1], found.end(), end)
            else:
                self._copy(at, end)
            at = self._copy(end, min(end + 1, limit)) if end < limit else limit

    def _number_of(self, placeholder: str) -> str:
        return placeholder.rpartition("_")[2]

    def _add(self, text: str, origin: int) -> None:
        self._draft.add(text, origin, block=self._page.block)

    def _copy(self, at: int, end: int) -> int:
        self._draft.add(self._text[at:end], at, copied=True, block=self._page.block)
        return end
