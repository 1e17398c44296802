"""The launcher of PostgreSQL servers: what it starts answers, and what it ends is gone."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from posthorn.testing.ports import free_port
from posthorn.testing.postgres import PostgresServer, lives
from posthorn.testing.postgres_group import ReplicatedPostgres
from posthorn.testing.postgres_programs import PostgresFailed, available, missing

VERSIONS = [
    version if available(version) else pytest.param(version, marks=pytest.mark.skip(missing(version)))
    for version in (18, 15)
]
if os.environ.get("CI") == "true":
    VERSIONS = [18, 15]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="posthorn-postgres-") as folder:
        Path(folder).chmod(0o711)  # as root, a server runs as another user, who has to pass
        yield Path(folder) / "server"


def family(server: PostgresServer) -> list[psutil.Process]:
    postmaster = psutil.Process(server.pid)
    return [postmaster, *postmaster.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[int]:
    return [process.pid for process in processes if lives(process)]


def until_gone(processes: list[psutil.Process], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while alive(processes):
        assert time.monotonic() < deadline, alive(processes)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_that_was_started_answers_a_client(version: int, folder: Path) -> None:
    with PostgresServer.create(folder, version=version, durable=False, settings={"work_mem": "5MB"}) as server:
        connection = await asyncpg.connect(server.create_database("mine"))
        facts = await connection.fetchrow(
            "SELECT current_database(), current_setting('fsync'), current_setting('work_mem'), "
            "current_setting('server_version_num')::int / 10000"
        )
        await connection.close()
    assert tuple(facts) == ("mine", "off", "5MB", version)


def test_a_server_syncs_to_disk_unless_told_otherwise(folder: Path) -> None:
    with PostgresServer.create(folder) as server:
        assert server.query("SELECT current_setting('fsync'), current_setting('synchronous_commit')") == "on|on"


def test_a_database_is_copied_from_a_template_and_dropped(folder: Path) -> None:
    with PostgresServer.create(folder, durable=False) as server:
        server.create_database("template")
        server.query("CREATE TABLE kept AS SELECT 7 AS n", "template")
        server.create_database("copy", "template")
        assert server.query("SELECT n FROM kept", "copy") == "7"
        server.drop_database("copy")
        with pytest.raises(PostgresFailed, match="does not exist"):
            server.query("SELECT 1", "copy")


def test_the_port_that_is_asked_for_is_taken_and_kept_over_restarts(folder: Path) -> None:
    port = free_port()
    with PostgresServer.create(folder, port=port, durable=False) as server:
        server.stop()
        server.start()
        assert (server.port, server.is_ready()) == (port, True)
        assert server.query("SELECT 1") == "1"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_stopping_ends_every_process(mode: str, folder: Path) -> None:
    server = PostgresServer.create(folder, durable=False)
    server.start()
    processes = family(server)
    server.stop(mode)
    assert len(processes) > 3
    assert (alive(processes), server.is_ready()) == ([], False)


def test_killing_ends_every_process_and_what_was_committed_is_there_afterwards(folder: Path) -> None:
    with PostgresServer.create(folder) as server:
        server.query("CREATE TABLE kept AS SELECT 7 AS n")
        processes = family(server)
        server.kill()
        assert alive(processes) == []
        server.start()
        assert server.query("SELECT n FROM kept") == "7"
        assert "not properly shut down" in server.log


def test_a_killed_server_leaves_no_shared_memory(folder: Path) -> None:
    with PostgresServer.create(folder, durable=False) as server:
        segment = (server.data / "postmaster.pid").read_text().splitlines()[6].split()[-1]
        assert segment in segments()
        server.kill()
        assert segment not in segments()


def segments() -> list[str]:
    return [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]


def test_a_paused_server_goes_on_where_it_was(folder: Path) -> None:
    with PostgresServer.create(folder, durable=False) as server:
        server.pause()
        assert {process.status() for process in family(server)} == {psutil.STATUS_STOPPED}
        server.resume()
        assert server.query("SELECT 1") == "1"


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = PostgresServer.create(folder, settings={"shared_buffers": "many"}, durable=False)
    with pytest.raises(PostgresFailed, match='invalid value for parameter "shared_buffers"'):
        server.start()
    assert not server.is_running()


def test_a_server_ends_when_the_process_that_started_it_is_killed(folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from posthorn.testing.postgres import PostgresServer\n"
        "server = PostgresServer.create(Path(sys.argv[1]), durable=False); server.start()\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        postmaster = psutil.Process(int(starter.stdout.readline()))
        processes = [postmaster, *postmaster.children(recursive=True)]
        assert len(alive(processes)) > 3
        starter.send_signal(signal.SIGKILL)
    until_gone(processes)


def test_a_folder_that_the_servers_user_cannot_reach_stays_closed_and_serves(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700, parents=True)
    server = PostgresServer.create(closed / "server", durable=False)
    with server:
        assert server.query("SELECT 1") == "1"
        assert closed.stat().st_mode & 0o777 == 0o700
    really = server.folder
    assert (closed / "server").resolve() == really
    del server
    gc.collect()
    assert really.exists() == (os.geteuid() != 0)


def test_an_unknown_version_is_refused(folder: Path) -> None:
    with pytest.raises(PostgresFailed, match="versions are"):
        PostgresServer.create(folder, version=9)


async def test_a_standby_follows_and_the_address_of_all_finds_the_primary(folder: Path) -> None:
    with ReplicatedPostgres.create(folder, durable=False) as group:
        group.create_database("mine")
        assert group.primary.standbys() == ["three", "two"]
        assert [server.is_standby() for server in group.servers] == [False, True, True]
        connection = await asyncpg.connect(group.dsn("mine"))
        assert await connection.fetchval("SELECT inet_server_port()") == group.primary.port
        await connection.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_was_committed_outlives_the_primary_and_its_successor(version: int, folder: Path) -> None:
    with ReplicatedPostgres.create(folder, version=version) as group:
        dsn = group.create_database("mine")
        group.primary.query("CREATE TABLE kept (n int)", "mine")
        for round_number in range(2):
            group.primary.query(f"INSERT INTO kept VALUES ({round_number})", "mine")
            dead = group.kill_primary()
            assert group.promote_standby() is not dead
            connection = await asyncpg.connect(dsn)
            rows = await connection.fetch("SELECT n FROM kept ORDER BY n")
            await connection.close()
            assert [row["n"] for row in rows] == list(range(round_number + 1))
            group.rebuild(dead)
            assert len(group.primary.standbys()) == 2


async def test_a_commit_waits_while_no_standby_confirms_it(folder: Path) -> None:
    with ReplicatedPostgres.create(folder) as group:
        connection = await asyncpg.connect(group.dsn())
        for standby in group.standbys:
            standby.pause()
        with pytest.raises(TimeoutError):
            await connection.execute("CREATE TABLE kept (n int)", timeout=0.5)
        group.standbys[0].resume()
        assert await connection.execute("CREATE TABLE other (n int)", timeout=20) == "CREATE TABLE"
        connection.terminate()


def test_two_primaries_are_refused(folder: Path) -> None:
    with (
        ReplicatedPostgres.create(folder, durable=False) as group,
        pytest.raises(PostgresFailed, match="the primary runs"),
    ):
        group.promote_standby()
