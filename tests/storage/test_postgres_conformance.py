"""PostgreSQL under the suite that every store has to pass, and against the store in memory."""
# ruff: noqa: F403 - importing everything is how a suite of tests is taken over.

from collections.abc import AsyncIterator

import pytest

from posthorn.storage.postgres.store import PostgresStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.journal import *
from posthorn.testing.conformance.model import run_random_history
from posthorn.testing.conformance.people import *
from posthorn.testing.conformance.people_model import run_random_people
from posthorn.testing.conformance.registry import *
from posthorn.testing.conformance.work import *
from posthorn.testing.memory import MemoryStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(clock: ManualClock, suite18_dsn: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(suite18_dsn, clock)
    yield store
    await store.close()


@pytest.mark.parametrize("seed", range(5))
async def test_the_database_agrees_with_the_memory_over_a_random_history(
    seed: int, store: PostgresStore, clock: ManualClock
) -> None:
    await run_random_history(store, MemoryStore(clock), seed=seed, steps=300)


@pytest.mark.parametrize("seed", range(5))
async def test_the_database_agrees_with_the_memory_over_a_random_history_of_people(
    seed: int, store: PostgresStore, clock: ManualClock
) -> None:
    assert await run_random_people(store, MemoryStore(clock), clock, seed=seed, steps=300) > 20
