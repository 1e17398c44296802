"""What an expression looks at and how much it can cost, read from its tokens."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from posthorn.conditions.cel.tokens import Fault, Sort, Token, fault_at, plain_text

MAX_GROWTH: Final = 64

_LOOPS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})
_WORDS: Final = frozenset({"true", "false", "null", "in"})
_NAMED: Final = {"counts": "an event type", "segments": "a segment", "steps": "a step"}
_FILLED: Final = frozenset({"counts", "segments"})
_CLOCK: Final = re.compile(r"get(?:Date|DayOf|FullYear|Hours|Milliseconds|Minutes|Month|Seconds)\w*")
_ZONE: Final = re.compile(r"[A-Za-z+\-0-9][A-Za-z0-9_+\-/:]{0,63}")
_END: Final = Token(sort=Sort.MARK, text="", at=0)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an expression looks at: paths of facts, root first. And how deep its loops nest, and what they repeat."""

    paths: tuple[Path, ...]
    depth: int
    growth: int  #: how many times a value may be repeated by one pass through the loops
    adds: bool  #: a `+` stands inside a loop


class _Refused(Exception):
    def __init__(self, token: Token, message: str) -> None:
        super().__init__(message)
        self.token = token
        self.message = message


def read_expression(source: str, tokens: Sequence[Token], roots: Sequence[str]) -> Reading | Fault:
    """Read an expression that the engine has compiled; a fault when it looks at what it must not, or is too costly."""
    reader = _Reader(tokens, roots)
    try:
        return reader.read()
    except _Refused as refused:
        return fault_at(source, refused.token.at, refused.message)


class _Reader:
    def __init__(self, tokens: Sequence[Token], roots: Sequence[str]) -> None:
        self._tokens = tokens
        self._roots = roots
        self._loops = [at for at in range(len(tokens)) if self._is_loop(at)]
        self._variables = {self._at(at + 2).text: self._at(at + 2) for at in self._loops}

    def read(self) -> Reading:
        for name, token in self._variables.items():
            if name in self._roots:
                raise _Refused(token, f"'{name}' is a fact; give the variable of a loop another name")
        paths = tuple(dict.fromkeys(self._paths()))
        bodies = [(at + 1, self._closing(at + 1)) for at in self._loops]
        growth = math.prod(1 + self._copies(start, end) for start, end in bodies)
        if growth > MAX_GROWTH:
            raise _Refused(self._at(bodies[0][0] - 1), "too many '+' and ',' in loops: values may double in each")
        return Reading(
            paths=paths,
            depth=max((sum(start <= at < end for start, end in bodies) for at, _ in bodies), default=0),
            growth=growth,
            adds=any(self._pluses(start, end) for start, end in bodies),
        )

    def _at(self, at: int) -> Token:
        return self._tokens[at] if 0 <= at < len(self._tokens) else _END

    def _marks(self, at: int, text: str) -> bool:
        token = self._at(at)
        return token.sort is Sort.MARK and token.text == text

    def _is_loop(self, at: int) -> bool:
        is_method = self._at(at).text in _LOOPS and self._marks(at - 1, ".") and self._marks(at + 1, "(")
        return is_method and self._at(at + 2).sort is Sort.NAME and self._marks(at + 3, ",")

    def _closing(self, opening: int) -> int:
        depth = 0
        for at in range(opening, len(self._tokens)):
            depth += self._marks(at, "(") - self._marks(at, ")")
            if depth == 0:
                return at
        return len(self._tokens)

    def _pluses(self, start: int, end: int) -> int:
        return sum(self._marks(at, "+") for at in range(start, end))

    def _copies(self, start: int, end: int) -> int:
        """Count what may repeat a value: additions, and the items of arrays that are made of more than literals."""
        return self._pluses(start, end) + sum(self._is_repeating(at) for at in range(start, end))

    def _is_repeating(self, comma: int) -> bool:
        if not self._marks(comma, ",") or comma - 3 in self._loops:
            return False
        neighbours = {self._at(comma - 1).sort, self._at(comma + 1).sort}
        return not neighbours <= {Sort.TEXT, Sort.NUMBER}

    def _paths(self) -> Iterator[Path]:
        for at, token in enumerate(self._tokens):
            if token.sort is not Sort.NAME or token.text in _WORDS:
                continue
            if self._marks(at - 1, "."):
                self._check_member(at)
            elif self._marks(at + 1, "("):
                self._check_zone(at)
            elif token.text not in self._variables:
                yield self._path(at)

    def _check_member(self, at: int) -> None:
        owner = self._at(at - 2)
        if owner is _END or (owner.sort is Sort.MARK and owner.text not in {")", "]", "}"}):
            raise _Refused(self._at(at - 1), "a name does not start with a dot")
        self._check_zone(at)

    def _check_zone(self, at: int) -> None:
        """The engine keeps every zone that it was ever asked for, so a zone must not come out of facts."""
        if not _CLOCK.fullmatch(self._at(at).text) or not self._marks(at + 1, "(") or self._marks(at + 2, ")"):
            return
        zone = plain_text(self._at(at + 2))
        if zone is None or not _ZONE.fullmatch(zone) or not self._marks(at + 3, ")"):
            raise _Refused(self._at(at + 2), "a time zone is written out, like 'Europe/Berlin'")

    def _path(self, at: int) -> Path:
        root = self._at(at)
        if root.text not in self._roots:
            raise _Refused(root, f"'{root.text}' is no fact here; known are {', '.join(self._roots)}")
        names, end = self._names(at + 1)
        wanted = _NAMED.get(root.text)
        if wanted is not None and not names:
            raise _Refused(root, f"name {wanted}: {root.text}['…']")
        in_has = self._at(at - 2).text == "has" and self._marks(at - 1, "(")
        if root.text in _FILLED and len(names) == 1 and in_has and self._marks(end, ")"):
            raise _Refused(root, f"{root.text}.{names[0]} is always there; compare it instead of asking for it")
        return (root.text, *names)

    def _names(self, at: int) -> tuple[list[str], int]:
        """Return the attributes that follow a root, up to a method, a computed index or something else."""
        names = []
        while True:
            if self._marks(at, ".") and self._at(at + 1).sort is Sort.NAME and not self._marks(at + 2, "("):
                names.append(self._at(at + 1).text)
                at += 2
            elif self._marks(at, "[") and self._marks(at + 2, "]") and plain_text(self._at(at + 1)) is not None:
                names.append(plain_text(self._at(at + 1)) or "")
                at += 3
            else:
                return names, at
