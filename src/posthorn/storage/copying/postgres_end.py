"""A PostgreSQL database as one end of a copy."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Table

from posthorn.clock import DAY_MS
from posthorn.errors import StartRefused
from posthorn.storage.copying.contents import (
    COPIED,
    JOURNAL,
    Key,
    Limits,
    Row,
    columns,
    counting,
    reading,
    scanning,
    weight,
)
from posthorn.storage.copying.ends import CopyFailed
from posthorn.storage.copying.mark import COPY_LOCK, COPYING, refuse_half_copied
from posthorn.storage.postgres.address import Address
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.failures import FOREIGN
from posthorn.storage.postgres.migrate import HEAD, Standing, bring_up_to_date, refuse_misfit, standing_of
from posthorn.storage.postgres.partitions import Days
from posthorn.storage.postgres.reaching import reached
from posthorn.storage.sequence import day_at, seq_at

_SET_MARK = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_ALIVE = """SELECT name, greatest(1, ceil((until_ms - now.ms) / 1000.0))::int AS seconds
FROM node, (SELECT extract(epoch FROM clock_timestamp()) * 1000 AS ms) AS now WHERE until_ms > now.ms ORDER BY id"""
_SESSIONS = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'posthorn' AND pid <> pg_backend_pid()"""
# What asyncpg raises for a value that a column cannot hold: SQLite's columns hold anything.
_MISFITS = (OverflowError, TypeError, ValueError)
_LOOKS = 20
_LOOK_SECONDS = 0.1
_SEQUENCE = "pg_get_serial_sequence('change', 'number')"


@asynccontextmanager
async def postgres_source(url: str, limits: Limits) -> AsyncIterator["PostgresEnd"]:
    """Hold a database to copy it. Raises StartRefused when it has no store, is in use, or not of this schema."""
    async with _held(url, limits) as (end, connection):
        standing = await standing_of(connection)
        if standing.version is None:
            raise StartRefused(f"{end.shown} has no store; name the database of the store to copy")
        _must_be_current(standing, end.shown)
        refuse_half_copied(await end.meta(COPYING), end.shown)
        await end.must_be_alone()
        yield end


@asynccontextmanager
async def postgres_target(url: str, limits: Limits) -> AsyncIterator["PostgresEnd"]:
    """Hold a database to copy into it: a new one, or that of the same copy. Raises StartRefused otherwise."""
    async with _held(url, limits) as (end, connection):
        if (await standing_of(connection)).version is None:
            await bring_up_to_date(connection)
        _must_be_current(await standing_of(connection), end.shown)
        await end.must_be_alone()
        if await end.meta(COPYING) is None:
            await end.must_be_empty()
        yield end


