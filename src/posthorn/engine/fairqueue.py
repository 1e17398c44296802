"""Which lane may send next. Plain memory, exact because one node owns a lane; pure: it is told the time.

A lane is one endpoint's queue. Lanes take turns, one delivery a turn, so a busy one never pushes back the others.
Each has a window of deliveries in flight: it starts small, grows by one with each success, halves when the receiver
does not answer in time. Lanes that are not proven healthy, and retries, share only a part of all slots, so that
endpoints that hang can never hold the slots that working ones need.
"""

from collections import deque
from collections.abc import Iterator
from enum import StrEnum

from posthorn.engine.records import DeliveryWork

FIRST_WINDOW = 2
WIDEST_WINDOW = 128
PREFETCH = 64
_DOUBTFUL_SHARE = 0.5


class Finish(StrEnum):
    """How an attempt ended, as far as fairness is concerned."""

    ANSWERED_WELL = "answered_well"
    ANSWERED_BADLY = "answered_badly"  #: a response that is no success: the receiver is up
    UNANSWERED = "unanswered"  #: timeout, refused, reset


class Lane:
    """One endpoint's place in the queue."""

    __slots__ = (
        "buffer",
        "endpoint",
        "held",
        "idle_since",
        "in_flight",
        "listed",
        "may_have_more",
        "not_before",
        "proven",
        "rate",
        "shard",
        "tokens",
        "tokens_at",
        "window",
    )

    def __init__(self, shard: int, endpoint: str) -> None:
        self.shard = shard
        self.endpoint = endpoint
        self.buffer: deque[DeliveryWork] = deque()
        self.held: set[str] = set()  #: buffered, in flight, or waiting to be settled
        self.in_flight = 0
        self.window = FIRST_WINDOW
        self.proven = False
        self.may_have_more = True
        self.listed = False
        self.rate: int | None = None
        self.tokens = 1.0
        self.tokens_at = 0.0
        self.not_before = 0.0
        self.idle_since = 0.0

    def has_token(self, now: float) -> bool:
        """Whether the throttle lets one more attempt start; if not, `not_before` says when."""
        if self.rate is None:
            return True
        self.tokens = min(max(1.0, float(self.rate)), self.tokens + (now - self.tokens_at) * self.rate)
        self.tokens_at = now
        if self.tokens >= 1.0:
            return True
        self.not_before = now + (1.0 - self.tokens) / self.rate
        return False


class FairQueue:
    """Hands out turns. The caller takes work from the store into a lane's buffer when a turn needs it."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.doubtful_slots = max(1, int(slots * _DOUBTFUL_SHARE))
        self.in_flight = 0
        self.doubtful_in_flight = 0
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._starved: deque[Lane] = deque()
        self._throttled: list[Lane] = []

    def lane(self, shard: int, endpoint: str) -> Lane:
        """Return the lane of an endpoint, made at its first delivery."""
        lane = self._lanes.get(endpoint)
        if lane is None:
            lane = self._lanes[endpoint] = Lane(shard, endpoint)
        return lane

    def lanes(self) -> Iterator[Lane]:
        """All lanes that are remembered."""
        return iter(self._lanes.values())

    def offer(self, shard: int, endpoint: str) -> None:
        """Say that a lane has, or may have, due work."""
        lane = self.lane(shard, endpoint)
        lane.may_have_more = True
        self._list(lane)

    def next_lane(self, now: float) -> Lane | None:
        """Return the lane whose turn it is, or None when nothing may start now.

        The caller either calls `started` with a delivery of its buffer, or `rest` when it has none.
        """
        while self._ready and self.in_flight < self.slots:
            lane = self._ready.popleft()
            lane.listed = False
            if lane.in_flight >= lane.window:
                continue  # listed again when one of its own finishes
            if self._is_doubtful(lane) and self.doubtful_in_flight >= self.doubtful_slots:
                lane.listed = True
                self._starved.append(lane)
                continue
            if not lane.has_token(now):
                lane.listed = True
                self._throttled.append(lane)
                continue
            return lane
        return None

    def started(self, lane: Lane, work: DeliveryWork) -> bool:
        """Count an attempt in; return whether it counts as doubtful, to be given back to `finished`."""
        doubtful = self._is_doubtful(lane) or work.step > 0
        lane.in_flight += 1
        self.in_flight += 1
        self.doubtful_in_flight += doubtful
        if lane.rate is not None:
            lane.tokens -= 1.0
        if lane.buffer or lane.may_have_more:
            self._list(lane)
        return doubtful

    def finished(self, lane: Lane, finish: Finish, *, doubtful: bool) -> None:
        """Count an attempt out and learn from how it went."""
        lane.in_flight -= 1
        self.in_flight -= 1
        self.doubtful_in_flight -= doubtful
        if finish is Finish.UNANSWERED:
            lane.proven = False
            lane.window = max(1, lane.window // 2)
        else:
            lane.proven = True
            if finish is Finish.ANSWERED_WELL and lane.window < WIDEST_WINDOW:
                lane.window += 1
        if lane.buffer or lane.may_have_more:
            self._list(lane)
        if self._starved and self.doubtful_in_flight < self.doubtful_slots:
            starved = self._starved.popleft()
            starved.listed = False
            self._list(starved)

    def rest(self, lane: Lane, now: float) -> None:
        """The lane had nothing due: it stays out of the round until it is offered again."""
        lane.may_have_more = False
        lane.idle_since = now

    def release_throttled(self, now: float) -> float | None:
        """Put lanes whose throttle lets go back into the round; return when the next one will, or None."""
        waiting, self._throttled = self._throttled, []
        next_at: float | None = None
        for lane in waiting:
            if lane.not_before <= now:
                lane.listed = False
                self._list(lane)
            else:
                self._throttled.append(lane)
                next_at = lane.not_before if next_at is None else min(next_at, lane.not_before)
        return next_at

    def forget_idle(self, before: float) -> int:
        """Drop lanes that have had nothing to do since then; return how many."""
        idle = [
            lane.endpoint
            for lane in self._lanes.values()
            if not lane.held and not lane.in_flight and not lane.listed and lane.idle_since < before
        ]
        for endpoint in idle:
            del self._lanes[endpoint]
        return len(idle)

    @staticmethod
    def _is_doubtful(lane: Lane) -> bool:
        return not lane.proven

    def _list(self, lane: Lane) -> None:
        if not lane.listed:
            lane.listed = True
            self._ready.append(lane)
