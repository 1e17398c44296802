"""People, runs and timers in PostgreSQL: the upgrade beside running nodes, days, and what reading timers costs."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from posthorn.clock import DAY_MS, SECOND_MS
from posthorn.engine.journal import DecisionQuery, EventQuery
from posthorn.engine.people import ProfileQuery
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import EligibilityKey, Firing, Recall
from posthorn.storage.postgres import migrate
from posthorn.storage.postgres.partitions import Days
from posthorn.storage.postgres.sessions import hot_settings
from posthorn.storage.postgres.statements import statement
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sequence import seq_at
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.conformance.profiles import decide
from posthorn.testing.conformance.timers import ANN
from posthorn.testing.conformance.world import ALL_SHARDS, World
from posthorn.testing.factories import WORKSPACE, a_decision, a_profile, a_timer, a_unit
from posthorn.testing.postgres import PostgresServer

LATER_TIMERS = 20_000
DAY_SECONDS = DAY_MS / SECOND_MS
# What the release before writes: it knows no context, and no timer to tell.
OLD_EVENT = """INSERT INTO event (seq, id, workspace, type, occurred_ms, received_ms, "user", channels, payload)
VALUES ($1, $2, $3, 'visit', 1, $4, 'ann', '', 'old')"""
OLD_WORK = "INSERT INTO decision_work (shard, due_ms, id, profile) VALUES ($1, $2, $3, $4)"
OLD_DECISION = """INSERT INTO decision
(seq, id, workspace, automation, version, event, profile, decided_ms, outcome, reason, detail, data)
VALUES ($1, $2, $3, 'auto_1', 1, 'somebodys', $4, 1, 'fired', '', '', '')"""


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


@pytest.fixture(params=["postgres18", "postgres15"])
def old_dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a database as the first release left it."""
    server: PostgresServer = request.getfixturevalue(request.param)
    yield server.create_database("old")
    server.drop_database("old")


async def test_a_store_of_the_first_release_goes_on_and_so_do_its_nodes(old_dsn: str, clock: ManualClock) -> None:
    await migrate.upgrade(old_dsn, "0001")
    connection = await asyncpg.connect(old_dsn)
    async with connection.transaction():
        await Days().prepare(connection, START_MS)
    profile, seq = user_profile(WORKSPACE, "ann"), seq_at(START_MS)
    await connection.execute(OLD_EVENT, seq, "evt_before", WORKSPACE, START_MS)
    await connection.execute(OLD_DECISION, seq, "dec_before", WORKSPACE, profile)
    store = await PostgresStore.open(old_dsn, clock)
    assert await migrate.version_of(old_dsn) == migrate.HEAD
    await migrate.check(old_dsn)
    world = World(store, clock)
    await world.own()
    shard = a_timer(profile=profile).shard
    await connection.execute(OLD_EVENT, seq + 1, "evt_after", WORKSPACE, START_MS)
    await connection.execute(OLD_DECISION, seq + 1, "dec_after", WORKSPACE, profile)
    await connection.execute(OLD_WORK, shard, START_MS, "evt_after", profile)
    (work,) = await world.undecided()
    assert (work.event.payload, work.event.context) == (b"old", None)
    timer = a_timer(profile=profile, due_ms=world.now_ms)
    assert await store.settle_decisions([world.decided(work, profiles=(a_profile(),), timers=(timer,))]) == [True]
    assert await world.waiting() == [timer]
    assert len((await store.decisions(DecisionQuery(workspace=WORKSPACE, profile=profile))).rows) == 2
    while await store.erase(profile, most=3):
        pass
    assert (await store.decisions(DecisionQuery(workspace=WORKSPACE))).rows == []
    assert (await store.events(EventQuery(workspace=WORKSPACE))).rows == []
    await store.close()
    await connection.close()


async def test_days_that_come_after_the_upgrade_find_decisions_by_their_person(
    old_dsn: str, clock: ManualClock
) -> None:
    await migrate.upgrade(old_dsn, "0001")
    connection = await asyncpg.connect(old_dsn)
    async with connection.transaction():
        await Days().prepare(connection, START_MS)
    await migrate.upgrade(old_dsn)
    async with connection.transaction():
        await Days().prepare(connection, START_MS + 10 * DAY_MS)
    rows = await connection.fetch("SELECT tablename FROM pg_indexes WHERE indexdef LIKE '%(profile, seq)%'")
    today = START_MS // DAY_MS
    assert {row[0] for row in rows} == {"decision", *(f"decision_d{day}" for day in range(today + 9, today + 14))}
    await connection.close()


