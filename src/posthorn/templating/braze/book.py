"""What a rewriting collects beside the text: names, inner expressions and tags that the parser cannot read.

The rewritten text holds placeholders (`__bz_7`) for the entries of the book.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from posthorn.templating.braze.places import Place
from posthorn.templating.failures import TemplateSyntaxInvalid
from posthorn.templating.source import PLACEHOLDER, Block, Draft, Source, Span, invalid_at

MAX_REWRITTEN_CHARACTERS: Final = 262_144
MAX_BLOCK_BYTES: Final = 50 * 1024
MAX_BLOCK_DEPTH: Final = 2
BLOCK_NAMES: Final = "a content block's name has 1 to 100 of the characters A-Z a-z 0-9 _ -"
_BLOCK_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_INCLUSION: Final = re.compile(r"content_blocks\s*\.\s*\$\{([^}]*)\}")


def is_block_name(name: str) -> bool:
    """Tell whether a content block can have this name."""
    return _BLOCK_NAME.fullmatch(name) is not None


def blocks_included(text: str, blocks: Mapping[str, str]) -> dict[str, str]:
    """Return those blocks that a text includes, and that these include in their turn."""
    found: dict[str, str] = {}
    waiting = [text]
    while waiting:
        for match in _INCLUSION.finditer(waiting.pop()):
            name = match[1].strip()
            if name in blocks and name not in found:
                found[name] = blocks[name]
                waiting.append(blocks[name])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A quoted text that Liquid cannot quote."""

    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """An expression with filters inside of inner braces: `{{x | plus: 1}}` within a tag or an argument."""

    draft: Draft
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockText:
    """A content block whose text is used as a value."""

    draft: Draft
    written: str


Part = str | Inner
Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentCall:
    """A `connected_content` tag as written; texts hold what stands between the inner expressions."""

    method: str
    url: Parts
    headers: Parts | None
    body: Parts | None
    content_type: str | None
    basic_auth: str | None
    auth_credentials: str | None
    save: str | None
    cache_max_age_seconds: int | None
    no_cache: bool
    retry: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """A `message_extras` tag as written."""

    key: Parts
    value: Parts


Entry = Place | Literal | Inner | BlockText | ContentCall | Extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One text that is being rewritten: the author's own, or a content block that it includes."""

    text: str
    author: str
    block: Block | None = None
    trail: tuple[str, ...] = ()  #: names of the content blocks that lead here, this one last

    def invalid(self, index: int, message: str) -> TemplateSyntaxInvalid:
        """Build the failure for one character of this text."""
        return invalid_at(self.author, index, message, self.block)


class Book:
    """The entries of one template, its content blocks, and the drafts of texts that are parsed on their own."""

    def __init__(self, blocks: Mapping[str, str]) -> None:
        self._blocks = blocks
        self.entries: Final[list[Entry]] = []
        self._names: dict[str, str] = {}
        self._drafts: list[Draft] = []
        self._bases: dict[int, int] = {}
        self._inlined = 0

    def enter(self, entry: Entry, written: str = "") -> str:
        """Keep an entry; return the placeholder for it."""
        name = f"{PLACEHOLDER}{len(self.entries)}"
        self.entries.append(entry)
        self._names[name] = written or "a text"
        return name

    @property
    def has_calls(self) -> bool:
        """Whether the template asks for connected content."""
        return any(isinstance(entry, ContentCall) for entry in self.entries)

    def lay_by(self, draft: Draft) -> Draft:
        """Keep a text that is parsed on its own, so that its characters have places too."""
        self._drafts.append(draft)
        return draft

    def base(self, draft: Draft) -> int:
        """Return where a text that is parsed on its own begins in the space of all places."""
        return self._bases[id(draft)]

    def page_of_block(self, name: str, page: Page, at: int) -> Page:
        """Open the content block that a page includes at an index."""
        text = self._blocks.get(name)
        if not is_block_name(name):
            raise page.invalid(at, BLOCK_NAMES)
        if text is None:
            raise page.invalid(at, f"unknown content block '{name}'")
        trail = (*page.trail, name)
        if name in page.trail:
            raise page.invalid(at, f"the content block '{name}' would include itself: {' → '.join(trail)}")
        if len(trail) > MAX_BLOCK_DEPTH:
            raise page.invalid(at, f"content blocks nest {MAX_BLOCK_DEPTH} deep at most: {' → '.join(trail)}")
        if len(text.encode("utf-8", "surrogatepass")) > MAX_BLOCK_BYTES:
            raise page.invalid(at, f"the content block '{name}' is larger than 50 KB")
        self._inlined += len(text)
        if self._inlined > MAX_REWRITTEN_CHARACTERS:
            raise page.invalid(at, f"with its content blocks longer than {MAX_REWRITTEN_CHARACTERS:,} characters")
        included_at = page.block.included_at if page.block else at
        block = Block(name=name, text=text, included_at=included_at)
        return Page(text=text, author=page.author, block=block, trail=trail)

    def close(self, author: str, main: Draft) -> Source:
        """Lay all texts side by side, so that every character of each has one place."""
        spans = list(main.spans)
        base = main.length + 1
        for draft in self._drafts:
            self._bases[id(draft)] = base
            spans += (
                Span(start=span.start + base, origin=span.origin, copied=span.copied, block=span.block)
                for span in draft.spans
            )
            base += draft.length + 1
        return Source(author, text=main.text, spans=spans, names=self._names)
