"""Turns: windows, the doubtful share, throttles, and that no lane is ever lost."""

from collections import deque
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.engine.fairqueue import MOST_HELD, PREFETCH, WIDEST_WINDOW, FairQueue, Finish, Lane
from posthorn.engine.records import DeliveryWork, Payload, Trigger
from posthorn.engine.shards import shard_of

_numbers = count()


def a_work(endpoint: str, *, step: int = 0) -> DeliveryWork:
    return DeliveryWork(
        id=f"dlv_{next(_numbers)}",
        shard=shard_of(endpoint),
        endpoint=endpoint,
        due_ms=0,
        event="evt",
        attempts=step,
        step=step,
        trigger=Trigger.SCHEDULED,
        payload=Payload(type="t", body=b"{}"),
    )


class Owner:
    """Drives a queue as the dispatcher does, over rows kept in plain deques."""

    def __init__(self, slots: int) -> None:
        self.queue = FairQueue(slots)
        self.now = 0.0
        self.rows: dict[str, deque[DeliveryWork]] = {}
        self.flying: list[tuple[Lane, DeliveryWork, bool]] = []
        self.started: list[DeliveryWork] = []

    def add(self, endpoint: str, *steps: int) -> None:
        self.rows.setdefault(endpoint, deque()).extend(a_work(endpoint, step=step) for step in steps)
        self.queue.offer(shard_of(endpoint), endpoint)

    def pump(self) -> None:
        self.queue.release_throttled(self.now)
        while (lane := self.queue.next_lane(self.now)) is not None:
            if self.queue.wants_more(lane):
                self._fill(lane)
            work = self.queue.next_work(lane)
            if work is None:
                self.queue.rest(lane)
                continue
            self.flying.append((lane, work, self.queue.started(lane, work)))
            self.started.append(work)
            self.check()

    def _fill(self, lane: Lane) -> None:
        room = min(PREFETCH, 2 * lane.window)
        rows = self.rows.get(lane.endpoint, deque())
        taken = [rows.popleft() for _ in range(min(room, len(rows)))]
        self.queue.asks(lane)
        self.queue.took(lane, taken, more=len(taken) == room)

    def finish(self, index: int, finish: Finish = Finish.ANSWERED_WELL) -> None:
        lane, work, doubtful = self.flying.pop(index)
        self.queue.finished(lane, finish, doubtful=doubtful)
        self.queue.settled(lane, work.id)
        self.check()

    def prove(self, endpoint: str) -> Lane:
        self.add(endpoint, 0)
        self.pump()
        at = next(index for index, (lane, _, _) in enumerate(self.flying) if lane.endpoint == endpoint)
        self.finish(at)
        return self.queue.lane(shard_of(endpoint), endpoint)

    def in_flight_of(self, endpoint: str) -> list[DeliveryWork]:
        return [work for lane, work, _ in self.flying if lane.endpoint == endpoint]

    def check(self) -> None:
        queue = self.queue
        assert queue.in_flight == len(self.flying) <= queue.slots
        assert queue.doubtful_in_flight == sum(doubtful for _, _, doubtful in self.flying) <= queue.doubtful_slots
        for lane in queue.lanes():
            assert lane.in_flight == len(self.in_flight_of(lane.endpoint))
            assert 1 <= lane.window <= WIDEST_WINDOW


def test_lanes_take_turns_however_much_one_of_them_has() -> None:
    owner = Owner(slots=100)
    for endpoint in ("busy", "a", "b"):
        owner.prove(endpoint)
    owner.started.clear()
    owner.add("busy", *[0] * 50)
    owner.add("a", 0, 0)
    owner.add("b", 0, 0)
    owner.pump()
    assert [work.endpoint for work in owner.started[:6]] == ["busy", "a", "b", "busy", "a", "b"]


