"""A clock that goes on by itself and leaps over hours when a story says so."""

import time

from posthorn.clock import SECOND_MS


class StoryClock:
    """Tells a wall time that began at `start_ms`, and seconds; both go on with the machine's and leap together."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._began = time.monotonic()
        self._leapt = 0.0

    def now_ms(self) -> int:
        return self._start_ms + round(self._passed() * SECOND_MS)

    def monotonic(self) -> float:
        return self._began + self._passed()

    def leap(self, seconds: float) -> None:
        self._leapt += seconds

    def _passed(self) -> float:
        return time.monotonic() - self._began + self._leapt
