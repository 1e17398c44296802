"""Stores for one history each: empty ones, opened in a few milliseconds."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path

from exact_nodes import SteppingClock

from posthorn.engine.ports import Store
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.memory import MemoryStore

OpenStore = Callable[[SteppingClock], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def in_memory(clock: SteppingClock) -> AsyncIterator[Store]:
    """Open a store that is lists."""
    yield MemoryStore(clock)


@asynccontextmanager
async def on_sqlite(clock: SteppingClock) -> AsyncIterator[Store]:
    """Open a copy of a file that was migrated once."""
    with tempfile.TemporaryDirectory(prefix="posthorn-exact-") as folder:
        migrated = Path(_migrated().name)
        if _is_empty(migrated):
            await (await SqliteStore.open(migrated, clock)).close()
        shutil.copytree(migrated, folder, dirs_exist_ok=True)
        store = await SqliteStore.open(Path(folder), clock)
        try:
            yield store
        finally:
            await store.close()


@cache
def _migrated() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="posthorn-exact-")


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def on_postgresql(dsn: str, empty: Callable[[str], Awaitable[str]]) -> OpenStore:
    """Return what empties a database and opens it."""

    @asynccontextmanager
    async def on_emptied_postgresql(clock: SteppingClock) -> AsyncIterator[Store]:
        store = await PostgresStore.open(await empty(dsn), clock)
        try:
            yield store
        finally:
            await store.close()

    return on_emptied_postgresql
