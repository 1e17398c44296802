"""Which lane may send next. Plain memory, exact because one node owns a lane; pure: it is told the time.

A lane is one endpoint's queue. Lanes take turns, one delivery a turn, so a busy one never pushes back the others.
Each has a window of deliveries in flight: it starts small, grows by one with each success, halves when the receiver
does not answer in time. Lanes that are not proven healthy, and retries, share only a part of all slots, so that
endpoints that hang or dawdle can never hold the slots that working ones need.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from enum import StrEnum
from weakref import WeakValueDictionary

from posthorn.engine.lanes import owner_of
from posthorn.engine.records import DeliveryWork
from posthorn.engine.throttle import Throttle

FIRST_WINDOW = 2
WIDEST_WINDOW = 128
PREFETCH = 64
MOST_HELD = 1024
_DOUBTFUL_SHARE = 0.5
_LANE_BYTES = 32 * 1024 * 1024
_MOST_BYTES = 128 * 1024 * 1024


class Finish(StrEnum):
    """How an attempt ended, as far as fairness is concerned."""

    ANSWERED_WELL = "answered_well"
    ANSWERED_BADLY = "answered_badly"  #: a response that is no success: the receiver is up
    ANSWERED_SLOWLY = "answered_slowly"  #: a response, but the slot was held for seconds
    UNANSWERED = "unanswered"  #: timeout, refused, reset
    NOTHING_LEARNED = "nothing_learned"  #: this node's own trouble: it says nothing of the receiver


class Lane:
    """One endpoint's place in the queue."""

    __slots__ = (
        "active_at",
        "after",
        "asked",
        "buffer",
        "dropped",
        "endpoint",
        "from_front_at",
        "held",
        "held_bytes",
        "in_flight",
        "let_go",
        "listed",
        "may_have_more",
        "not_before",
        "offered",
        "offered_ms",
        "proven",
        "shard",
        "since_ms",
        "throttle",
        "window",
    )

    def __init__(self, shard: int, endpoint: str, throttle: Throttle) -> None:
        self.shard = shard
        self.endpoint = endpoint
        self.buffer: deque[DeliveryWork] = deque()
        self.held: set[str] = set()  #: buffered, in flight, or waiting to be settled
        self.held_bytes = 0  #: of payloads, buffered or in flight
        self.after: tuple[int, str] | None = None  #: (due_ms, id) of the last one taken, to read on behind it
        self.from_front_at = 0.0  #: when it was last read from the front
        self.since_ms: int | None = None  #: whatever is due before is held, or ended: the front is not before it
        self.asked = False  #: a read of the store is under way
        self.let_go: set[str] = set()  #: what was settled since that read began: it may still bring it
        self.dropped = False  #: the buffer was dropped since that read began: what it brings is too old
        self.offered = False  #: the lane was offered since that read began: it may have missed something
        self.offered_ms: int | None = None  #: and that from then on
        self.in_flight = 0
        self.window = FIRST_WINDOW
        self.proven = False
        self.may_have_more = True
        self.listed = False  #: waits for a turn, for a doubtful slot, or for its throttle
        self.throttle = throttle
        self.not_before = 0.0
        self.active_at = 0.0

    def has_token(self, now: float) -> bool:
        """Whether the throttle lets one more attempt start; if not, `not_before` says when."""
        if self.throttle.rate is None:
            return True
        self.not_before = self.throttle.turn_at(now)
        return self.not_before <= now

    def has_first_attempt(self) -> bool:
        """Whether anything in the buffer was never tried."""
        return any(work.step == 0 for work in self.buffer)


def _earlier(known_ms: int | None, due_ms: int) -> int:
    return due_ms if known_ms is None else min(known_ms, due_ms)


