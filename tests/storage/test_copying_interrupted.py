"""A copy that is cut off anywhere goes on where it was, and a half-done one is never started on."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from copying_world import Place, Silent, ask, change_file, conformance_made, contents, copy, new_database

from posthorn.clock import SystemClock
from posthorn.errors import StartRefused
from posthorn.storage.copying.ends import CopyFailed
from posthorn.storage.copying.mark import COPYING
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.postgres import PostgresServer

CHILD = Path(__file__).with_name("copying_child.py")

# Cuts the connection inside of a commit, behind the rows and before their mark, once the sequence says so.
CUT = """
CREATE SEQUENCE marks;
CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.key = 'copying' AND nextval('marks') IN (3, 9, 10, 30) THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER cut BEFORE UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION cut();
"""


@pytest.mark.parametrize("batches", [1, 5, 60])
@pytest.mark.parametrize("is_back", [False, True], ids=["to PostgreSQL", "to SQLite"])
async def test_a_killed_copy_goes_on_where_it_was(
    batches: int, is_back: bool, tmp_path: Path, postgres18: PostgresServer
) -> None:
    first = await conformance_made(tmp_path / "first")
    source, target = await a_pair(first, tmp_path, postgres18, is_back=is_back)
    die(source, target, batches)
    there = await contents(target, without=["meta"])
    assert sum(map(len, there.values())) > 0
    watcher = Silent()
    copied = await copy(source, target, watcher)
    assert watcher.rows_before >= sum(map(len, there.values()))
    assert copied.rows_now + watcher.rows_before == sum(table.rows for table in copied.tables)
    assert await contents(target) == await contents(first)


async def test_a_copy_that_was_killed_while_it_verified_verifies_again(
    tmp_path: Path, postgres18: PostgresServer
) -> None:
    first = await conformance_made(tmp_path / "first")
    dsn = new_database(postgres18)
    watcher = Silent()
    await copy(first, new_database(postgres18), watcher)
    die(first, dsn, len(watcher.batches) + 2)
    assert (await copy(first, dsn)).rows_now == 0
    assert await contents(dsn) == await contents(first)


async def test_a_connection_that_is_cut_inside_of_a_commit_leaves_a_copy_that_goes_on(
    tmp_path: Path, postgres18: PostgresServer
) -> None:
    first = await conformance_made(tmp_path / "first")
    dsn = new_database(postgres18)
    die(first, dsn, 1)
    postgres18.query(CUT, dsn.rpartition("/")[2])
    for _ in range(4):
        with pytest.raises(CopyFailed, match="run the same command again"):
            await copy(first, dsn)
    await copy(first, dsn)
    assert await contents(dsn) == await contents(first)


async def test_another_source_is_refused_for_a_half_done_copy(tmp_path: Path, postgres18: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first")
    other = await conformance_made(tmp_path / "other")
    change_file(other, "UPDATE meta SET value = 'cluster_other' WHERE key = 'cluster_id'")
    dsn = new_database(postgres18)
    die(first, dsn, 2)
    before = await contents(dsn)
    with pytest.raises(StartRefused, match=r"another source \(cluster_of_the_test, and this one is cluster_other\)"):
        await copy(other, dsn)
    assert await contents(dsn) == before


async def test_a_source_that_was_used_meanwhile_is_refused_for_a_half_done_copy(tmp_path: Path) -> None:
    first = await conformance_made(tmp_path / "first")
    die(first, tmp_path / "second", 2)
    store = await SqliteStore.open(first, SystemClock())
    await store.set_meta("used", "meanwhile")
    await store.close()
    with pytest.raises(StartRefused, match="was used meanwhile"):
        await copy(first, tmp_path / "second")


async def test_a_half_done_copy_is_no_source(tmp_path: Path, postgres18: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first")
    dsn = new_database(postgres18)
    die(first, dsn, 2)
    die(first, tmp_path / "second", 2)
    for half_done in (dsn, tmp_path / "second"):
        with pytest.raises(StartRefused, match="target of a copy that did not end"):
            await copy(half_done, tmp_path / "third")
    assert not (tmp_path / "third").exists()


async def test_nobody_starts_on_a_half_done_copy(tmp_path: Path, postgres18: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first")
    dsn = new_database(postgres18)
    die(first, dsn, 2)
    die(first, tmp_path / "second", 2)
    with pytest.raises(StartRefused, match=r"target of a copy that did not end; run the same `posthorn database copy`"):
        await PostgresStore.open(dsn)
    with pytest.raises(StartRefused, match=r"target of a copy that did not end; run the same `posthorn database copy`"):
        await SqliteStore.open(tmp_path / "second", SystemClock())
    for target in (dsn, tmp_path / "second"):
        await copy(first, target)
    await (await PostgresStore.open(dsn)).close()
    await (await SqliteStore.open(tmp_path / "second", SystemClock())).close()


async def test_a_mark_that_cannot_be_read_is_refused(tmp_path: Path, postgres18: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first")
    dsn = new_database(postgres18)
    die(first, dsn, 2)
    await ask(dsn, 'UPDATE meta SET value = \'{"of": "tomorrow"}\' WHERE key = $1', COPYING)
    with pytest.raises(StartRefused, match="another release"):
        await copy(first, dsn)


async def a_pair(first: Path, folder: Path, server: PostgresServer, *, is_back: bool) -> tuple[Place, Place]:
    dsn = new_database(server)
    if not is_back:
        return first, dsn
    await copy(first, dsn)
    return dsn, folder / "back"


def die(source: Place, target: Place, batches: int) -> None:
    done = subprocess.run(
        [sys.executable, str(CHILD), str(source), str(target), str(batches)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
