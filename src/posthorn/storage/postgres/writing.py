"""How the hot writes reach the database: with partitions to write to, and text that it can hold."""

from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # It ships no types.

from posthorn.storage.postgres.batches import Outcome, Work, new_batch, run_in_transaction
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database, Read, Write
from posthorn.storage.postgres.partitions import Days
from posthorn.storage.postgres.stamps import Stamps
from posthorn.storage.postgres.statements import statement

MOST_JOURNAL_ROWS = 1000
"""How many rows one statement may number: a block has 1,024 places."""

Result = TypeVar("Result")


class HotWriter:
    """Runs writes that put rows into the journal, one statement of which is numbered as one block."""

    def __init__(self, database: Database, days: Days) -> None:
        self._database = database
        self._days = days
        self.stamps = Stamps(database.clock)

    async def write(self, job: Write[Result], *, at_once: bool = False) -> Result:
        """Do as `Database.write` does, once the partitions of today are there."""

        async def with_partitions(connection: Connection, again: bool) -> Result:  # noqa: FBT001 - as Write says
            await self.prepare(connection)
            try:
                return await job(connection, again)
            except asyncpg.CheckViolationError:
                self._days.forget()  # The row found no partition after all: the repeat makes it.
                raise

        return await self._database.write(with_partitions, at_once=at_once)

    async def commit(self, work: Work, *, is_one_statement: bool) -> Outcome:
        """Run a batch so that it is committed once, whatever happens to the answers."""
        batch = new_batch(self.stamps.now_ms())

        async def job(connection: Connection, again: bool) -> Outcome:  # noqa: FBT001 - as Write says
            if is_one_statement and not again:
                return Outcome(refused=await work(connection, batch))
            return await run_in_transaction(connection, batch, self.stamps.now_ms(), work)

        return await self.write(job, at_once=is_one_statement)

    def count(self, statements: int) -> None:
        """Count statements, for the figures."""
        self._database.count(statements)

    async def look(self, job: Read[Result]) -> Result:
        """Do as `Database.look` does."""
        return await self._database.look(job)

    async def prepare(self, connection: Connection, *, ahead_ms: int = 0) -> None:
        """Make the partitions around the present unless they are known to be there, as far ahead as asked."""
        now_ms = self.stamps.now_ms()
        if not self._days.lacks(now_ms + ahead_ms):
            return
        if connection.is_in_transaction():
            await self._days.prepare(connection, now_ms)
        else:
            async with connection.transaction():
                await self._days.prepare(connection, now_ms)

    async def run(self, connection: Connection, name: str, batch: str | None, *arguments: Any) -> list[Any]:
        """Run a statement that numbers journal rows: $1 is the batch, $2 its instant, and it answers its block."""
        at_ms = self.stamps.now_ms()
        rows: list[Any] = await connection.fetch(statement(name), batch, at_ms, *arguments)
        self._database.count(1)
        self.stamps.used(at_ms, rows[0]["block"])
        return rows
