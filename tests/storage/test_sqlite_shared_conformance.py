"""The embedded store as one of several processes' stores, under the suite of what processes do to each other's work."""
# ruff: noqa: F403 - importing everything is how a suite of tests is taken over.

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.work import *


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def opened_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leave the file as the process that starts the others leaves it."""
    folder = tmp_path_factory.mktemp("before")

    async def open_alone() -> None:
        await (await SqliteStore.open(folder, ManualClock())).close()

    asyncio.run(open_alone())
    return folder / DATABASE


@pytest.fixture
async def store(clock: ManualClock, tmp_path: Path, opened_before: Path) -> AsyncIterator[SqliteStore]:
    shutil.copy(opened_before, tmp_path / DATABASE)
    store = await SqliteStore.open(tmp_path, clock, shared=True)
    yield store
    await store.close()
