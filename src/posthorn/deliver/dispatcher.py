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
from posthorn.engine.ports import TAKE_BYTES, WorkStore
from posthorn.engine.records import DeliveryWork, ReadyEndpoint
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

_POLL_SECONDS = 0.1
_LOOK_BACK_MS = 500
_RESCAN_MS = 60 * SECOND_MS
_FROM_FRONT_SECONDS = 0.5
_RESUME_MS = SECOND_MS
_IDLE_LANE_SECONDS = 600.0
_FROM_FRONT_SECONDS = 0.5
_MOST_TURNS = 512
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
        self._paused: dict[str, int] = {}  #: endpoints that had due work while they were switched off, and shards
        self._resume_ms = 0
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
            self._offer_resumed()
            now = self._clock.monotonic()
            throttled_until = self._queue.release_throttled(now)
            self._pump()
            await asyncio.sleep(0)  # a hint that is there already would not let others have the loop
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
        if after_ms is not None and 0 <= now_ms - after_ms < _POLL_SECONDS * 500:
            return  # woken by a hint: the next poll will do
        if self._generation != self._ownership.generation:
            self._queue.drop_buffers()
            self._generation = self._ownership.generation
            after_ms = None
        if after_ms is None or now_ms < after_ms or now_ms >= self._rescan_ms:
            after_ms = None
            self._rescan_ms = now_ms + _RESCAN_MS
            self._queue.forget_idle(self._clock.monotonic() - _IDLE_LANE_SECONDS)
        try:
            lookback_ms = after_ms - _LOOK_BACK_MS if after_ms is not None else None
            for lane in self._store.ready(list(owned), after_ms=lookback_ms, now_ms=now_ms):
                self._queue.offer(lane.shard, lane.endpoint)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            self._scanned_ms = None  # what this scan would have found may lie before the next one's window
            return
        self._scanned_ms = now_ms

    def _offer_resumed(self) -> None:
        """Offer lanes that have been switched on again: what became due meanwhile is in no window of a poll."""
        now_ms = self._clock.now_ms()
        if not self._paused or now_ms < self._resume_ms:
            return
        self._resume_ms = now_ms + _RESUME_MS
        for endpoint, shard in list(self._paused.items()):
            if not self._stands_still(endpoint):
                del self._paused[endpoint]
                self._queue.offer(shard, endpoint)

    def _stands_still(self, endpoint: str) -> bool:
        try:
            rules = self._attempter.rules(endpoint)
        except Exception:  # noqa: BLE001 - reported when its lane was first met
            return True
        return rules is not None and rules.paused

    def _pump(self) -> None:
        """Start attempts while turns are to be had, but not so many at once that nothing else gets the loop."""
        if self.stopping:
            return
        owned = self._ownership.epochs
        now = self._clock.monotonic()
        for _ in range(_MOST_TURNS):
            lane = self._queue.next_lane(now) if self._settler.has_room else None
            if lane is None:
                return
            try:
                self._give_turn(lane, owned.get(lane.shard))
            except StoreUnavailable as error:
                self._telemetry.emit("store.unavailable", cause=str(error))
                self._queue.offer(lane.shard, lane.endpoint)
                return
            except Exception as error:  # noqa: BLE001 - a secret that does not open: only this lane stands still
                if lane.endpoint not in self._paused:
                    self._telemetry.emit("error.unexpected", where=f"lane {lane.endpoint}", exception=error)
                self._put_aside(lane, until_resumed=True)
        self._hints.wake()

    def _give_turn(self, lane: Lane, epoch: int | None) -> None:
        rules = self._attempter.rules(lane.endpoint)
        is_paused = rules is not None and rules.paused
        if epoch is None or is_paused:
            self._put_aside(lane, until_resumed=is_paused)
            return
        lane.rate = rules.rate if rules is not None else None
        if self._queue.wants_more(lane):
            self._fill(lane)
        work = self._queue.next_work(lane)
        if work is None:
            self._queue.rest(lane)
        elif rules is None:
            self._cancel(lane, work, epoch)
        else:
            self._start(lane, work, rules, epoch)

    def _put_aside(self, lane: Lane, *, until_resumed: bool) -> None:
        self._queue.drop_buffer(lane)
        lane.may_have_more = False
        if until_resumed:
            self._paused[lane.endpoint] = lane.shard

    def _fill(self, lane: Lane) -> None:
        """Read more of a lane into its buffer.

        A busy lane is read on behind the last ones taken, because from the front everything held would be read again.
        Only a read from the front shows that nothing is left: later rows may sort before earlier ones.
        """
        now = self._clock.monotonic()
        room = min(PREFETCH, 2 * lane.window)
        if len(lane.held) < PREFETCH or now - lane.from_front_at >= _FROM_FRONT_SECONDS:
            lane.after = None
        taken = self._take(lane, room, now)
        if len(taken) < room and lane.after is not None:
            lane.after = None
            taken += self._take(lane, room - len(taken), now)
        is_cut = sum([len(work.payload.body) for work in taken]) >= TAKE_BYTES
        lane.may_have_more = len(taken) == room or is_cut
        lane.after = (taken[-1].due_ms, taken[-1].id) if taken and not is_cut else None

    def _take(self, lane: Lane, room: int, now: float) -> list[DeliveryWork]:
        if lane.after is None:
            lane.from_front_at = now
        ready = ReadyEndpoint(shard=lane.shard, endpoint=lane.endpoint, due_ms=0)
        now_ms = self._clock.now_ms()
        taken = self._store.take(ready, room=room, now_ms=now_ms, held=lane.held, after=lane.after)
        self._queue.took(lane, taken)
        return taken

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
            self._settler.settle(deferred, lambda: self._settled(lane, work.id))
        finally:
            self._queue.finished(lane, finish, doubtful=doubtful, size=len(work.payload.body))
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
        self._settler.settle(settlement, lambda: self._settled(lane, settlement.work.id))
        if attempt is not None and outcome.is_gone:
            self._settler.endpoint_gone(attempt)

    def _cancel(self, lane: Lane, work: DeliveryWork, epoch: int) -> None:
        doubtful = self._queue.started(lane, work)
        settlement = settlements.cancelled(work, epoch, _GONE_REASON)
        self._settler.settle(settlement, lambda: self._settled(lane, work.id))
        # Its window widens, so that the rest of a long queue is read in few takes.
        self._queue.finished(lane, Finish.ANSWERED_WELL, doubtful=doubtful, size=len(work.payload.body))

    def _settled(self, lane: Lane, delivery: str) -> None:
        if self._queue.settled(lane, delivery):
            self._hints.wake()
