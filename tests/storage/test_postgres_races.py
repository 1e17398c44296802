"""Two nodes that do the same at the same moment: one of them does it, the other is told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from posthorn.engine.cluster import Stage
from posthorn.engine.journal import EventQuery, RequestQuery
from posthorn.engine.records import AlreadyClaimed, Append, Appended
from posthorn.engine.shards import SHARDS
from posthorn.storage.postgres.store import PostgresStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import WORKSPACE, a_claim, an_inbox_unit

ROUNDS = 10
KEYS = 20


@pytest.fixture
async def nodes(postgres18_dsn: str) -> AsyncIterator[list[PostgresStore]]:
    nodes = [await PostgresStore.open(postgres18_dsn, ManualClock()) for _ in range(2)]
    yield nodes
    for node in nodes:
        await node.close()


def _batch(number: int, keys: list[str]) -> list[Append]:
    made = []
    for key in keys:
        unit = an_inbox_unit()
        assert unit.event is not None
        claims = (a_claim(scope="dedupe", key=key, event=unit.event.id), a_claim(scope="id", key=f"{number}/{key}"))
        made.append(an_inbox_unit(request=unit.request, event=unit.event, claims=claims))
    return made


async def test_of_units_with_the_same_claim_on_two_nodes_exactly_one_is_committed(nodes: list[PostgresStore]) -> None:
    for round_number in range(ROUNDS):
        keys = [f"{round_number}/{number}" for number in range(KEYS)]
        # In opposite orders, which would let two transactions wait for each other.
        batches = [_batch(number, keys if number % 2 else keys[::-1]) for number in range(6)]
        answers = await asyncio.gather(*(nodes[n % 2].append(batch) for n, batch in enumerate(batches)))
        winners: Counter[str] = Counter()
        named: dict[str, set[str | None]] = {key: set() for key in keys}
        for batch, results in zip(batches, answers, strict=True):
            for unit, result in zip(batch, results, strict=True):
                key = unit.claims[0].key
                winners[key] += isinstance(result, Appended)
                named[key].add(result.event if isinstance(result, AlreadyClaimed) else unit.claims[0].event)
        assert winners == dict.fromkeys(keys, 1)
        assert {len(events) for events in named.values()} == {1}
    events = await nodes[0].events(EventQuery(workspace=WORKSPACE, limit=10_000))
    requests = await nodes[0].requests(RequestQuery(workspace=WORKSPACE, limit=10_000))
    assert (len(events.rows), len(requests.rows)) == (ROUNDS * KEYS, 6 * ROUNDS * KEYS)


async def test_nodes_that_lease_at_once_share_the_shards_without_overlap(nodes: list[PostgresStore]) -> None:
    now_ms = ManualClock().now_ms()
    for _ in range(5):
        leased = await asyncio.gather(
            *(
                node.lease(f"node_{number}", Stage.DELIVER, now_ms=now_ms, until_ms=now_ms + 1000, most=SHARDS)
                for number, node in enumerate(nodes)
            )
        )
        owned = [lease.shard for leases in leased for lease in leases]
        assert len(owned) == len(set(owned))
        now_ms += 1000


async def test_work_that_two_nodes_settle_at_once_is_settled_by_one(nodes: list[PostgresStore]) -> None:
    world = World(nodes[0], ManualClock())
    await world.own()
    for _ in range(ROUNDS):
        await world.publish()
    works = await world.due()
    answers = await asyncio.gather(
        *(node.settle([world.delivered(work) for work in order]) for node in nodes for order in (works, works[::-1]))
    )
    taken = [*zip(answers[0], answers[1][::-1], answers[2], answers[3][::-1], strict=True)]
    assert [sum(each) for each in taken] == [1] * ROUNDS
