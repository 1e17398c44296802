"""Several nodes that decide at the same time: what a rule remembers is remembered once."""

from deciding_world import World

from posthorn.decide.deciding import Decider
from posthorn.decide.rendering import OpenedSecrets
from posthorn.engine.cluster import ALONE, SHARED, Stage, Tempo
from posthorn.engine.flows import Once
from posthorn.engine.ownership import Ownership
from posthorn.engine.records import Append, Event
from posthorn.engine.shards import shard_of
from posthorn.testing.factories import WORKSPACE, an_automation, an_event

NOBODY = f"{WORKSPACE}/nobody"


class Node(World):
    """A node over a store and a configuration that another one shares."""

    def __init__(self, name: str, other: World | None = None, tempo: Tempo = ALONE) -> None:
        super().__init__()
        if other is not None:
            self.clock, self.store, self.directory = other.clock, other.store, other.directory
        self.ownership = Ownership(
            store=self.store, node=name, clock=self.clock, telemetry=self.telemetry, stage=Stage.DECIDE, tempo=tempo
        )
        decider = Decider(
            directory=self.directory, secrets=OpenedSecrets(self.directory, self.key_ring), key_ring=self.key_ring
        )
        self.loop._store, self.loop._ownership, self.loop._decider = self.store, self.ownership, decider

    async def wait_in(self, profile: str) -> Event:
        """Let an event without a user wait in the line of a profile."""
        event = an_event(user=None, received_ms=self.clock.now_ms())
        await self.store.append([Append(event=event, profile=profile)])
        return event


async def two_nodes() -> tuple[Node, Node]:
    """Make two nodes with half of the shards each, first the one that has the line of nobody's events."""
    first = Node("node_a")
    second = Node("node_b", first)
    await first.ownership.renew(["node_a"])
    for node in (first, second, first):
        await node.ownership.renew(["node_a", "node_b"])
    if shard_of(NOBODY) in second.ownership.epochs:
        first, second = second, first
    assert len(first.ownership.epochs) == len(second.ownership.epochs) == 128
    return first, second


def line_at(node: Node) -> str:
    """Name the line of an event by itself that this node decides."""
    lines = (f"{WORKSPACE}/event/evt_{number}" for number in range(10_000))
    return next(line for line in lines if shard_of(line) in node.ownership.epochs)


async def test_a_rule_that_remembers_fires_once_though_some_events_came_in_before_it_was_known() -> None:
    first, second = await two_nodes()
    in_line = await first.wait_in(NOBODY)
    early = await second.wait_in(line_at(second))
    await first.automation(eligibility=Once())
    assert await second.loop._decide_batch() == 1  # it is moved into the line of what the rule remembers
    assert first.decisions(early) == []
    await first.loop._decide_batch()
    decisions = [*first.decisions(in_line), *first.decisions(early)]
    assert sorted((one.outcome, one.reason) for one in decisions) == [
        ("fired", "matched"),
        ("not_eligible", "fired_before"),
    ]
    assert len(first.requests()) == 1
    assert await second.loop._decide_batch() == 0


async def test_an_automation_that_was_published_at_another_node_decides_on_the_next_event() -> None:
    """Whoever was told that it is stored may send an event a millisecond later."""
    node = Node("node_a", tempo=SHARED)
    await node.ownership.renew(["node_a"])
    await node.store.insert(an_automation())
    event = await node.happen()
    assert await node.loop._decide_batch() == 1
    assert [decision.outcome for decision in node.decisions(event)] == ["fired"]


async def test_outcomes_that_are_all_refused_are_not_decided_again_without_a_pause() -> None:
    first, second = await two_nodes()
    await first.automation()
    await second.wait_in(line_at(second))
    shard = shard_of(line_at(second))
    await second.store.release(second.ownership._node, Stage.DECIDE, [shard])
    await second.store.lease("node_c", Stage.DECIDE, now_ms=0, until_ms=1, most=1)
    assert await second.loop._decide_batch() == 0


async def test_an_event_that_is_committed_late_is_decided_at_the_hint_or_with_the_next_look_at_all() -> None:
    world = World()
    await world.happen()
    await world.decide_all()
    late_ms = world.clock.now_ms() - 30_000
    for count in (2, 3):
        profile = f"{WORKSPACE}/user/u1"
        await world.store.append([Append(event=an_event(user="u1", received_ms=late_ms), profile=profile)])
        await world.decide_all()
        assert await world.counts() == [count - 1]
        if count == 2:
            world.to_decide.add([(shard_of(profile), profile)], due_ms=late_ms)
        else:
            world.clock.advance(ALONE.rescan_ms / 1000)
            await world.own()
        await world.decide_all()
        assert await world.counts() == [count]
