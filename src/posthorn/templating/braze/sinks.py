"""Where a rendering of Braze's dialect writes to.

Values are escaped by position as in the default dialect, and printed bare where Braze's authors rely on it and it
is safe.
"""

import re
from typing import Final
from urllib.parse import quote

from liquid.token import Token

from posthorn.templating.content import is_json
from posthorn.templating.context import Budget, CaptureSink
from posthorn.templating.failures import Fault
from posthorn.templating.printing import CapturedText, JsonText, UrlText, Verbatim, liquid_text
from posthorn.templating.sinks import (
    OUTSIDE,
    Escape,
    HeaderSink,
    JsonSink,
    Moves,
    Sink,
    UrlSink,
    refuse_controls,
)

_STRUCTURE: Final = re.compile(r"[\s,:{}\[\]]*")


class Structure(str):
    """A quoted text of the template that is nothing but JSON's own signs, such as the comma between elements."""

    __slots__ = ()


def is_structure(text: str) -> bool:
    """Tell whether a text of the template is nothing but JSON's own signs."""
    return _STRUCTURE.fullmatch(text) is not None


def whole_json(value: object) -> str | None:
    """Return a text that is one whole JSON value, escaped where it was captured; None for anything else."""
    if not isinstance(value, str):
        return None
    text = value.json if isinstance(value, CapturedText) else value
    return text.strip() if text is not None and is_json(text) else None


class BrazeJsonSink(JsonSink):
    """JSON by position. Outside of quotes a text that is one whole JSON value is printed as that value.

    Authors print numbers, captured JSON and commas there. No value can add structure around itself: a captured
    text was escaped by position when it was captured, and only signs of the template's own text stay bare.
    """

    __slots__ = ()

    def emit(self, value: object, token: Token) -> int:
        """Add a printed value, escaped for this position."""
        if self._position == OUTSIDE and isinstance(value, str) and not isinstance(value, (Verbatim, JsonText)):
            return self._emit_text(value, token)
        return super().emit(value, token)

    def _emit_text(self, value: str, token: Token) -> int:
        if isinstance(value, Structure):
            return self.write(value)
        whole = whole_json(value)
        return super().emit(value, token) if whole is None else self.write(whole)


class BrazeUrlSink(UrlSink):
    """Percent-encodes values, but for a whole address at the very beginning."""

    __slots__ = ()

    def emit(self, value: object, token: Token) -> int:
        """Add a percent-encoded value, or the address that the URL begins with."""
        text = liquid_text(value)
        if not self._parts and text.startswith(("http://", "https://")):
            refuse_controls(text, token)
            return self.write(text)
        return super().emit(value, token)


class FormSink(Sink):
    """Percent-encodes the values of a form, but for one that is the whole form or its beginning."""

    __slots__ = ()

    def emit(self, value: object, _token: Token) -> int:
        """Add a value of the form."""
        text = liquid_text(value)
        if not self._parts:
            return self.write(whole_json(value) or text)
        return self.write(text if isinstance(value, (UrlText, Verbatim)) else quote(text, safe=""))


class TwofoldSink(CaptureSink):
    """Collects a `capture` block twice: as text, and as JSON for printing it outside of quotes."""

    __slots__ = ("_json",)

    def __init__(self, limit_bytes: int, budget: Budget) -> None:
        super().__init__(limit_bytes, budget)
        self._json: JsonSink | None = BrazeJsonSink(limit_bytes)

    def write(self, text: str) -> int:
        """Add text as it is to both."""
        if self._json is not None:
            self._json.write(text)
        return super().write(text)

    def literal(self, text: str, moves: Moves) -> int:
        """Add text of the template to both."""
        if self._json is not None:
            self._json.literal(text, moves)
        return super().write(text)

    def emit(self, value: object, token: Token) -> int:
        """Add a printed value to both; what cannot be JSON stays text only."""
        if self._json is not None:
            try:
                self._json.emit(value, token)
            except (Fault, ValueError):
                self._json = None
        return super().write(liquid_text(value))

    def getvalue(self) -> CapturedText:
        """Return the text with its other face."""
        made = CapturedText(super().getvalue())
        made.json = None if self._json is None else self._json.getvalue()
        return made


BRAZE_SINKS: Final[dict[Escape, type[Sink]]] = {
    "json": BrazeJsonSink,
    "url": BrazeUrlSink,
    "header": HeaderSink,
    "none": Sink,
}
