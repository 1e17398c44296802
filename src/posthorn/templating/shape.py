"""A linear look at a template's delimiters, before the Liquid lexer sees it.

The lexer's regular expressions take quadratic time and worse on tags that are never closed (4,000 characters:
0.5 s), and its parser reports an unclosed block at the end of the text. Here both are found in one pass,
and the place named is the one to mend.
"""

import re
from typing import Final

from posthorn.templating.source import Source

MAX_TEMPLATE_CHARACTERS: Final = 65_536
MAX_TAG_CHARACTERS: Final = 4_096

_TAG_NAME = re.compile(r"\{%-?\s*(#|\w+)")
_BLOCKS = frozenset({"if", "unless", "case", "for", "capture", "comment"})
_OPAQUE = {name: re.compile(r"\{%-?\s*end" + name + r"\s*-?%\}") for name in ("raw", "doc")}


def check_length(text: str) -> None:
    """Raise TemplateSyntaxInvalid when the author's text is too long."""
    if len(text) > MAX_TEMPLATE_CHARACTERS:
        message = f"the template is longer than {MAX_TEMPLATE_CHARACTERS:,} characters"
        raise Source(text).invalid(MAX_TEMPLATE_CHARACTERS, message)


def check_shape(source: Source) -> None:
    """Raise TemplateSyntaxInvalid when a delimiter or block is not closed."""
    text = source.text
    open_blocks: list[tuple[str, int]] = []
    at = 0
    while (start := _next_delimiter(text, at)) >= 0:
        at = _end_of_delimiter(source, start)
        if text.startswith("{%", start):
            at = _step_over_tag(source, start, at, open_blocks)
    if open_blocks:
        name, start = open_blocks[-1]
        raise source.invalid(start, f"'{name}' is never closed: 'end{name}' is missing")


def _next_delimiter(text: str, at: int) -> int:
    while (start := text.find("{", at)) >= 0:
        if text.startswith(("{", "%"), start + 1):
            return start
        at = start + 1
    return -1


def _end_of_delimiter(source: Source, start: int) -> int:
    text = source.text
    opening = text[start : start + 2]
    closing = "}}" if opening == "{{" else "%}"
    end = text.find(closing, start + 2)
    if end < 0:
        raise source.invalid(start, f"'{opening}' is never closed: '{closing}' is missing")
    if end - start > MAX_TAG_CHARACTERS:
        raise source.invalid(start, f"longer than {MAX_TAG_CHARACTERS:,} characters between delimiters")
    return end + 2


def _step_over_tag(source: Source, start: int, end: int, open_blocks: list[tuple[str, int]]) -> int:
    """Follow the nesting of blocks; return where to go on."""
    text = source.text
    matched = _TAG_NAME.match(text, start, end)
    name = matched.group(1) if matched else ""
    if name in _OPAQUE:
        closing = _OPAQUE[name].search(text, end)
        if closing is None:
            raise source.invalid(start, f"'{name}' is never closed: 'end{name}' is missing")
        return closing.end()
    if open_blocks and open_blocks[-1][0] == "comment":
        # Only nested comments count inside a comment, as in the lexer.
        if name == "endcomment":
            open_blocks.pop()
        elif name == "comment":
            open_blocks.append((name, start))
        return end
    if name in _BLOCKS:
        open_blocks.append((name, start))
    elif name.startswith("end") and name[3:] in _BLOCKS:
        _close(source, start, name, open_blocks)
    return end


def _close(source: Source, start: int, name: str, open_blocks: list[tuple[str, int]]) -> None:
    if not open_blocks:
        raise source.invalid(start, f"unexpected '{name}': no block is open")
    opened, opened_at = open_blocks[-1]
    if name != f"end{opened}":
        line, _ = source.place(opened_at)
        message = f"unexpected '{name}': '{opened}' of line {line} is still open"
        raise source.invalid(start, message)
    open_blocks.pop()
