r"""Patterns with `*` for any text and `?` for any one character. No regular expressions, no backtracking.

A backslash takes away the meaning of what follows it: `\*`, `\?`, `\\`. Every part between two stars is found at its
leftmost place behind the one before, which is as good as any other place; so a match costs at most the length of
the text times that of the pattern.
"""

import re
from collections.abc import Callable
from typing import Final

MAX_PATTERN_CHARACTERS: Final = 256
MAX_TEXT_CHARACTERS: Final = 10_000

_PIECE = re.compile(r"\\(.)|(\*+)|(\?)|([^\\*?]+)", re.DOTALL)
_ANY_ONE: Final = "."


def pattern_fault(pattern: object) -> str | None:
    """Say what is wrong with a pattern, if anything is."""
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN_CHARACTERS:
        return f"a text of at most {MAX_PATTERN_CHARACTERS} characters, * for any text and ? for any character"
    if len(pattern) - len(pattern.rstrip("\\")) & 1:
        return r"a character after the last backslash; \\ stands for a backslash"
    return None


def pattern_test(pattern: str) -> Callable[[str], bool]:
    """Return a test of whole texts. A text of more than 10,000 characters never matches."""
    parts = _parts(pattern)
    if len(parts) == 1:
        whole = parts[0]
        return lambda text: len(text) <= MAX_TEXT_CHARACTERS and whole.fullmatch(text) is not None
    first, *middle, last = parts
    last_length = _length(last)

    def test(text: str) -> bool:
        head = first.match(text)
        end = len(text) - last_length
        if head is None or len(text) > MAX_TEXT_CHARACTERS or end < head.end():
            return False
        at = head.end()
        for part in middle:
            found = part.search(text, at, end)
            if found is None:
                return False
            at = found.end()
        return last.fullmatch(text, end) is not None

    return test


def _parts(pattern: str) -> list[re.Pattern[str]]:
    parts = [""]
    for escaped, stars, one, plain in _PIECE.findall(pattern):
        if stars:
            parts.append("")
        else:
            parts[-1] += _ANY_ONE if one else re.escape(escaped or plain)
    return [re.compile(part, re.DOTALL) for part in parts]


def _length(part: re.Pattern[str]) -> int:
    """How many characters a part takes: each is one escaped character or any one."""
    return len(re.sub(r"\\(.)", "x", part.pattern, flags=re.DOTALL))
