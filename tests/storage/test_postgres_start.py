"""What keeps Posthorn from starting on a database, said in one sentence; and what does not."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary

from posthorn.errors import StartRefused
from posthorn.storage.postgres import migrate
from posthorn.storage.postgres.address import Address, Host
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.tables import metadata
from posthorn.testing.clock import ManualClock
from posthorn.testing.ports import LOOPBACK, free_port
from posthorn.testing.postgres import PostgresServer

Make = Callable[..., str]


@pytest.fixture
def make(postgres18: PostgresServer) -> Iterator[Make]:
    """Make an empty database, then run statements in it."""
    made = []

    def make(*statements: str, options: str = "") -> str:
        name = f"start_{len(made)}"
        made.append(name)
        postgres18.query(f"CREATE DATABASE {name} {options}")
        for statement in statements:
            postgres18.query(statement, name)
        return postgres18.dsn(name)

    yield make
    for name in made:
        postgres18.drop_database(name)


def _tables(server: PostgresServer, dsn: str) -> set[str]:
    name = dsn.rpartition("/")[2]
    return set(server.query("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace", name).split())


async def _refusal(dsn: str) -> str:
    with pytest.raises(StartRefused) as refused:
        await PostgresStore.open(dsn, ManualClock())
    with pytest.raises(StartRefused) as checked:
        await migrate.check(dsn)
    assert str(checked.value) == str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return str(refused.value)


@pytest.mark.parametrize("text", ["", "sqlite:///x", "postgresql://h:p/x", "postgresql://[::1/x"])
async def test_a_url_that_is_none_is_refused(text: str) -> None:
    assert "postgresql://" in await _refusal(text)


async def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    port = free_port()
    said = await _refusal(f"postgresql://zoe:s3cret@{LOOPBACK}:{port}/posthorn")
    assert f"{LOOPBACK}:{port}/posthorn cannot be reached" in said
    assert "s3cret" not in said
    assert "zoe" not in said


async def test_a_database_that_is_not_there_is_refused(postgres18: PostgresServer) -> None:
    assert "there is no database" in await _refusal(postgres18.dsn("nowhere"))


async def test_a_wrong_password_is_refused_and_not_shown(tmp_path: Path) -> None:
    with PostgresServer.create(tmp_path / "server", durable=False) as server:
        await asyncio.to_thread(server.query, "CREATE ROLE zoe LOGIN PASSWORD 'right'")
        rules = server.data / "pg_hba.conf"
        rules.write_text(f"host all zoe {LOOPBACK}/32 scram-sha-256\n{rules.read_text()}")
        await asyncio.to_thread(server.query, "SELECT pg_reload_conf()")
        said = await _refusal(f"postgresql://zoe:wr0ng@{LOOPBACK}:{server.port}/postgres")
        assert "refuses this user or password" in said
        assert "wr0ng" not in said
        with pytest.raises(StartRefused, match="may not make tables"):
            await PostgresStore.open(f"postgresql://zoe:right@{LOOPBACK}:{server.port}/postgres")


async def test_a_database_in_another_encoding_is_refused(make: Make, postgres18: PostgresServer) -> None:
    dsn = make(options="ENCODING 'SQL_ASCII' TEMPLATE template0")
    assert "encoded in SQL_ASCII" in await _refusal(dsn)
    assert _tables(postgres18, dsn) == set()


async def test_a_server_that_takes_no_writes_is_refused(make: Make, postgres18: PostgresServer) -> None:
    name = make().rpartition("/")[2]
    postgres18.query(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "takes no writes" in await _refusal(postgres18.dsn(name))


async def test_tables_of_our_names_that_are_not_ours_are_left_alone(make: Make, postgres18: PostgresServer) -> None:
    dsn = make("CREATE TABLE event (id int)")
    assert "a table named event that is not Posthorn's" in await _refusal(dsn)
    assert _tables(postgres18, dsn) == {"event"}


async def test_another_applications_alembic_is_left_alone(make: Make, postgres18: PostgresServer) -> None:
    dsn = make("CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('0001')")
    assert "another application that uses Alembic" in await _refusal(dsn)
    assert _tables(postgres18, dsn) == {"alembic_version"}


async def test_tables_of_other_names_do_not_disturb(make: Make) -> None:
    dsn = make("CREATE TABLE invoice (id int)")
    store = await PostgresStore.open(dsn, ManualClock())
    assert await store.last_change() == 0
    await store.close()


async def test_a_schema_that_needs_a_newer_release_is_refused(postgres18: PostgresServer, postgres18_dsn: str) -> None:
    name = postgres18_dsn.rpartition("/")[2]
    postgres18.query("UPDATE alembic_version SET version_num = '0007'", name)
    store = await PostgresStore.open(postgres18_dsn, ManualClock())  # It only added to what we know.
    await store.close()
    postgres18.query("UPDATE meta SET value = '0006' WHERE key = 'schema_oldest'", name)
    said = await _refusal(postgres18_dsn)
    assert (
        f"upgraded by a newer Posthorn (schema 0007, which needs at least 0006; this one knows {migrate.HEAD})" in said
    )
    with pytest.raises(StartRefused, match="newer Posthorn"):
        await migrate.upgrade(postgres18_dsn)


async def test_an_upgrade_that_was_interrupted_is_refused_until_it_is_finished(
    postgres18: PostgresServer, postgres18_dsn: str
) -> None:
    name = postgres18_dsn.rpartition("/")[2]
    postgres18.query("INSERT INTO meta (key, value) VALUES ('migrating', '0001')", name)
    assert "run `posthorn database migrate` to finish it" in await _refusal(postgres18_dsn)
    await migrate.upgrade(postgres18_dsn)
    await migrate.check(postgres18_dsn)
    postgres18.query("INSERT INTO meta (key, value) VALUES ('migrating', '0009')", name)
    with pytest.raises(StartRefused, match="0009, which this Posthorn does not know"):
        await migrate.upgrade(postgres18_dsn)


async def test_checking_an_empty_database_writes_nothing(make: Make, postgres18: PostgresServer) -> None:
    dsn = make()
    await migrate.check(dsn)
    assert await migrate.version_of(dsn) is None
    assert _tables(postgres18, dsn) == set()


async def test_nodes_that_start_at_once_on_an_empty_database_make_one_schema(make: Make) -> None:
    dsn = make()
    stores = await asyncio.gather(*(PostgresStore.open(dsn) for _ in range(4)))
    assert await migrate.version_of(dsn) == migrate.HEAD
    for store in stores:
        await store.close()


async def test_the_migrations_make_the_columns_that_the_queries_name(
    postgres18: PostgresServer, postgres18_dsn: str
) -> None:
    listed = postgres18.query(
        "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name !~ '_d[0-9]+$' ORDER BY table_name, ordinal_position",
        postgres18_dsn.rpartition("/")[2],
    )
    present = {tuple(line.split("|")) for line in listed.splitlines()}
    ours = {row for row in present if row[0] not in {"alembic_version", "batch"}}
    assert ours == {
        (
            table.name,
            column.name,
            "bytea" if isinstance(column.type, LargeBinary) else str(column.type).lower(),
            "YES" if column.nullable else "NO",
            "C" if str(column.type) == "TEXT" else "",
        )
        for table in metadata.sorted_tables
        for column in table.columns
    }


def test_an_address_is_read_with_all_its_hosts() -> None:
    address = Address.parse("postgres://zoe:p%40ss@one:5433,[::1]:5434,three/data?target_session_attrs=any")
    assert address.hosts == (Host(name="one", port=5433), Host(name="::1", port=5434), Host(name="three", port=None))
    assert address.names_a_target
    assert address.shown == "one:5433,::1:5434,three/data"
    assert "p%40ss" not in repr(address)


def test_an_address_may_name_its_hosts_as_options() -> None:
    address = Address.parse("postgresql:///data?host=/run/sockets&port=5433")
    assert address.hosts == (Host(name="/run/sockets", port=5433),)
    assert not address.names_a_target
