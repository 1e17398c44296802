"""A data folder as one end of a copy."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Table

from posthorn.clock import DAY_MS
from posthorn.errors import StartRefused
from posthorn.storage.copying.contents import (
    COPIED,
    JOURNAL,
    Key,
    Limits,
    Row,
    counting,
    inserting,
    reading,
    scanning,
    weight,
)
from posthorn.storage.copying.ends import CopyFailed
from posthorn.storage.copying.mark import COPYING, refuse_half_copied
from posthorn.storage.sequence import day_at, seq_at
from posthorn.storage.sqlite.connection import DATABASE, FolderLock, connect, keep_private
from posthorn.storage.sqlite.migrate import HEAD, bring_up_to_date, version_of

Result = TypeVar("Result")

_CHECKPOINT_PAGES = 4_000
_LAST_CHANGE = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'change'"
_SET_MARK = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


@asynccontextmanager
async def sqlite_source(folder: Path, limits: Limits) -> AsyncIterator["SqliteEnd"]:
    """Hold a data folder to copy it. Raises StartRefused when there is none, or it is in use, or not of this schema."""
    if not (folder / DATABASE).exists():
        raise StartRefused(f"there is no store in the data folder {folder}; name the folder of the store to copy")
    with _held(folder):
        present = version_of(folder / DATABASE)
        if present != HEAD:
            raise StartRefused(
                f"the store in {folder} has the schema {present or 'of nothing yet'}, and this Posthorn copies {HEAD}; "
                f"run `posthorn database migrate --data {folder}` of this release first"
            )
        async with _opened(folder, limits, read_only=True) as end:
            refuse_half_copied(await end.meta(COPYING), end.shown)
            yield end


@asynccontextmanager
async def sqlite_target(folder: Path, limits: Limits) -> AsyncIterator["SqliteEnd"]:
    """Hold a data folder to copy into it: a new one, or that of the same copy. Raises StartRefused otherwise."""
    with _held(folder):
        keep_private(folder / DATABASE)
        bring_up_to_date(folder / DATABASE)
        async with _opened(folder, limits, read_only=False) as end:
            if await end.meta(COPYING) is None:
                await end.must_be_empty()
            yield end


class SqliteEnd:
    """Implements the port over one connection, in a thread of its own."""

    holds_nul = True

    def __init__(self, folder: Path, connection: sqlite3.Connection, limits: Limits) -> None:
        self.shown = f"the data folder {folder}"
        self._connection = connection
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "posthorn-copy")

    async def count(self, table: Table) -> int:
        """Count the rows that are to be copied."""
        return await self._ask(counting(table))

    async def read(self, table: Table, after: Key | None) -> AsyncGenerator[list[Row], None]:
        """Read rows in the order of their key."""
        query = reading(table, lambda number: f"?{number}", resumes=after is not None)
        async for rows in self._batches(query, after or ()):
            yield rows

    async def scan(self, table: Table) -> AsyncGenerator[list[Row], None]:
        """Read all rows."""
        async for rows in self._batches(scanning(table), ()):
            yield rows

    async def meta(self, key: str) -> str | None:
        """Return a value that the store remembers about itself."""
        rows = await self._run(
            lambda: self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchall()
        )
        return rows[0][0] if rows else None

    async def last_seq(self) -> int:
        """Return the greatest `seq` of the journal."""
        return max([await self._ask(f"SELECT coalesce(max(seq), 0) FROM {table.name}") for table in JOURNAL])  # noqa: S608 - names of our own tables

    async def last_change(self) -> int:
        """Return the greatest change number that was ever given out."""
        return await self._ask(_LAST_CHANGE)

    async def days(self) -> list[int]:
        """Return the UTC days that have journal rows."""
        days: set[int] = set()
        for table in JOURNAL:
            start = 0
            while seq := await self._ask(f"SELECT coalesce(min(seq), 0) FROM {table.name} WHERE seq >= {start}"):  # noqa: S608 - names of our own tables
                day = day_at(seq)
                days.add(day)
                start = seq_at((day + 1) * DAY_MS)
        return sorted(days)

    async def prepare(self, days: Sequence[int]) -> None:
        """Do nothing: the journal is in one piece."""

    async def remember(self, mark: str) -> None:
        """Commit the mark of the copy alone."""
        await self._run(lambda: self._connection.execute(_SET_MARK, (COPYING, mark)))

    async def put(self, table: Table, rows: Sequence[Row], mark: str) -> None:
        """Commit rows together with the mark of the copy."""
        await self._run(partial(self._put, inserting(table), rows, mark))

    async def finish(self, last_change: int) -> None:
        """Let numbering go on behind `last_change` and take the mark away."""
        await self._run(partial(self._finish, last_change))

    async def must_be_alone(self) -> None:
        """Do nothing: the lock of the folder keeps others out."""

    async def must_be_empty(self) -> None:
        """Raise StartRefused when there is anything in the store."""
        for table in COPIED:
            if await self.count(table):
                raise StartRefused(
                    f"{self.shown} holds a store already ({table.name} has rows), "
                    "another one or a copy that is complete; copy into a folder of its own"
                )

    async def close(self) -> None:
        """Let go of the file."""
        await self._run(self._connection.close)
        self._thread.shutdown()

    async def _batches(self, query: str, parameters: Key) -> AsyncGenerator[list[Row], None]:
        cursor = await self._run(lambda: self._connection.execute(query, parameters))
        while rows := await self._run(lambda: _take(cursor, self._limits)):
            yield rows

    async def _ask(self, query: str) -> int:
        number: int = await self._run(lambda: self._connection.execute(query).fetchone()[0])
        return number

    async def _run(self, job: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        except sqlite3.Error as error:
            raise CopyFailed(
                f"{self.shown} failed: {error}; run the same command again once that is mended, and it goes on"
            ) from error

    def _put(self, insertion: str, rows: Sequence[Row], mark: str) -> None:
        with self._transaction() as execute:
            self._connection.executemany(insertion, rows)
            execute(_SET_MARK, (COPYING, mark))

    def _finish(self, last_change: int) -> None:
        with self._transaction() as execute:
            execute("DELETE FROM sqlite_sequence WHERE name = 'change'")
            execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('change', ?)", (last_change,))
            execute("DELETE FROM meta WHERE key = ?", (COPYING,))
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection.execute
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = FolderLock(folder)
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def _opened(folder: Path, limits: Limits, *, read_only: bool) -> AsyncIterator[SqliteEnd]:
    connection = connect(folder / DATABASE, read_only=read_only)
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    end = SqliteEnd(folder, connection, limits)
    try:
        yield end
    finally:
        await end.close()


def _take(cursor: sqlite3.Cursor, limits: Limits) -> list[Row]:
    rows: list[Row] = []
    size = 0
    for row in cursor:
        rows.append(row)
        size += weight((row,))
        if len(rows) >= limits.rows or size >= limits.bytes:
            break
    return rows
