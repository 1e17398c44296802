"""The journal's days: there is always one to write to, and old ones go whole unless pending work needs them."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from posthorn.clock import DAY_MS, SECOND_MS
from posthorn.engine.cluster import Stage
from posthorn.engine.journal import EventQuery
from posthorn.engine.records import Appended, EligibilityKey, Firing
from posthorn.storage.postgres.partitions import JOURNAL, partition_name
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sequence import seq_at
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import WORKSPACE, a_claim, a_decision, a_delivery, a_unit, an_event, an_inbox_unit

FIRST_DAY = START_MS // DAY_MS
DAY_SECONDS = DAY_MS / SECOND_MS


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def world(postgres18_dsn: str, clock: ManualClock) -> AsyncIterator[World]:
    store = await PostgresStore.open(postgres18_dsn, clock)
    world = World(store, clock)
    await world.own()
    yield world
    await store.close()


@pytest.fixture
async def direct(postgres18_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres18_dsn)
    yield connection
    await connection.close()


async def _days(direct: asyncpg.Connection, table: str) -> set[int]:
    rows = await direct.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ $1", rf"^{table}_d\d+$")
    return {int(row[0].rpartition("_d")[2]) for row in rows}


async def _finished(world: World) -> str:
    """Commit, decide and deliver an event that came in through the inbox."""
    unit = an_inbox_unit(received_ms=world.later())
    assert unit.event is not None
    await world.append(unit)
    (undecided,) = await world.undecided()
    delivery = a_delivery(unit.event, due_ms=world.now_ms)
    decided = world.decided(undecided, decisions=(a_decision(undecided),), deliveries=(delivery,))
    await world.store.settle_decisions([decided])
    await world.settle(*(world.delivered(work) for work in await world.due()))
    return unit.event.id


async def _events(world: World) -> list[str]:
    page = await world.store.events(EventQuery(workspace=WORKSPACE, limit=100, ascending=True))
    return [event.id for event in page.rows]


async def test_a_day_that_ended_goes_whole_and_its_rows_are_counted(
    world: World, clock: ManualClock, direct: asyncpg.Connection
) -> None:
    for _ in range(3):
        await _finished(world)
    clock.advance(10 * DAY_SECONDS)
    young = await _finished(world)
    # One request, event, decision and attempt each: more than the two that were asked for, for days go whole.
    assert await world.store.prune(before_ms=START_MS + 9 * DAY_MS, most=2) == 12
    assert await _events(world) == [young]
    for table in JOURNAL:
        assert min(await _days(direct, table)) == FIRST_DAY + 9


async def test_a_day_that_a_pending_delivery_needs_stays_with_its_requests(
    world: World, clock: ManualClock, direct: asyncpg.Connection
) -> None:
    await _finished(world)
    unit = an_inbox_unit(received_ms=world.later(), body=b"kept")
    assert unit.event is not None
    await world.append(unit)
    clock.advance(10 * DAY_SECONDS)
    while await world.store.prune(before_ms=world.now_ms, most=100):
        pass
    assert await _events(world) == [unit.event.id]
    assert FIRST_DAY in await _days(direct, "event") & await _days(direct, "request")
    assert FIRST_DAY not in await _days(direct, "attempt") | await _days(direct, "decision")
    (work,) = await world.undecided()
    assert work.event.payload == b"kept"
    delivery = a_delivery(unit.event, due_ms=world.now_ms)
    await world.store.settle_decisions([world.decided(work, deliveries=(delivery,))])
    await world.store.prune(before_ms=world.now_ms, most=100)
    assert [work.payload.body for work in await world.due()] == [b"kept"]
    await world.settle(*(world.delivered(work) for work in await world.due()))
    await world.store.prune(before_ms=world.now_ms, most=100)
    assert await _events(world) == []


async def test_the_attempts_of_a_pending_delivery_keep_their_day(
    world: World, clock: ManualClock, direct: asyncpg.Connection
) -> None:
    work = await world.publish_and_take()
    await world.settle(world.failed(work, retry_in_ms=30 * DAY_MS))
    clock.advance(10 * DAY_SECONDS)
    await world.store.prune(before_ms=world.now_ms, most=100)
    assert FIRST_DAY in await _days(direct, "attempt")
    assert await world.store.cancel(work.id, "by_hand")
    await world.store.prune(before_ms=world.now_ms, most=100)
    assert FIRST_DAY not in await _days(direct, "attempt")


async def test_a_day_whose_drop_was_cut_off_in_the_middle_goes_with_the_next_call(
    world: World, clock: ManualClock, direct: asyncpg.Connection, postgres18_dsn: str
) -> None:
    for _ in range(2):
        await _finished(world)
    name = partition_name("event", FIRST_DAY)
    reader = await asyncpg.connect(postgres18_dsn)
    async with reader.transaction():
        await reader.fetch("SELECT FROM event LIMIT 1")
        await direct.execute("SET lock_timeout = '10ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await direct.execute(f"ALTER TABLE event DETACH PARTITION {name} CONCURRENTLY")
    await reader.close()
    await direct.execute(f"ALTER TABLE attempt DETACH PARTITION {partition_name('attempt', FIRST_DAY)}")
    clock.advance(10 * DAY_SECONDS)
    assert await world.store.prune(before_ms=world.now_ms, most=100) >= 8
    assert FIRST_DAY not in await _days(direct, "event") | await _days(direct, "attempt") | await _days(
        direct, "request"
    )


async def test_a_reader_in_the_way_only_puts_the_drop_off(
    world: World, clock: ManualClock, direct: asyncpg.Connection
) -> None:
    await _finished(world)
    clock.advance(10 * DAY_SECONDS)
    async with direct.transaction():
        await direct.fetch("SELECT FROM attempt LIMIT 1")
        await world.store.prune(before_ms=world.now_ms, most=100)
    assert await _events(world) == []
    await world.store.prune(before_ms=world.now_ms, most=100)
    assert FIRST_DAY not in await _days(direct, "attempt")


async def test_there_is_a_day_to_write_to_wherever_the_clock_goes(world: World, clock: ManualClock) -> None:
    for days in (1, 5, 400):
        clock.advance(days * DAY_SECONDS)
        await _finished(world)
    assert len(await _events(world)) == 3


async def test_pruning_makes_the_days_to_come(world: World, clock: ManualClock, direct: asyncpg.Connection) -> None:
    clock.advance(2 * DAY_SECONDS)
    await world.store.prune(before_ms=START_MS, most=1)
    assert max(await _days(direct, "event")) >= FIRST_DAY + 4


async def test_a_day_that_is_missing_against_expectation_is_made(world: World, direct: asyncpg.Connection) -> None:
    await direct.execute(f"DROP TABLE {partition_name('event', FIRST_DAY)}")
    assert await world.append(a_unit(world.event())) == [Appended()]
    assert len(await _events(world)) == 1


async def test_statements_of_one_instant_stand_in_the_order_in_which_they_came(
    world: World, direct: asyncpg.Connection
) -> None:
    await direct.execute("SELECT setval('seq_block', 1000)")
    made = []
    at_ms = world.later()
    for _ in range(60):  # past the end of the sequence of blocks
        event = an_event(received_ms=at_ms)
        await world.append(a_unit(event, deliveries=()))
        made.append(event.id)
    assert await _events(world) == made
    rows = await direct.fetch("SELECT seq FROM event ORDER BY seq")
    assert all(abs(row[0] - seq_at(at_ms)) < seq_at(100) for row in rows)


async def test_a_takeover_waits_for_the_decisions_under_way(
    world: World, direct: asyncpg.Connection, clock: ManualClock
) -> None:
    async with direct.transaction():
        # As settle_decisions does, between its statement and its commit.
        await direct.execute("SELECT FROM shard WHERE stage = 'decide' AND id = 7 FOR SHARE")
        clock.advance(2 * 365 * DAY_SECONDS)
        now_ms = world.now_ms
        taken = await world.store.lease("node_b", Stage.DECIDE, now_ms=now_ms, until_ms=now_ms + 1000, most=256)
        assert {lease.shard for lease in taken} == set(range(256)) - {7}
    taken = await world.store.lease("node_b", Stage.DECIDE, now_ms=now_ms, until_ms=now_ms + 1000, most=256)
    assert len(taken) == 256


async def test_text_that_the_database_cannot_hold_is_replaced_and_spoils_no_batch(world: World) -> None:
    odd = world.event(user="a\0b", type="half \ud800 pair")
    plain = world.event()
    assert await world.append(a_unit(odd), a_unit(plain)) == [Appended(), Appended()]
    page = await world.store.events(EventQuery(workspace=WORKSPACE, ascending=True))
    assert [(event.user, event.type) for event in page.rows] == [
        ("a\N{REPLACEMENT CHARACTER}b", "half \N{REPLACEMENT CHARACTER} pair"),
        (plain.user, plain.type),
    ]
    work, other = await world.due()
    settled = await world.settle(world.delivered(work, detail="\0"), world.delivered(other, error="\udfff"))
    assert settled == [True, True]


async def test_a_lock_that_somebody_holds_for_longer_than_its_connection_lives_is_free(
    world: World, direct: asyncpg.Connection
) -> None:
    order = []

    async def second() -> None:
        async with world.store.alone("upgrade"):
            order.append("second")

    locks = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted = $1"
    async with world.store.alone("upgrade"):
        waiting = asyncio.create_task(second())
        while await direct.fetchval(locks, False) is None:  # noqa: ASYNC110 - a server's lock tells nobody
            await asyncio.sleep(0)
        order.append("first")
        await direct.fetch(f"SELECT pg_terminate_backend(pid, 5000) FROM ({locks}) AS holder", True)
        await waiting
    assert order == ["first", "second"]


async def test_a_key_that_the_database_cannot_hold_is_remembered_all_the_same(world: World) -> None:
    key = EligibilityKey(automation="auto_1", profile=f"{WORKSPACE}/user/ann", key="a\0b")
    await world.append(a_unit(world.event(), deliveries=(), profile=key.profile, claims=(a_claim(key="c\0d"),)))
    (work,) = await world.undecided()
    firing = Firing(times=1, last_ms=world.now_ms)
    assert await world.store.settle_decisions([world.decided(work, firings=((key, firing),))]) == [True]
    assert await world.firings([key]) == {key: firing}
    assert await world.store.claimed(a_claim().scope, "c\0d", now_ms=world.now_ms) is not None


async def test_a_reader_of_old_events_finds_those_whose_ids_say_nothing_of_their_time(
    world: World, clock: ManualClock, postgres18_dsn: str
) -> None:
    odd, plain = world.event(id="evt_their-own"), world.event()
    await world.append(a_unit(odd, profile="p"), a_unit(plain, profile="p"))
    other = await PostgresStore.open(postgres18_dsn, clock)  # with nothing in memory
    other_world = World(other, clock)
    assert sorted(work.payload.body for work in await other_world.due()) == [odd.payload, plain.payload]
    assert {work.id for work in await other_world.undecided()} == {odd.id, plain.id}
    await other.close()
