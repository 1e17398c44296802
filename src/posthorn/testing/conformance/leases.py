"""Leases: timed, fenced ownership of shards."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from posthorn.engine.shards import SHARDS
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.world import NODE, OTHER_NODE, Store

_LONG_MS = 15_000


async def _lease(store: Store, clock: ManualClock, node: str, *, most: int = SHARDS) -> dict[int, int]:
    until_ms = clock.now_ms() + _LONG_MS
    leases = await store.lease(node, now_ms=clock.now_ms(), until_ms=until_ms, most=most)
    assert all(lease.until_ms == until_ms for lease in leases)
    epochs = {lease.shard: lease.epoch for lease in leases}
    assert len(epochs) == len(leases)
    return epochs


async def test_a_fresh_store_gives_every_shard_with_the_first_epoch(store: Store, clock: ManualClock) -> None:
    assert await _lease(store, clock, NODE, most=1000) == dict.fromkeys(range(SHARDS), 1)


async def test_no_more_than_most_shards_are_taken_over(store: Store, clock: ManualClock) -> None:
    assert len(await _lease(store, clock, NODE, most=3)) == 3


async def test_what_a_node_holds_does_not_count_as_taken_over(store: Store, clock: ManualClock) -> None:
    first = await _lease(store, clock, NODE, most=3)
    second = await _lease(store, clock, NODE, most=2)
    assert len(second) == 5
    assert first.items() <= second.items()


async def test_renewal_keeps_the_epoch_and_takes_nothing_when_most_is_zero(store: Store, clock: ManualClock) -> None:
    first = await _lease(store, clock, NODE, most=3)
    clock.advance(5)
    assert await _lease(store, clock, NODE, most=0) == first


async def test_a_renewed_lease_outlives_its_first_end(store: Store, clock: ManualClock) -> None:
    await _lease(store, clock, NODE)
    clock.advance(10)
    await _lease(store, clock, NODE, most=0)
    clock.advance(10)
    assert await _lease(store, clock, OTHER_NODE) == {}


async def test_two_nodes_never_hold_the_same_shard(store: Store, clock: ManualClock) -> None:
    first = await _lease(store, clock, NODE, most=100)
    second = await _lease(store, clock, OTHER_NODE)
    assert len(first) == 100
    assert first.keys().isdisjoint(second.keys())
    assert len(first) + len(second) == SHARDS


async def test_a_lease_holds_until_its_last_millisecond(store: Store, clock: ManualClock) -> None:
    await _lease(store, clock, NODE)
    clock.advance((_LONG_MS - 1) / 1000)
    assert await _lease(store, clock, OTHER_NODE) == {}


async def test_an_expired_lease_is_taken_over_with_the_next_epoch(store: Store, clock: ManualClock) -> None:
    await _lease(store, clock, NODE)
    clock.advance(_LONG_MS / 1000)
    assert await _lease(store, clock, OTHER_NODE) == dict.fromkeys(range(SHARDS), 2)
    assert await _lease(store, clock, NODE) == {}


async def test_a_nodes_own_expired_lease_is_nobodys_and_gets_a_new_epoch(store: Store, clock: ManualClock) -> None:
    await _lease(store, clock, NODE, most=4)
    clock.advance(_LONG_MS / 1000)
    assert await _lease(store, clock, NODE, most=0) == {}
    assert set((await _lease(store, clock, NODE, most=4)).values()) <= {1, 2}
    assert max((await _lease(store, clock, NODE)).values()) == 2


async def test_released_shards_are_free_at_once_and_the_epoch_rises(store: Store, clock: ManualClock) -> None:
    await _lease(store, clock, NODE)
    await store.release(NODE)
    assert await _lease(store, clock, OTHER_NODE) == dict.fromkeys(range(SHARDS), 2)


async def test_release_gives_up_the_nodes_own_shards_only(store: Store, clock: ManualClock) -> None:
    mine = await _lease(store, clock, NODE, most=10)
    theirs = await _lease(store, clock, OTHER_NODE)
    await store.release(NODE)
    after = await _lease(store, clock, OTHER_NODE)
    assert {shard: after[shard] for shard in theirs} == theirs
    assert {shard: after[shard] for shard in mine} == dict.fromkeys(mine, 2)


async def test_releasing_nothing_is_fine(store: Store, clock: ManualClock) -> None:
    await store.release(NODE)
    assert len(await _lease(store, clock, NODE, most=1)) == 1
