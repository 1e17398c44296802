"""The open database: writer thread, inline reads for the hot path, reader threads for the journal."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Executable
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from posthorn.clock import Clock
from posthorn.storage.copying.mark import refuse_half_copied_file
from posthorn.storage.sqlite.connection import DATABASE, FolderLock, connect, keep_private
from posthorn.storage.sqlite.exclusion import AmongProcesses, Exclusion, InProcess, WriteTurn
from posthorn.storage.sqlite.migrate import bring_up_to_date, must_be_up_to_date
from posthorn.storage.sqlite.writer import Transaction, Writer, unavailable

Result = TypeVar("Result")

_READERS = 2
_DIALECT = SQLiteDialect_pysqlite(paramstyle="qmark")


class Database:
    """One data folder, held by this process or shared with others that its holder started."""

    def __init__(self, folder: Path, clock: Clock, *, shared: bool, lock: FolderLock | None) -> None:
        """Open the folder: lock and migrate it, unless it is shared. Raises StartRefused when either cannot be done.

        A `lock` that the caller holds already is left to him, also at the close.
        """
        self._path = folder / DATABASE
        self.clock = clock
        self._turn = WriteTurn(folder) if shared else None
        self._own_lock = FolderLock(folder) if lock is None and not shared else None
        self.exclusion: Exclusion = AmongProcesses(folder) if shared else InProcess()
        try:
            if shared:
                must_be_up_to_date(self._path)
            else:
                keep_private(self._path)
                refuse_half_copied_file(self._path)
                bring_up_to_date(self._path)
            self.writer = Writer(self._path, clock, self._turn)
            self._inline = connect(self._path, read_only=True)
        except BaseException:
            self._release()
            raise
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(_READERS, "posthorn-reader")
        self._reader_connections: list[sqlite3.Connection] = []

    def write(self, job: Callable[[Transaction], Result]) -> "asyncio.Future[Result]":
        """Run a job in the writer thread; its commit is on disk when the future resolves."""
        return self.writer.submit(job)

    def look(self, sql: str, parameters: tuple[Any, ...] | list[Any]) -> list[Any]:
        """Read a few rows right here, on the event loop.

        A read of tens of rows by key takes tens of microseconds. Handing it to a thread would cost more than that,
        and each row it fetches would wait for the interpreter lock while the loop is busy.
        """
        try:
            return self._inline.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def walk(self, sql: str, parameters: tuple[Any, ...] | list[Any]) -> Generator[Any, None, None]:
        """Read as `look` does, one row at a time, for a caller that stops when it has enough."""
        try:
            cursor = self._inline.execute(sql, parameters)
            try:
                yield from cursor
            finally:
                cursor.close()
        except sqlite3.Error as error:
            raise unavailable(error) from error

    async def read(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a longer read in a reader thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, job)

    def _read(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = connect(self._path, read_only=True)
                self._reader_connections.append(connection)
            return job(connection)
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def close(self) -> None:
        """Finish queued writes and let go of the folder."""
        self._readers.shutdown()
        for connection in [self._inline, *self._reader_connections]:
            connection.close()
        self.writer.close()
        self._release()

    def _release(self) -> None:
        if self._turn is not None:
            self._turn.close()
        if self._own_lock is not None:
            self._own_lock.release()


def spelled(query: Executable) -> tuple[str, tuple[Any, ...]]:
    """Turn a SQLAlchemy query into SQLite's text and parameters."""
    compiled = query.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    parameters = compiled.params
    return str(compiled), tuple(parameters[name] for name in compiled.positiontup or ())


def run(connection: sqlite3.Connection, query: Executable) -> sqlite3.Cursor:
    """Run a SQLAlchemy query on one of our own connections."""
    return connection.execute(*spelled(query))
