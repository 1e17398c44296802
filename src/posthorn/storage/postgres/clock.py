"""The time of the cluster is the database's: a node whose own clock is wrong behaves like the others."""

import time
from collections.abc import Awaitable, Callable

from posthorn.clock import SECOND_MS

_SAMPLES = 4


class DatabaseClock:
    """Implements `posthorn.clock.Clock`: the database's time at the last sync, and what this machine counted since.

    It says nothing useful before the first `sync`. When the database's clock was set back, it stands still until that
    time is reached again: an instant is never earlier than one that was told before.
    """

    def __init__(self) -> None:
        self._ahead_ms = 0.0  #: what to add to our monotonic time
        self._told_ms = 0
        self._synced_at = float("-inf")

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, by the database."""
        now_ms = int(time.monotonic() * SECOND_MS + self._ahead_ms)
        self._told_ms = max(self._told_ms, now_ms)
        return self._told_ms

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    @property
    def age_seconds(self) -> float:
        """How long ago the last sync was."""
        return time.monotonic() - self._synced_at

    async def sync(self, ask: Callable[[], Awaitable[float]]) -> None:
        """Ask the database for its time in ms, a few times, and keep the answer that came quickest.

        The error is at most half of that round trip.
        """
        best_seconds, ahead_ms = float("inf"), self._ahead_ms
        for _ in range(_SAMPLES):
            asked_at = time.monotonic()
            database_ms = await ask()
            answered_at = time.monotonic()
            if answered_at - asked_at < best_seconds:
                best_seconds = answered_at - asked_at
                ahead_ms = database_ms - (asked_at + answered_at) / 2 * SECOND_MS
        self._ahead_ms = ahead_ms
        self._synced_at = time.monotonic()
