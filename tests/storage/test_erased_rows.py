"""Forgetting a person leaves no row in any table, whatever became of what was sent to them."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from posthorn.engine.profiles import user_profile
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.storage.tables import metadata, resources
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.people_gone import MONTH_SECONDS, STATES, Past, become, erase, forget_old
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import AUTOMATION, WORKSPACE, an_automation

OF_NOBODY = {"shard", "node", "change", "meta", "claim"} | {table.name for table in resources.values()}
TABLES = sorted(metadata.tables.keys() - OF_NOBODY)
ANN = user_profile(WORKSPACE, "ann")


class Rows:
    """A world, and the rows of its tables."""

    def __init__(self, world: World, place: Path | str) -> None:
        self.world = world
        self._place = place

    async def left(self) -> dict[str, int]:
        """Count the rows of each table that has any."""
        counts = {table: await self._count(f"SELECT count(*) FROM {table}") for table in TABLES}
        return {table: count for table, count in counts.items() if count}

    async def _count(self, sql: str) -> int:
        if isinstance(self._place, Path):
            connection = sqlite3.connect(self._place / DATABASE)
            (count,) = connection.execute(sql).fetchone()
            connection.close()
        else:
            server = await asyncpg.connect(self._place)
            count = await server.fetchval(sql)
            await server.close()
        return int(count)


@pytest.fixture(params=["postgres", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return request.getfixturevalue("postgres18_dsn") if request.param == "postgres" else tmp_path


@pytest.fixture
async def rows(place: Path | str) -> AsyncIterator[Rows]:
    clock = ManualClock()
    store = await (PostgresStore.open(place, clock) if isinstance(place, str) else SqliteStore.open(place, clock))
    world = World(store, clock)
    await world.own()
    await store.insert(an_automation(id=AUTOMATION))
    yield Rows(world, place)
    await store.close()


@pytest.mark.parametrize("most", [2, 1000])
@pytest.mark.parametrize("state", STATES)
async def test_of_what_a_run_sent_for_a_gone_event_no_row_is_left(rows: Rows, state: str, most: int) -> None:
    ann = Past(rows.world, "ann", ANN)
    await ann.let_in()
    await become(rows.world, await ann.send(), state)
    left = await rows.left()
    assert {"rendered", "run", "profile"} <= left.keys()
    assert "event" not in left
    await erase(rows.world, ANN, most=most)
    assert await rows.left() == {}


async def test_of_attempts_that_outlived_their_event_no_row_is_left(rows: Rows) -> None:
    ann = Past(rows.world, "ann", ANN)
    await become(rows.world, await ann.fire(), "delivered")
    await forget_old(rows.world)
    assert await rows.left() == {"attempt": 1, "decision": 1, "profile": 1}
    await erase(rows.world, ANN)
    assert await rows.left() == {}


@pytest.mark.parametrize("state", ["pending", "failed"])
async def test_of_a_run_that_ended_long_before_its_delivery_no_row_is_left(rows: Rows, state: str) -> None:
    ann = Past(rows.world, "ann", ANN)
    await ann.let_in()
    await become(rows.world, await ann.send(), state)
    rows.world.later(MONTH_SECONDS)
    await forget_old(rows.world)
    assert (await rows.left()).keys() >= {"run", "delivery", "rendered"}
    await erase(rows.world, ANN)
    assert await rows.left() == {}
