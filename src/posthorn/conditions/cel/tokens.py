"""Splits expressions into tokens, to see what they look at. The grammar is the engine's to check, before this."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Sort(Enum):
    """What a token is."""

    NAME = auto()
    TEXT = auto()
    NUMBER = auto()
    MARK = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of an expression and where it starts, counted in characters from 0."""

    sort: Sort
    text: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with an expression, and where: line and column from 1."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


# https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
_TOKEN: Final = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
    |(?P<text>
        [bB]?[rR][bB]?(?:"{3}.*?"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        |[bB]?(?:"{3}(?:[^\\]|\\.)*?"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    )
    |(?P<number>[0-9][0-9A-Za-z]*(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>&&|\|\||[=!<>]=|.)""",
    re.VERBOSE | re.DOTALL,
)
_SORTS: Final = {"text": Sort.TEXT, "number": Sort.NUMBER, "name": Sort.NAME, "mark": Sort.MARK}


def tokens_of(source: str) -> tuple[Token, ...]:
    """Split an expression that the engine has parsed."""
    return tuple(_split(source))


def _split(source: str) -> Iterator[Token]:
    for found in _TOKEN.finditer(source):
        sort = _SORTS.get(found.lastgroup or "")
        if sort is not None:
            yield Token(sort=sort, text=found.group(), at=found.start())


def plain_text(token: Token) -> str | None:
    """Return what a text literal without escapes and prefixes says; None for all other tokens."""
    quote = token.text[0]
    if token.sort is not Sort.TEXT or quote not in "\"'" or "\\" in token.text or token.text.startswith(quote * 3):
        return None
    return token.text[1:-1]


def fault_at(source: str, at: int, message: str) -> Fault:
    """Return a fault at a character of an expression."""
    line = source.count("\n", 0, at) + 1
    return Fault(line=line, column=at - source.rfind("\n", 0, at), message=message)
