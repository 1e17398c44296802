"""What only a file can suffer: readers that linger, a log that grows, jobs that fail next to others."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthorn.clock import SystemClock
from posthorn.engine.cluster import Node, Stage
from posthorn.engine.journal import DeliveryQuery, EventQuery
from posthorn.errors import StartRefused, StoreUnavailable
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.storage.sqlite.writer import Transaction
from posthorn.testing.factories import WORKSPACE, a_claim, a_unit, an_event

LARGE = b"x" * 1024 * 1024


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path, SystemClock())
    yield store
    await store.close()


async def event_ids(store: SqliteStore) -> set[str]:
    return {event.id for event in (await store.events(EventQuery(workspace=WORKSPACE, limit=1000))).rows}


async def test_a_long_read_holds_up_no_commit_however_large_the_log_grows(store: SqliteStore) -> None:
    reading, enough = threading.Event(), threading.Event()

    def linger(connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM event").fetchone()
        reading.set()
        enough.wait(60)
        connection.execute("COMMIT")
        return 0

    lingering = asyncio.create_task(store._database.read(linger))
    await asyncio.to_thread(reading.wait, 10)
    try:
        for _ in range(40):
            await asyncio.wait_for(store.append([a_unit(an_event(payload=LARGE))]), 5)
        assert not lingering.done()
    finally:
        enough.set()
        await lingering


async def test_the_log_stays_small_without_long_reads(store: SqliteStore, tmp_path: Path) -> None:
    for _ in range(80):
        await store.append([a_unit(an_event(payload=LARGE))])
    assert (tmp_path / f"{DATABASE}-wal").stat().st_size < 40 * 1024 * 1024


async def test_a_job_that_fails_is_undone_alone(store: SqliteStore) -> None:
    def fail(transaction: Transaction) -> None:
        transaction.execute("INSERT INTO meta (key, value) VALUES ('half', 'done')")
        raise ValueError("a bug")

    kept = an_event()
    results = await asyncio.gather(
        store._database.write(fail), store.append([a_unit(kept)]), store._database.write(fail), return_exceptions=True
    )
    assert [type(result) for result in results] == [ValueError, list, ValueError]
    assert await event_ids(store) == {kept.id}
    assert await store.meta("half") is None


async def test_a_broken_constraint_is_the_failing_caller_s_alone(store: SqliteStore) -> None:
    event = an_event()
    await store.append([a_unit(event)])
    kept = an_event()
    twice, once = await asyncio.gather(
        store.append([a_unit(event)]), store.append([a_unit(kept)]), return_exceptions=True
    )
    assert isinstance(twice, StoreUnavailable)
    assert isinstance(once, list)
    assert await event_ids(store) == {event.id, kept.id}


async def test_what_waits_at_the_close_is_committed_and_later_calls_are_refused(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, SystemClock())
    events = [an_event() for _ in range(100)]
    appends = [
        store._database.write(lambda transaction, event=event: insert(transaction, event.id)) for event in events
    ]
    await store.close()
    await asyncio.gather(*appends)
    with pytest.raises(StoreUnavailable, match="closing"):
        await store.set_meta("late", "call")
    again = await SqliteStore.open(tmp_path, SystemClock())
    found = [await again.meta(event.id) for event in events]
    await again.close()
    assert found == ["kept"] * 100


def insert(transaction: Transaction, key: str) -> None:
    transaction.execute("INSERT INTO meta (key, value) VALUES (?, 'kept')", (key,))


async def test_a_caller_that_gives_up_waiting_disturbs_nobody(store: SqliteStore) -> None:
    event, other = an_event(), an_event()
    giving_up = asyncio.create_task(store.append([a_unit(event)]))
    await asyncio.sleep(0)
    giving_up.cancel()
    await store.append([a_unit(other)])
    with pytest.raises(asyncio.CancelledError):
        await giving_up
    assert other.id in await event_ids(store)


async def test_a_second_store_on_the_folder_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    first = await SqliteStore.open(tmp_path, SystemClock())
    with pytest.raises(StartRefused, match="another Posthorn"):
        await SqliteStore.open(tmp_path, SystemClock())
    await first.close()
    await (await SqliteStore.open(tmp_path, SystemClock())).close()


@pytest.mark.parametrize("stage", Stage)
async def test_the_shards_of_whoever_held_the_folder_before_are_free(tmp_path: Path, stage: Stage) -> None:
    first = await SqliteStore.open(tmp_path, SystemClock())
    held = await first.lease("before", stage, now_ms=1000, until_ms=10**15, most=256)
    await first.close()
    second = await SqliteStore.open(tmp_path, SystemClock())
    taken = await second.lease("after", stage, now_ms=1001, until_ms=10**15, most=256)
    await second.close()
    assert [lease.epoch for lease in taken] == [lease.epoch + 1 for lease in held]


async def test_the_nodes_that_held_the_folder_before_are_forgotten(tmp_path: Path) -> None:
    node = Node(id="before", name="here", version="1", roles=(), started_ms=0, seen_ms=0, until_ms=10**15)
    first = await SqliteStore.open(tmp_path, SystemClock())
    await first.announce(node)
    await first.close()
    second = await SqliteStore.open(tmp_path, SystemClock())
    known = await second.nodes(now_ms=1)
    await second.close()
    assert known == []


async def test_a_payload_of_a_refused_unit_takes_no_memory(store: SqliteStore) -> None:
    claim = a_claim(expires_ms=10**15)
    await store.append([a_unit(an_event(), claims=(claim,))])
    before = store._payloads._young_bytes
    for _ in range(20):
        await store.append([a_unit(an_event(payload=b"y" * 1000), claims=(claim,))])
    assert store._payloads._young_bytes == before


async def test_undecided_events_are_read_no_further_than_memory_allows(store: SqliteStore) -> None:
    events = [an_event(payload=LARGE) for _ in range(40)]
    await store.append([a_unit(event, endpoints=(), profile="somebody") for event in events])
    now_ms = SystemClock().now_ms()
    first = await store.take_decisions(range(256), room=256, now_ms=now_ms, held=set())
    assert 1 <= len(first) <= 16
    held = {work.id for work in first}
    second = await store.take_decisions(range(256), room=256, now_ms=now_ms, held=held)
    assert second
    assert held.isdisjoint(work.id for work in second)
    assert await event_ids(store) == {event.id for event in events}


YEAR_1_MS = -62_135_596_800_000
YEAR_9999_MS = 253_402_300_799_999


async def test_a_range_of_time_may_reach_beyond_what_rows_can_have(store: SqliteStore) -> None:
    event = an_event()
    await store.append([a_unit(event)])
    wide = {"workspace": WORKSPACE, "limit": 10, "since_ms": YEAR_1_MS, "before_ms": YEAR_9999_MS}
    assert [row.id for row in (await store.events(EventQuery(**wide))).rows] == [event.id]
    assert [row.event for row in (await store.deliveries(DeliveryQuery(**wide))).rows] == [event.id]
    for empty in ({"since_ms": YEAR_9999_MS}, {"before_ms": YEAR_1_MS}):
        assert (await store.events(EventQuery(workspace=WORKSPACE, **empty))).rows == []
        assert (await store.deliveries(DeliveryQuery(workspace=WORKSPACE, **empty))).rows == []
