"""What one rendering of Braze's dialect keeps beside its variables: counts that make it repeat, and extras."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, cast

from liquid import BoundTemplate, RenderContext

from posthorn.templating.braze.sinks import TwofoldSink
from posthorn.templating.context import ABSENT, CaptureSink, Context, Limits
from posthorn.templating.failures import Fault

MAX_EXTRAS_BYTES: Final = 1024


class BrazeContext(Context):
    """A rendering of Braze's dialect."""

    __slots__ = ("_extras_left", "_keeps_json", "_randoms", "content_calls", "extras")

    def __init__(
        self, template: BoundTemplate, variables: Mapping[str, object], limits: Limits, *, keeps_json: bool
    ) -> None:
        super().__init__(template, variables, limits)
        self._keeps_json = keeps_json
        self._randoms = 0
        self._extras_left = MAX_EXTRAS_BYTES
        self.content_calls = 0
        self.extras: dict[str, str] = {}

    def get_buffer(self, buf: object = None) -> Any:
        """Return the sink of a `capture` block; where a block may become JSON it keeps that too."""
        return TwofoldSink(self._output_bytes, self.budget) if self._keeps_json else super().get_buffer(buf)

    def text_buffer(self) -> CaptureSink:
        """Return a sink for text that is used as a value."""
        return CaptureSink(self._output_bytes, self.budget)

    def random(self) -> float:
        """Return the next number of [0, 1) that the caller's seed gives: the same rendering repeats it."""
        seed = self.globals.get("random", ABSENT)
        if seed is ABSENT or seed is None:
            raise Fault("'random' is unknown here")
        drawn = hashlib.blake2b(f"{seed}:{self._randoms}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._randoms += 1
        return (int.from_bytes(drawn) >> 11) / (1 << 53)

    def add_extra(self, key: str, value: str) -> None:
        """Keep a pair of `message_extras`: the first of a key counts, and all of them get 1 KB."""
        if key and key not in self.extras:
            room = self._extras_left - len(key.encode("utf-8", "surrogatepass"))
            if room >= 0:
                kept = value.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
                self._extras_left = room - len(kept.encode())
                self.extras[key] = kept


def braze(context: RenderContext) -> BrazeContext:
    """Narrow the context that the library hands to nodes and expressions of this dialect."""
    return cast("BrazeContext", context)
