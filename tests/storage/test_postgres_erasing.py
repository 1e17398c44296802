"""Forgetting a person in PostgreSQL while somebody else is in the middle of queueing something for them."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from asyncpg.transaction import Transaction

from posthorn.engine.records import DeliveryWork
from posthorn.storage.postgres.statements import statement
from posthorn.storage.postgres.store import PostgresStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.people_gone import Past, become, erase
from posthorn.testing.conformance.timers import ANN
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import AUTOMATION, an_automation

_BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted"
_LEFT = "SELECT (SELECT count(*) FROM delivery) + (SELECT count(*) FROM rendered) + (SELECT count(*) FROM event)"


@pytest.fixture
async def world(postgres18_dsn: str) -> AsyncIterator[World]:
    clock = ManualClock()
    store = await PostgresStore.open(postgres18_dsn, clock)
    world = World(store, clock)
    await world.own()
    await store.insert(an_automation(id=AUTOMATION))
    yield world
    await store.close()


@pytest.fixture
async def other(postgres18_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres18_dsn)
    yield connection
    await connection.close()


async def _queue(other: asyncpg.Connection, work: DeliveryWork) -> None:
    place = (work.shard, work.endpoint, work.due_ms + 1, work.id, work.event)
    await other.execute(statement("requeue"), *place, 1, 0)


async def _erase_meanwhile(world: World, other: asyncpg.Connection, begun: Transaction) -> int:
    """Forget the person, commit what was begun once that is waited for, and count what is left."""
    erasing = asyncio.create_task(erase(world, ANN))
    async with asyncio.timeout(10):
        while not await other.fetchval(_BLOCKED):  # noqa: ASYNC110 - a server's lock tells nobody
            await asyncio.sleep(0)
    await begun.commit()
    await erasing
    return int(await other.fetchval(_LEFT))


async def test_what_is_queued_by_hand_while_its_person_is_forgotten_goes_too(
    world: World, other: asyncpg.Connection
) -> None:
    work = await Past(world, "ann", ANN).fire()
    await become(world, work, "exhausted")
    transaction = other.transaction()
    await transaction.start()
    assert await other.fetchval(statement("keep_event"), work.event, 0) == 1
    await _queue(other, work)
    assert await _erase_meanwhile(world, other, transaction) == 0


async def test_what_is_queued_anew_while_its_person_is_forgotten_goes_too(
    world: World, other: asyncpg.Connection
) -> None:
    work = await Past(world, "ann", ANN).fire()
    transaction = other.transaction()
    await transaction.start()
    assert await other.fetchrow(statement("dequeue"), work.id) is not None
    await _queue(other, work)
    assert await _erase_meanwhile(world, other, transaction) == 0
