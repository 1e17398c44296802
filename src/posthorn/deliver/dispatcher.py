"""The delivering loop: offer due lanes, give each its turn, settle what comes back."""

import asyncio

from posthorn.clock import SECOND_MS, Clock
from posthorn.deliver.attempting import Attempter, Outcome
from posthorn.deliver.settling import Settler
from posthorn.deliver.targets import LaneRules
from posthorn.engine import settlements
from posthorn.engine.fairqueue import PREFETCH, FairQueue, Finish, Lane
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.engine.ports import WorkStore
from posthorn.engine.records import DeliveryWork, ReadyEndpoint
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

_POLL_SECONDS = 0.1
_LOOK_BACK_MS = 500
_RESCAN_MS = 60 * SECOND_MS
_IDLE_LANE_SECONDS = 600.0
_GONE_REASON = "endpoint_deleted"


class Dispatcher(Service):
    """Delivers what is due in the shards that this node owns."""

    def __init__(
        self,
        *,
        store: WorkStore,
        ownership: Ownership,
        attempter: Attempter,
        settler: Settler,
        hints: Hints,
        queue: FairQueue,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(name="dispatcher", telemetry=telemetry, clock=clock)
        self._store = store
        self._ownership = ownership
        self._attempter = attempter
        self._settler = settler
        self._hints = hints
        self._queue = queue
        self._attempts: set[asyncio.Task[None]] = set()
        self._scanned_ms: int | None = None
        self._rescan_ms = 0
        self._generation = -1

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return self._queue.in_flight

    def wake(self) -> None:
        """Let the loop notice that it should stop."""
        self._hints.wake()

    async def run(self) -> None:
        """Offer, pump, wait for the next hint or poll."""
        while not self.stopping:
            self._offer_hinted()
            self._offer_due()
            now = self._clock.monotonic()
            throttled_until = self._queue.release_throttled(now)
            self._pump()
            pause = _POLL_SECONDS if throttled_until is None else min(_POLL_SECONDS, max(throttled_until - now, 0.001))
            await self._hints.wait(pause)

    async def close(self) -> None:
        """Let attempts in flight end, and settle them."""
        while self._attempts:
            await asyncio.wait(self._attempts)
        await self._settler.drain()

    def _offer_hinted(self) -> None:
        owned = self._ownership.epochs
        for shard, endpoint in self._hints.collect():
            if shard in owned:
                self._queue.offer(shard, endpoint)

    def _offer_due(self) -> None:
        """Offer lanes with deliveries that became due since the last poll; now and then, all that have any."""
        now_ms = self._clock.now_ms()
        owned = self._ownership.epochs
        if not owned:
            return
        after_ms = self._scanned_ms
        if after_ms is not None and now_ms - after_ms < _POLL_SECONDS * 500:
            return  # woken by a hint: the next poll will do
        if self._generation != self._ownership.generation or now_ms >= self._rescan_ms:
            after_ms = None
            self._rescan_ms = now_ms + _RESCAN_MS
            self._generation = self._ownership.generation
            self._queue.forget_idle(self._clock.monotonic() - _IDLE_LANE_SECONDS)
        try:
            lookback_ms = after_ms - _LOOK_BACK_MS if after_ms is not None else None
            for lane in self._store.ready(list(owned), after_ms=lookback_ms, now_ms=now_ms):
                self._queue.offer(lane.shard, lane.endpoint)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            return
        self._scanned_ms = now_ms

    def _pump(self) -> None:
        """Start attempts while turns are to be had."""
        if self.stopping or not self._settler.has_room:
            return
        owned = self._ownership.epochs
        now = self._clock.monotonic()
        while (lane := self._queue.next_lane(now)) is not None:
            epoch = owned.get(lane.shard)
            rules = self._attempter.rules(lane.endpoint)
            if epoch is None or (rules is not None and rules.paused):
                lane.held.difference_update(work.id for work in lane.buffer)
                lane.buffer.clear()
                self._queue.rest(lane, now)
                continue
            lane.rate = rules.rate if rules is not None else None
            work = self._next_of(lane)
            if work is None:
                self._queue.rest(lane, now)
            elif rules is None:
                self._cancel(lane, work, epoch)
            else:
                self._start(lane, work, rules, epoch)

    def _next_of(self, lane: Lane) -> DeliveryWork | None:
        if not lane.buffer and lane.may_have_more:
            self._fill(lane)
        return lane.buffer.popleft() if lane.buffer else None

    def _fill(self, lane: Lane) -> None:
        room = min(PREFETCH, 2 * lane.window)
        ready = ReadyEndpoint(shard=lane.shard, endpoint=lane.endpoint, due_ms=0)
        try:
            taken = self._store.take(ready, room=room, now_ms=self._clock.now_ms(), held=lane.held)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            taken = []
        lane.may_have_more = len(taken) == room
        lane.buffer.extend(taken)
        lane.held.update(work.id for work in taken)

    def _start(self, lane: Lane, work: DeliveryWork, rules: LaneRules, epoch: int) -> None:
        doubtful = self._queue.started(lane, work)
        task = asyncio.get_running_loop().create_task(self._attempt(lane, work, rules, epoch, doubtful=doubtful))
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def _attempt(self, lane: Lane, work: DeliveryWork, rules: LaneRules, epoch: int, *, doubtful: bool) -> None:
        finish = Finish.UNANSWERED
        try:
            outcome = await self._attempter.attempt(work, rules, epoch)
            finish = outcome.finish
            self._settle(lane, outcome)
        except Exception as error:  # noqa: BLE001 - a bug in one attempt must not take the lane down
            self._telemetry.emit("error.unexpected", where="attempt", exception=error)
            deferred = settlements.deferred(work, epoch, self._clock.now_ms() + 60 * SECOND_MS)
            self._settler.settle(deferred, lambda: lane.held.discard(work.id))
        finally:
            self._queue.finished(lane, finish, doubtful=doubtful)
            self._pump()

    def _settle(self, lane: Lane, outcome: Outcome) -> None:
        settlement = outcome.settlement
        attempt = settlement.attempt
        if attempt is not None:
            self._telemetry.emit(
                "attempt.finished",
                state=attempt.state,
                status=attempt.response_status,
                error=attempt.error,
                total_us=attempt.total_us,
            )
        self._settler.settle(settlement, lambda: lane.held.discard(settlement.work.id))
        if attempt is not None and outcome.is_gone:
            self._settler.endpoint_gone(attempt)

    def _cancel(self, lane: Lane, work: DeliveryWork, epoch: int) -> None:
        doubtful = self._queue.started(lane, work)
        settlement = settlements.cancelled(work, epoch, _GONE_REASON)
        self._settler.settle(settlement, lambda: lane.held.discard(work.id))
        self._queue.finished(lane, Finish.ANSWERED_BADLY, doubtful=doubtful)
