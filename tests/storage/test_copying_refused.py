"""Copies that must not begin: what is in use, what is not new, what is not ours. Nothing is written then."""

from pathlib import Path

import asyncpg
import pytest
from copying_world import (
    ask,
    change_file,
    conformance_made,
    contents,
    copy,
    fill,
    new_database,
    new_folder,
    open_target,
)

from posthorn.clock import SystemClock
from posthorn.errors import StartRefused
from posthorn.storage.copying.ends import CopyFailed
from posthorn.storage.copying.mark import refuse_copy, refuse_half_copied
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.migrate import downgrade, version_of
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.factories import a_node, a_workspace
from posthorn.testing.postgres import PostgresServer

PASSWORD = "a-password-nobody-may-see"
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"


async def test_a_folder_without_a_store_is_no_source_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="there is no store"):
        await copy(tmp_path / "first", tmp_path / "second")
    assert is_empty(tmp_path)


async def test_a_database_without_a_store_is_no_source(tmp_path: Path, postgres18: PostgresServer) -> None:
    dsn = new_database(postgres18)
    with pytest.raises(StartRefused, match="has no store"):
        await copy(dsn, tmp_path / "second")
    assert await ask(dsn, TABLES) == []
    assert is_empty(tmp_path)


async def test_a_folder_in_use_is_neither_source_nor_target(tmp_path: Path, postgres18: PostgresServer) -> None:
    store = await SqliteStore.open(tmp_path / "first", SystemClock())
    dsn = new_database(postgres18)
    for source, target in ((tmp_path / "first", dsn), (new_folder(tmp_path / "new"), tmp_path / "first")):
        with pytest.raises(StartRefused, match=r"another Posthorn .* is running"):
            await copy(source, target)
    await store.close()
    assert await ask(dsn, TABLES) == []


async def test_nobody_starts_on_a_folder_while_it_is_copied(tmp_path: Path) -> None:
    async with open_target(new_folder(tmp_path / "second")):
        with pytest.raises(StartRefused, match=r"another Posthorn .* is running"):
            await SqliteStore.open(tmp_path / "second", SystemClock())


@pytest.mark.parametrize("is_source", [True, False])
async def test_a_database_with_a_living_node_is_refused_with_how_to_stop_it(
    is_source: bool, tmp_path: Path, postgres18: PostgresServer
) -> None:
    dsn = new_database(postgres18)
    store = await PostgresStore.open(dsn)
    now_ms = store.clock.now_ms()
    await store.announce(a_node(name="host-7:42", seen_ms=now_ms, until_ms=now_ms + 60_000))
    await store.close()
    folder = new_folder(tmp_path / "folder")
    with pytest.raises(StartRefused, match=r"in use by 1 node\(s\): host-7:42; stop them with SIGTERM, or wait \d+ s"):
        await (copy(dsn, tmp_path / "other") if is_source else copy(folder, dsn))
    assert await ask(dsn, "SELECT key FROM meta WHERE key = 'copying'") == []
    assert not (tmp_path / "other").exists()


async def test_a_database_that_somebody_has_open_is_refused(tmp_path: Path, postgres18: PostgresServer) -> None:
    dsn = new_database(postgres18)
    store = await PostgresStore.open(dsn)
    with pytest.raises(StartRefused, match=r"has \d+ open connection\(s\) of Posthorn"):
        await copy(dsn, tmp_path / "second")
    await store.close()
    await copy(dsn, tmp_path / "second")


async def test_a_node_that_died_a_while_ago_is_in_nobodys_way(tmp_path: Path, postgres18: PostgresServer) -> None:
    dsn = new_database(postgres18)
    store = await PostgresStore.open(dsn)
    await store.announce(a_node(until_ms=store.clock.now_ms() - 1))
    await store.close()
    assert (await copy(dsn, tmp_path / "second")).rows_now == 0


async def test_a_second_copy_of_the_same_database_is_refused_and_so_is_a_start(
    tmp_path: Path, postgres18: PostgresServer
) -> None:
    dsn = new_database(postgres18)
    connection = await asyncpg.connect(dsn)
    async with open_target(dsn):
        with pytest.raises(StartRefused, match="is under way; wait for its end"):
            await copy(dsn, tmp_path / "second")
        with pytest.raises(StartRefused, match="a copy from or into the database is under way"):
            await refuse_copy(connection, "the database")
    await refuse_copy(connection, "the database")
    await connection.close()


async def test_a_start_on_a_new_database_meets_no_copy(postgres18: PostgresServer) -> None:
    connection = await asyncpg.connect(new_database(postgres18))
    await refuse_copy(connection, "the database")
    await connection.close()
    refuse_half_copied(None, "the folder")


async def test_a_target_that_holds_something_is_refused_and_left_alone(
    tmp_path: Path, postgres18: PostgresServer
) -> None:
    first = await conformance_made(tmp_path / "first")
    dsn = new_database(postgres18)
    store = await PostgresStore.open(dsn)
    await store.insert(a_workspace())
    await store.close()
    folder = fill(tmp_path / "second", {"meta": [("cluster_id", "another")]})
    for target, table in ((dsn, "workspace"), (folder, "meta")):
        before = await contents(target)
        with pytest.raises(StartRefused, match=rf"holds a store already \({table} has rows\)|\(change has rows\)"):
            await copy(first, target)
        assert await contents(target) == before


async def test_a_target_of_something_else_is_refused_and_left_alone(tmp_path: Path, postgres18: PostgresServer) -> None:
    dsn = new_database(postgres18)
    await ask(dsn, "CREATE TABLE event (photo text)")
    with pytest.raises(StartRefused, match="a table named event that is not Posthorn's"):
        await copy(new_folder(tmp_path / "first"), dsn)
    assert [row[0] for row in await ask(dsn, TABLES)] == ["event"]


async def test_a_source_of_an_older_schema_is_refused_with_how_to_upgrade_it(tmp_path: Path) -> None:
    first = new_folder(tmp_path / "first")
    downgrade(first / DATABASE, "0001")
    with pytest.raises(StartRefused, match=r"schema 0001, .*`posthorn database migrate --data"):
        await copy(first, tmp_path / "second")
    assert version_of(first / DATABASE) == "0001"
    assert not (tmp_path / "second").exists()


async def test_a_source_of_a_newer_schema_is_refused(tmp_path: Path, postgres18: PostgresServer) -> None:
    dsn = new_database(postgres18)
    await (await PostgresStore.open(dsn)).close()
    await ask(dsn, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartRefused, match="schema 9999"):
        await copy(dsn, tmp_path / "second")
    assert is_empty(tmp_path)


async def test_no_message_shows_the_password(tmp_path: Path, postgres18: PostgresServer) -> None:
    dsn = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{postgres18.port}/nobody_made_it"
    with pytest.raises(StartRefused, match=r"there is no database 127\.0\.0\.1:") as refused:
        await copy(new_folder(tmp_path / "first"), dsn)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("values", ["1, 'a-very-secret-id', 70000, 'p'", "1, 'a-very-secret-id', 7, x'00ff'"])
async def test_the_table_and_not_the_row_is_named_when_a_value_does_not_fit(
    values: str, tmp_path: Path, postgres18: PostgresServer
) -> None:
    first = new_folder(tmp_path / "first")
    change_file(first, f"INSERT INTO decision_work VALUES ({values})")
    with pytest.raises(CopyFailed, match="does not fit into the table decision_work") as failed:
        await copy(first, new_database(postgres18))
    assert "very-secret" not in str(failed.value)


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())
