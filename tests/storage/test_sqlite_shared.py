"""One file, several processes: nothing that was promised is lost, and everybody sees everything once, in order."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from posthorn.clock import SystemClock
from posthorn.engine.cluster import Node, Role, Stage
from posthorn.engine.records import Appended, LaneRead
from posthorn.engine.shards import SHARDS, shard_of
from posthorn.errors import StartRefused
from posthorn.storage.sqlite.connection import DATABASE, FolderLock
from posthorn.storage.sqlite.exclusion import AmongProcesses
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import ENDPOINT, WORKSPACE, a_claim, a_unit, an_application, an_event

SEED = int(os.environ.get("CRASH_SEED", "0")) or Random().randrange(1, 10**9)
PROCESSES = 4
KILLS = int(os.environ.get("SQLITE_KILLS", "12"))
CONFIRMATIONS_BEFORE_A_KILL = (1, 60)
JOURNAL = ("request", "event", "attempt", "decision")


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A folder as the process that starts the others leaves it: migrated, every shard free, still locked."""
    lock = FolderLock(tmp_path)
    await (await SqliteStore.open(tmp_path, SystemClock(), lock=lock)).close()
    yield tmp_path
    lock.release()


@pytest.fixture
async def pair(folder: Path, clock: ManualClock) -> AsyncIterator[tuple[SqliteStore, SqliteStore]]:
    """Two stores on one file. That they are in one process changes nothing: they share no memory."""
    first = await SqliteStore.open(folder, clock, shared=True)
    second = await SqliteStore.open(folder, clock, shared=True)
    yield first, second
    await first.close()
    await second.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Writer:
    """A writing process, and what it was promised."""

    def __init__(self, folder: Path, name: str) -> None:
        script = Path(__file__).with_name("sqlite_writer.py")
        self._process = subprocess.Popen([sys.executable, script, folder, name], stdout=subprocess.PIPE, text=True)
        self.stored: list[str] = []

    def listen(self, confirmations: int) -> None:
        """Wait until so many writes were confirmed."""
        assert self._process.stdout is not None
        for _ in range(confirmations):
            line = self._process.stdout.readline()
            assert line.endswith("\n"), "the writer died by itself"
            self._note(line)

    def kill(self) -> None:
        """End it as a power cut would, and read what it had still been promised."""
        if self._process.returncode is not None:
            return
        self._process.kill()
        rest, _ = self._process.communicate()
        for line in rest.splitlines(keepends=True):
            self._note(line)

    def _note(self, line: str) -> None:
        word, *ids = line.split()
        if word == "stored" and line.endswith("\n"):
            self.stored += ids


@pytest.fixture
def writers(folder: Path) -> Iterator[list[Writer]]:
    writers: list[Writer] = []
    yield writers
    for writer in writers:
        writer.kill()


async def follow(folder: Path, seen: list[str], until: asyncio.Event) -> None:
    """Read the tail as the console does, until told to stop and nothing more comes."""
    store = await SqliteStore.open(folder, SystemClock(), shared=True)
    cursor = 0
    try:
        while True:
            is_last = until.is_set()
            page = await store.tail(WORKSPACE, after=cursor, limit=500)
            seen += [row.id for row in page.rows]
            assert page.cursor >= cursor
            cursor = page.cursor
            if is_last and not page.rows:
                return
    finally:
        await store.close()


async def test_killed_writers_lose_nothing_and_the_tail_sees_all_once(folder: Path, writers: list[Writer]) -> None:
    random = Random(SEED)
    sys.stdout.write(f"CRASH_SEED={SEED}\n")
    seen: list[str] = []
    enough = asyncio.Event()
    following = asyncio.create_task(follow(folder, seen, enough))
    writers += [Writer(folder, f"first-{number}") for number in range(PROCESSES)]
    alive = list(writers)
    for kill in range(KILLS):
        for writer in alive:
            await asyncio.to_thread(writer.listen, random.randint(*CONFIRMATIONS_BEFORE_A_KILL))
        victim = alive.pop(random.randrange(PROCESSES))
        await asyncio.to_thread(victim.kill)
        alive.append(Writer(folder, f"again-{kill}"))
        writers.append(alive[-1])
    for writer in alive:
        await asyncio.to_thread(writer.listen, 2)  # the last one is open, and the file still writable
        await asyncio.to_thread(writer.kill)
    enough.set()
    await following
    promised = {identifier for writer in writers for identifier in writer.stored}
    assert len(promised) > KILLS * 20
    assert len(seen) == len(set(seen))
    assert promised <= set(seen)
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        rows = [row for table in JOURNAL for row in connection.execute(f"SELECT seq, id FROM {table}")]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len({seq for seq, _ in rows}) == len(rows)
    assert [identifier for _, identifier in sorted(rows)] == seen


async def test_a_write_of_one_is_read_by_the_other(pair: tuple[SqliteStore, SqliteStore], clock: ManualClock) -> None:
    first, second = pair
    event = an_event()
    await first.append([a_unit(event)])
    [taken] = await second.take([LaneRead(shard=shard_of(ENDPOINT), endpoint=ENDPOINT, room=5)], now_ms=clock.now_ms())
    assert [(work.event, work.payload.body) for work in taken.works] == [(event.id, event.payload)]


async def test_a_claim_of_one_is_taken_for_the_other(pair: tuple[SqliteStore, SqliteStore]) -> None:
    claim = a_claim(expires_ms=10**15)
    results = await asyncio.gather(*(store.append([a_unit(claims=(claim,))]) for store in pair))
    assert sum(isinstance(result, Appended) for [result] in results) == 1


