"""Which shards this node may work on, and when it must stop."""

from posthorn.engine.ownership import LEASE_MS, RENEW_SECONDS, Ownership
from posthorn.engine.records import Lease
from posthorn.engine.shards import SHARDS
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import ManualClock
from posthorn.testing.memory import MemoryStore


class FaltingStore(MemoryStore):
    """A store that can be down."""

    is_down = False

    async def lease(self, node: str, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
        if self.is_down:
            raise StoreUnavailable("down")
        return await super().lease(node, now_ms=now_ms, until_ms=until_ms, most=most)

    async def release(self, node: str) -> None:
        if self.is_down:
            raise StoreUnavailable("down")
        await super().release(node)


def owned_by(clock: ManualClock, store: MemoryStore, node: str = "node_a") -> Ownership:
    return Ownership(store=store, node=node, clock=clock, telemetry=Telemetry(strict=True))


async def test_the_first_node_owns_every_shard_as_soon_as_it_is_open() -> None:
    clock = ManualClock()
    ownership = owned_by(clock, MemoryStore(clock))
    assert ownership.epochs == {}
    await ownership.open()
    assert set(ownership.epochs) == set(range(SHARDS))
    assert ownership.generation == 1


async def test_work_stops_three_seconds_before_the_leases_run_out() -> None:
    clock = ManualClock()
    ownership = owned_by(clock, MemoryStore(clock))
    await ownership.open()
    clock.advance((LEASE_MS - 3001) / 1000)
    assert ownership.epochs
    clock.advance(0.001)
    assert ownership.epochs == {}


async def test_renewed_leases_keep_their_epochs_and_change_no_generation() -> None:
    clock = ManualClock()
    ownership = owned_by(clock, MemoryStore(clock))
    await ownership.open()
    epochs = ownership.epochs
    clock.advance(RENEW_SECONDS)
    assert await ownership.run_once() == RENEW_SECONDS
    assert (ownership.epochs, ownership.generation) == (epochs, 1)
    clock.advance(11.9)
    assert ownership.epochs == epochs


async def test_a_store_that_is_down_is_asked_again_sooner() -> None:
    clock = ManualClock()
    store = FaltingStore(clock)
    ownership = owned_by(clock, store)
    await ownership.open()
    store.is_down = True
    assert await ownership.run_once() == 1.0


async def test_leases_renewed_at_the_last_moment_count_as_a_new_generation() -> None:
    """Nothing was worked on meanwhile, and what was due then was put aside."""
    clock = ManualClock()
    ownership = owned_by(clock, MemoryStore(clock))
    await ownership.open()
    epochs = ownership.epochs
    clock.advance(13)
    assert ownership.epochs == {}
    await ownership.run_once()
    assert (ownership.epochs, ownership.generation) == (epochs, 2)


async def test_leases_that_ran_out_come_back_under_higher_epochs() -> None:
    clock = ManualClock()
    ownership = owned_by(clock, MemoryStore(clock))
    await ownership.open()
    epochs = ownership.epochs
    clock.advance(60)
    await ownership.run_once()
    assert ownership.epochs == {shard: epoch + 1 for shard, epoch in epochs.items()}
    assert ownership.generation == 2


async def test_a_second_node_takes_over_what_the_first_gave_up_at_once() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    first, second = owned_by(clock, store), owned_by(clock, store, "node_b")
    await first.open()
    await second.open()
    assert second.epochs == {}
    await first.close()
    assert first.epochs == {}
    await second.run_once()
    assert set(second.epochs) == set(range(SHARDS))


async def test_what_was_won_and_lost_is_told() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    told: list[dict[str, object]] = []
    telemetry = Telemetry(strict=True)
    telemetry.subscribe(lambda _name, facts: told.append(dict(facts)), "lease.changed")
    ownership = Ownership(store=store, node="node_a", clock=clock, telemetry=telemetry)
    await ownership.open()
    assert told == [{"node": "node_a", "owned": SHARDS, "won": SHARDS, "lost": 0}]


async def test_closing_while_the_store_is_down_ends_without_an_error() -> None:
    clock = ManualClock()
    store = FaltingStore(clock)
    ownership = owned_by(clock, store)
    await ownership.open()
    store.is_down = True
    await ownership.close()
    assert ownership.epochs == {}
