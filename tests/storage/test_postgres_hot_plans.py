"""Hot statements are planned once, perhaps in a day that has no statistics yet: no other plan may look as good."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from posthorn.clock import DAY_MS
from posthorn.storage.postgres.sessions import hot_settings
from posthorn.storage.postgres.statements import statement
from posthorn.testing.clock import START_MS


@pytest.fixture
async def hot(postgres18_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A hot connection in a transaction of its own, with a new day that nobody has written to or analysed."""
    connection = await asyncpg.connect(postgres18_dsn, server_settings=dict(hot_settings(18)))
    transaction = connection.transaction()
    await transaction.start()
    day = START_MS // DAY_MS + 1_000
    for table in ("event", "request"):
        bounds = f"FROM ({day * DAY_MS << 20}) TO ({(day + 1) * DAY_MS << 20})"
        await connection.execute(f"CREATE TABLE {table}_new_day PARTITION OF {table} FOR VALUES {bounds}")
    yield connection
    await transaction.rollback()
    await connection.close()


async def _cost(connection: asyncpg.Connection, name: str) -> float:
    """Return what the planner thinks that a statement costs, whatever its arguments."""
    await connection.execute(f"PREPARE planned (text[], bigint, bigint, bigint) AS {statement(name)}")
    explained = await connection.fetchval("EXPLAIN (FORMAT JSON) EXECUTE planned (ARRAY['evt_1'], 0, 1, 1)")
    await connection.execute("DEALLOCATE planned")
    return float(json.loads(explained)[0]["Plan"]["Total Cost"])


@pytest.mark.parametrize("name", ["payloads", "decided_events"])
async def test_finding_events_by_id_is_cheaper_by_far_than_walking_their_day(
    hot: asyncpg.Connection, name: str
) -> None:
    by_id = await _cost(hot, name)
    await hot.execute("DROP INDEX event_id CASCADE")
    assert await _cost(hot, name) > 2 * by_id
