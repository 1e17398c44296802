"""Where a rendering writes to, one sink per way of escaping. A sink knows the position that it writes at."""

from typing import Final, Literal
from urllib.parse import quote

from liquid.token import Token

from posthorn.templating.failures import Fault
from posthorn.templating.printing import (
    JsonInside,
    JsonText,
    UrlText,
    Verbatim,
    json_inside,
    json_text,
    liquid_text,
)

Escape = Literal["json", "url", "header", "none"]

OUTSIDE: Final = 0
INSIDE: Final = 1
AFTER_BACKSLASH: Final = 2

_DOTS: Final = frozenset({".", ".."})


def json_position(text: str, position: int) -> int:
    """Follow a template's literal text: outside a JSON string, inside one, or in an unfinished escape."""
    at = 0
    if position == AFTER_BACKSLASH and text:
        at = 1
        position = INSIDE
    length = len(text)
    while at < length:
        if position == OUTSIDE:
            at = text.find('"', at)
            if at < 0:
                return OUTSIDE
            position = INSIDE
            at += 1
            continue
        character = text[at]
        if character == '"':
            position = OUTSIDE
        elif character == "\\":
            at += 5 if text.startswith("u", at + 1) else 1
            if at >= length:
                return AFTER_BACKSLASH
        at += 1
    return position


# What a literal text does to the position in JSON: one next position for each of the three.
Moves = tuple[int, int, int]


class Sink:
    """Collects Liquid text, without escaping, up to a number of UTF-8 bytes."""

    __slots__ = ("_parts", "_room")

    def __init__(self, limit_bytes: int) -> None:
        self._parts: list[str] = []
        self._room = limit_bytes

    def write(self, text: str) -> int:
        """Add text as it is; raise Fault over the limit."""
        self._room -= len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if self._room < 0:
            raise Fault("output limit reached")
        self._parts.append(text)
        return len(text)

    def literal(self, text: str, _moves: Moves) -> int:
        """Add text of the template itself."""
        return self.write(text)

    def emit(self, value: object, _token: Token) -> int:
        """Add a printed value, escaped for this position."""
        return self.write(liquid_text(value))

    def getvalue(self) -> str:
        """Return everything that was added."""
        return "".join(self._parts)


class JsonSink(Sink):
    """Prints values by position: outside quotes as whole JSON values, inside quotes as string content."""

    __slots__ = ("_position",)

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._position = OUTSIDE

    def literal(self, text: str, moves: Moves) -> int:
        """Add text of the template itself and follow its quotes."""
        self._position = moves[self._position]
        return self.write(text)

    def emit(self, value: object, token: Token) -> int:
        """Add a printed value, escaped for this position."""
        if isinstance(value, Verbatim):
            self._position = json_position(value, self._position)
            return self.write(value)
        if self._position == OUTSIDE:
            return self._emit_outside(value)
        if self._position == AFTER_BACKSLASH:
            raise Fault("a value cannot be printed right after a backslash", token)
        return self.write(value if isinstance(value, JsonInside) else json_inside(liquid_text(value)))

    def _emit_outside(self, value: object) -> int:
        if isinstance(value, JsonText):
            return self.write(value)
        return self.write(f'"{value}"' if isinstance(value, JsonInside) else json_text(value))


class UrlSink(Sink):
    """Percent-encodes every printed value, slashes included (RFC 3986 section 2.1)."""

    __slots__ = ("_in_path",)

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._in_path = True

    def write(self, text: str) -> int:
        """Add text as it is, and notice where the path of the URL ends."""
        if self._in_path and ("?" in text or "#" in text):
            self._in_path = False
        return super().write(text)

    def emit(self, value: object, token: Token) -> int:
        """Add a percent-encoded value."""
        text = liquid_text(value)
        if isinstance(value, Verbatim):
            refuse_controls(text, token)
            return self.write(text)
        if isinstance(value, UrlText):
            self._refuse_dots(text.split("/"), token)
            return self.write(text)
        self._refuse_dots([text], token)
        return self.write(quote(text, safe=""))

    def _refuse_dots(self, segments: list[str], token: Token) -> None:
        if self._in_path and not _DOTS.isdisjoint(segments):
            # Percent-encoding does not disarm a dot segment: %2E equals a dot (RFC 3986 section 6.2.2.2).
            raise Fault("a value that is '.' or '..' would change the path of the URL", token)


class HeaderSink(Sink):
    """Refuses control characters, so that no value can start another header (RFC 9110 section 5.5)."""

    __slots__ = ()

    def emit(self, value: object, token: Token) -> int:
        """Add a value of one line."""
        text = liquid_text(value)
        refuse_controls(text, token)
        return self.write(text)


def has_controls(text: str) -> bool:
    """Tell whether a text holds a control character (C0, DEL, C1) or a line separator of Unicode."""
    return not text.isprintable() and any(
        character < " " or "\x7f" <= character <= "\x9f" or character in "\u2028\u2029" for character in text
    )


def refuse_controls(text: str, token: Token) -> None:
    """Raise Fault when a text holds a control character."""
    if has_controls(text):
        raise Fault("the value contains a line break or another control character", token)


SINKS: Final[dict[Escape, type[Sink]]] = {
    "json": JsonSink,
    "url": UrlSink,
    "header": HeaderSink,
    "none": Sink,
}
