"""Where a key stands in a TOML text: the standard parser tells places for broken syntax only.

A linear reading of lines. It knows headers, keys and multi-line strings; a key inside an inline table or array is
located at the key that holds it.
"""

import re
from typing import Final

Place = tuple[int, int]
Keys = tuple[str | int, ...]

_PART: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED: Final = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_TABLE: Final = re.compile(rf"[ \t]*\[[ \t]*({_DOTTED})[ \t]*\][ \t]*(?:#.*)?\Z")
_TABLES: Final = re.compile(rf"[ \t]*\[\[[ \t]*({_DOTTED})[ \t]*\]\][ \t]*(?:#.*)?\Z")
_KEY: Final = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_SPLIT: Final = re.compile(_PART)
_QUOTES: Final = ('"""', "'''")


class KeyPlaces:
    """The lines and columns, from 1, of the keys of one text."""

    def __init__(self, text: str) -> None:
        self._places: dict[Keys, Place] = {(): (1, 1)}
        self._lengths: dict[Keys, int] = {}
        self._read(text)

    def find(self, keys: Keys) -> Place:
        """Return the place of a key, or of the nearest one that holds it."""
        while keys not in self._places:
            keys = keys[:-1]
        return self._places[keys]

    def _read(self, text: str) -> None:
        prefix: Keys = ()
        quote: str | None = None
        for number, line in enumerate(text.split("\n"), 1):
            if quote is not None:
                quote = None if quote in line else quote
                continue
            if found := _TABLES.match(line):
                prefix = self._next_element(self._under_arrays(_keys(found[1])))
            elif found := _TABLE.match(line):
                prefix = self._under_arrays(_keys(found[1]))
            elif found := _KEY.match(line):
                self._note((*prefix, *_keys(found[1])), number, found.start(1) + 1)
                quote = next((mark for mark in _QUOTES if line[found.end() :].count(mark) % 2), None)
                continue
            else:
                continue
            self._note(prefix, number, found.start(1) + 1)

    def _note(self, keys: Keys, line: int, column: int) -> None:
        for length in range(1, len(keys) + 1):
            self._places.setdefault(keys[:length], (line, column))

    def _under_arrays(self, keys: Keys) -> Keys:
        """Insert the index of the last element behind every key that is an array of tables (TOML 1.0)."""
        under: Keys = ()
        for position, key in enumerate(keys):
            under = (*under, key)
            if under in self._lengths and position < len(keys) - 1:
                under = (*under, self._lengths[under] - 1)
        return under

    def _next_element(self, keys: Keys) -> Keys:
        length = self._lengths[keys] = self._lengths.get(keys, 0) + 1
        return (*keys, length - 1)


def _keys(dotted: str) -> Keys:
    return tuple(part.strip("\"'") for part in _SPLIT.findall(dotted))