async def test_a_person_is_forgotten_on_every_day(world: World, clock: ManualClock) -> None:
    for _ in range(4):
        event = world.event(user="ann")
        await world.append(a_unit(event, profile=ANN))
        (work,) = await world.undecided()
        await world.store.settle_decisions([world.decided(work, decisions=(a_decision(work),), count=True)])
        await world.settle(*(world.delivered(one) for one in await world.due()))
        clock.advance(DAY_SECONDS)
    assert len((await world.store.events(EventQuery(workspace=WORKSPACE))).rows) == 4
    while await world.store.erase(ANN, most=3):
        pass
    assert (await world.store.events(EventQuery(workspace=WORKSPACE))).rows == []
    assert (await world.store.decisions(DecisionQuery(workspace=WORKSPACE))).rows == []


async def test_names_that_the_database_cannot_hold_are_found_as_they_were_written(world: World) -> None:
    odd = user_profile(WORKSPACE, "a\0b\udfff")
    key = EligibilityKey(automation="auto_1", profile=odd, key="\0")
    firing = Firing(times=1, last_ms=1)
    profile = a_profile("a\0b\udfff", attributes={"half": "\ud800", "nul\0": ["\0"]})
    timer = a_timer(id="timer_\0", profile=ANN, due_ms=world.now_ms)
    await decide(world, profiles=(profile,), firings=((key, firing),), timers=(timer,), unwanted=("\0",))
    recalled = await world.store.recall(
        Recall(profiles=frozenset({odd}), firings=frozenset({key}), counts=frozenset({(odd, "x")}))
    )
    assert recalled.firings == {key: firing}
    assert recalled.profiles[odd].attributes == {
        "half": "\N{REPLACEMENT CHARACTER}",
        "nul\N{REPLACEMENT CHARACTER}": ["\N{REPLACEMENT CHARACTER}"],
    }
    assert [one.id for one in await world.waiting()] == ["timer_\N{REPLACEMENT CHARACTER}"]
    page = await world.store.profiles(ProfileQuery(workspace=WORKSPACE, after="a\0", limit=1))
    assert len(page.profiles) == 1


@pytest.fixture
async def hot(postgres18_dsn: str, world: World) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection like those of the hot path, beside many timers that are due later."""
    connection = await asyncpg.connect(postgres18_dsn, server_settings=dict(hot_settings(18)))
    await connection.execute(
        """INSERT INTO timer (due_ms, id, shard, profile, kind, about, data)
        SELECT $1::bigint + n, 'later_' || n, n % 256, 'p', 'run', '', '' FROM generate_series(1, $2::int) AS n""",
        START_MS + 10**9,
        LATER_TIMERS,
    )
    yield connection
    await connection.close()


async def _plan(connection: asyncpg.Connection, name: str, *arguments: Any) -> dict[str, Any]:
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement(name)}", *arguments)
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def _steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _steps(part)


def _looks(plan: dict[str, Any], alias: str) -> tuple[int, int]:
    """Count how often a table was looked into, and the rows that came."""
    found = [step for step in _steps(plan) if step.get("Alias") == alias]
    assert all("Index" in step["Node Type"] for step in found)
    return sum(step["Actual Loops"] for step in found), int(
        sum(step["Actual Rows"] * step["Actual Loops"] for step in found)
    )


async def test_timers_that_are_due_later_cost_one_look(world: World, hot: asyncpg.Connection) -> None:
    plan = await _plan(hot, "take_decisions", list(ALL_SHARDS), world.now_ms, 100, 0)
    assert _looks(plan, "t") == (0, 0)
    assert _looks(plan, "any_timer") == (1, 0)


async def test_of_timers_the_due_ones_are_read_and_no_others(world: World, hot: asyncpg.Connection) -> None:
    due = [a_timer(id=f"timer_{number}", due_ms=world.now_ms, profile=f"{ANN}{number}") for number in range(5)]
    await decide(world, timers=tuple(due))
    plan = await _plan(hot, "take_decisions", list(ALL_SHARDS), world.now_ms, 100, 0)
    assert _looks(plan, "t") == (256, 5)
    assert _looks(plan, "any_timer") == (1, 1)


async def test_a_timer_is_found_by_its_id_alone(world: World, hot: asyncpg.Connection) -> None:
    plan = json.loads(await hot.fetchval("EXPLAIN (FORMAT JSON) DELETE FROM timer WHERE id = 'later_7'"))[0]["Plan"]
    assert [step["Index Name"] for step in _steps(plan) if "Index Name" in step] == ["timer_id"]
