"""The text that the parser reads, and where each character of it stands in what the author wrote."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from posthorn.templating.failures import TemplateRenderFailed, TemplateSyntaxInvalid

PLACEHOLDER: Final = "__bz_"

_PLACEHOLDERS: Final = re.compile(PLACEHOLDER + r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A content block that was inlined: its own text, and where the author's text includes it."""

    name: str
    text: str
    included_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Characters from `start` on come from `origin` on; one by one when copied, else all from that one place."""

    start: int
    origin: int
    copied: bool
    block: Block | None = None


class Draft:
    """A text in the making that remembers the origin of its parts."""

    __slots__ = ("_parts", "length", "spans")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.spans: list[Span] = []
        self.length = 0

    def add(self, text: str, origin: int, *, copied: bool = False, block: Block | None = None) -> None:
        """Append a text that comes from a place of the author's text, or of a block's."""
        if text:
            self.spans.append(Span(start=self.length, origin=origin, copied=copied, block=block))
            self._parts.append(text)
            self.length += len(text)

    def append(self, other: "Draft") -> None:
        """Append another draft with the origins of its parts."""
        self.spans += (
            Span(start=span.start + self.length, origin=span.origin, copied=span.copied, block=span.block)
            for span in other.spans
        )
        self._parts.append(other.text)
        self.length += other.length

    @property
    def text(self) -> str:
        """Everything that was added."""
        return "".join(self._parts)


class Source:
    """A template's text as parsed (`text`), with the way back to what the author wrote."""

    __slots__ = ("_author", "_names", "_spans", "_starts", "text")

    def __init__(
        self,
        author: str,
        *,
        text: str | None = None,
        spans: Sequence[Span] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._author = author
        self.text: Final = author if text is None else text
        self._spans = spans
        self._starts = [span.start for span in spans]
        self._names = names or {}

    def place(self, index: int) -> tuple[int, int]:
        """Return line and column, both counted from 1, in the author's text."""
        return _place_of(self._author, self._origin(index)[0])

    def invalid(self, index: int, message: str) -> TemplateSyntaxInvalid:
        """Build the failure to compile for one character of the parsed text."""
        line, column = self.place(index)
        return TemplateSyntaxInvalid(self.said(index, message), line=line, column=column)

    def failed(self, index: int, message: str) -> TemplateRenderFailed:
        """Build the failure to render for one character of the parsed text."""
        line, column = self.place(index)
        return TemplateRenderFailed(self.said(index, message), line=line, column=column)

    def said(self, index: int, message: str) -> str:
        """Put a message in the author's words: real names, and where in a content block it happened."""
        message = _PLACEHOLDERS.sub(lambda found: self._names.get(found.group(), found.group()), message)
        _, block, within = self._origin(index)
        return f"in the content block '{block.name}', {_in_block(block, within)}: {message}" if block else message

    def _origin(self, index: int) -> tuple[int, Block | None, int]:
        """Return the index in the author's text, and in the block that the character comes from."""
        found = bisect_right(self._starts, max(index, 0)) - 1
        if found < 0:
            return max(index, 0), None, 0
        span = self._spans[found]
        origin = span.origin + (max(index, 0) - span.start if span.copied else 0)
        return (span.block.included_at, span.block, origin) if span.block else (origin, None, 0)


def invalid_at(text: str, index: int, message: str, block: Block | None = None) -> TemplateSyntaxInvalid:
    """Build the failure for one character of the author's text, or of a content block's where it is one's."""
    # One empty span says which text the index counts in.
    spans = [Span(start=0, origin=0, copied=True, block=block)]
    return Source(text, spans=spans).invalid(index, message)


def _place_of(text: str, index: int) -> tuple[int, int]:
    index = max(0, min(index, len(text)))
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _in_block(block: Block, index: int) -> str:
    line, column = _place_of(block.text, index)
    return f"line {line}, column {column}"
