"""While somebody looks at an old state, PostgreSQL keeps all rows that ended. Reading the queues must not meet them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from posthorn.engine import settlements
from posthorn.engine.cluster import Stage
from posthorn.engine.records import Decided, LaneRead
from posthorn.engine.shards import SHARDS, shard_of
from posthorn.storage.postgres.statements import statement
from posthorn.storage.postgres.store import PostgresStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import ENDPOINT, WORKSPACE, a_unit, an_attempt, an_event

PROFILE = f"{WORKSPACE}/user/ann"
ENDED = 3_000
MANY_BLOCKS = 1_000
FEW_BLOCKS = 40


@pytest.fixture
async def connection(postgres18_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres18_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def since_ms(postgres18_dsn: str, connection: asyncpg.Connection) -> AsyncIterator[int]:
    """Deliver and decide thousands of events under a snapshot that stays; tell since when nothing is left."""
    clock = ManualClock()
    store = await PostgresStore.open(postgres18_dsn, clock)
    analyst = await asyncpg.connect(postgres18_dsn)
    async with analyst.transaction(isolation="repeatable_read", readonly=True):
        await analyst.fetchval("SELECT count(*) FROM delivery")
        await work_off(store, clock, ENDED)
        await connection.execute("VACUUM delivery")
        await connection.execute("VACUUM decision_work")
        yield clock.now_ms() - 250
    await analyst.close()
    await store.close()


async def work_off(store: PostgresStore, clock: ManualClock, count: int) -> None:
    now_ms = clock.now_ms()
    epochs = {
        stage: {
            lease.shard: lease.epoch
            for lease in await store.lease("node", stage, now_ms=now_ms, until_ms=now_ms + 3_600_000, most=SHARDS)
        }
        for stage in Stage
    }
    for _ in range(0, count, 500):
        units = [
            a_unit(an_event(received_ms=clock.now_ms(), user="ann"), endpoints=[ENDPOINT], profile=PROFILE)
            for _ in range(500)
        ]
        await store.append(units)
        clock.advance(0.1)
        lane = LaneRead(shard=shard_of(ENDPOINT), endpoint=ENDPOINT, room=500)
        [taken] = await store.take([lane], now_ms=clock.now_ms())
        delivered = [
            settlements.delivered(work, epochs[Stage.DELIVER][work.shard], an_attempt(work)) for work in taken.works
        ]
        assert await store.settle(delivered) == [True] * 500
        waiting = await store.take_decisions(list(range(SHARDS)), room=500, now_ms=clock.now_ms(), held=frozenset())
        decided = [Decided(work=work, epoch=epochs[Stage.DECIDE][work.shard], count=True) for work in waiting]
        assert await store.settle_decisions(decided) == [True] * 500
    clock.advance(10)


async def blocks(connection: asyncpg.Connection, name: str, *arguments: Any) -> int:
    """Run a hot statement and count the blocks that it looked into."""
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement(name)}", *arguments)
    plan = json.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_a_lane_is_read_from_its_front_without_meeting_what_ended(
    connection: asyncpg.Connection, since_ms: int
) -> None:
    def lane(after_ms: int) -> tuple[Any, ...]:
        return [shard_of(ENDPOINT)], [ENDPOINT], [after_ms], [""], [64], since_ms + 1000

    assert await blocks(connection, "take", *lane(0)) > MANY_BLOCKS
    assert await blocks(connection, "take", *lane(since_ms)) < FEW_BLOCKS


async def test_the_deciding_queue_is_read_from_its_front_without_meeting_what_ended(
    connection: asyncpg.Connection, since_ms: int
) -> None:
    shard = [shard_of(PROFILE)]
    assert await blocks(connection, "take_decisions", shard, since_ms + 1000, 256, 0) > MANY_BLOCKS
    assert await blocks(connection, "take_decisions", shard, since_ms + 1000, 256, since_ms) < FEW_BLOCKS
