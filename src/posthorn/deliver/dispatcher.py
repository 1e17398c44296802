"""The delivering loop: offer due lanes, give each its turn, settle what comes back."""

import asyncio

from posthorn.clock import SECOND_MS, Clock
from posthorn.deliver.attempting import Attempter, Outcome
from posthorn.deliver.filling import Filler
from posthorn.deliver.settling import Settler
from posthorn.deliver.targets import LaneRules
from posthorn.engine import settlements
from posthorn.engine.fairqueue import FairQueue, Finish, Lane
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.engine.ports import WorkStore
from posthorn.engine.records import DeliveryWork
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

_RESUME_SECONDS = 0.5
_IDLE_LANE_SECONDS = 600.0
_MOST_TURNS = 512
_MOST_GONE = 10_000
_STORE_PAUSE_SECONDS = 0.5
_LOOKING_SHARE = 20  # where looking at all lanes takes long, it is done for one part of so many of the time
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
        self._filler = Filler(store=store, queue=queue, clock=self._clock, telemetry=telemetry, filled=self._pump)
        self._gone: set[str] = set()  #: lanes whose endpoint or automation is deleted for certain
        self._checks: set[asyncio.Task[None]] = set()
        self._attempts: set[asyncio.Task[None]] = set()
        self._scanned_ms: int | None = None
        # Turns of the loop are told apart by seconds that always go on: the clock may stand still for a while.
        self._scanned_at = 0.0
        self._rescan_at = 0.0
        self._paused: dict[str, int] = {}  #: endpoints that had due work while they were switched off, and shards
        self._resume_at = 0.0
        self._generation = -1

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return self._queue.in_flight

    def busy_shards(self) -> set[int]:
        """Return the shards of deliveries that are under way or not yet settled."""
        return self._queue.busy_shards()

    def wake(self) -> None:
        """Let the loop notice that it should stop."""
        self._hints.wake()

    async def run(self) -> None:
        """Offer, pump, wait for the next hint or poll."""
        while not self.stopping:
            self._offer_hinted()
            await self._offer_due()
            self._offer_resumed()
            now = self._clock.monotonic()
            throttled_until = self._queue.release_throttled(now)
            self._pump()
            await asyncio.sleep(0)  # a hint that is there already would not let others have the loop
            poll_seconds = self._ownership.tempo.poll_seconds
            pause = poll_seconds if throttled_until is None else min(poll_seconds, max(throttled_until - now, 0.001))
            await self._hints.wait(pause)

    async def close(self) -> None:
        """Let attempts in flight end, and settle them."""
        await self._filler.close()
        for check in self._checks:
            check.cancel()
        while self._attempts:
            await asyncio.wait(self._attempts)
        await self._settler.drain()

    def _offer_hinted(self) -> None:
        owned = self._ownership.epochs
        for (shard, endpoint), due_ms in self._hints.collect().items():
            if shard in owned:
                self._queue.offer(shard, endpoint, due_ms)

    async def _offer_due(self) -> None:
        """Offer lanes with deliveries that became due since the last poll; now and then, all that have any."""
        owned = self._ownership.epochs
        if not owned:
            return
        self._heed_generation()
        now, now_ms, tempo = self._clock.monotonic(), self._clock.now_ms(), self._ownership.tempo
        after_ms, generation = self._scanned_ms, self._generation
        if after_ms is not None and now_ms < after_ms:
            after_ms = None  # the clock was set back
        if after_ms is not None and now - self._scanned_at < tempo.poll_seconds / 2:
            return  # woken by a hint: the next poll will do
        if after_ms is None or now >= self._rescan_at:
            after_ms = None
            self._queue.forget_idle(now - _IDLE_LANE_SECONDS)
        try:
            lookback_ms = after_ms - tempo.look_back_ms if after_ms is not None else None
            for lane in await self._store.ready(list(owned), after_ms=lookback_ms, now_ms=now_ms):
                self._queue.offer(lane.shard, lane.endpoint, lane.due_ms)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            self._scanned_ms = None  # what this scan would have found may lie before the next one's window
            await self.pause(_STORE_PAUSE_SECONDS)
            return
        if after_ms is None:
            self._rescan_at = now + max(tempo.rescan_ms / SECOND_MS, _LOOKING_SHARE * (self._clock.monotonic() - now))
        # Shards that were won while it looked were not looked at.
        self._scanned_ms, self._scanned_at = now_ms if generation == self._generation else None, now

    def _heed_generation(self) -> None:
        """Trust nothing that was read under earlier leases: another node may have worked on it meanwhile."""
        if self._generation != self._ownership.generation:
            self._generation = self._ownership.generation
            self._queue.drop_buffers()
            self._scanned_ms = None

    def _offer_resumed(self) -> None:
        """Offer lanes that have been switched on again: what became due meanwhile is in no window of a poll."""
        now = self._clock.monotonic()
        if not self._paused or now < self._resume_at:
            return
        self._resume_at = now + _RESUME_SECONDS
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
        self._heed_generation()
        owned = self._ownership.epochs
        now = self._clock.monotonic()
        for _ in range(_MOST_TURNS):
            lane = self._queue.next_lane(now) if self._settler.has_room else None
            if lane is None:
                return
            try:
                self._give_turn(lane, owned.get(lane.shard))
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
        if rules is None and lane.endpoint not in self._gone:
            self._put_aside(lane, until_resumed=False)
            self._check_gone(lane)
            return
        lane.throttle.rate = rules.rate if rules is not None else None
        if self._queue.wants_more(lane):
            self._filler.ask(lane)
        work = self._queue.next_work(lane)
        if work is None:
            self._queue.rest(lane)
        elif rules is None:
            self._cancel(lane, work, epoch)
        else:
            self._start(lane, work, rules, epoch)

    def _check_gone(self, lane: Lane) -> None:
        """Look what other nodes configured, before a lane that is unknown here counts as deleted."""
        task = asyncio.get_running_loop().create_task(self._find_out(lane))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _find_out(self, lane: Lane) -> None:
        try:
            if await self._attempter.is_gone(lane.endpoint):
                if len(self._gone) >= _MOST_GONE:
                    self._gone.clear()
                self._gone.add(lane.endpoint)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            await asyncio.sleep(_STORE_PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - of a lane that is known now; its turn puts it aside
            self._telemetry.emit("error.unexpected", where=f"lane {lane.endpoint}", exception=error)
        self._queue.offer(lane.shard, lane.endpoint)
        self._hints.wake()

    def _put_aside(self, lane: Lane, *, until_resumed: bool) -> None:
        self._queue.drop_buffer(lane)
        lane.may_have_more = False
        if until_resumed:
            self._paused[lane.endpoint] = lane.shard

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