def test_a_window_grows_with_success_and_halves_when_nothing_answers() -> None:
    owner = Owner(slots=1000)
    owner.add("a", *[0] * 400)
    owner.pump()
    assert len(owner.flying) == 2
    for _ in range(5):
        owner.finish(0)
        owner.pump()
    lane = owner.queue.lane(shard_of("a"), "a")
    assert (lane.window, lane.in_flight, lane.proven) == (7, 7, True)
    owner.finish(0, Finish.UNANSWERED)
    assert (lane.window, lane.proven) == (3, False)
    owner.finish(0, Finish.ANSWERED_BADLY)
    assert (lane.window, lane.proven) == (3, True)
    owner.finish(0, Finish.ANSWERED_SLOWLY)
    assert (lane.window, lane.proven) == (3, False)
    owner.finish(0, Finish.NOTHING_LEARNED)
    assert (lane.window, lane.proven) == (3, False)


def test_endpoints_that_hang_leave_the_other_half_of_the_slots_free() -> None:
    owner = Owner(slots=10)
    owner.prove("healthy")
    for number in range(20):
        owner.add(f"hanging {number}", 0, 0)
    owner.pump()
    assert owner.queue.doubtful_in_flight == 5
    owner.add("healthy", 0, 0, 0)
    owner.pump()
    assert len(owner.in_flight_of("healthy")) == 3


def test_old_retries_leave_the_other_half_of_the_slots_to_first_attempts() -> None:
    owner = Owner(slots=10)
    for number in range(10):
        owner.prove(f"back again {number}")
    for number in range(10):
        owner.add(f"back again {number}", 1, 2, 3)
    owner.pump()
    assert (owner.queue.doubtful_in_flight, owner.queue.in_flight) == (5, 5)
    owner.add("back again 9", 0)
    owner.pump()
    assert [work.step for work in owner.in_flight_of("back again 9")] == [0]


def test_first_attempts_overtake_retries_of_their_lane_that_wait_for_a_slot() -> None:
    owner = Owner(slots=4)
    lane = owner.prove("mixed")
    lane.window = 4
    for endpoint in ("dead", "deader"):
        owner.add(endpoint, 0)
    owner.pump()
    owner.add("mixed", 1, 1, *[1] * 10, 0, 0)
    owner.pump()
    assert [work.step for work in owner.in_flight_of("mixed")] == [0, 0]
    owner.finish(0)
    owner.pump()
    assert [work.step for work in owner.in_flight_of("mixed")] == [0, 0, 1]


def test_a_starved_lane_comes_in_when_the_one_before_it_turns_out_to_have_nothing() -> None:
    owner = Owner(slots=2)
    owner.add("a", 0)
    owner.pump()
    owner.add("empty")
    owner.add("waiting", 0)
    owner.pump()
    assert not owner.in_flight_of("waiting")
    owner.finish(0, Finish.UNANSWERED)
    owner.pump()
    assert owner.in_flight_of("waiting")


def test_a_starved_lane_that_proves_healthy_waits_no_longer() -> None:
    owner = Owner(slots=4)
    owner.add("a", 0, 0, 0)
    owner.queue.lane(shard_of("a"), "a").window = 3
    owner.add("dead", 0)
    owner.pump()
    assert len(owner.in_flight_of("a")) == 1
    owner.finish(0)
    owner.add("dead", 0)
    owner.pump()
    assert len(owner.in_flight_of("a")) == 2


def test_a_throttled_lane_never_exceeds_its_rate_and_waits_no_longer_than_it_must() -> None:
    owner = Owner(slots=1000)
    lane = owner.prove("slow")
    lane.window, lane.throttle.rate = 100, 10
    owner.add("slow", *[0] * 100)
    starts: list[float] = []
    for tick in range(300):
        owner.now = 1000 + tick / 100
        owner.pump()
        starts += [owner.now] * len(owner.flying)
        while owner.flying:
            owner.finish(0)
            lane.throttle.rate = 10
    for start in starts:
        assert sum(start <= other < start + 1 for other in starts) <= 11
    assert len(starts) >= 29