class PostgresEnd:
    """Implements the port over one connection."""

    holds_nul = False

    def __init__(self, address: Address, connection: Connection, limits: Limits) -> None:
        self.shown = f"the database {address.shown}"
        self._connection = connection
        self._limits = limits

    async def count(self, table: Table) -> int:
        """Count the rows that are to be copied."""
        return int(await self._ask(counting(table)))

    async def read(self, table: Table, after: Key | None) -> AsyncGenerator[list[Row], None]:
        """Read rows in the order of their key."""
        query = reading(table, lambda number: f"${number}", resumes=after is not None)
        async for rows in self._batches(query, after or ()):
            yield rows

    async def scan(self, table: Table) -> AsyncGenerator[list[Row], None]:
        """Read all rows."""
        async for rows in self._batches(scanning(table), ()):
            yield rows

    async def meta(self, key: str) -> str | None:
        """Return a value that the store remembers about itself."""
        value: str | None = await self._ask("SELECT value FROM meta WHERE key = $1", key)
        return value

    async def last_seq(self) -> int:
        """Return the greatest `seq` of the journal."""
        return max([int(await self._ask(f"SELECT coalesce(max(seq), 0) FROM {table.name}")) for table in JOURNAL])  # noqa: S608 - names of our own tables

    async def last_change(self) -> int:
        """Return the greatest change number that was ever given out."""
        sequence = await self._ask(f"SELECT {_SEQUENCE}")
        return int(await self._ask(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"))  # noqa: S608 - the server spelled it

    async def days(self) -> list[int]:
        """Return the UTC days that have journal rows."""
        days: set[int] = set()
        for table in JOURNAL:
            start = 0
            query = f"SELECT coalesce(min(seq), 0) FROM {table.name} WHERE seq >= $1"  # noqa: S608 - names of our own tables
            while seq := await self._ask(query, start):
                day = day_at(seq)
                days.add(day)
                start = seq_at((day + 1) * DAY_MS)
        return sorted(days)

    async def prepare(self, days: Sequence[int]) -> None:
        """Make partitions for these days."""
        made = Days()
        with self._failures():
            for at_ms in (day * DAY_MS for day in days):
                if made.lacks(at_ms):
                    async with self._connection.transaction():
                        await made.prepare(self._connection, at_ms)

    async def remember(self, mark: str) -> None:
        """Commit the mark of the copy alone."""
        with self._failures():
            await self._connection.execute(_SET_MARK, COPYING, mark)

    async def put(self, table: Table, rows: Sequence[Row], mark: str) -> None:
        """Commit rows together with the mark of the copy."""
        with self._failures(table.name):
            async with self._connection.transaction():
                await self._connection.copy_records_to_table(table.name, records=rows, columns=columns(table))
                await self._connection.execute(_SET_MARK, COPYING, mark)

    async def finish(self, last_change: int) -> None:
        """Tell the planner what is there, let numbering go on behind `last_change`, and take the mark away."""
        with self._failures():
            await self._connection.execute("ANALYZE")
            async with self._connection.transaction():
                if last_change:
                    await self._connection.execute(f"SELECT setval({_SEQUENCE}, $1)", last_change)
                await self._connection.execute("DELETE FROM meta WHERE key = $1", COPYING)

    async def must_be_alone(self) -> None:
        """Raise StartRefused when a node lives on the database or is about to."""
        with self._failures():
            nodes = await self._connection.fetch(_ALIVE)
        if nodes:
            names = ", ".join(node["name"] for node in nodes)
            seconds = max(node["seconds"] for node in nodes)
            raise StartRefused(
                f"{self.shown} is in use by {len(nodes)} node(s): {names}; stop them with SIGTERM, "
                f"or wait {seconds} s if they were killed, and run this again"
            )
        if sessions := await self._sessions():
            raise StartRefused(
                f"{self.shown} has {sessions} open connection(s) of Posthorn: a node is starting or ending, or cannot "
                "announce itself; stop it and run this again"
            )

    async def _sessions(self) -> int:
        """Count the connections of others; those of a node that just stopped have a moment to end."""
        for _ in range(_LOOKS):
            if not (sessions := int(await self._ask(_SESSIONS))):
                return 0
            await asyncio.sleep(_LOOK_SECONDS)
        return sessions

    async def must_be_empty(self) -> None:
        """Raise StartRefused when there is anything in the store."""
        for table in COPIED:
            if await self.count(table):
                raise StartRefused(
                    f"{self.shown} holds a store already ({table.name} has rows), "
                    "another one or a copy that is complete; copy into a database of its own"
                )

    async def _batches(self, query: str, parameters: Key) -> AsyncGenerator[list[Row], None]:
        with self._failures():
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                cursor = await self._connection.cursor(query, *parameters)
                async for rows in _gathered(cursor, self._limits):
                    yield rows

    async def _ask(self, query: str, *parameters: Any) -> Any:
        with self._failures():
            return await self._connection.fetchval(query, *parameters)

    @contextmanager
    def _failures(self, table: str = "") -> Iterator[None]:
        """Say in one sentence what went wrong and where."""
        try:
            yield
        except _MISFITS as error:
            raise CopyFailed(
                f"a row of the source does not fit into the table {table} of {self.shown}: {error}"
            ) from error
        except FOREIGN as error:
            where = f"{self.shown} (table {table})" if table else self.shown
            # The lines behind the first show what is in the row.
            said = str(error).partition("\n")[0] or type(error).__name__
            raise CopyFailed(
                f"{where} failed: {said}; run the same command again once that is mended, and it goes on"
            ) from error


@asynccontextmanager
async def _held(url: str, limits: Limits) -> AsyncIterator[tuple[PostgresEnd, Connection]]:
    address = Address.parse(url)
    async with reached(address) as connection:
        end = PostgresEnd(address, connection, limits)
        # Sessions of nodes are told by their name, and this one is none.
        await connection.execute("SET application_name = 'posthorn database copy'")
        if not await _is_locked(connection):
            raise StartRefused(f"a copy from or into {end.shown} is under way; wait for its end, or end that process")
        yield end, connection


async def _is_locked(connection: Connection) -> bool:
    """Take the lock of copies; one that was killed has a moment to be noticed by the server."""
    for _ in range(_LOOKS):
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", COPY_LOCK):
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


async def _gathered(cursor: Any, limits: Limits) -> AsyncGenerator[list[Row], None]:
    """Fetch from a server-side cursor, fewer rows at once the larger they are, and gather them to batches."""
    rows: list[Row] = []
    size, step = 0, limits.first_rows
    while records := await cursor.fetch(step):
        part = [tuple(record) for record in records]
        weighed = weight(part)
        step = max(1, min(limits.fetch_rows, limits.bytes // 4 * len(part) // max(1, weighed)))
        rows += part
        size += weighed
        if len(rows) >= limits.rows or size >= limits.bytes:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _must_be_current(standing: Standing, shown: str) -> None:
    refuse_misfit(standing)
    if standing.version != HEAD:
        raise StartRefused(
            f"{shown} has the schema {standing.version}, and this Posthorn copies {HEAD}; "
            "use the newest release that runs on it, and run its `posthorn database migrate` first"
        )
