"""The front of the deciding queue: past it nothing is looked for, and nothing is missed."""

from posthorn.decide.front import Front
from posthorn.engine.cluster import SHARED

RESCAN_SECONDS = SHARED.rescan_ms / 1000
NOW_MS = 1_000_000


class Reader:
    """Reads as the loop does, each time for a while."""

    def __init__(self) -> None:
        self.front = Front()
        self.now = 100.0
        self.generation = 1

    def read(self, *, seconds: float = 0.0, now_ms: int = NOW_MS) -> int | None:
        since_ms = self.front.since_ms(now=self.now, now_ms=now_ms, generation=self.generation)
        self.now += seconds
        self.front.was_read(SHARED, now=self.now)
        return since_ms


def test_the_first_read_and_those_under_new_leases_begin_at_the_beginning() -> None:
    reader = Reader()
    assert reader.read() is None
    reader.front.reach(NOW_MS - 60_000)
    assert reader.read() == NOW_MS - 60_000
    reader.generation += 1
    assert reader.read() is None
    assert reader.read() is None  # until something was reached


def test_a_read_begins_some_seconds_before_now_because_commits_come_late() -> None:
    reader = Reader()
    reader.read()
    reader.front.reach(NOW_MS)
    assert reader.read() == NOW_MS - 5000


def test_a_clock_that_is_set_back_moves_the_front_back() -> None:
    reader = Reader()
    reader.read()
    reader.front.reach(NOW_MS)
    assert reader.read(now_ms=NOW_MS - 3_600_000) == NOW_MS - 3_605_000


def test_a_hint_moves_the_front_back_and_never_forward() -> None:
    reader = Reader()
    reader.front.heed(5)
    assert reader.read() is None
    reader.front.reach(NOW_MS - 60_000)
    reader.front.heed(NOW_MS - 30_000)
    assert reader.read() == NOW_MS - 60_000
    reader.front.heed(NOW_MS - 90_000)
    assert reader.read() == NOW_MS - 90_000


def test_now_and_then_it_is_read_from_the_beginning_and_rarer_where_that_takes_long() -> None:
    reader = Reader()
    reader.read(seconds=3.0)
    reader.front.reach(NOW_MS - 60_000)
    reader.now += RESCAN_SECONDS + 1
    assert reader.read() is not None
    reader.now += 20 * 3.0 - RESCAN_SECONDS
    assert reader.read() is None
    reader.front.reach(NOW_MS - 60_000)
    reader.now += RESCAN_SECONDS
    assert reader.read() is None
