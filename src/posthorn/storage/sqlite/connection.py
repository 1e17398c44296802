"""Opening the file: the lock that keeps a second process out, and connections with the settings we rely on."""

import fcntl
import os
import sqlite3
import sys
from pathlib import Path

from posthorn.errors import StartRefused

DATABASE = "posthorn.sqlite3"
LOCK = "posthorn.lock"

_BUSY_SECONDS = 30.0
_STATEMENTS_KEPT = 512
_WRITER_CACHE_KIB = 64 * 1024
_READER_CACHE_KIB = 16 * 1024


class FolderLock:
    """Holds a data folder for one process and those that it forks.

    The kernel gives it up when the last of them ends, however they end.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StartRefused(
                f"another Posthorn (process {holder}) is running on the data folder {folder}; "
                "stop it first, or start this one with another --data folder"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._descriptor)


def keep_private(path: Path) -> None:
    """Make the file readable for its owner alone; SQLite gives its log and index the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database in autocommit mode, with write-ahead log and a commit that is on disk when it returns."""
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_KEPT,
    )
    cache_kib = _READER_CACHE_KIB if read_only else _WRITER_CACHE_KIB
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # the writer checkpoints between batches
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


class LogSize:
    """Tells how much of the write-ahead log is in use; its file keeps its size when the log starts over.

    Reads `mxFrame` of the shared index (https://www.sqlite.org/walformat.html §2.1). The descriptor stays open until
    the connections are closed: closing it earlier would drop the locks that SQLite holds on the same file.
    """

    _MX_FRAME_AT = 16
    _PAGE_BYTES = 4096

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path.with_name(path.name + "-shm"), os.O_RDONLY | os.O_CLOEXEC)

    def used_bytes(self) -> int:
        """Return the bytes in use, give or take a commit."""
        frames = int.from_bytes(os.pread(self._descriptor, 4, self._MX_FRAME_AT), sys.byteorder)
        return frames * self._PAGE_BYTES

    def close(self) -> None:
        """Let go of the file, after every connection did."""
        os.close(self._descriptor)
