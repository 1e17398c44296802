"""The stores under measurement: SQLite in the server's folder, or a fresh PostgreSQL database for each scenario."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from bench.processes import Family
from posthorn.testing.postgres import PostgresServer

# Two cores and 24 GiB. Everything that makes a commit durable keeps its default.
_EMBEDDED_SETTINGS = {
    "shared_buffers": "1GB",
    "effective_cache_size": "12GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "synchronous_commit": "on",
    "random_page_cost": "1.1",
}
_DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")
_STATISTICS_SECONDS = 1.2  # A backend reports its statistics once a second.


class SqliteStores:
    """The embedded store needs nothing but the server's own folder."""

    label = "SQLite"
    remarks: tuple[str, ...] = ()
    is_postgres = False

    @contextlib.contextmanager
    def fresh(self):
        """Yield no database: each server makes its own."""
        yield None

    def close(self) -> None:
        """Nothing is open."""


class PostgresStores:
    """Databases on one server, which this run started (`embedded`) or found at an address."""

    is_postgres = True

    def __init__(self, address: str) -> None:
        self._server: PostgresServer | None = None
        self._folder: Path | None = None
        self._made = 0
        if address == "embedded":
            address = self._start()
        self.address = address
        with self._stopping_on_failure():
            try:
                version, self.remarks = asyncio.run(_introduce(address))
            except (OSError, asyncpg.PostgresError) as error:
                raise SystemExit(f"the database server cannot be used: {error or type(error).__name__}") from None
            self.label = f"PostgreSQL {version}"
            self._family = self._find_processes()

    def _start(self) -> str:
        self._folder = Path(tempfile.mkdtemp(prefix="posthorn-bench-postgres-", dir=os.environ.get("BENCH_DIR")))
        self._server = PostgresServer.create(self._folder / "server", settings=_EMBEDDED_SETTINGS, durable=True)
        with self._stopping_on_failure():
            self._server.start()
        return self._server.dsn()

    @contextlib.contextmanager
    def _stopping_on_failure(self):
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _find_processes(self) -> Family | None:
        """Find the server's processes when they are on this machine; else their processor time stays unknown."""
        if self._server is not None:
            return Family(self._server.pid)
        if not (urlsplit(self.address).hostname or "localhost").startswith(("127.", "localhost", "::1", "/")):
            return None
        backend = asyncio.run(_backend_parent(self.address))
        return Family(backend) if backend is not None else None

    @contextlib.contextmanager
    def fresh(self):
        """Yield an empty database, and drop it afterwards."""
        self._made += 1
        name = f"posthorn_bench_{os.getpid()}_{self._made}"
        asyncio.run(_run(self.address, f"{_drop(name)}; CREATE DATABASE {name} {_LIKE_ANYWHERE}"))
        parts = urlsplit(self.address)
        try:
            yield Database(parts._replace(path=f"/{name}").geturl(), self._family)
        finally:
            asyncio.run(_run(self.address, _drop(name)))

    def close(self) -> None:
        """Stop the server, if it is ours, and remove its folder."""
        if self._server is not None:
            self._server.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class Database:
    """One fresh database, and what the server spent."""

    def __init__(self, url: str, family: Family | None) -> None:
        self.url = url
        self._family = family

    def cpu_seconds(self) -> float | None:
        """Return the processor time of the whole server, None when its processes are out of sight."""
        return None if self._family is None else self._family.cpu_seconds()

    def counters(self) -> dict[str, int]:
        """Return what counts up: WAL bytes of the server, transactions of this database."""
        wal, transactions = asyncio.run(_counters(self.url))
        return {"wal_bytes": wal, "transactions": transactions}

    def queue(self) -> dict[str, int]:
        """Return how big and how bloated the delivery queue is."""
        rows, size = asyncio.run(_queue(self.url))
        return {"queue_dead_rows": rows, "queue_bytes": size}

    def checkpoint(self) -> None:
        """Begin with nothing to write back, where we may ask for it."""
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
            asyncio.run(_run(self.url, "CHECKPOINT"))


# The order of text must not depend on the machine's locale, and the template's encoding is not ours to trust.
_LIKE_ANYWHERE = "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"


def _drop(name: str) -> str:
    return f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"


@contextlib.asynccontextmanager
async def connected(url: str):
    """Connect to whichever host takes writes, without time limits of its own."""
    connection = await asyncpg.connect(url, target_session_attrs="read-write", timeout=30)
    try:
        yield connection
    finally:
        await connection.close()


async def _run(url: str, statements: str) -> None:
    async with connected(url) as connection:
        # One by one: CREATE DATABASE refuses to be part of several statements sent together.
        for statement in statements.split("; "):
            await connection.execute(statement)


async def _introduce(url: str) -> tuple[str, tuple[str, ...]]:
    async with connected(url) as connection:
        version = (await connection.fetchval("SHOW server_version")).split()[0]
        off = [name for name in _DURABILITY if await connection.fetchval(f"SHOW {name}") == "off"]
        standbys = await connection.fetchval("SHOW synchronous_standby_names")
    remarks = [f"{name} is off on this server: it may lose what it confirmed" for name in off]
    remarks += [f"commits wait for standbys: {standbys}"] if standbys else []
    return version, tuple(remarks)


async def _backend_parent(url: str) -> int | None:
    async with connected(url) as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        with contextlib.suppress(psutil.Error):
            backend = psutil.Process(pid)
            # In a container the number belongs to some other process here.
            if "postgres" in backend.name():
                return backend.ppid()
    return None


async def _counters(url: str) -> tuple[int, int]:
    await asyncio.sleep(_STATISTICS_SECONDS)
    async with connected(url) as connection:
        row = await connection.fetchrow(
            "SELECT (pg_current_wal_lsn() - '0/0')::bigint, xact_commit + xact_rollback FROM pg_stat_database "
            "WHERE datname = current_database()"
        )
    return row[0], row[1]


async def _queue(url: str) -> tuple[int, int]:
    async with connected(url) as connection:
        return tuple(
            await connection.fetchrow(
                "SELECT n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables WHERE relname = 'delivery'"
            )
        )
