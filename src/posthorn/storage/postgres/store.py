"""The store for many nodes as one object: all ports over one database."""

from posthorn.clock import Clock
from posthorn.storage import people_erasing
from posthorn.storage.postgres.database import Database, Patience
from posthorn.storage.postgres.journal import PostgresJournal
from posthorn.storage.postgres.opening import open_database
from posthorn.storage.postgres.partitions import Days
from posthorn.storage.postgres.payloads import Payloads
from posthorn.storage.postgres.people import PostgresPeople
from posthorn.storage.postgres.registry import PostgresRegistry
from posthorn.storage.postgres.work import PostgresWorkStore
from posthorn.storage.postgres.writing import HotWriter


class PostgresStore(PostgresWorkStore, PostgresRegistry, PostgresJournal, PostgresPeople):
    """WorkStore, Cluster, Registry, Journal and People in one PostgreSQL database."""

    def __init__(self, database: Database, days: Days) -> None:
        self._database = database
        self._writer = HotWriter(database, days)
        self._payloads = Payloads(database)

    @classmethod
    async def open(cls, dsn: str, clock: Clock | None = None, *, patience: Patience | None = None) -> "PostgresStore":
        """Open a database, made ready for this release; the time is the database's unless a clock is given.

        Raises StartRefused when it cannot be reached, is not fit, not ours or too new.
        """
        days = Days()
        return cls(await open_database(dsn, clock, days, patience), days)

    @property
    def clock(self) -> Clock:
        """The time that the nodes share."""
        return self._database.clock

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know about the server, in sentences."""
        return self._database.warnings

    async def forget_payload(self, workspace: str, event: str) -> bool:
        """Erase an event's payload, in this process's memory too; in that of others it lives for seconds."""
        self._payloads.forget(event)
        is_known = await super().forget_payload(workspace, event)
        self._payloads.forget(event)  # Meanwhile a unit may have been remembered.
        return is_known

    async def erase(self, key: str, *, most: int) -> int:
        """Forget a person, a piece at a time. In memory of other processes payloads live on for seconds."""
        erased = await self._change(people_erasing.erase, key, most)
        for event in erased.events:
            self._payloads.forget(event)
        return erased.rows

    def figures(self) -> dict[str, int]:
        """Count what the store did since the start: transactions committed and statements run."""
        return {"commits": self._database.commits, "statements": self._database.statements}

    async def close(self) -> None:
        """Let go of the database."""
        await self._database.close()