def test_the_lanes_of_one_automation_share_its_throttle_and_take_turns() -> None:
    owner = Owner(slots=1000)
    lanes = [f"auto_1/{host}.test" for host in ("a", "b", "c", "d")]
    for lane in lanes:
        owner.prove(lane).window = 100
    owner.queue.lane(0, lanes[0]).throttle.rate = 10
    assert owner.prove("auto_2/a.test").throttle.rate is None
    for lane in lanes:
        owner.add(lane, *[0] * 100)
    starts: list[tuple[float, str]] = []
    for tick in range(300):
        owner.now = 1000 + tick / 100
        owner.pump()
        while owner.flying:
            starts.append((owner.now, owner.flying[0][0].endpoint))
            owner.finish(0)
    for start, _ in starts:
        assert sum(start <= other < start + 1 for other, _ in starts) <= 11
    assert len(starts) >= 28
    assert all(sum(one == lane for _, one in starts) >= 5 for lane in lanes)


def test_a_throttle_is_forgotten_with_the_last_of_its_lanes() -> None:
    owner = Owner(slots=2)
    owner.queue.lane(0, "auto_1/a.test").throttle.rate = 5
    assert owner.queue.lane(0, "auto_1/b.test").throttle.rate == 5
    owner.queue.forget_idle(1e9)
    assert owner.queue.lane(0, "auto_1/a.test").throttle.rate is None


def test_the_next_release_of_a_throttle_is_told() -> None:
    owner = Owner(slots=10)
    lane = owner.prove("slow")
    lane.throttle.rate = 2
    owner.add("slow", 0, 0, 0)
    owner.now = 100.0
    owner.pump()
    assert owner.queue.release_throttled(100.0) == 100.5
    assert owner.queue.release_throttled(100.5) is None
    owner.now = 100.5
    owner.pump()
    assert len(owner.flying) == 2


def test_a_lane_is_not_forgotten_while_it_is_throttled_starved_or_busy() -> None:
    owner = Owner(slots=2)
    throttled = owner.prove("throttled")
    throttled.throttle.rate = 1
    throttled.throttle.tokens = throttled.throttle.tokens_at = 0.0
    owner.add("throttled", 0)
    owner.add("busy", 0)
    owner.add("starved", 0)
    owner.pump()
    assert owner.queue.forget_idle(1e9) == 0
    assert {lane.endpoint for lane in owner.queue.lanes()} == {"throttled", "busy", "starved"}


def test_an_idle_lane_is_forgotten_counted_from_its_last_turn() -> None:
    owner = Owner(slots=2)
    owner.now = 500.0
    owner.prove("a")
    assert owner.queue.forget_idle(499.0) == 0
    assert owner.queue.forget_idle(501.0) == 1
    assert list(owner.queue.lanes()) == []


def test_a_lane_with_too_much_unsettled_reads_no_more_until_something_is() -> None:
    queue = FairQueue(10_000)
    lane = queue.lane(1, "a")
    lane.proven, lane.window = True, WIDEST_WINDOW
    lane.held.update(str(number) for number in range(MOST_HELD))
    queue.offer(1, "a")
    assert queue.next_lane(0.0) is lane
    assert not queue.wants_more(lane)
    assert queue.next_work(lane) is None
    queue.rest(lane)
    assert queue.next_lane(0.0) is None
    assert queue.settled(lane, "0")
    assert queue.next_lane(0.0) is lane
    assert queue.wants_more(lane)


def test_dropped_buffers_are_read_again() -> None:
    owner = Owner(slots=10)
    owner.add("a", 0, 0, 0, 0)
    owner.pump()
    lane = owner.queue.lane(shard_of("a"), "a")
    assert len(lane.held) == 4
    owner.queue.drop_buffers()
    assert (len(lane.held), len(lane.buffer), lane.may_have_more) == (2, 0, True)


def a_lane_that_asks() -> tuple[FairQueue, Lane]:
    queue = FairQueue(10)
    queue.offer(1, "a")
    lane = queue.lane(1, "a")
    queue.asks(lane)
    return queue, lane


