"""Where the front of the deciding queue is, so that reading it does not begin at the beginning of time."""

from posthorn.clock import SECOND_MS
from posthorn.engine.cluster import Tempo

_LATE_MS = 5 * SECOND_MS
"""How long after it was received an event may be committed and still be found by the next read. Of what this node
commits later than that a hint tells; what another node does is found by a read from the beginning."""

_LOOKING_SHARE = 20  # where a read from the beginning takes long, it is done for one part of so many of the time


class Front:
    """From which due on events may wait. Pure: it is told the time, in monotonic seconds and in the store's ms.

    Events that were decided leave traces, which a store may be unable to remove for as long as somebody looks at an
    old state of it: reading past ten minutes of them, many times a second, is what brings a queue down.
    """

    def __init__(self) -> None:
        self._since_ms: int | None = None
        self._generation = -1
        self._rescan_at = 0.0
        self._began_at: float | None = None

    def since_ms(self, *, now: float, now_ms: int, generation: int) -> int | None:
        """Return from which due on to read; None means from the beginning, as under new leases and now and then."""
        if generation != self._generation or now >= self._rescan_at:
            self._generation = generation
            self._since_ms = None
            self._began_at = now
        return None if self._since_ms is None else min(self._since_ms, now_ms - _LATE_MS)

    def was_read(self, tempo: Tempo, *, now: float) -> None:
        """Say that a read is over: the next one from the beginning is due later."""
        if self._began_at is not None:
            self._rescan_at = now + max(tempo.rescan_ms / SECOND_MS, _LOOKING_SHARE * (now - self._began_at))
            self._began_at = None

    def reach(self, due_ms: int) -> None:
        """Say that all that is due before is decided, as far as it was committed."""
        self._since_ms = due_ms

    def heed(self, due_ms: int) -> None:
        """Say that there may be something new that is due since then."""
        if self._since_ms is not None:
            self._since_ms = min(self._since_ms, due_ms)