class FairQueue:
    """Hands out turns. The caller takes work from the store into a lane's buffer when a turn needs it."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.doubtful_slots = max(1, int(slots * _DOUBTFUL_SHARE))
        self.in_flight = 0
        self.doubtful_in_flight = 0
        self.held_bytes = 0
        self._lanes: dict[str, Lane] = {}
        self._throttles: WeakValueDictionary[str, Throttle] = WeakValueDictionary()
        self._ready: deque[Lane] = deque()
        self._starved: OrderedDict[str, Lane] = OrderedDict()
        self._waiting: dict[Throttle, deque[Lane]] = {}  #: lanes whose throttle lets nobody start now, in turn
        self._turns: list[tuple[float, int, Throttle]] = []
        self._turns_told = 0  # breaks ties in the heap, where throttles cannot be compared

    def lane(self, shard: int, endpoint: str) -> Lane:
        """Return the lane of an endpoint, made at its first delivery."""
        lane = self._lanes.get(endpoint)
        if lane is None:
            lane = self._lanes[endpoint] = Lane(shard, endpoint, self._throttle_of(owner_of(endpoint)))
        return lane

    def lanes(self) -> Iterator[Lane]:
        """All lanes that are remembered."""
        return iter(self._lanes.values())

    def offer(self, shard: int, endpoint: str, due_ms: int | None = None) -> None:
        """Say that a lane has, or may have, due work; with `due_ms`, that some of it is due since then."""
        lane = self.lane(shard, endpoint)
        lane.may_have_more = True
        lane.offered = lane.asked
        if due_ms is not None:
            lane.since_ms = _earlier(lane.since_ms, due_ms) if lane.since_ms is not None else None
            lane.offered_ms = _earlier(lane.offered_ms, due_ms)
        if lane.listed and lane.proven:
            # Only its retries wait for a slot; what is new may be a first attempt, which need not.
            self._unstarve(lane)
        self._list(lane)

    def next_lane(self, now: float) -> Lane | None:
        """Return the lane whose turn it is, or None when nothing may start now.

        The caller then asks `wants_more` and `next_work`, and calls `started` with that work, or `rest` when there
        is none.
        """
        while self.in_flight < self.slots:
            if not self._ready and not self._release_starved():
                return None
            lane = self._ready.popleft()
            lane.listed = False
            lane.active_at = now
            if lane.in_flight >= lane.window or (lane.in_flight and self._is_heavy(lane)):
                self._pass_on(lane)  # it is listed again when one of its own finishes
                continue
            if not lane.proven and not self._has_doubtful_room():
                self._starve(lane)
                self._pass_on(lane)
                continue
            if not lane.has_token(now):
                self._await_turn(lane)
                continue
            return lane
        return None

    def wants_more(self, lane: Lane) -> bool:
        """Whether a turn of this lane needs to read more of its work from the store."""
        if lane.asked or not lane.may_have_more or len(lane.held) >= MOST_HELD:
            return False
        if not lane.buffer:
            return True
        # While retries must wait, first attempts behind them may go: read on, but not without end.
        return len(lane.buffer) < PREFETCH and not self._has_doubtful_room() and not lane.has_first_attempt()

    def asks(self, lane: Lane) -> None:
        """Say that a read of the lane begins. Until `took` it asks for no other."""
        lane.asked = True
        lane.offered = lane.dropped = False
        lane.offered_ms = None
        lane.let_go.clear()

    def took(self, lane: Lane, works: Sequence[DeliveryWork], *, more: bool, seen_ms: int | None = None) -> None:
        """Put what a read brought into a lane's buffer; `more` says that rows may be left behind it.

        The store answers with what it held when the read began. What was settled since then is in it once more, and
        what was committed since then is not. `seen_ms` tells that nothing due before was left out, now or to come.
        """
        lane.asked = False
        if lane.dropped:
            lane.may_have_more = True
        else:
            fresh = [work for work in works if work.id not in lane.held and work.id not in lane.let_go]
            lane.buffer.extend(fresh)
            lane.held.update([work.id for work in fresh])
            size = sum([len(work.payload.body) for work in fresh])
            lane.held_bytes += size
            self.held_bytes += size
            lane.may_have_more = more or lane.offered
            if seen_ms is not None:
                lane.since_ms = _earlier(lane.offered_ms, seen_ms)
        if lane.buffer or lane.may_have_more:
            self._list(lane)

    def drop_buffer(self, lane: Lane) -> None:
        """Let go of what was read ahead."""
        lane.held.difference_update([work.id for work in lane.buffer])
        self._let_go(lane, sum([len(work.payload.body) for work in lane.buffer]))
        lane.buffer.clear()
        lane.after = lane.since_ms = None
        lane.may_have_more = True
        lane.dropped = lane.asked

    def next_work(self, lane: Lane) -> DeliveryWork | None:
        """Take what may start now out of the lane's buffer: the oldest, or the oldest first attempt."""
        if not lane.buffer:
            return None
        if lane.buffer[0].step == 0 or self._has_doubtful_room():
            return lane.buffer.popleft()
        work = next((work for work in lane.buffer if work.step == 0), None)
        if work is not None:
            lane.buffer.remove(work)
        return work

    def started(self, lane: Lane, work: DeliveryWork) -> bool:
        """Count an attempt in; return whether it counts as doubtful, to be given back to `finished`."""
        doubtful = not lane.proven or work.step > 0
        lane.in_flight += 1
        self.in_flight += 1
        self.doubtful_in_flight += doubtful
        lane.throttle.take()
        if lane.buffer or lane.may_have_more:
            self._list(lane)
        return doubtful

    def finished(self, lane: Lane, finish: Finish, *, doubtful: bool, size: int = 0) -> None:
        """Count an attempt of a payload of `size` bytes out, and learn from how it went."""
        self._let_go(lane, size)
        lane.in_flight -= 1
        self.in_flight -= 1
        self.doubtful_in_flight -= doubtful
        self._learn(lane, finish)
        if lane.buffer or lane.may_have_more:
            self._list(lane)
        if self._starved:
            self._release_starved()

    def rest(self, lane: Lane) -> None:
        """Nothing of the lane may start now.

        With retries in its buffer it reads on behind them, and then waits for a doubtful slot; with too much unsettled
        it waits for `settled`; with a read under way, for `took`; otherwise it had nothing due and stays out of the
        round until it is offered again.
        """
        self._pass_on(lane)
        if lane.asked:
            return
        if lane.buffer:
            if self.wants_more(lane):
                self._list(lane)
            else:
                self._starve(lane)
        elif len(lane.held) < MOST_HELD:
            lane.may_have_more = False

    def settled(self, lane: Lane, delivery: str) -> bool:
        """Let go of a delivery whose outcome is durable; return whether that put its lane back into the round."""
        lane.held.discard(delivery)
        if lane.asked:
            lane.let_go.add(delivery)
        if lane.listed or not lane.may_have_more or lane.in_flight >= lane.window:
            return False
        self._list(lane)
        return True

    def release_throttled(self, now: float) -> float | None:
        """Put lanes whose throttle lets go back into the round; return when the next one will, or None."""
        while self._turns and self._turns[0][0] <= now:
            _, _, throttle = heapq.heappop(self._turns)
            released = 0
            while throttle in self._waiting and throttle.turn_at(now, after=released) <= now:
                self._release(throttle)
                released += 1
            if throttle in self._waiting:
                self._tell_turn(throttle, throttle.turn_at(now, after=released))
        return self._turns[0][0] if self._turns else None

    def drop_buffers(self) -> None:
        """Forget what was read ahead, because another node may have worked on it meanwhile."""
        for lane in self._lanes.values():
            lane.since_ms = None
            if lane.buffer or lane.asked:
                self.drop_buffer(lane)

    def busy_shards(self) -> set[int]:
        """Return the shards with deliveries in flight or on their way to the store."""
        return {lane.shard for lane in self._lanes.values() if len(lane.held) > len(lane.buffer)}

    def forget_idle(self, before: float) -> int:
        """Drop lanes that have had no turn since then; return how many."""
        idle = [
            lane.endpoint
            for lane in self._lanes.values()
            if not lane.held and not lane.in_flight and not lane.listed and not lane.asked and lane.active_at < before
        ]
        for endpoint in idle:
            del self._lanes[endpoint]
        return len(idle)

    def _await_turn(self, lane: Lane) -> None:
        lane.listed = True
        if lane.throttle not in self._waiting:
            self._waiting[lane.throttle] = deque()
            self._tell_turn(lane.throttle, lane.not_before)
        self._waiting[lane.throttle].append(lane)

    def _tell_turn(self, throttle: Throttle, at: float) -> None:
        self._turns_told += 1
        heapq.heappush(self._turns, (at, self._turns_told, throttle))

    def _pass_on(self, lane: Lane) -> None:
        """Give the turn that a lane does not use to the next one that shares its throttle."""
        if lane.throttle in self._waiting:
            self._release(lane.throttle)

    def _release(self, throttle: Throttle) -> None:
        waiting = self._waiting[throttle]
        lane = waiting.popleft()
        if not waiting:
            del self._waiting[throttle]
        lane.listed = False
        self._list(lane)

    def _throttle_of(self, owner: str) -> Throttle:
        throttle = self._throttles.get(owner)
        if throttle is None:
            throttle = self._throttles[owner] = Throttle()
        return throttle

    def _learn(self, lane: Lane, finish: Finish) -> None:
        if finish is Finish.ANSWERED_WELL:
            lane.window = min(lane.window + 1, WIDEST_WINDOW)
        elif finish is Finish.UNANSWERED:
            lane.window = max(1, lane.window // 2)
        if finish is Finish.UNANSWERED or finish is Finish.ANSWERED_SLOWLY:
            lane.proven = False
        elif finish is not Finish.NOTHING_LEARNED and not lane.proven:
            lane.proven = True
            self._unstarve(lane)

    def _is_heavy(self, lane: Lane) -> bool:
        """Whether payloads in memory are as many bytes as may be; each lane may still have one delivery in flight."""
        return lane.held_bytes >= _LANE_BYTES or self.held_bytes >= _MOST_BYTES

    def _let_go(self, lane: Lane, size: int) -> None:
        lane.held_bytes -= size
        self.held_bytes -= size

    def _has_doubtful_room(self) -> bool:
        return self.doubtful_in_flight < self.doubtful_slots

    def _starve(self, lane: Lane) -> None:
        lane.listed = True
        self._starved[lane.endpoint] = lane

    def _unstarve(self, lane: Lane) -> None:
        if self._starved.pop(lane.endpoint, None) is not None:
            lane.listed = False

    def _release_starved(self) -> bool:
        """Put the lane that waits longest for a doubtful slot back into the round, if there is one."""
        if not self._starved or not self._has_doubtful_room():
            return False
        _, lane = self._starved.popitem(last=False)
        lane.listed = False
        self._list(lane)
        return True

    def _list(self, lane: Lane) -> None:
        if not lane.listed:
            lane.listed = True
            self._ready.append(lane)
