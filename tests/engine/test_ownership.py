"""Which shards this node may work on, when it must stop, and how nodes share them."""

import pytest

from posthorn.engine.cluster import ALONE, SHARED, Node, Role, Stage
from posthorn.engine.membership import Leaving, Membership, new_node
from posthorn.engine.ownership import Ownership, fair_share
from posthorn.engine.records import Lease
from posthorn.engine.shards import SHARDS
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import ManualClock
from posthorn.testing.memory import MemoryStore

MINE = ["node_a"]


class FaltingStore(MemoryStore):
    """A store that can be down."""

    is_down = False

    async def lease(self, node: str, stage: Stage, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
        if self.is_down:
            raise StoreUnavailable("down")
        return await super().lease(node, stage, now_ms=now_ms, until_ms=until_ms, most=most)

    async def release(self, node: str, stage: Stage, shards: object = None) -> None:
        if self.is_down:
            raise StoreUnavailable("down")
        await super().release(node, stage, shards)  # type: ignore[arg-type]

    async def announce(self, node: Node) -> list[Node]:
        if self.is_down:
            raise StoreUnavailable("down")
        return await super().announce(node)

    async def withdraw(self, node: str) -> None:
        if self.is_down:
            raise StoreUnavailable("down")
        await super().withdraw(node)


def owned_by(clock: ManualClock, store: MemoryStore, node: str = "node_a") -> Ownership:
    return Ownership(store=store, node=node, clock=clock, telemetry=Telemetry(strict=True))


class Member:
    """One node of a cluster, driven by hand."""

    def __init__(
        self, name: str, clock: ManualClock, store: MemoryStore, roles: tuple[Role, ...] = tuple(Role)
    ) -> None:
        self.busy: set[int] = set()
        telemetry = Telemetry(strict=True)
        self.stages = {
            stage: Ownership(
                store=store, node=name, clock=clock, telemetry=telemetry, stage=stage, tempo=SHARED, busy=self._busy
            )
            for stage in Stage
        }
        self.membership = Membership(
            cluster=store,
            node=new_node(name, version="1", now_ms=clock.now_ms(), roles=roles),
            ownerships=tuple(self.stages.values()),
            clock=clock,
            telemetry=telemetry,
            tempo=SHARED,
        )

    def _busy(self) -> set[int]:
        return self.busy

    def owned(self, stage: Stage = Stage.DELIVER) -> set[int]:
        return set(self.stages[stage].epochs)


async def turns(clock: ManualClock, seconds: float, *members: Member) -> None:
    """Let each member take its turns for so long."""
    for _ in range(round(seconds / 0.1)):
        clock.advance(0.1)
        for member in members:
            await member.membership.run_once()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_the_first_node_owns_every_shard_as_soon_as_it_is_open(clock: ManualClock) -> None:
    ownership = owned_by(clock, MemoryStore(clock))
    assert ownership.epochs == {}
    await ownership.renew(MINE)
    assert set(ownership.epochs) == set(range(SHARDS))
    assert ownership.generation == 1


async def test_work_stops_three_seconds_before_the_leases_run_out(clock: ManualClock) -> None:
    ownership = owned_by(clock, MemoryStore(clock))
    await ownership.renew(MINE)
    clock.advance((ALONE.lease_ms - 3001) / 1000)
    assert ownership.epochs
    clock.advance(0.001)
    assert ownership.epochs == {}


async def test_renewed_leases_keep_their_epochs_and_change_no_generation(clock: ManualClock) -> None:
    ownership = owned_by(clock, MemoryStore(clock))
    await ownership.renew(MINE)
    epochs = ownership.epochs
    clock.advance(ALONE.renew_seconds)
    await ownership.renew(MINE)
    assert (ownership.epochs, ownership.generation) == (epochs, 1)
    clock.advance(11.9)
    assert ownership.epochs == epochs


async def test_leases_renewed_at_the_last_moment_count_as_a_new_generation(clock: ManualClock) -> None:
    """Nothing was worked on meanwhile, and what was due then was put aside."""
    ownership = owned_by(clock, MemoryStore(clock))
    await ownership.renew(MINE)
    epochs = ownership.epochs
    clock.advance(13)
    assert ownership.epochs == {}
    await ownership.renew(MINE)
    assert (ownership.epochs, ownership.generation) == (epochs, 2)


async def test_leases_that_ran_out_come_back_under_their_epochs_when_nobody_took_them_over(clock: ManualClock) -> None:
    """The store was away for longer than a lease: what was in flight then still counts."""
    ownership = owned_by(clock, MemoryStore(clock))
    await ownership.renew(MINE)
    epochs = ownership.epochs
    clock.advance(60)
    assert ownership.epochs == {}
    await ownership.renew(MINE)
    assert (ownership.epochs, ownership.generation) == (epochs, 2)


async def test_leases_that_others_took_over_come_back_under_higher_epochs(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    ownership, other = owned_by(clock, store), owned_by(clock, store, "node_b")
    await ownership.renew(MINE)
    epochs = ownership.epochs
    clock.advance(60)
    await other.renew(["node_b"])
    await other.release_all()
    await ownership.renew(MINE)
    await ownership.renew(MINE)
    assert ownership.epochs == {shard: epoch + 2 for shard, epoch in epochs.items()}


async def test_what_was_won_and_lost_is_told(clock: ManualClock) -> None:
    told: list[dict[str, object]] = []
    telemetry = Telemetry(strict=True)
    telemetry.subscribe(lambda _name, facts: told.append(dict(facts)), "lease.changed")
    ownership = Ownership(store=MemoryStore(clock), node="node_a", clock=clock, telemetry=telemetry)
    await ownership.renew(MINE)
    assert told == [{"node": "node_a", "stage": Stage.DELIVER, "owned": SHARDS, "won": SHARDS, "lost": 0}]
    await ownership.renew(["node_a", "node_b"])
    assert told[1:] == [{"node": "node_a", "stage": Stage.DELIVER, "owned": 128, "won": 0, "lost": 128}]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 256, 300])
