"""The delivering loop when shards change hands, and when the clock of the store does not go on."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from delivering_world import World

from posthorn.engine import settlements
from posthorn.engine.cluster import Stage
from posthorn.engine.lanes import lane_shard
from posthorn.engine.records import LaneRead
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import an_attempt


class StandingClock(ManualClock):
    """A clock that may stand still, as the database's does after a failover to one that is behind."""

    def stand(self, seconds: float) -> None:
        self._elapsed_ms += round(seconds * 1000)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(clock=StandingClock())
    await world.start()
    yield world
    world.transport.release()
    await world.dispatcher.stop()


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop go on until something holds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - there is no event that tells
            await asyncio.sleep(0)


async def deliver_all_elsewhere(world: World, endpoint: str) -> int:
    """Let another node take over, deliver what waits for an endpoint, and go."""
    now_ms = world.clock.now_ms()
    leases = await world.store.lease("node_b", Stage.DELIVER, now_ms=now_ms, until_ms=now_ms + 1000, most=300)
    epochs = {lease.shard: lease.epoch for lease in leases}
    [taken] = await world.store.take(
        [LaneRead(shard=lane_shard(endpoint), endpoint=endpoint, room=1000)], now_ms=now_ms
    )
    made = [settlements.delivered(work, epochs[work.shard], an_attempt(work)) for work in taken.works]
    assert all(await world.store.settle(made))
    await world.store.release("node_b", Stage.DELIVER)
    return len(made)


async def test_what_was_read_under_an_earlier_lease_is_not_sent_once_the_shard_came_back(world: World) -> None:
    await world.endpoint()
    world.transport.hold()
    await world.owe("ep_1", messages=10)
    await world.transport.wait_for_requests(2)
    assert world.queue.lane(lane_shard("ep_1"), "ep_1").buffer
    world.clock.advance(16)
    assert await deliver_all_elsewhere(world, "ep_1") == 10
    await world.own()
    world.transport.release()
    await until(lambda: not world.dispatcher.in_flight)
    await world.settler.drain()
    assert len(world.transport.requests) == 2


async def test_what_other_nodes_commit_is_found_while_the_clock_stands_still(world: World) -> None:
    await world.endpoint()
    await world.owe("ep_1")
    await world.until_settled(1)
    [owed] = await world.owe("ep_1", hint=False)
    world.clock.stand(0.2)
    world.hints.wake()
    await world.until_settled(2)
    assert await world.state(owed) == ("delivered", 1)


async def test_what_a_node_commits_whose_clock_is_behind_is_found_within_a_minute(world: World) -> None:
    await world.endpoint()
    await world.owe("ep_1")
    await world.until_settled(1)
    behind = ManualClock(world.clock.now_ms() - 30_000)
    ahead, world.clock = world.clock, behind
    [late] = await world.owe("ep_1", hint=False)
    world.clock = ahead
    ahead.stand(61)  # type: ignore[attr-defined]
    world.hints.wake()
    await world.until_settled(2)
    assert await world.state(late) == ("delivered", 1)


async def test_a_lane_that_is_switched_on_again_goes_on_while_the_clock_stands_still(world: World) -> None:
    endpoint = await world.endpoint(disabled=True)
    [waiting] = await world.owe("ep_1")
    await until(lambda: bool(world.dispatcher._paused))
    for _ in range(3):  # it was looked at, and found switched off
        world.hints.wake()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await world.change(msgspec.structs.replace(endpoint, disabled=False))
    world.clock.stand(0.6)
    world.hints.wake()
    await world.until_settled(1)
    assert await world.state(waiting) == ("delivered", 1)


async def test_a_lane_is_not_read_from_the_beginning_once_its_front_is_known(world: World) -> None:
    await world.endpoint()
    for settled in (1, 2, 3):
        world.clock.advance(5)
        await world.own()
        await world.owe("ep_1")
        await world.until_settled(settled)
    assert world.store.reads[0].since_ms is None
    fronts = [read.since_ms for read in world.store.reads if read.after is None]
    assert fronts[-1] is not None
    assert world.clock.now_ms() - 6000 < fronts[-1] < world.clock.now_ms()


async def test_what_is_committed_long_after_it_was_due_goes_out_at_the_hint(world: World) -> None:
    await world.endpoint()
    await world.owe("ep_1")
    await world.until_settled(1)
    slow, world.clock = world.clock, ManualClock(world.clock.now_ms())
    slow.advance(40)
    await world.own()
    await until(lambda: world.queue.lane(lane_shard("ep_1"), "ep_1").since_ms is not None)
    [late] = await world.owe("ep_1")  # accepted 40 s ago, and committed only now
    await world.until_settled(2)
    assert await world.state(late) == ("delivered", 1)


async def test_a_lane_is_read_from_the_beginning_under_new_leases(world: World) -> None:
    await world.endpoint()
    await world.owe("ep_1")
    await world.until_settled(1)
    generation = world.ownership.generation
    world.clock.advance(16)
    await deliver_all_elsewhere(world, "ep_1")
    await world.own()
    await world.own()  # the first one finds out that all are lost
    assert world.ownership.generation > generation
    world.store.reads.clear()
    await world.owe("ep_1")
    await world.until_settled(2)
    assert world.store.reads[0].since_ms is None
