"""Starts on a PostgreSQL database that are refused: each with its reason and the way out, and nothing is written."""

import asyncio
import base64
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from posthorn_process import Launch, Posthorn

from posthorn.storage.copying.mark import COPY_LOCK
from posthorn.testing.postgres import PostgresServer
from posthorn.testing.postgres_programs import available, missing

PASSWORD = "the-right-password"
WRONG = "a-wrong-password"
OTHER_MASTER_KEY = base64.b64encode(b"another key of thirty-two bytes!").decode()
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Serve with a user who needs a password, and without the vacuum that would write on its own."""
    if not available(18):
        pytest.fail(missing(18))
    folder = tmp_path_factory.mktemp("faults") / "one"
    server = PostgresServer.create(folder, settings={"autovacuum": "off"})
    rules = server.data / "pg_hba.conf"
    rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    with server:
        server.query(f"CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        server.query("CREATE ROLE guest LOGIN")
        yield server


@pytest.fixture
def dsn(server: PostgresServer) -> str:
    """Make an empty database."""
    return server.create_database(f"faults_{next(_numbers)}")


@pytest.fixture(scope="module")
def founded(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Posthorn:
    """Run a cluster once; its database has everything that a start writes."""
    return found(server.create_database("founded"), tmp_path_factory.mktemp("founded") / "data")


@pytest.fixture
def refused(launch: Launch, server: PostgresServer) -> Callable[..., str]:
    """Start, expect one sentence and no trace of the start on the server, and return the sentence."""

    def run(dsn: str, *, name: str = "data", code: int = 1, **environ: str) -> str:
        before = next_transaction(server)
        posthorn = launch(name, flags=("--database", dsn), environ=environ)
        ended = posthorn.refuse()
        assert (ended.code, ended.output) == (code, ""), ended.errors
        assert ended.errors.startswith("Error: ")
        assert ended.errors.count("\n") == 1, ended.errors
        assert PASSWORD not in ended.errors
        assert WRONG not in ended.errors
        assert next_transaction(server) == before
        return ended.errors

    return run


def test_a_server_that_does_not_run(refused: Callable[..., str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = refused(f"postgresql://someone:{PASSWORD}@127.0.0.1:{port}/posthorn")
    assert f"127.0.0.1:{port}/posthorn cannot be reached" in told
    assert "start it or correct the URL" in told


def test_a_host_that_has_no_address(refused: Callable[..., str]) -> None:
    assert "nowhere.invalid/posthorn cannot be reached" in refused("postgresql://a@nowhere.invalid/posthorn")


@pytest.mark.parametrize("password", [f":{WRONG}", ""])
def test_a_wrong_password(password: str, refused: Callable[..., str], server: PostgresServer) -> None:
    told = refused(f"postgresql://guarded{password}@127.0.0.1:{server.port}/postgres")
    assert "refuses this user or password; correct the URL" in told


def test_a_database_that_nobody_made(refused: Callable[..., str], server: PostgresServer) -> None:
    told = refused(f"postgresql://guarded:{PASSWORD}@127.0.0.1:{server.port}/nobody_made_it")
    assert "there is no database 127.0.0.1:" in told
    assert "create it" in told


def test_a_user_who_may_not_make_tables(refused: Callable[..., str], server: PostgresServer, dsn: str) -> None:
    told = refused(dsn.replace("postgres@", "guest@"))
    assert "may not make tables" in told
    assert "grant it CREATE" in told


def test_an_encoding_that_cannot_hold_every_text(refused: Callable[..., str], server: PostgresServer) -> None:
    server.query("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    assert "is encoded in SQL_ASCII; make one with" in refused(server.dsn("ascii"))


def test_a_database_that_is_read_only(refused: Callable[..., str], server: PostgresServer, dsn: str) -> None:
    server.query(f"ALTER DATABASE {name_of(dsn)} SET default_transaction_read_only = on")
    told = refused(dsn)
    assert "takes no writes" in told
    assert "name the primary" in told


def test_a_standby(refused: Callable[..., str], server: PostgresServer, tmp_path: Path) -> None:
    with server.base_backup(tmp_path / "standby") as standby:
        standby.start()
        told = refused(standby.dsn("postgres"))
    assert "it is a standby or set to read only; name the primary" in told


async def test_a_server_that_is_too_old(launch: Launch, server: PostgresServer, dsn: str) -> None:
    """A proxy makes a real server say that it is PostgreSQL 14: no older one is installed."""
    before = next_transaction(server)
    async with saying(server, b"server_version\x0018.6\x00", b"server_version\x0014.9\x00") as port:
        posthorn = launch(flags=("--database", dsn.replace(str(server.port), str(port))))
        ended = await asyncio.to_thread(posthorn.refuse)
    assert ended.code == 1
    assert "is PostgreSQL 14; use PostgreSQL 15 or newer" in ended.errors
    assert ended.errors.count("\n") == 1
    assert next_transaction(server) == before


def test_a_database_of_a_newer_posthorn(refused: Callable[..., str], server: PostgresServer, dsn: str) -> None:
    migrate(dsn, server)
    query(server, dsn, "UPDATE alembic_version SET version_num = '9999'")
    query(server, dsn, "UPDATE meta SET value = '9998' WHERE key = 'schema_oldest'")
    told = refused(dsn)
    assert "newer Posthorn (schema 9999, which needs at least 9998" in told
    assert "start that release, or restore" in told


def test_a_migration_that_was_interrupted(refused: Callable[..., str], server: PostgresServer, dsn: str) -> None:
    migrate(dsn, server)
    query(server, dsn, "INSERT INTO meta VALUES ('migrating', '0001')")
    told = refused(dsn)
    assert "in the middle of an upgrade to schema 0001" in told
    assert "`posthorn database migrate`" in told


def test_tables_of_something_else(refused: Callable[..., str], server: PostgresServer, dsn: str) -> None:
    query(server, dsn, "CREATE TABLE event (photo text)")
    assert "a table named event that is not Posthorn's; start with another database" in refused(dsn)


def test_another_application_that_uses_alembic(refused: Callable[..., str], server: PostgresServer, dsn: str) -> None:
    query(server, dsn, "CREATE TABLE alembic_version (version_num varchar(32))")
    assert "another application that uses Alembic; start with another database" in refused(dsn)


def test_another_master_key(refused: Callable[..., str], founded: Posthorn) -> None:
    told = refused(database_of(founded), name="other", POSTHORN_MASTER_KEY=OTHER_MASTER_KEY)
    assert "master key" in told
    assert OTHER_MASTER_KEY not in told


def test_no_master_key(refused: Callable[..., str], founded: Posthorn) -> None:
    told = refused(database_of(founded), name="other")
    assert "master.key is missing" in told
    assert "POSTHORN_MASTER_KEY" in told


def test_a_data_folder_of_another_cluster(
    refused: Callable[..., str], server: PostgresServer, founded: Posthorn, tmp_path: Path
) -> None:
    other = found(server.create_database(f"faults_{next(_numbers)}"), tmp_path / "data")
    told = refused(database_of(founded), POSTHORN_MASTER_KEY=key_of(founded))
    assert "belongs to the cluster" in told
    assert "two clusters cannot share one" in told
    assert other.start() > 0
    other.kill()


def test_a_data_folder_of_another_cluster_on_a_new_database(
    refused: Callable[..., str], server: PostgresServer, dsn: str, tmp_path: Path
) -> None:
    found(server.create_database(f"faults_{next(_numbers)}"), tmp_path / "data")
    migrate(dsn, server)
    told = refused(dsn)
    assert "and this store is new: two clusters cannot share one" in told


async def test_a_copy_that_is_under_way(refused: Callable[..., str], server: PostgresServer, founded: Posthorn) -> None:
    async with holding(server, name_of(database_of(founded)), COPY_LOCK):
        told = await asyncio.to_thread(refused, database_of(founded), POSTHORN_MASTER_KEY=key_of(founded))
    assert "a copy from or into the database 127.0.0.1:" in told
    assert "is under way; start when it has ended" in told


def test_a_copy_that_did_not_end(refused: Callable[..., str], server: PostgresServer, dsn: str) -> None:
    migrate(dsn, server)
    query(server, dsn, "INSERT INTO meta VALUES ('copying', '{}')")
    told = refused(dsn)
    assert "is the target of a copy that did not end; run the same `posthorn database copy` again" in told


@pytest.mark.parametrize(
    "url", [f"mysql://root:{PASSWORD}@127.0.0.1/x", f"postgresql://root:{PASSWORD}@127.0.0.1", "posthorn"]
)
def test_an_address_that_is_none_is_wrong_usage(url: str, refused: Callable[..., str]) -> None:
    told = refused(url, code=2)
    assert "--database" in told
    assert "expected postgresql://user:password@host:5432/name" in told


def test_a_start_that_was_refused_can_be_made_good(
    launch: Launch, refused: Callable[..., str], server: PostgresServer, dsn: str
) -> None:
    """What refuses is not remembered anywhere: once the reason is gone, the same command starts."""
    migrate(dsn, server)
    query(server, dsn, "INSERT INTO meta VALUES ('migrating', '0001')")
    refused(dsn)
    query(server, dsn, "DELETE FROM meta WHERE key = 'migrating'")
    posthorn = launch(flags=("--database", dsn))
    posthorn.start()
    assert posthorn.stop().code == 0


def found(dsn: str, data: Path) -> Posthorn:
    posthorn = Posthorn(data, flags=("--database", dsn))
    posthorn.start()
    assert posthorn.stop().code == 0
    return posthorn


def migrate(dsn: str, server: PostgresServer) -> None:
    """Make the tables and partitions of this release, as a first start does."""
    from posthorn.storage.postgres.store import PostgresStore  # noqa: PLC0415 - only these tests need the driver

    async def run() -> None:
        await (await PostgresStore.open(dsn)).close()

    asyncio.run(run())


def database_of(posthorn: Posthorn) -> str:
    return posthorn.flags[1]


def key_of(posthorn: Posthorn) -> str:
    lines = (posthorn.data / "master.key").read_text().splitlines()
    return next(line for line in lines if line and not line.startswith("#"))


def name_of(dsn: str) -> str:
    return dsn.rpartition("/")[2]


def query(server: PostgresServer, dsn: str, sql: str) -> str:
    return server.query(sql, name_of(dsn))


def next_transaction(server: PostgresServer) -> str:
    """Return the id that the next transaction which writes will get, in whichever database of the server."""
    return server.query("SELECT pg_snapshot_xmax(pg_current_snapshot())")


@asynccontextmanager
async def holding(server: PostgresServer, database: str, lock: int) -> AsyncIterator[None]:
    import asyncpg  # noqa: PLC0415 - see above

    connection: Any = await asyncpg.connect(server.dsn(database), server_settings={"application_name": "test"})
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", lock)
        yield
    finally:
        await connection.close()


@asynccontextmanager
async def saying(server: PostgresServer, instead_of: bytes, words: bytes) -> AsyncIterator[int]:
    """Pass everything on to a server, and answer other words of the same length in place of some."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                seen += data.count(instead_of)
                writer.write(data.replace(instead_of, words))
                await writer.drain()
        writer.close()
        told.append(seen)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer))

    told: list[int] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        yield proxy.sockets[0].getsockname()[1]
    assert sum(told) > 0
