"""One at a time: who writes next among the processes that share a file, and who does something rare alone."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol
from urllib.parse import quote

_QUEUE = "posthorn.queue.lock"
_WRITE = "posthorn.write.lock"
_RETRY_SECONDS = 0.05
_MODE = 0o600


class WriteTurn:
    """Lets one process at a time write. The kernel gives the turn on when its holder dies, however it dies.

    SQLite's own lock would do for correctness, but whoever waits for it sleeps and looks again, up to 100 ms later,
    and the others overtake him. The second lock makes whoever was served last queue behind those who wait.

    Checkpoints need the turn too: before 3.51.3, SQLite can lose commits when one process begins a checkpoint while
    another starts the log over (https://www.sqlite.org/wal.html#walresetbug).
    """

    def __init__(self, folder: Path) -> None:
        self._queue = _open(folder / _QUEUE)
        self._write = _open(folder / _WRITE)

    def __enter__(self) -> None:
        """Wait for the turn. Raises OSError when the system has no lock to give."""
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._write, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._queue, fcntl.LOCK_UN)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one write."""
        fcntl.flock(self._write, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the lock files."""
        os.close(self._queue)
        os.close(self._write)


class Exclusion(Protocol):
    """Lets one at a time do a named thing."""

    def alone(self, what: str) -> AbstractAsyncContextManager[None]:
        """Wait until nobody else does it."""
        ...


class InProcess:
    """Exclusion among the tasks of one process."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        """Wait for the lock of this name."""
        async with self._locks.setdefault(what, asyncio.Lock()):
            yield


class AmongProcesses:
    """Exclusion among all tasks of all processes that share a folder; it ends with the process that holds it.

    Waiting looks again twenty times a second: such things are rare, and a wait that is given up leaves no thread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        """Wait for the lock on the file of this name."""
        with _opened(self._folder / f"posthorn.{quote(what, safe='')}.lock") as descriptor:
            while not _locked(descriptor):  # noqa: ASYNC110 - no event of this process tells when another lets go
                await asyncio.sleep(_RETRY_SECONDS)
            yield


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # and with it the lock


def _locked(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
