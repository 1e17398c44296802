"""A clock that tests move by hand."""

from posthorn.clock import SECOND_MS

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: where every manual clock starts, and the default instant of the factories."""


class ManualClock:
    """Stands still until `advance` is called."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self._now_ms

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed_ms / SECOND_MS

    def advance(self, seconds: float) -> None:
        """Move both times forward, to the nearest millisecond; raises ValueError for going back."""
        if seconds < 0:
            raise ValueError("a monotonic clock never runs backwards; make another ManualClock for another past")
        step_ms = round(seconds * SECOND_MS)
        self._now_ms += step_ms
        self._elapsed_ms += step_ms
