"""Wake-up hints between stages. A hint may be lost: the store is the truth and is polled."""

import asyncio
from collections.abc import Iterable


class Hints:
    """Remembers which lanes got new work, from when, and wakes the one loop that waits for it."""

    def __init__(self, *, is_heard: bool = True) -> None:
        """Make some; where no loop listens (`is_heard`), nothing is remembered: nobody would ever collect it."""
        self._is_heard = is_heard
        self._lanes: dict[tuple[int, str], int] = {}
        self._woken = asyncio.Event()

    def add(self, lanes: Iterable[tuple[int, str]], *, due_ms: int) -> None:
        """Say that these (shard, endpoint or profile) lanes may have new work, none of it due before `due_ms`."""
        if not self._is_heard:
            return
        for lane in lanes:
            self._lanes[lane] = min(due_ms, self._lanes.get(lane, due_ms))
        self._woken.set()

    def wake(self) -> None:
        """Wake the loop without naming a lane."""
        self._woken.set()

    def collect(self) -> dict[tuple[int, str], int]:
        """Take the lanes named since the last call, each with the oldest due of what is new in it."""
        lanes, self._lanes = self._lanes, {}
        return lanes

    async def wait(self, seconds: float) -> None:
        """Return at the next hint, or after so many seconds."""
        if not self._woken.is_set():
            loop = asyncio.get_running_loop()
            timer = loop.call_later(seconds, self._woken.set)
            try:
                await self._woken.wait()
            finally:
                timer.cancel()
        self._woken.clear()
