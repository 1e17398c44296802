"""The instants that statements are numbered by, so that what one node commits later stands later in the journal."""

from posthorn.clock import Clock

_BLOCKS = 1024
_LAST_BLOCKS = 16  # Other nodes draw from the same sequence: we may not see its very last one.


class Stamps:
    """Tells the time for `seq`. A statement's place is its instant, then a block from a sequence that wraps around.

    Within one instant, a statement behind the wrap would stand before one ahead of it: the next one gets the next
    instant instead. Only a clock that stands still, as in tests, ever comes to that.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._floor_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return max(self._clock.now_ms(), self._floor_ms)

    def used(self, at_ms: int, block: int) -> None:
        """Take note of the block that a statement of this instant drew."""
        if block >= _BLOCKS - _LAST_BLOCKS:
            self._floor_ms = max(self._floor_ms, at_ms + 1)
