"""Worlds over all three stores: what is decided must not depend on where it is kept."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stored_world import NotingMemory, NotingPostgres, NotingSqlite, StoredWorld

from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.migrate import bring_up_to_date
from posthorn.testing.clock import ManualClock


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Path | str | None:
    """Name where a store is to be: a folder, an address, or nowhere but in memory."""
    match request.param:
        case "sqlite":
            folder: Path = request.getfixturevalue("tmp_path")
            shutil.copy(request.getfixturevalue("empty_file"), folder / DATABASE)
            return folder
        case "postgres":
            dsn: str = request.getfixturevalue("suite18_dsn")
            return dsn
    return None


@pytest.fixture
async def world(place: Path | str | None) -> AsyncIterator[StoredWorld]:
    """Decide over one store after the other."""
    clock = ManualClock()
    match place:
        case Path():
            store = await NotingSqlite.open(place, clock)
        case str():
            store = await NotingPostgres.open(place, clock)
        case None:
            store = NotingMemory(clock)
    yield StoredWorld(store, clock)
    await store.close()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate once: every test begins with the same empty file."""
    path = tmp_path_factory.mktemp("empty") / DATABASE
    bring_up_to_date(path)
    return path