async def test_numbers_go_on_behind_those_of_the_other(pair: tuple[SqliteStore, SqliteStore], folder: Path) -> None:
    events = [an_event() for _ in range(20)]
    for number, event in enumerate(events):  # the clock stands still, so only the file tells which numbers are taken
        await pair[number % 2].append([a_unit(event)])
    page = await pair[0].tail(WORKSPACE, after=0, limit=100)
    assert [row.id for row in page.rows] == [event.id for event in events]


async def test_changes_of_one_are_followed_by_the_other(pair: tuple[SqliteStore, SqliteStore]) -> None:
    application = an_application()
    await pair[0].insert(application)
    assert [change.resource for change in await pair[1].changes(0)] == [application]


async def test_a_shard_of_one_is_not_given_to_the_other(
    pair: tuple[SqliteStore, SqliteStore], clock: ManualClock
) -> None:
    until_ms = clock.now_ms() + 1000
    first, second = [
        await store.lease(name, Stage.DECIDE, now_ms=clock.now_ms(), until_ms=until_ms, most=200)
        for store, name in zip(pair, "ab", strict=True)
    ]
    assert (len(first), len(second)) == (200, SHARDS - 200)
    assert {lease.shard for lease in first}.isdisjoint(lease.shard for lease in second)


async def test_another_process_that_opens_the_folder_takes_no_shard_away(folder: Path, clock: ManualClock) -> None:
    first = await SqliteStore.open(folder, clock, shared=True)
    until_ms = clock.now_ms() + 1000
    held = await first.lease("a", Stage.DELIVER, now_ms=clock.now_ms(), until_ms=until_ms, most=SHARDS)
    second = await SqliteStore.open(folder, clock, shared=True)
    again = await first.lease("a", Stage.DELIVER, now_ms=clock.now_ms(), until_ms=until_ms, most=0)
    await first.close()
    await second.close()
    assert again == held


async def test_a_payload_that_one_erased_is_forgotten_by_the_other_in_half_a_minute(
    pair: tuple[SqliteStore, SqliteStore], clock: ManualClock
) -> None:
    first, second = pair
    event = an_event()
    await first.append([a_unit(event)])
    read = LaneRead(shard=shard_of(ENDPOINT), endpoint=ENDPOINT, room=5)
    clock.advance(29.9)
    await first.take([read], now_ms=clock.now_ms())  # a look in between keeps nothing alive
    await second.forget_payload(WORKSPACE, event.id)
    clock.advance(0.1)
    [taken] = await first.take([read], now_ms=clock.now_ms())
    assert [work.payload.body for work in taken.works] == [b""]


async def test_one_at_a_time_among_processes(pair: tuple[SqliteStore, SqliteStore]) -> None:
    inside: list[int] = []
    together: list[int] = []

    async def do(store: SqliteStore, what: str) -> None:
        async with store.alone(what):
            inside.append(1)
            together.append(len(inside))
            await asyncio.sleep(0.01)  # long enough for another to come in, if it could
            inside.pop()

    await asyncio.gather(*(do(store, "found") for store in pair * 2))
    assert together == [1, 1, 1, 1]
    async with pair[0].alone("found"):
        await do(pair[1], "another thing")


async def test_whoever_gives_up_waiting_leaves_nothing_behind(tmp_path: Path) -> None:
    exclusion = AmongProcesses(tmp_path)
    async with exclusion.alone("this/../that"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.08), exclusion.alone("this/../that"):
                pytest.fail("two at a time")
    async with asyncio.timeout(5), exclusion.alone("this/../that"):
        assert os.listdir(tmp_path) == ["posthorn.this%2F..%2Fthat.lock"]  # noqa: PTH208 - names are wanted


async def test_what_a_killed_process_did_alone_is_free_again(folder: Path) -> None:
    script = (
        "import asyncio, os, sys, pathlib\n"
        "from posthorn.storage.sqlite.exclusion import AmongProcesses\n"
        "async def hold():\n"
        "    async with AmongProcesses(pathlib.Path(sys.argv[1])).alone('found'):\n"
        "        os.write(1, b'in')\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(hold())\n"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readexactly(2) == b"in"
    waiting = asyncio.create_task(AmongProcesses(folder).alone("found").__aenter__())
    await asyncio.sleep(0)
    assert not waiting.done()
    holder.kill()
    async with asyncio.timeout(5):
        await waiting
    await holder.wait()


async def test_a_folder_that_nobody_opened_alone_before_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="open it first, alone"):
        await SqliteStore.open(tmp_path, SystemClock(), shared=True)


async def test_nobody_else_may_open_the_folder_alone_while_it_is_shared(folder: Path) -> None:
    shared = await SqliteStore.open(folder, SystemClock(), shared=True)
    with pytest.raises(StartRefused, match="another Posthorn"):
        await SqliteStore.open(folder, SystemClock())
    await shared.close()


async def test_a_node_that_announced_itself_is_known_to_the_others(
    pair: tuple[SqliteStore, SqliteStore], clock: ManualClock
) -> None:
    now_ms = clock.now_ms()
    node = Node(
        id="node_a", name="here", version="1", roles=(Role.DECIDE,), started_ms=now_ms, seen_ms=now_ms, until_ms=10**15
    )
    assert await pair[0].announce(node) == [node]
    assert [standing.node for standing in await pair[1].nodes(now_ms=now_ms)] == [node]
