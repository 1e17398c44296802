"""Rewrites the expressions of Braze's dialect: `${…}`, inner braces, curly quotes and `&&` become plain Liquid.

Where Braze's own pages leave out one brace inside of a tag, the meaning is clear and the expression is accepted.
"""

import re
from dataclasses import dataclass
from typing import Final

from posthorn.templating.braze.book import BlockText, Book, Inner, Literal, Page
from posthorn.templating.braze.places import place_of_name
from posthorn.templating.shape import MAX_TAG_CHARACTERS
from posthorn.templating.source import PLACEHOLDER, Draft

_MAX_DEPTH: Final = 20
_INVISIBLE: Final = "\u00a0\u200b\u2060\ufeff"
_DOUBLE: Final = '"“”„‟'
_SINGLE: Final = "'‘’‚‛"
_INTERESTING: Final = re.compile(f"[{_DOUBLE}{_SINGLE}{_INVISIBLE}${{}}&|]|[^\\W\\d][\\w-]*")
_NAMESPACED: Final = re.compile(r"([^\W\d]\w*)\s*\.\s*(?=\$\{)")


@dataclass(slots=True, kw_only=True)
class _Reading:
    """An expression that is being read: how it ends, and what was seen. Scoped to one call, so it may change."""

    draft: Draft
    opened_at: int
    width: int  #: braces that open it; 0: none, only the limit ends it
    closings: int = 0  #: braces that closed it so far
    is_output: bool = False  #: `{{ … }}` of its own, which only `}}` ends
    is_strict: bool = False  #: within an output, where no brace may be missing
    is_condition: bool = False
    depth: int = 0
    piped: bool = False
    copied_to: int = 0


