"""The store that the settings name, open, with the clock that its nodes share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from posthorn.clock import Clock, SystemClock
from posthorn.engine.cluster import ALONE, SHARED, Tempo
from posthorn.engine.ports import Store
from posthorn.settings import Settings
from posthorn.storage.sqlite.connection import FolderLock
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore:
    """A store and what depends on which one it is."""

    store: Store
    clock: Clock
    tempo: Tempo

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may use it at the same time."""
        return self.tempo is SHARED


async def open_store(
    settings: Settings, telemetry: Telemetry, *, shared: bool = False, lock: FolderLock | None = None
) -> OpenStore:
    """Open the store; `shared` says that other processes of this machine have the embedded one open too.

    `lock` is given by whoever holds the data folder already.
    Raises StartRefused.
    """
    if settings.database is not None:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        return await _open_postgres(settings.database, telemetry)
    clock = SystemClock()
    store = await SqliteStore.open(settings.data, clock, shared=shared, lock=lock)
    return OpenStore(store=store, clock=clock, tempo=SHARED if shared else ALONE)


async def _open_postgres(dsn: str, telemetry: Telemetry) -> OpenStore:
    from posthorn.storage.postgres.store import PostgresStore  # noqa: PLC0415 - its driver costs a start without it

    store = await PostgresStore.open(dsn)
    for warning in store.warnings:
        telemetry.emit("store.unsafe", cause=warning)
    return OpenStore(store=store, clock=store.clock, tempo=SHARED)


@contextmanager
def held_for_workers(settings: Settings) -> Iterator[FolderLock | None]:
    """Hold what keeps other servers away from the embedded store while workers share it. Raises StartRefused."""
    if settings.database is not None:
        yield None
        return
    lock = FolderLock(settings.data)
    try:
        yield lock
    finally:
        lock.release()
