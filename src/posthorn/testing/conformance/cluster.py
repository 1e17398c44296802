"""The nodes that share a store: who lives, what each owns, how late its work is, and who does things alone."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

import asyncio

import pytest

from posthorn.clock import HOUR_MS
from posthorn.engine.cluster import Node, NodeStanding, Role, Stage
from posthorn.engine.lanes import lane_shard
from posthorn.engine.ports import Store
from posthorn.engine.shards import shard_of
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.world import NODE, OTHER_NODE, World
from posthorn.testing.factories import ENDPOINT, OTHER_ENDPOINT, WORKSPACE, a_delivery, a_node, a_unit

_PROFILE = f"{WORKSPACE}/user/ann"
_OTHER_PROFILE = f"{WORKSPACE}/user/bob"


async def _announce(store: Store, clock: ManualClock, node: str, *, for_ms: int = 7000) -> Node:
    now_ms = clock.now_ms()
    announced = a_node(id=node, seen_ms=now_ms, until_ms=now_ms + for_ms)
    assert announced in await store.announce(announced)
    return announced


async def _alive(store: Store, clock: ManualClock) -> list[str]:
    return [standing.node.id for standing in await store.nodes(now_ms=clock.now_ms())]


async def test_an_empty_store_knows_no_nodes(store: Store, clock: ManualClock) -> None:
    assert await store.nodes(now_ms=clock.now_ms()) == []


async def test_a_node_comes_back_as_it_was_announced(store: Store, clock: ManualClock) -> None:
    now_ms = clock.now_ms()
    node = a_node(
        id=NODE,
        name="a.example:12",
        version="2.0",
        roles=(Role.DELIVER, Role.RECEIVE),
        started_ms=now_ms - 5,
        seen_ms=now_ms,
    )
    idle = a_node(id=OTHER_NODE, roles=(), seen_ms=now_ms)
    assert await store.announce(node) == [node]
    await store.announce(idle)
    assert [standing.node for standing in await store.nodes(now_ms=now_ms)] == [node, idle]


async def test_whoever_announces_itself_learns_of_all_that_live(store: Store, clock: ManualClock) -> None:
    theirs = await _announce(store, clock, OTHER_NODE)
    clock.advance(1)
    mine = a_node(id=NODE, seen_ms=clock.now_ms())
    assert NODE < OTHER_NODE
    assert await store.announce(mine) == [mine, theirs]
    assert await _alive(store, clock) == [NODE, OTHER_NODE]


async def test_a_node_is_alive_until_its_last_millisecond(store: Store, clock: ManualClock) -> None:
    await _announce(store, clock, NODE, for_ms=7000)
    clock.advance(6.999)
    assert await _alive(store, clock) == [NODE]
    clock.advance(0.001)
    assert await _alive(store, clock) == []
    theirs = a_node(id=OTHER_NODE, seen_ms=clock.now_ms())
    assert await store.announce(theirs) == [theirs]


async def test_a_node_that_announces_itself_again_lives_on_with_what_it_says_now(
    store: Store, clock: ManualClock
) -> None:
    await _announce(store, clock, NODE)
    clock.advance(5)
    now_ms = clock.now_ms()
    again = a_node(id=NODE, name="renamed", version="2.0", roles=(Role.DECIDE,), started_ms=now_ms, seen_ms=now_ms)
    assert await store.announce(again) == [again]
    clock.advance(5)
    assert [standing.node for standing in await store.nodes(now_ms=clock.now_ms())] == [again]


async def test_a_node_that_was_thought_dead_comes_back(store: Store, clock: ManualClock) -> None:
    await _announce(store, clock, NODE)
    clock.advance(60)
    await _announce(store, clock, OTHER_NODE)
    await _announce(store, clock, NODE)
    assert await _alive(store, clock) == [NODE, OTHER_NODE]


async def test_a_node_that_withdrew_is_gone_at_once(store: Store, clock: ManualClock) -> None:
    await _announce(store, clock, NODE)
    theirs = await _announce(store, clock, OTHER_NODE)
    await store.withdraw(NODE)
    assert await _alive(store, clock) == [OTHER_NODE]
    assert await store.announce(theirs) == [theirs]
    await _announce(store, clock, NODE)
    assert await _alive(store, clock) == [NODE, OTHER_NODE]


async def test_a_node_that_nobody_knows_can_withdraw(store: Store, clock: ManualClock) -> None:
    await _announce(store, clock, NODE)
    await store.withdraw(OTHER_NODE)
    assert await _alive(store, clock) == [NODE]


async def test_a_node_that_was_not_seen_for_an_hour_is_forgotten(store: Store, clock: ManualClock) -> None:
    await _announce(store, clock, NODE, for_ms=3 * HOUR_MS)
    clock.advance(HOUR_MS / 1000 - 1)
    await _announce(store, clock, OTHER_NODE, for_ms=HOUR_MS)
    assert await _alive(store, clock) == [NODE, OTHER_NODE]
    clock.advance(2)
    theirs = a_node(id=OTHER_NODE, seen_ms=clock.now_ms())
    assert await store.announce(theirs) == [theirs]
    assert await _alive(store, clock) == [OTHER_NODE]


async def test_a_standing_counts_the_shards_of_each_stage(store: Store, clock: ManualClock) -> None:
    now_ms = clock.now_ms()
    mine = await _announce(store, clock, NODE)
    theirs = await _announce(store, clock, OTHER_NODE)
    for node, stage, most in (
        (NODE, Stage.DECIDE, 3),
        (NODE, Stage.DELIVER, 5),
        (OTHER_NODE, Stage.DELIVER, 7),
    ):
        await store.lease(node, stage, now_ms=now_ms, until_ms=now_ms + 5000, most=most)
    idle = {"decide_lag_ms": 0, "deliver_lag_ms": 0}
    assert await store.nodes(now_ms=now_ms) == [
        NodeStanding(node=mine, deciding=3, delivering=5, **idle),
        NodeStanding(node=theirs, deciding=0, delivering=7, **idle),
    ]


async def test_leases_that_ran_out_or_were_released_do_not_count(store: Store, clock: ManualClock) -> None:
    await _announce(store, clock, NODE, for_ms=60_000)
    for stage, until_ms in ((Stage.DECIDE, 1000), (Stage.DELIVER, 3000)):
        await store.lease(NODE, stage, now_ms=clock.now_ms(), until_ms=clock.now_ms() + until_ms, most=4)
    clock.advance(0.999)
    assert await _owned(store, clock) == (4, 4)
    clock.advance(0.001)
    assert await _owned(store, clock) == (0, 4)
    await store.release(NODE, Stage.DELIVER)
    assert await _owned(store, clock) == (0, 0)


async def _owned(store: Store, clock: ManualClock) -> tuple[int, int]:
    (standing,) = await store.nodes(now_ms=clock.now_ms())
    return standing.deciding, standing.delivering


async def _lags(world: World, *, at_ms: int | None = None) -> dict[str, tuple[int, int]]:
    standings = await world.store.nodes(now_ms=world.now_ms if at_ms is None else at_ms)
    return {standing.node.id: (standing.decide_lag_ms, standing.deliver_lag_ms) for standing in standings}


async def _both_live(world: World) -> None:
    for node in (NODE, OTHER_NODE):
        await world.store.announce(a_node(id=node, seen_ms=world.now_ms, until_ms=world.now_ms + HOUR_MS))


async def test_a_lag_is_the_age_of_the_oldest_work_of_its_stage(world: World) -> None:
    await _both_live(world)
    assert await _lags(world) == {NODE: (0, 0), OTHER_NODE: (0, 0)}
    old, young = world.event(), world.event()
    await world.append(
        a_unit(young, deliveries=(a_delivery(young, due_ms=world.now_ms - 200),), profile=_PROFILE),
        a_unit(old, deliveries=(a_delivery(old, due_ms=world.now_ms - 300),), profile=_OTHER_PROFILE),
    )
    decide_lag_ms = world.now_ms - old.received_ms
    assert decide_lag_ms > 0
    assert await _lags(world) == {NODE: (decide_lag_ms, 300), OTHER_NODE: (0, 0)}
    await world.settle(*(world.delivered(work) for work in (await world.due())[:1]))
    first, _ = await world.undecided()
    await world.store.settle_decisions([world.decided(first)])
    assert await _lags(world) == {NODE: (world.now_ms - young.received_ms, 200), OTHER_NODE: (0, 0)}


async def test_work_that_is_not_due_yet_is_not_late(world: World) -> None:
    await _both_live(world)
    event = world.event()
    await world.append(a_unit(event, deliveries=(a_delivery(event, due_ms=world.now_ms + 5000),)))
    assert await _lags(world) == {NODE: (0, 0), OTHER_NODE: (0, 0)}
    assert await _lags(world, at_ms=world.now_ms + 5000) == {NODE: (0, 0), OTHER_NODE: (0, 0)}
    assert await _lags(world, at_ms=world.now_ms + 5001) == {NODE: (0, 1), OTHER_NODE: (0, 0)}


async def test_a_retry_is_late_from_its_own_due_on(world: World) -> None:
    await _both_live(world)
    work = await world.publish_and_take()
    world.later(10)
    await world.settle(world.failed(work, retry_in_ms=5000))
    assert (await _lags(world))[NODE] == (0, 0)
    world.later(7)
    assert (await _lags(world))[NODE] == (0, 2000)


async def test_each_node_answers_for_its_own_shards_only(world: World) -> None:
    await _both_live(world)
    event, other = world.event(), world.event()
    await world.append(
        a_unit(event, endpoints=(ENDPOINT,), profile=_PROFILE),
        a_unit(other, endpoints=(OTHER_ENDPOINT, LANE), profile=_OTHER_PROFILE),
    )
    await _hand_over(world, Stage.DECIDE, [shard_of(_PROFILE)])
    await _hand_over(world, Stage.DELIVER, [lane_shard(OTHER_ENDPOINT), lane_shard(LANE)])
    now_ms = world.now_ms
    assert await _lags(world) == {
        NODE: (now_ms - other.received_ms, now_ms - event.received_ms),
        OTHER_NODE: (now_ms - event.received_ms, now_ms - other.received_ms),
    }


async def _hand_over(world: World, stage: Stage, shards: list[int]) -> None:
    assert {shard_of(ENDPOINT), shard_of(_OTHER_PROFILE)}.isdisjoint(shards)
    await world.store.release(NODE, stage, shards)
    until_ms = world.now_ms + 5000
    leases = await world.store.lease(OTHER_NODE, stage, now_ms=world.now_ms, until_ms=until_ms, most=256)
    assert {lease.shard for lease in leases} == set(shards)


async def test_work_of_shards_that_nobody_holds_is_nobodys_lag(world: World) -> None:
    await _both_live(world)
    await world.append(a_unit(world.event(), profile=_PROFILE))
    for stage in Stage:
        await world.store.release(NODE, stage)
    world.later()
    assert await _lags(world) == {NODE: (0, 0), OTHER_NODE: (0, 0)}


async def test_those_that_want_to_be_alone_come_one_after_the_other(store: Store, clock: ManualClock) -> None:
    inside: list[int] = []
    most_inside = 0

    async def enter(number: int) -> None:
        nonlocal most_inside
        async with store.alone("start"):
            inside.append(number)
            # The store is asked something, so that others get their chance to come in wrongly.
            for _ in range(3):
                await store.nodes(now_ms=clock.now_ms())
                await asyncio.sleep(0)
                most_inside = max(most_inside, len(inside))
            inside.remove(number)

    await asyncio.gather(*(enter(number) for number in range(5)))
    assert most_inside == 1


async def test_other_things_may_be_done_meanwhile(store: Store, clock: ManualClock) -> None:
    async with asyncio.timeout(10), store.alone("start"), store.alone("prune"):
        assert await store.announce(a_node(seen_ms=clock.now_ms()))


async def test_an_error_lets_the_next_one_in(store: Store) -> None:
    with pytest.raises(ValueError, match="went wrong"):
        async with store.alone("start"):
            raise ValueError("went wrong")
    async with asyncio.timeout(10), store.alone("start"):
        pass


async def test_one_that_gave_up_waiting_does_not_stand_in_the_way(store: Store) -> None:
    async with store.alone("start"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), store.alone("start"):
                pytest.fail("two were let in at once")
    async with asyncio.timeout(10), store.alone("start"):
        pass
