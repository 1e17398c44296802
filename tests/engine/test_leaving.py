"""A node that leaves: whatever else is under way, nothing that it gave up is worked on any more."""

import asyncio

import pytest

from posthorn.engine.cluster import SHARED, Node, Stage
from posthorn.engine.membership import Membership, new_node
from posthorn.engine.ownership import Ownership
from posthorn.engine.records import Lease
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import ManualClock
from posthorn.testing.memory import MemoryStore


class SlowStore(MemoryStore):
    """A store whose answers may be late, and that may hang."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.let = asyncio.Event()
        self.let.set()
        self.asked = asyncio.Event()
        self.announced: list[Node] = []

    async def lease(self, node: str, stage: Stage, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
        answer = await super().lease(node, stage, now_ms=now_ms, until_ms=until_ms, most=most)
        is_held_back = not self.let.is_set() and not self.asked.is_set()
        self.asked.set()
        if is_held_back:
            await self.let.wait()
        return answer

    async def announce(self, node: Node) -> list[Node]:
        self.announced.append(node)
        return await super().announce(node)


class HangingStore(SlowStore):
    """A store that takes connections and answers nothing."""

    is_hanging = False

    async def announce(self, node: Node) -> list[Node]:
        if self.is_hanging:
            await asyncio.get_running_loop().create_future()
        return await super().announce(node)


class OneNode:
    def __init__(self, clock: ManualClock, store: MemoryStore) -> None:
        telemetry = Telemetry(strict=True)
        self.told: list[str] = []
        telemetry.subscribe(lambda name, _facts: self.told.append(name), "store.unavailable")
        self.stages = [
            Ownership(store=store, node="node_a", clock=clock, telemetry=telemetry, stage=stage, tempo=SHARED)
            for stage in Stage
        ]
        self.membership = Membership(
            cluster=store,
            node=new_node("node_a", version="1", now_ms=clock.now_ms()),
            ownerships=self.stages,
            clock=clock,
            telemetry=telemetry,
            tempo=SHARED,
            leaving_seconds=0.05,
        )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_a_renewal_whose_answer_comes_late_brings_no_shard_back(clock: ManualClock) -> None:
    store = SlowStore(clock)
    node = OneNode(clock, store)
    await node.membership.open()
    clock.advance(SHARED.renew_seconds)
    store.asked.clear()
    store.let.clear()
    renewing = asyncio.create_task(node.membership.run_once())
    await store.asked.wait()
    leaving = asyncio.create_task(node.membership.leave())
    for _ in range(10):
        await asyncio.sleep(0)
        assert not any(stage.epochs for stage in node.stages)
    store.let.set()
    await asyncio.gather(renewing, leaving)
    assert not any(stage.epochs for stage in node.stages)
    assert store.announced[-1].roles == ()
    assert await store.lease("node_b", Stage.DELIVER, now_ms=clock.now_ms(), until_ms=clock.now_ms() + 1, most=300)


async def test_shards_won_while_the_node_began_to_leave_are_not_worked_on(clock: ManualClock) -> None:
    store = SlowStore(clock)
    node = OneNode(clock, store)
    store.let.clear()
    opening = asyncio.create_task(node.stages[0].renew(["node_a"]))
    await store.asked.wait()
    node.stages[0].leave()
    store.let.set()
    await opening
    assert node.stages[0].epochs == {}


async def test_a_store_that_hangs_does_not_keep_a_node_from_stopping(clock: ManualClock) -> None:
    """The doors and what is in flight need the rest of the time that a shutdown has."""
    store = HangingStore(clock)
    node = OneNode(clock, store)
    await node.membership.open()
    store.is_hanging = True
    async with asyncio.timeout(5):
        await node.membership.leave()
    assert not any(stage.epochs for stage in node.stages)
    assert node.told == ["store.unavailable"]


async def test_a_store_that_is_away_is_told_of_once_when_a_node_leaves(clock: ManualClock) -> None:
    class AwayStore(SlowStore):
        async def announce(self, node: Node) -> list[Node]:
            raise StoreUnavailable("down")

    node = OneNode(clock, AwayStore(clock))
    await node.membership.leave()
    assert node.told == ["store.unavailable"]
