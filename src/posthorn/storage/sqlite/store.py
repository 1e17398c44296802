"""The embedded store as one object: all ports over one open database."""

from pathlib import Path

from posthorn.clock import Clock
from posthorn.storage import people_erasing
from posthorn.storage.people_reading import PeopleReader
from posthorn.storage.sqlite.cluster import SqliteCluster
from posthorn.storage.sqlite.connection import FolderLock
from posthorn.storage.sqlite.database import Database
from posthorn.storage.sqlite.journal import SqliteJournal
from posthorn.storage.sqlite.leases import open_shards
from posthorn.storage.sqlite.payloads import Payloads
from posthorn.storage.sqlite.registry import SqliteRegistry
from posthorn.storage.sqlite.work import SqliteWorkStore


class SqliteStore(SqliteWorkStore, SqliteCluster, SqliteRegistry, SqliteJournal, PeopleReader):
    """WorkStore, Cluster, Registry, Journal and People in one data folder."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._payloads = Payloads(database)

    @classmethod
    async def open(
        cls, folder: Path, clock: Clock, *, shared: bool = False, lock: FolderLock | None = None
    ) -> "SqliteStore":
        """Open a data folder for this process alone. Raises StartRefused when it is taken, foreign or too new.

        With `shared`, open it as one of several processes: one that holds the FolderLock opened it alone before, and
        keeps the lock for as long as they run. It passes that lock as `lock` when it opens the folder itself.
        """
        store = cls(Database(folder, clock, shared=shared, lock=lock))
        if not shared:
            await store._database.write(open_shards)
        return store

    async def forget_payload(self, workspace: str, event: str) -> bool:
        """Erase an event's payload, in memory too. Other processes forget it within half a minute."""
        self._payloads.forget(event)
        return await super().forget_payload(workspace, event)

    async def erase(self, key: str, *, most: int) -> int:
        """Forget a person, a piece at a time. In other processes payloads live on for half a minute at most."""
        erased = await self._change(people_erasing.erase, key, most)
        for event in erased.events:
            self._payloads.forget(event)
        return erased.rows

    def figures(self) -> dict[str, int]:
        """Count what the store did since the start: transactions committed and statements run."""
        writer = self._database.writer
        return {"commits": writer.commits, "statements": writer.statements}

    async def close(self) -> None:
        """Finish queued writes and let go of the folder."""
        self._database.close()
