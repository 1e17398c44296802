"""Reading lanes' queues from the store while attempts go on."""

import asyncio
from collections.abc import Callable

from posthorn.clock import Clock
from posthorn.engine.fairqueue import PREFETCH, FairQueue, Lane
from posthorn.engine.ports import WorkStore
from posthorn.engine.records import LaneRead, Taken
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry

_MOST_LANES = 64
_FROM_FRONT_SECONDS = 0.5
_LATE_MS = 250
"""How long after its due a delivery may be committed and still be found by the next read from the front. Of what comes
later than that, a hint or a poll tells from when on it is due."""
_STORE_PAUSE_SECONDS = 0.2


class Filler:
    """Collects the lanes that ask for more and reads many of them at once, one read after the other.

    While one read is under way the next wishes gather, so under load a read grows to what the store takes.
    """

    def __init__(
        self,
        *,
        store: WorkStore,
        queue: FairQueue,
        clock: Clock,
        telemetry: Telemetry,
        filled: Callable[[], None],
    ) -> None:
        """Make one; `filled` is called after each read, to let attempts start."""
        self._store = store
        self._queue = queue
        self._clock = clock
        self._telemetry = telemetry
        self._filled = filled
        self._wishes: list[tuple[Lane, LaneRead]] = []
        self._reading: asyncio.Task[None] | None = None

    def ask(self, lane: Lane) -> None:
        """Wish for more of a lane.

        A busy lane is read on behind the last ones taken, because from the front everything held would be read again.
        Only a read from the front shows that nothing is left: later rows may sort before earlier ones. The front is
        where nothing before it can be left. It is not the beginning: traces of all that ended may lie there.
        """
        now = self._clock.monotonic()
        if len(lane.held) < PREFETCH or now - lane.from_front_at >= _FROM_FRONT_SECONDS:
            lane.after = None
        if lane.after is None:
            lane.from_front_at = now
        self._queue.asks(lane)
        room = min(PREFETCH, 2 * lane.window)
        read = LaneRead(
            shard=lane.shard,
            endpoint=lane.endpoint,
            room=room,
            held=lane.held,
            after=lane.after,
            since_ms=None if lane.since_ms is None else min(lane.since_ms, self._clock.now_ms() - _LATE_MS),
        )
        self._wishes.append((lane, read))
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read_all())

    async def close(self) -> None:
        """End a read that is under way. Taking is a read: nothing needs to be undone."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read_all(self) -> None:
        try:
            while self._wishes:
                wishes, self._wishes = self._wishes[:_MOST_LANES], self._wishes[_MOST_LANES:]
                await self._read(wishes)
                self._filled()
                await asyncio.sleep(0)  # an embedded store answers without letting others have the loop
        finally:
            self._reading = None

    async def _read(self, wishes: list[tuple[Lane, LaneRead]]) -> None:
        now_ms = self._clock.now_ms()
        try:
            answers = await self._store.take([read for _, read in wishes], now_ms=now_ms)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            await asyncio.sleep(_STORE_PAUSE_SECONDS)
            answers = [Taken(works=[], more=True)] * len(wishes)
        except Exception as error:  # noqa: BLE001 - a lane that nobody reads would stand still for ever
            self._telemetry.emit("error.unexpected", where="take", exception=error)
            await asyncio.sleep(_STORE_PAUSE_SECONDS)
            answers = [Taken(works=[], more=True)] * len(wishes)
        for (lane, read), taken in zip(wishes, answers, strict=True):
            self._took(lane, read, taken, now_ms)

    def _took(self, lane: Lane, read: LaneRead, taken: Taken, now_ms: int) -> None:
        is_at_end = not taken.more and read.after is not None  # that was the end of the lane, but not yet its front
        seen_ms = _seen_ms(taken, now_ms) if read.after is None else None
        self._queue.took(lane, taken.works, more=taken.more or is_at_end, seen_ms=seen_ms)
        last = taken.works[-1] if taken.works and taken.more else None
        lane.after = (last.due_ms, last.id) if last is not None and not lane.dropped else None


def _seen_ms(taken: Taken, now_ms: int) -> int | None:
    """Tell before which due a read from the front left nothing out, None when it may have left out anything."""
    if not taken.more:
        return now_ms - _LATE_MS
    return min(taken.works[-1].due_ms, now_ms - _LATE_MS) if taken.works else None
