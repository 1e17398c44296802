"""The time of the cluster: the database's, whatever this machine believes, and never backwards."""

import time
from collections.abc import Callable

from posthorn.storage.postgres.clock import DatabaseClock
from posthorn.storage.postgres.stamps import Stamps
from posthorn.storage.postgres.store import PostgresStore
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.factories import a_node

FIVE_MINUTES_MS = 300_000


def _database(ahead_ms: float) -> Callable[[], object]:
    async def ask() -> float:
        return time.time() * 1000 + ahead_ms

    return ask


async def test_a_node_whose_own_clock_is_wrong_tells_the_databases_time() -> None:
    clock = DatabaseClock()
    await clock.sync(_database(FIVE_MINUTES_MS))
    assert abs(clock.now_ms() - time.time() * 1000 - FIVE_MINUTES_MS) < 1000
    assert clock.age_seconds < 1


async def test_time_never_runs_backwards_when_the_databases_clock_does() -> None:
    clock = DatabaseClock()
    await clock.sync(_database(FIVE_MINUTES_MS))
    before = clock.now_ms()
    await clock.sync(_database(0))
    assert clock.now_ms() == before
    await clock.sync(_database(2 * FIVE_MINUTES_MS))
    assert clock.now_ms() >= before + FIVE_MINUTES_MS


async def test_of_several_answers_the_quickest_counts() -> None:
    clock = DatabaseClock()
    delays = iter([0.05, 0.0, 0.05, 0.05])

    async def ask() -> float:
        delay = next(delays)
        told = 1_000_000.0 if not delay else 9_000_000.0
        until = time.monotonic() + delay
        while time.monotonic() < until:
            pass
        return told

    await clock.sync(ask)
    assert 1_000_000 <= clock.now_ms() < 1_002_000


async def test_without_a_clock_of_ours_a_store_has_the_databases(postgres18_dsn: str) -> None:
    store = await PostgresStore.open(postgres18_dsn)
    assert isinstance(store.clock, DatabaseClock)
    assert abs(store.clock.now_ms() - time.time() * 1000) < 1000
    node = a_node(seen_ms=store.clock.now_ms(), until_ms=store.clock.now_ms() + 1000)
    assert await store.announce(node) == [node]
    assert store.clock.age_seconds < 10
    await store.close()


def test_behind_the_wrap_of_the_blocks_comes_the_next_instant() -> None:
    clock = ManualClock()
    stamps = Stamps(clock)
    stamps.used(stamps.now_ms(), 500)
    assert stamps.now_ms() == START_MS
    stamps.used(stamps.now_ms(), 1023)
    assert stamps.now_ms() == START_MS + 1
    clock.advance(1)
    assert stamps.now_ms() == START_MS + 1000