def test_the_front_of_a_lane_is_where_a_read_left_nothing_out() -> None:
    queue, lane = a_lane_that_asks()
    assert lane.since_ms is None
    queue.took(lane, [], more=False, seen_ms=500)
    assert lane.since_ms == 500
    queue.asks(lane)
    queue.took(lane, [], more=True)
    assert lane.since_ms == 500


def test_the_front_of_a_lane_goes_back_to_what_is_offered_late() -> None:
    queue, lane = a_lane_that_asks()
    queue.offer(1, "a", 400)
    assert lane.since_ms is None  # it is read from the beginning anyway
    queue.took(lane, [], more=False, seen_ms=500)
    assert lane.since_ms == 400  # the read that was under way may have missed it
    queue.asks(lane)
    queue.took(lane, [], more=False, seen_ms=600)
    assert lane.since_ms == 600
    queue.offer(1, "a", 700)
    queue.offer(1, "a")
    assert lane.since_ms == 600
    queue.offer(1, "a", 300)
    assert lane.since_ms == 300


def test_a_lane_whose_buffer_was_dropped_is_read_from_the_beginning() -> None:
    queue, lane = a_lane_that_asks()
    queue.took(lane, [], more=False, seen_ms=500)
    queue.asks(lane)
    queue.drop_buffer(lane)
    queue.took(lane, [], more=False, seen_ms=600)
    assert lane.since_ms is None
    queue.asks(lane)
    queue.took(lane, [], more=False, seen_ms=700)
    queue.drop_buffers()  # also of lanes that had nothing in them: another node may have put something back
    assert lane.since_ms is None


