"""`posthorn database`: what it prints, what it changes, and how it fails."""

import asyncio
import io
import itertools
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from rich.console import Console

from posthorn.cli.copy_progress import shown_progress
from posthorn.cli.main import main
from posthorn.storage.copying.mark import COPYING
from posthorn.storage.postgres import migrate as postgres_migrate
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite import migrate as sqlite_migrate
from posthorn.storage.sqlite.connection import DATABASE, FolderLock
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing import factories
from posthorn.testing.clock import ManualClock
from posthorn.testing.postgres import PostgresServer

HEAD = postgres_migrate.HEAD
PASSWORD = "a-password-nobody-may-see"
_numbers = itertools.count(1)


@pytest.fixture
def dsn(postgres18: PostgresServer) -> Iterator[str]:
    name = f"cli_{next(_numbers)}"
    yield postgres18.create_database(name)
    postgres18.drop_database(name)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> "Said":
    return Said(capsys)


class Said:
    """Runs a command here and tells what it printed; a failure must be one sentence on standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def done(self, *arguments: str) -> str:
        assert main(["database", *arguments]) == 0
        captured = self._capsys.readouterr()
        assert captured.err == ""
        return captured.out

    def failed(self, *arguments: str, code: int = 1) -> str:
        assert main(["database", *arguments]) == code
        captured = self._capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("Error: ")
        assert captured.err.count("\n") == (2 if "Try `" in captured.err else 1)
        assert PASSWORD not in captured.err
        return captured.err


def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
    program = [sys.executable, "-c", "from posthorn.cli.main import run; run()", "database", *arguments]
    return subprocess.Popen(
        program, env=clean | environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def test_migrate_makes_a_new_database_ready_and_then_has_nothing_to_do(dsn: str, said: Said) -> None:
    assert f"Schema  nothing → {HEAD}\n" in said.done("migrate", "--database", dsn)
    assert f"Schema  {HEAD}: nothing to do.\n" in said.done("migrate", "--database", dsn)
    assert asyncio.run(postgres_migrate.version_of(dsn)) == HEAD


def test_migrate_brings_a_data_folder_up_to_date(tmp_path: Path, said: Said) -> None:
    sqlite_migrate.upgrade(tmp_path / DATABASE, "0001")
    shown = said.done("migrate", "--data", str(tmp_path))
    assert f"Schema  0001 → {sqlite_migrate.HEAD}\n" in shown
    assert f"Schema  {sqlite_migrate.HEAD}: nothing to do.\n" in said.done("migrate", "--data", str(tmp_path))


def test_two_that_migrate_at_once_both_succeed(dsn: str) -> None:
    both = [start("migrate", "--database", dsn) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert asyncio.run(postgres_migrate.version_of(dsn)) == HEAD


def test_migrate_finishes_what_was_interrupted(dsn: str, said: Said, postgres18: PostgresServer) -> None:
    said.done("migrate", "--database", dsn)
    query(postgres18, dsn, f"INSERT INTO meta VALUES ('migrating', '{HEAD}')")
    assert f"to {HEAD}; `posthorn database migrate` finishes it" in said.done("status", "--database", dsn)
    assert f"Finished the interrupted migration to {HEAD}." in said.done("migrate", "--database", dsn)
    assert query(postgres18, dsn, "SELECT count(*) FROM meta WHERE key = 'migrating'") == "0"


def test_migrate_refuses_a_database_of_a_newer_release(dsn: str, said: Said, postgres18: PostgresServer) -> None:
    said.done("migrate", "--database", dsn)
    query(postgres18, dsn, "UPDATE alembic_version SET version_num = '9999'")
    query(postgres18, dsn, "UPDATE meta SET value = '9998' WHERE key = 'schema_oldest'")
    assert "newer Posthorn (schema 9999" in said.failed("migrate", "--database", dsn)


def test_migrate_refuses_a_folder_that_a_server_uses(tmp_path: Path, said: Said) -> None:
    lock = FolderLock(tmp_path)
    assert "another Posthorn" in said.failed("migrate", "--data", str(tmp_path))
    lock.release()


def test_a_flag_outweighs_the_variable_of_the_other_store(tmp_path: Path) -> None:
    process = start("migrate", "--data", str(tmp_path), POSTHORN_DATABASE=unreachable())
    shown, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert str(tmp_path) in shown


def test_the_variable_names_the_database(dsn: str) -> None:
    process = start("status", POSTHORN_DATABASE=dsn)
    shown, _ = process.communicate(timeout=60)
    assert (process.returncode, "none yet" in shown) == (0, True)


@pytest.mark.parametrize("command", ["migrate", "status"])
def test_what_cannot_be_reached_is_one_sentence_without_the_password(command: str, said: Said) -> None:
    shown = said.failed(command, "--database", unreachable())
    assert "127.0.0.1:1/nothing" in shown
    assert "cannot be reached" in shown


@pytest.mark.parametrize("command", ["migrate", "status"])
@pytest.mark.parametrize(
    "flags", [["--database", f"mysql://root:{PASSWORD}@localhost/x"], ["--database", "postgresql://a/b", "--data", "d"]]
)
def test_a_wrong_flag_is_wrong_usage(command: str, flags: list[str], said: Said) -> None:
    assert "--database" in said.failed(command, *flags, code=2)


def test_status_of_a_database_shows_schema_nodes_days_rows_and_size(
    dsn: str, said: Said, postgres18: PostgresServer
) -> None:
    asyncio.run(live_on(dsn))
    shown = json.loads(said.done("status", "--json", "--database", dsn))
    assert shown["kind"] == "postgresql"
    assert shown["place"] == f"127.0.0.1:{postgres18.port}/{dsn.rpartition('/')[2]}"
    assert shown["serverVersion"].startswith("18")
    assert shown["schema"] == {
        "revision": HEAD, "known": HEAD, "oldest": "0001", "migrating": None, "contracts": []
    }  # fmt: skip
    assert [(node["name"], node["version"]) for node in shown["nodes"]] == [("host-7:42", "1.0")]
    assert (shown["isCopying"], shown["rowsAreEstimates"]) == (False, True)
    assert shown["rows"]["workspace"] == 1
    assert shown["rows"]["event"] == 1
    assert shown["sizeBytes"] > 1_000_000
    days = {each["table"]: each for each in shown["days"]}
    assert set(days) == {"request", "event", "attempt", "decision"}
    assert days["event"]["partitions"] == 5
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", days["event"]["oldest"])
    assert days["event"]["oldest"] < days["event"]["newest"]


def test_status_reads_well_too(dsn: str, said: Said) -> None:
    asyncio.run(live_on(dsn))
    shown = said.done("status", "--database", dsn)
    for line in (
        r"Store +postgresql 18\S*, 127\.0\.0\.1:\d+/cli_\d+",
        rf"Schema +{HEAD}; this release knows {HEAD}",
        r"Interrupted migration +none",
        r"Half-done copy +none",
        r"Nodes +host-7:42 \(Posthorn 1\.0\)",
        r"Size +[\d.]+ MiB",
        r"event +1 +5 +\d{4}-\d\d-\d\d +\d{4}-\d\d-\d\d",
    ):
        assert re.search(rf"^{line} *$", shown, re.MULTILINE), (line, shown)


def test_status_changes_nothing(dsn: str, said: Said, postgres18: PostgresServer) -> None:
    said.done("status", "--database", dsn)
    assert query(postgres18, dsn, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == "0"


def test_status_shows_a_folder_while_it_is_in_use(tmp_path: Path, said: Said) -> None:
    store = asyncio.run(a_folder(tmp_path / "data"))
    before = (tmp_path / "data" / DATABASE).read_bytes()
    shown = json.loads(said.done("status", "--json", "--data", str(tmp_path / "data")))
    assert shown["kind"] == "sqlite"
    assert shown["schema"]["revision"] == sqlite_migrate.HEAD
    assert shown["inUseBy"] == str(os.getpid())
    assert (shown["rows"]["event"], shown["rows"]["workspace"]) == (1, 1)
    assert shown["days"][1] == {"table": "event", "partitions": 0, "oldest": "2026-01-01", "newest": "2026-01-01"}
    assert f"in use by process {os.getpid()}" in said.done("status", "--data", str(tmp_path / "data"))
    assert (tmp_path / "data" / DATABASE).read_bytes() == before
    asyncio.run(store.close())
    assert json.loads(said.done("status", "--json", "--data", str(tmp_path / "data")))["inUseBy"] is None


def test_status_of_a_folder_without_a_store_makes_none(tmp_path: Path, said: Said) -> None:
    assert "there is no store" in said.failed("status", "--data", str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_status_of_a_file_that_is_no_store_is_refused(tmp_path: Path, said: Said) -> None:
    (tmp_path / DATABASE).write_bytes(b"nonsense" * 200)
    assert "not a Posthorn store" in said.failed("status", "--data", str(tmp_path))


def test_copy_tells_what_it_did_and_what_to_do_next(tmp_path: Path, dsn: str, said: Said) -> None:
    asyncio.run(closed(tmp_path / "data"))
    shown = said.done("copy", "--from", f"sqlite:{tmp_path / 'data'}", "--to", dsn)
    assert re.search(r"^Copying \d+ rows\.$", shown, re.MULTILINE)
    assert "both sides agree in number and checksum" in shown
    assert re.search(r"This run wrote \d+ rows in [\d.]+ s \(\d+ rows/s\) and verified in [\d.]+ s\.", shown)
    assert f"{tmp_path / 'data' / 'master.key'}, or what was given as POSTHORN_MASTER_KEY" in shown
    assert "Start nothing on the store that was copied any more" in shown
    back = said.done("copy", "--from", dsn, "--to", f"sqlite:{tmp_path / 'back'}")
    assert "master.key in the data directory of one of its nodes" in back
    assert rows_of(tmp_path / "back") == rows_of(tmp_path / "data")


def test_a_copy_says_how_many_texts_it_had_to_change(tmp_path: Path, dsn: str, said: Said) -> None:
    asyncio.run(closed(tmp_path / "data"))
    with closing(sqlite3.connect(tmp_path / "data" / DATABASE)) as connection, connection:
        connection.execute("UPDATE event SET type = ?", ("a\0b",))
    shown = said.done("copy", "--from", f"sqlite:{tmp_path / 'data'}", "--to", dsn)
    assert "In 1 rows of event, U+FFFD stands for U+0000" in shown


def test_a_half_done_copy_shows_in_the_status(tmp_path: Path, said: Said) -> None:
    asyncio.run(closed(tmp_path / "data"))
    with closing(sqlite3.connect(tmp_path / "data" / DATABASE)) as connection, connection:
        connection.execute("INSERT INTO meta VALUES (?, '{}')", (COPYING,))
    shown = said.done("status", "--data", str(tmp_path / "data"))
    assert re.search(r"Half-done copy +yes; run the same `posthorn database copy` again", shown)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (f"mysql://root:{PASSWORD}@localhost/x", "sqlite:x"),
        ("sqlite:", "sqlite:x"),
        ("sqlite:x", "x"),
        ("sqlite:x", f"postgresql://:{PASSWORD}@localhost"),
        ("sqlite:x", "sqlite:x"),
    ],
)
def test_a_wrong_spelling_of_a_store_is_wrong_usage(source: str, target: str, said: Said) -> None:
    shown = said.failed("copy", "--from", source, "--to", target, code=2)
    assert "--from" in shown or "--to" in shown


def test_copy_needs_both_ends(said: Said) -> None:
    assert "--to" in said.failed("copy", "--from", "sqlite:x", code=2)


def test_a_copy_that_is_killed_at_any_moment_goes_on_when_it_is_run_again(tmp_path: Path, dsn: str) -> None:
    asyncio.run(closed(tmp_path / "data", events=20_000))
    command = ("copy", "--from", f"sqlite:{tmp_path / 'data'}", "--to", dsn)
    seconds = 0.02
    while True:
        process = start(*command)
        assert process.stdout is not None
        process.stdout.readline()  # now it is about to write
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            seconds += 0.25
            continue
        # It may have been killed between its last commit and its end.
        assert process.returncode == 0 or "a copy that is complete" in errors, errors
        break
    back = start("copy", "--from", dsn, "--to", f"sqlite:{tmp_path / 'back'}")
    assert back.communicate(timeout=60)[1] == ""
    assert rows_of(tmp_path / "back") == rows_of(tmp_path / "data")


def test_a_copy_in_a_terminal_shows_bars() -> None:
    screen = io.StringIO()
    with shown_progress(Console(file=screen, force_terminal=True, width=100)) as progress:
        progress.began(rows_total=10, rows_before=4)
        progress.copied("event", 6)
        progress.verifying(rows_total=10)
        progress.verified("event", 3)
    last = screen.getvalue()
    for text in ("Copying", "10/10", "Verifying", "3/10", "event"):
        assert text in last


def test_a_copy_elsewhere_writes_whole_lines() -> None:
    written = io.StringIO()
    with shown_progress(Console(file=written, width=200)) as progress:
        progress.began(rows_total=10, rows_before=4)
        progress.verifying(rows_total=10)
    assert written.getvalue().splitlines() == [
        "Going on with a copy: 4 of 10 rows are there.",
        "Verifying 10 rows.",
    ]


async def live_on(dsn: str) -> None:
    store = await PostgresStore.open(dsn)
    now_ms = store.clock.now_ms()
    await store.announce(factories.a_node(name="host-7:42", seen_ms=now_ms, until_ms=now_ms + 60_000))
    await fill(store, 1)
    await store.close()
    # The server's own counters, which tell of tables that were never analyzed, come a moment late.
    connection = await asyncpg.connect(dsn)
    await connection.execute("ANALYZE")
    await connection.close()


async def a_folder(folder: Path, events: int = 1) -> SqliteStore:
    store = await SqliteStore.open(folder, ManualClock())
    await fill(store, events)
    return store


async def closed(folder: Path, events: int = 1) -> None:
    await (await a_folder(folder, events)).close()


async def fill(store: Any, events: int) -> None:
    await store.insert(factories.a_workspace())
    for first in range(0, events, 500):
        await store.append([factories.a_unit() for _ in range(min(500, events - first))])


def rows_of(folder: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        tables = ("event", "delivery", "change", "workspace", "meta")
        return {table: sorted(connection.execute(f"SELECT * FROM {table}")) for table in tables}


def query(server: PostgresServer, dsn: str, sql: str) -> str:
    return server.query(sql, dsn.rpartition("/")[2])


def unreachable() -> str:
    return f"postgresql://someone:{PASSWORD}@127.0.0.1:1/nothing"
