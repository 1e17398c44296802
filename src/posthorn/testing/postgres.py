"""PostgreSQL servers of our own for tests, examples and measurements: made in a folder, started, killed, copied.

Nothing here is asynchronous: each call returns when the thing is done, after milliseconds to a few seconds. Coroutines
that must go on meanwhile call through `asyncio.to_thread`.
"""

import contextlib
import shutil
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal, Self

import psutil  # type: ignore[import-untyped]  # It ships no types.

from posthorn.testing.ports import LOOPBACK, free_port
from posthorn.testing.postgres_programs import PostgresFailed, Programs, find_programs

_NOTHING: Mapping[str, str] = MappingProxyType({})
_SETTINGS = {
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "wal_keep_size": "512MB",  # A standby that was away needs no base backup to catch up.
    "wal_retrieve_retry_interval": "200ms",
    # Memory of a killed server lies in its own folder and goes with it, not in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_SOCKET_PATH_LIMIT = 90
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.01
# Reads one line. When its other end closes without one, we died without stopping the server, and it goes too.
_GUARD = 'read -r _ || { kill -QUIT "$0"; kill -CONT "$0"; }'

StopMode = Literal["smart", "fast", "immediate"]


class PostgresServer:
    """One server in a folder of its own. It ends with our process at the latest, however that ends.

    Everybody on this machine may connect as the superuser `postgres`, over loopback only.
    """

    def __init__(self, folder: Path, *, programs: Programs, port: int, addresses: tuple[str, ...]) -> None:
        self.folder = programs.make_folder(folder)
        self.name = folder.name  #: what a standby calls itself to its primary
        self.port = port
        self._programs = programs
        self._addresses = addresses
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        if folder.is_symlink():
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        version: int = 18,
        settings: Mapping[str, str] = _NOTHING,
        port: int | None = None,
        durable: bool = True,
        reach: Mapping[str, str] = _NOTHING,
    ) -> "PostgresServer":
        """Make a server, not started yet, in a folder that is new or empty.

        As root, where PostgreSQL's user cannot reach that folder, it becomes a link into the temporary files.

        `version` is 18 or 15. Not durable: it is faster and loses data when the machine does, which suits tests.
        `reach` has further addresses to listen on, each with the network that may connect there without a password.
        Raises PostgresFailed, when that version is missing for one.
        """
        addresses = (LOOPBACK, *reach)
        server = cls(folder, programs=find_programs(version), port=port or free_port(), addresses=addresses)
        server._initialise({**_SETTINGS, **({} if durable else _NOT_DURABLE), **settings}, tuple(reach.values()))
        return server

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop("immediate")

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server wrote."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the postmaster. Raises PostgresFailed when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise PostgresFailed(f"{self.name} does not run")
        return self._process.pid

    def dsn(self, database: str = "postgres", *, host: str = LOOPBACK) -> str:
        """Return its address as a URL."""
        return f"postgresql://postgres@{host}:{self.port}/{database}"

    def start(self) -> None:
        """Start it, unless it runs, and return once it accepts connections. Raises PostgresFailed."""
        if self.is_running():
            return
        sockets = str(self.folder) if len(str(self.folder)) < _SOCKET_PATH_LIMIT else ""
        with (self.folder / "log").open("ab") as log:
            self._process = self._programs.spawn(
                "postgres", "-D", str(self.data), "-p", str(self.port),
                "-c", f"listen_addresses={','.join(self._addresses)}", "-c", f"unix_socket_directories={sockets}",
                cwd=self.folder, output=log,
            )  # fmt: skip
        self._guard = _guard(self._process.pid)
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_ready():
            if not self.is_running() or time.monotonic() > deadline:
                self.kill()
                raise PostgresFailed(f"{self.name} did not start:\n{self.log[-4000:]}")
            time.sleep(_LOOK_SECONDS)

    def is_ready(self) -> bool:
        """Whether it runs and says that it accepts connections, as a primary or as a standby."""
        if self._process is None or self._process.poll() is not None:
            return False
        # A killed server leaves its file behind: the first line says whose it is.
        state = self._postmaster_file()
        return len(state) > 7 and state[0] == str(self._process.pid) and state[7].strip() == "ready"

    def stop(self, mode: StopMode = "fast") -> None:
        """Shut it down, unless it is down, and wait for the end."""
        if self._process is not None and self.is_running():
            self.resume()
            self._process.send_signal(_SIGNALS[mode])
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the postmaster and all its children at once with SIGKILL; none is left when this returns."""
        if self._process is not None and self.is_running():
            # A postmaster that stands still makes no further children and does not notice that some die.
            family = self._hold()
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            self._process.wait()
            _wait(lambda: not any(map(lives, family)), f"{self.name} does not end")
            self._free_memory()
        self._process = None
        if self._guard is not None:
            self._guard.communicate(b"\n")
            self._guard = None

    def pause(self) -> None:
        """Hold the postmaster and its children where they are, as a machine that hangs."""
        for child in self._hold()[1:]:
            _hold(child)

    def resume(self) -> None:
        """Let a paused server go on."""
        postmaster = psutil.Process(self.pid)
        for member in (*postmaster.children(recursive=True), postmaster):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.resume()

    def query(self, sql: str, database: str = "postgres") -> str:
        """Run one statement as superuser; return rows as lines, columns separated by |. Raises PostgresFailed."""
        dsn = f"{self.dsn(database)}?connect_timeout=10"
        return self._programs.run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", sql, cwd=self.folder)

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, a copy of the template's when one is named, and return its address."""
        copied = f' TEMPLATE "{template}"' if template is not None else ""
        self.query(f'CREATE DATABASE "{name}"{copied}')
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending the connections to it."""
        self.query(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def base_backup(self, folder: Path, *, port: int | None = None) -> "PostgresServer":
        """Copy this running server as a streaming standby, not started yet, named after its folder."""
        standby = PostgresServer(folder, programs=self._programs, port=port or free_port(), addresses=self._addresses)
        standby.copy_from(self)
        return standby

    def copy_from(self, primary: "PostgresServer") -> None:
        """Throw away what this stopped server has and make it a standby of the primary, keeping its port."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        self._programs.run(
            "pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "--no-sync",
            "-d", self._upstream(primary), cwd=self.folder,
        )  # fmt: skip

    def follow(self, primary: "PostgresServer") -> None:
        """Make this running standby stream from another primary."""
        self.query(f"ALTER SYSTEM SET primary_conninfo = {_quoted(self._upstream(primary))}")
        self.query("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make this running standby a primary; returns once it takes writes. Raises PostgresFailed."""
        if self.query("SELECT pg_promote(true, 60)") != "t":
            raise PostgresFailed(f"{self.name} was not promoted:\n{self.log[-4000:]}")

    def is_standby(self) -> bool:
        """Whether it follows another server."""
        return self.query("SELECT pg_is_in_recovery()") == "t"

    def wal_position(self) -> int:
        """How many bytes of WAL it has: written on a primary, received or replayed on a standby."""
        received = "greatest(coalesce(pg_last_wal_receive_lsn(), '0/0'), coalesce(pg_last_wal_replay_lsn(), '0/0'))"
        written = "CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_lsn() END"
        return int(self.query(f"SELECT coalesce({written}, {received}) - '0/0'"))

    def is_receiving(self) -> bool:
        """Whether this standby has a connection to its primary."""
        return self.query("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"

    def standbys(self) -> list[str]:
        """Return the names of the standbys that stream from it and have caught up."""
        return self.query(
            "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1"
        ).split()

    def _initialise(self, settings: Mapping[str, str], networks: tuple[str, ...]) -> None:
        self._programs.run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C",
            "--no-sync", "--no-instructions", cwd=self.folder,
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {_quoted(value)}\n" for name, value in settings.items())
        with (self.data / "pg_hba.conf").open("a") as file:
            file.writelines(f"host all all {network} trust\n" for network in networks)

    def _upstream(self, primary: "PostgresServer") -> str:
        return f"host={LOOPBACK} port={primary.port} user=postgres application_name={self.name}"

    def _hold(self) -> list[psutil.Process]:
        """Hold the postmaster and return it and its children: no more of them come."""
        postmaster = psutil.Process(self.pid)
        _hold(postmaster)
        return [postmaster, *postmaster.children(recursive=True)]

    def _postmaster_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _free_memory(self) -> None:
        """Remove the System V segment that a killed postmaster leaves behind: its key and id stand in line 7."""
        lines = self._postmaster_file()
        if len(lines) > 6 and (program := shutil.which("ipcrm")):
            segment = lines[6].split()[-1]
            subprocess.run([program, "-m", segment], check=False, capture_output=True)  # noqa: S603 - a number


def _guard(pid: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - fixed text and a number
        ["/bin/sh", "-c", _GUARD, str(pid)], stdin=subprocess.PIPE, cwd="/", start_new_session=True
    )


def _hold(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
        _wait(lambda: not lives(process) or process.status() == psutil.STATUS_STOPPED, f"{process.pid} runs on")


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise PostgresFailed(otherwise)
        time.sleep(_LOOK_SECONDS)


def lives(process: psutil.Process) -> bool:
    """Whether a process runs. Where nobody reaps orphans (a container without an init) the dead stay listed."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
