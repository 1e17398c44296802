"""Time as a dependency, so that tests move it by hand.

Instants are integers in milliseconds since the Unix epoch, in names that end in `_ms`: they are what the
store keeps and compares, and a `datetime` costs ten times as much per event.
"""

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Clock(Protocol):
    """Tells wall time and a monotonic time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for measuring durations."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()


@lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def iso_text(at_ms: int) -> str:
    """Write an instant as ISO 8601 in UTC with milliseconds: 2026-11-22T10:00:00.000Z."""
    return f"{_second_text(at_ms // SECOND_MS)}.{at_ms % SECOND_MS:03d}Z"
