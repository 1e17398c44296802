"""The embedded store under the suite that every store has to pass, and against the one in memory."""
# ruff: noqa: F403 - importing everything is how a suite of tests is taken over.

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.migrate import bring_up_to_date
from posthorn.storage.sqlite.store import SqliteStore
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


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate once: hundreds of tests begin with the same empty file."""
    path = tmp_path_factory.mktemp("empty") / DATABASE
    bring_up_to_date(path)
    return path


@pytest.fixture
async def store(clock: ManualClock, tmp_path: Path, empty_file: Path) -> AsyncIterator[SqliteStore]:
    shutil.copy(empty_file, tmp_path / DATABASE)
    store = await SqliteStore.open(tmp_path, clock)
    yield store
    await store.close()


@pytest.mark.parametrize("seed", range(5))
async def test_the_file_agrees_with_the_memory_over_a_random_history(
    seed: int, store: SqliteStore, clock: ManualClock
) -> None:
    await run_random_history(store, MemoryStore(clock), seed=seed, steps=300)


@pytest.mark.parametrize("seed", range(5))
async def test_the_file_agrees_with_the_memory_over_a_random_history_of_people(
    seed: int, store: SqliteStore, clock: ManualClock
) -> None:
    assert await run_random_people(store, MemoryStore(clock), clock, seed=seed, steps=300) > 20