class Scanner:
    """Rewrites expressions of one page into drafts."""

    def __init__(self, page: Page, book: Book) -> None:
        self._page = page
        self._text = page.text
        self._book = book

    def output(self, start: int, at: int, draft: Draft) -> int:
        """Rewrite what follows the `{{` at `start`; return where its `}}` begins."""
        limit = min(len(self._text), at + MAX_TAG_CHARACTERS)
        reading = _Reading(draft=draft, opened_at=start, width=2, is_output=True, is_strict=True, copied_to=at)
        return self._read(at, limit, reading)

    def body(self, at: int, limit: int, draft: Draft, *, is_condition: bool = False) -> None:
        """Rewrite the expression of a tag, which ends at `limit`."""
        self._read(at, limit, _Reading(draft=draft, opened_at=at, width=0, is_condition=is_condition, copied_to=at))

    def interpolation(self, start: int, limit: int) -> tuple[Inner, int]:
        """Read the `{{ … }}` at `start` as an expression of its own; return it and where it ends."""
        draft, end, _ = self._group(start, limit, _Reading(draft=Draft(), opened_at=start, width=0))
        return Inner(draft=self._book.lay_by(draft), written=self._text[start:end]), end

    def _read(self, at: int, limit: int, reading: _Reading) -> int:
        while found := _INTERESTING.search(self._text, at, limit):
            at = found.start()
            character = self._text[at]
            if character == "}":
                if self._closes(at, reading):
                    return at if reading.is_output else at + 1
                at += 1
            elif character in "&|":
                at = self._operator(at, reading)
            elif character == "$" or character.isalpha() or character == "_":
                at = self._name(at, limit, found.end(), reading)
            elif character == "{":
                at = self._braces(at, limit, reading)
            elif character in _INVISIBLE:
                at = self._replace(at, at + 1, " ", reading)
            else:
                at = self._quoted(at, limit, reading)
        # A tag may lack one closing brace.
        if reading.width and (reading.is_strict or reading.closings == 0):
            raise self._page.invalid(reading.opened_at, self._unclosed(limit, reading))
        self._copy(limit, reading)
        return limit

    def _unclosed(self, limit: int, reading: _Reading) -> str:
        if reading.is_strict and limit < len(self._text):
            return f"longer than {MAX_TAG_CHARACTERS:,} characters between delimiters"
        return "'{{' is never closed: '}}' is missing"

    def _closes(self, at: int, reading: _Reading) -> bool:
        """Tell whether the brace at an index ends what is being read."""
        if reading.is_output:
            if not self._text.startswith("}}", at):
                raise self._page.invalid(at, "unexpected '}'")
            self._copy(at, reading)
            return True
        if reading.width == 0:
            raise self._page.invalid(at, "unexpected '}': no brace is open")
        reading.closings += 1
        # Between inner braces the dash of `-}}` has nothing to trim.
        self._copy(at - 1 if self._text[at - 1] == "-" else at, reading)
        reading.copied_to = at + 1
        return reading.closings == reading.width

    def _operator(self, at: int, reading: _Reading) -> int:
        if self._text.startswith("&&", at):
            return self._replace(at, at + 2, " and ", reading)
        if self._text.startswith("||", at):
            return self._replace(at, at + 2, " or ", reading) if reading.is_condition else at + 2
        reading.piped = reading.piped or self._text[at] == "|"
        return at + 1

    def _name(self, at: int, limit: int, end: int, reading: _Reading) -> int:
        namespaced = _NAMESPACED.match(self._text, at, limit)
        namespace = namespaced[1] if namespaced else None
        dollar = namespaced.end() if namespaced else at
        if self._text[dollar] != "$":
            if self._text.startswith(PLACEHOLDER, at):
                raise self._page.invalid(at, f"names that begin with '{PLACEHOLDER}' are reserved")
            return end
        if namespace is None and self._text[dollar - 1 : dollar] == ".":
            raise self._page.invalid(dollar, "unexpected '${' after a dot")
        if not self._text.startswith("{", dollar + 1):
            raise self._page.invalid(dollar, "'$' must be followed by a name in braces: ${name}")
        closing = self._text.find("}", dollar, limit)
        name = self._text[dollar + 2 : closing].strip()
        if closing < 0 or "{" in name or "\n" in name:
            raise self._page.invalid(dollar, "'${' is never closed: '}' is missing")
        if not name:
            raise self._page.invalid(dollar, "a name is missing between the braces of '${}'")
        if namespace == "content_blocks":
            placeholder = self._block_text(name, at)
        else:
            place = place_of_name(namespace, name)
            placeholder = self._book.enter(place, place.written)
        return self._replace(at, closing + 1, placeholder, reading)

    def _block_text(self, name: str, at: int) -> str:
        from posthorn.templating.braze.rewriting import rewrite_page  # noqa: PLC0415 - a block holds a whole template

        page = self._book.page_of_block(name, self._page, at)
        draft = self._book.lay_by(Draft())
        rewrite_page(page, self._book, draft)
        written = f"content_blocks.${{{name}}}"
        return self._book.enter(BlockText(draft=draft, written=written), written)

    def _braces(self, at: int, limit: int, reading: _Reading) -> int:
        if reading.is_output and not self._text.startswith("{{", at):
            raise self._page.invalid(at, "unexpected '{'")
        draft, end, piped = self._group(at, limit, reading)
        if piped:
            written = self._text[at:end]
            placeholder = self._book.enter(Inner(draft=self._book.lay_by(draft), written=written), written)
            return self._replace(at, end, f" {placeholder} ", reading)
        self._copy(at, reading)
        reading.draft.add(" ", at, block=self._page.block)
        reading.draft.append(draft)
        return self._replace(at, end, " ", reading)

    def _group(self, start: int, limit: int, around: _Reading) -> tuple[Draft, int, bool]:
        if around.depth >= _MAX_DEPTH:
            raise self._page.invalid(start, f"braces are nested more than {_MAX_DEPTH} deep")
        width = 2 if self._text.startswith("{{", start) else 1
        at = start + width + (1 if self._text.startswith("-", start + width) else 0)
        inner = _Reading(
            draft=Draft(),
            opened_at=start,
            width=width,
            is_strict=around.is_strict,
            depth=around.depth + 1,
            copied_to=at,
        )
        end = self._read(at, limit, inner)
        if not inner.draft.text.strip():
            raise self._page.invalid(start, "an expression is missing between the braces")
        return inner.draft, end, inner.piped

    def _quoted(self, at: int, limit: int, reading: _Reading) -> int:
        family = _DOUBLE if self._text[at] in _DOUBLE else _SINGLE
        is_straight = self._text[at] == family[0]
        end = -1 if is_straight else self._first_of(family[1:], at + 1, limit)
        end = self._text.find(family[0], at + 1, limit) if end < 0 else end
        value = self._text[at + 1 : end]
        if end < 0 or (reading.is_output and "}}" in value):
            raise self._page.invalid(at, "a quote is never closed" if is_straight else "a curly quote is never closed")
        if "{{" in value:
            message = "'{{ … }}' between quotes is not filled in: use the filter append, or capture"
            raise self._page.invalid(self._text.index("{{", at), message)
        if is_straight:
            return end + 1
        quote = next((mark for mark in "\"'" if mark not in value), None)
        straight = f"{quote}{value}{quote}" if quote else self._book.enter(Literal(value=value))
        return self._replace(at, end + 1, straight, reading)

    def _first_of(self, marks: str, at: int, limit: int) -> int:
        found = (self._text.find(mark, at, limit) for mark in marks)
        return min((index for index in found if index >= 0), default=-1)

    def _replace(self, at: int, end: int, by: str, reading: _Reading) -> int:
        self._copy(at, reading)
        reading.draft.add(by, at, block=self._page.block)
        reading.copied_to = end
        return end

    def _copy(self, end: int, reading: _Reading) -> None:
        text = self._text[reading.copied_to : end]
        reading.draft.add(text, reading.copied_to, copied=True, block=self._page.block)
        reading.copied_to = max(end, reading.copied_to)
