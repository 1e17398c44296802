"""The one thread that writes. Whatever waits when it is free shares one transaction and one disk flush."""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

from posthorn.clock import Clock
from posthorn.errors import PosthornError, StoreUnavailable
from posthorn.storage.sequence import seq_at
from posthorn.storage.sqlite.connection import LogSize, connect
from posthorn.storage.sqlite.exclusion import WriteTurn
from posthorn.storage.sqlite.statements import chunks, for_rows, statement

Result = TypeVar("Result")

_MOST_JOBS_PER_COMMIT = 32
_CHECKPOINT_BYTES = 16 * 1024 * 1024

Job = tuple[Callable[["Transaction"], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
Answer = tuple["asyncio.Future[Any]", Any, Exception | None]


class Transaction:
    """What a job may do: run statements and draw sequence numbers. It is committed or rolled back by the writer."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._clock = clock
        self.connection = connection
        self.statements = 0
        self._seq = 0
        self.catch_up()

    def catch_up(self) -> None:
        """Go on numbering behind the last row in the file, whoever wrote it."""
        self._seq = max(self._seq, self.connection.execute(statement("last_seq")).fetchone()[0])

    def execute(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        self.statements += 1
        return self.connection.execute(sql, parameters)

    def put(self, name: str, columns: int, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for many rows."""
        for chunk in chunks(rows):
            self.execute(for_rows(name, columns, len(chunk)), [field for row in chunk for field in row])

    def now_ms(self) -> int:
        """Return the present, for stamps of the store's own."""
        return self._clock.now_ms()

    def next_seq(self, rows: int) -> int:
        """Reserve so many sequence numbers and return the first."""
        first: int = max(self._seq + 1, seq_at(self._clock.now_ms()))
        self._seq = first + rows - 1
        return first


class Writer:
    """Runs jobs in the writer thread, several to a commit. A job that raises is undone alone.

    With a `turn`, other processes write to the file too, each when it is its turn.
    """

    def __init__(self, path: Path, clock: Clock, turn: WriteTurn | None = None) -> None:
        self._is_shared = turn is not None
        self._turn = turn or nullcontext()
        self._connection = connect(path)
        self._transaction = Transaction(self._connection, clock)
        self._log = LogSize(path)
        self._jobs: deque[Job] = deque()
        self._awake = threading.Semaphore(0)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="posthorn-writer", daemon=True)
        self._thread.start()
        self.commits = 0

    @property
    def statements(self) -> int:
        """How many statements the jobs ran since the start."""
        return self._transaction.statements

    def submit(self, job: Callable[[Transaction], Result]) -> "asyncio.Future[Result]":
        """Queue a job; the future resolves after its commit is on disk."""
        if self._closing:
            raise StoreUnavailable("the store is closing")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._jobs.append((job, loop, future))
        self._awake.release()
        return future

    def close(self) -> None:
        """Finish what is queued and close the file."""
        self._closing = True
        self._awake.release()
        self._thread.join()
        with self._turn:
            self._connection.close()  # the last connection of all checkpoints
        self._log.close()

    def _run(self) -> None:
        while True:
            self._awake.acquire()
            while self._jobs:
                self._run_some()
                self._checkpoint()
            if self._closing:
                return

    def _run_some(self) -> None:
        jobs: list[Job] = []
        try:
            with self._turn:
                jobs = self._next_jobs()  # also those that came while this waited for its turn
                answers = self._commit(jobs)
        except OSError as error:
            jobs = jobs or self._next_jobs()
            refused = StoreUnavailable(f"the store cannot commit now: {error}")
            answers = [(future, None, refused) for _, _, future in jobs]
        self._report(jobs, answers)

    def _next_jobs(self) -> list[Job]:
        return [self._jobs.popleft() for _ in range(min(len(self._jobs), _MOST_JOBS_PER_COMMIT))]

    def _commit(self, jobs: list[Job]) -> list[Answer]:
        execute = self._connection.execute
        answers: list[Answer] = []
        try:
            execute("BEGIN IMMEDIATE")
            if self._is_shared:
                self._transaction.catch_up()
            for job, _, future in jobs:
                answers.append(self._do(job, future))
            execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            refused = unavailable(error)
            return [(future, None, refused) for _, _, future in jobs]
        self.commits += 1
        return answers

    def _do(self, job: Callable[[Transaction], Any], future: "asyncio.Future[Any]") -> Answer:
        execute = self._connection.execute
        execute("SAVEPOINT job")
        try:
            result = job(self._transaction)
        except sqlite3.OperationalError:
            raise  # the file is in trouble, not the job: everything of this commit is undone
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller who waits for it
            execute("ROLLBACK TO job")
            execute("RELEASE job")
            known = error if isinstance(error, PosthornError) else _unexpected(error)
            return future, None, known
        execute("RELEASE job")
        return future, result, None

    def _checkpoint(self) -> None:
        """Move the log into the file between two commits, without waiting for readers; then the log starts over.

        Beside the commits, in a thread of its own, it would be no faster: both flush the same disk, and measured
        commits then waited three times as long.
        """
        if self._log.used_bytes() < _CHECKPOINT_BYTES:
            return
        try:
            with self._turn:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except (sqlite3.Error, OSError):
            # A full disk stops checkpoints too; the log keeps everything, and the next turn tries again.
            return

    @staticmethod
    def _report(jobs: list[Job], answers: list[Answer]) -> None:
        loop = jobs[0][1]
        try:
            loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more, and the commit stands


def _resolve(answers: list[Answer]) -> None:
    for future, result, error in answers:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def unavailable(error: sqlite3.Error) -> StoreUnavailable:
    """Say in the user's words why the store cannot commit now."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL") or "full" in str(error):
        return StoreUnavailable("the disk of the data folder is full; free some space, nothing needs a restart")
    return StoreUnavailable(f"the store cannot commit now: {error}")


def _unexpected(error: Exception) -> Exception:
    if isinstance(error, sqlite3.Error):
        return StoreUnavailable(f"the store refused a write: {error}")
    return error