ENDPOINTS = ("a", "b", "c", "d", "e")
moves = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(ENDPOINTS), st.lists(st.integers(0, 2), max_size=6)),
        st.tuples(st.just("finish"), st.integers(0, 50), st.sampled_from(list(Finish))),
        st.tuples(st.just("rate"), st.sampled_from(ENDPOINTS), st.sampled_from([None, 1, 3, 50])),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.3, 5.0]), st.none()),
        st.tuples(st.just("forget"), st.none(), st.none()),
        st.tuples(st.just("pump"), st.none(), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(slots=st.integers(1, 7), story=moves)
def test_whatever_happens_limits_hold_nothing_is_lost_and_counters_return_to_zero(slots: int, story: list) -> None:
    owner = Owner(slots)
    added = 0
    for name, first, second in story:
        if name == "add":
            owner.add(first, *second)
            added += len(second)
        elif name == "finish" and owner.flying:
            owner.finish(first % len(owner.flying), second)
        elif name == "rate":
            owner.queue.lane(shard_of(first), first).throttle.rate = second
        elif name == "wait":
            owner.now += first
        elif name == "forget":
            owner.queue.forget_idle(owner.now - 1)
        elif name == "pump":
            owner.pump()
    for _ in range(2 * added + 10):
        owner.now += 2.0
        owner.pump()
        while owner.flying:
            owner.finish(0)
    assert len(owner.started) == len({work.id for work in owner.started}) == added
    assert (owner.queue.in_flight, owner.queue.doubtful_in_flight) == (0, 0)
    assert not any(lane.held or lane.buffer for lane in owner.queue.lanes())


class SlowOwner:
    """Drives a queue over a store whose reads take a while: each answers with what there was when it began."""

    def __init__(self, slots: int) -> None:
        self.queue = FairQueue(slots)
        self.rows: dict[str, list[DeliveryWork]] = {endpoint: [] for endpoint in ENDPOINTS}
        self.reads: list[tuple[Lane, list[DeliveryWork], bool]] = []
        self.flying: list[tuple[Lane, DeliveryWork, bool]] = []
        self.unsettled: list[tuple[Lane, DeliveryWork]] = []
        self.started: list[str] = []

    def add(self, endpoint: str, steps: list[int]) -> None:
        self.rows[endpoint] += [a_work(endpoint, step=step) for step in steps]
        self.queue.offer(shard_of(endpoint), endpoint)

    def pump(self) -> None:
        while (lane := self.queue.next_lane(0.0)) is not None:
            if self.queue.wants_more(lane):
                room = min(PREFETCH, 2 * lane.window)
                free = [work for work in self.rows[lane.endpoint] if work.id not in lane.held]
                self.queue.asks(lane)
                self.reads.append((lane, free[:room], len(free) > room))
            work = self.queue.next_work(lane)
            if work is None:
                self.queue.rest(lane)
                continue
            self.flying.append((lane, work, self.queue.started(lane, work)))
            self.started.append(work.id)

    def arrive(self, index: int) -> None:
        lane, works, more = self.reads.pop(index % len(self.reads))
        self.queue.took(lane, works, more=more)

    def finish(self, index: int, finish: Finish) -> None:
        lane, work, doubtful = self.flying.pop(index % len(self.flying))
        self.queue.finished(lane, finish, doubtful=doubtful, size=len(work.payload.body))
        self.unsettled.append((lane, work))

    def settle(self, index: int) -> None:
        lane, work = self.unsettled.pop(index % len(self.unsettled))
        self.rows[lane.endpoint].remove(work)
        self.queue.settled(lane, work.id)

    def run_dry(self) -> None:
        while True:
            self.pump()
            if not (self.reads or self.flying or self.unsettled):
                return
            while self.reads:
                self.arrive(0)
            while self.flying:
                self.finish(0, Finish.ANSWERED_WELL)
            while self.unsettled:
                self.settle(0)


@settings(max_examples=300, deadline=None)
@given(
    slots=st.integers(1, 7),
    story=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from(ENDPOINTS), st.lists(st.integers(0, 1), max_size=6)),
            st.tuples(st.sampled_from(["arrive", "settle"]), st.integers(0, 50), st.none()),
            st.tuples(st.just("finish"), st.integers(0, 50), st.sampled_from(list(Finish))),
            st.tuples(st.sampled_from(["pump", "drop"]), st.none(), st.none()),
        ),
        max_size=80,
    ),
)
def test_with_slow_reads_each_delivery_is_started_once_and_none_is_forgotten(slots: int, story: list) -> None:
    owner = SlowOwner(slots)
    for name, first, second in story:
        if name == "add":
            owner.add(first, second)
        elif name == "arrive" and owner.reads:
            owner.arrive(first)
        elif name == "finish" and owner.flying:
            owner.finish(first, second)
        elif name == "settle" and owner.unsettled:
            owner.settle(first)
        elif name == "pump":
            owner.pump()
        elif name == "drop":
            owner.queue.drop_buffers()
    owner.run_dry()
    assert not any(owner.rows.values())
    assert len(owner.started) == len(set(owner.started))
    assert not owner.queue.busy_shards()
    assert not any(lane.held or lane.buffer or lane.asked for lane in owner.queue.lanes())
    assert owner.queue.held_bytes == 0


def test_a_lane_offered_while_it_is_read_is_read_again() -> None:
    owner = SlowOwner(4)
    owner.add("a", [0])
    owner.pump()
    owner.add("a", [0])
    owner.arrive(0)
    owner.run_dry()
    assert len(owner.started) == 2


def test_what_was_settled_while_a_read_was_under_way_is_not_started_again() -> None:
    owner = SlowOwner(4)
    owner.add("a", [0, 0, 0])
    lane = owner.queue.lane(shard_of("a"), "a")
    owner.pump()
    [(_, works, _)] = owner.reads
    owner.arrive(0)
    owner.pump()
    owner.finish(0, Finish.ANSWERED_WELL)
    owner.queue.asks(lane)
    owner.settle(0)
    owner.queue.took(lane, works, more=False)
    owner.run_dry()
    assert len(owner.started) == len(set(owner.started)) == 3