def test_fair_shares_differ_by_one_at_most_and_add_up(count: int) -> None:
    peers = [f"node_{number}" for number in range(count)]
    shares = [fair_share(peer, peers[::-1]) for peer in peers]
    assert sum(shares) == SHARDS
    assert max(shares) - min(shares) <= 1
    assert fair_share("a stranger", peers) == 0


async def test_a_node_that_joins_has_its_half_within_two_turns(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    first, second = Member("node_a", clock, store), Member("node_b", clock, store)
    await first.membership.open()
    await second.membership.open()
    assert (len(first.owned()), len(second.owned())) == (256, 0)
    await turns(clock, 2 * SHARED.renew_seconds + 0.2, first, second)
    for stage in Stage:
        assert (len(first.owned(stage)), len(second.owned(stage))) == (128, 128)
        assert first.owned(stage).isdisjoint(second.owned(stage))


async def test_a_shard_with_work_in_flight_moves_only_when_the_work_is_done(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    first, second = Member("node_a", clock, store), Member("node_b", clock, store)
    first.busy = set(range(200))
    await first.membership.open()
    await second.membership.open()
    await turns(clock, 5, first, second)
    assert len(first.owned()) == 128
    assert first.owned() <= first.busy
    assert len(second.owned()) == 56
    first.busy = set()
    await turns(clock, 2, first, second)
    assert (len(first.owned()), len(second.owned())) == (128, 128)


async def test_the_shards_of_a_node_that_died_are_spread_evenly_within_ten_seconds(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    members = [Member(f"node_{name}", clock, store) for name in "abc"]
    for member in members:
        await member.membership.open()
    await turns(clock, 5, *members)
    assert sorted(len(member.owned()) for member in members) == [85, 85, 86]
    await turns(clock, 10, *members[1:])
    assert [len(member.owned()) for member in members[1:]] == [128, 128]
    assert members[0].owned() == set()


async def test_a_node_that_leaves_hands_over_at_once_and_keeps_what_is_in_flight(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    first, second = Member("node_a", clock, store), Member("node_b", clock, store)
    await first.membership.open()
    await second.membership.open()
    await turns(clock, 4, first, second)
    first.busy = set(sorted(first.owned())[:3])
    leaving = Leaving(first.membership)
    await leaving.start()
    await leaving.stop()
    assert first.owned() == set()
    await turns(clock, SHARED.renew_seconds + 0.2, first, second)
    assert len(second.owned()) == SHARDS - 3
    first.busy = set()
    await turns(clock, 2, first, second)
    await first.membership.close()
    assert len(second.owned()) == SHARDS
    assert [standing.node.id for standing in await store.nodes(now_ms=clock.now_ms())] == ["node_b"]


async def test_a_node_takes_part_only_in_its_roles(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    decider = Member("node_a", clock, store, (Role.RECEIVE, Role.DECIDE))
    deliverer = Member("node_b", clock, store, (Role.DELIVER,))
    receiver = Member("node_c", clock, store, (Role.RECEIVE,))
    for member in (decider, deliverer, receiver):
        await member.membership.open()
    await turns(clock, 4, decider, deliverer, receiver)
    assert (len(decider.owned(Stage.DECIDE)), len(decider.owned(Stage.DELIVER))) == (SHARDS, 0)
    assert (len(deliverer.owned(Stage.DECIDE)), len(deliverer.owned(Stage.DELIVER))) == (0, SHARDS)
    assert (len(receiver.owned(Stage.DECIDE)), len(receiver.owned(Stage.DELIVER))) == (0, 0)


async def test_only_one_living_node_counts_as_the_first(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    members = [Member(f"node_{name}", clock, store) for name in "ab"]
    assert not members[0].membership.is_first
    for member in members:
        await member.membership.open()
    await turns(clock, 2, *members)
    assert [member.membership.is_first for member in members] == [True, False]
    await turns(clock, 10, members[1])
    assert members[1].membership.is_first


async def test_a_store_that_is_down_is_asked_again_sooner(clock: ManualClock) -> None:
    store = FaltingStore(clock)
    member = Member("node_a", clock, store)
    await member.membership.open()
    assert member.membership.is_alive
    store.is_down = True
    clock.advance(SHARED.renew_seconds)
    assert await member.membership.run_once() < SHARED.renew_seconds
    clock.advance(SHARED.lease_ms / 1000)
    assert not member.membership.is_alive
    assert member.owned() == set()
    store.is_down = False
    await member.membership.run_once()
    await member.membership.run_once()
    assert member.membership.is_alive


async def test_leaving_and_closing_while_the_store_is_down_end_without_an_error(clock: ManualClock) -> None:
    store = FaltingStore(clock)
    member = Member("node_a", clock, store)
    await member.membership.open()
    store.is_down = True
    await member.membership.leave()
    await member.membership.close()
    assert member.owned() == set()
