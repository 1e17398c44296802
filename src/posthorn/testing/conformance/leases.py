"""Leases: timed, fenced ownership of the shards of each stage."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

import asyncio

import pytest

from posthorn.engine.cluster import Stage
from posthorn.engine.ports import Store
from posthorn.engine.shards import SHARDS
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.world import NODE, OTHER_NODE

_LONG_MS = 15_000


class Leaser:
    """One stage of a store, leased for fifteen seconds from the present on."""

    def __init__(self, store: Store, clock: ManualClock, stage: Stage) -> None:
        self.store = store
        self.clock = clock
        self.stage = stage

    async def lease(self, node: str, *, most: int = SHARDS) -> dict[int, int]:
        """Lease shards and return their epochs."""
        now_ms = self.clock.now_ms()
        until_ms = now_ms + _LONG_MS
        leases = await self.store.lease(node, self.stage, now_ms=now_ms, until_ms=until_ms, most=most)
        assert all(lease.until_ms == until_ms for lease in leases)
        epochs = {lease.shard: lease.epoch for lease in leases}
        assert len(epochs) == len(leases)
        return epochs

    async def release(self, node: str, shards: list[int] | None = None) -> None:
        """Give up shards."""
        await self.store.release(node, self.stage, shards)


@pytest.fixture(params=list(Stage))
def leaser(request: pytest.FixtureRequest, store: Store, clock: ManualClock) -> Leaser:
    """Lease the shards of each stage in turn."""
    return Leaser(store, clock, request.param)


async def test_a_fresh_store_gives_every_shard_with_the_first_epoch(leaser: Leaser) -> None:
    assert await leaser.lease(NODE, most=1000) == dict.fromkeys(range(SHARDS), 1)


async def test_no_more_than_most_shards_are_taken_over(leaser: Leaser) -> None:
    assert len(await leaser.lease(NODE, most=3)) == 3


async def test_what_a_node_holds_does_not_count_as_taken_over(leaser: Leaser) -> None:
    first = await leaser.lease(NODE, most=3)
    second = await leaser.lease(NODE, most=2)
    assert len(second) == 5
    assert first.items() <= second.items()


async def test_renewal_keeps_the_epoch_and_takes_nothing_when_most_is_zero(leaser: Leaser) -> None:
    first = await leaser.lease(NODE, most=3)
    leaser.clock.advance(5)
    assert await leaser.lease(NODE, most=0) == first


async def test_a_renewed_lease_outlives_its_first_end(leaser: Leaser) -> None:
    await leaser.lease(NODE)
    leaser.clock.advance(10)
    await leaser.lease(NODE, most=0)
    leaser.clock.advance(10)
    assert await leaser.lease(OTHER_NODE) == {}


async def test_two_nodes_never_hold_the_same_shard(leaser: Leaser) -> None:
    first = await leaser.lease(NODE, most=100)
    second = await leaser.lease(OTHER_NODE)
    assert len(first) == 100
    assert first.keys().isdisjoint(second.keys())
    assert len(first) + len(second) == SHARDS


async def test_a_lease_holds_until_its_last_millisecond(leaser: Leaser) -> None:
    await leaser.lease(NODE)
    leaser.clock.advance((_LONG_MS - 1) / 1000)
    assert await leaser.lease(OTHER_NODE) == {}


async def test_an_expired_lease_is_taken_over_with_the_next_epoch(leaser: Leaser) -> None:
    await leaser.lease(NODE)
    leaser.clock.advance(_LONG_MS / 1000)
    assert await leaser.lease(OTHER_NODE) == dict.fromkeys(range(SHARDS), 2)
    assert await leaser.lease(NODE) == {}


async def test_a_nodes_own_expired_lease_is_renewed_with_its_epoch_while_nobody_took_it_over(leaser: Leaser) -> None:
    first = await leaser.lease(NODE, most=4)
    leaser.clock.advance(_LONG_MS / 1000)
    assert await leaser.lease(NODE, most=0) == first


async def test_a_nodes_own_expired_lease_that_was_taken_over_is_lost(leaser: Leaser) -> None:
    await leaser.lease(NODE, most=4)
    leaser.clock.advance(_LONG_MS / 1000)
    assert (await leaser.lease(OTHER_NODE))[0] == 2
    assert await leaser.lease(NODE) == {}
    await leaser.release(OTHER_NODE)
    assert (await leaser.lease(NODE))[0] == 3


async def test_released_shards_are_free_at_once_and_the_epoch_rises(leaser: Leaser) -> None:
    await leaser.lease(NODE)
    await leaser.release(NODE)
    assert await leaser.lease(OTHER_NODE) == dict.fromkeys(range(SHARDS), 2)


async def test_release_gives_up_the_nodes_own_shards_only(leaser: Leaser) -> None:
    mine = await leaser.lease(NODE, most=10)
    theirs = await leaser.lease(OTHER_NODE)
    await leaser.release(NODE)
    after = await leaser.lease(OTHER_NODE)
    assert {shard: after[shard] for shard in theirs} == theirs
    assert {shard: after[shard] for shard in mine} == dict.fromkeys(mine, 2)


async def test_releasing_nothing_is_fine(leaser: Leaser) -> None:
    await leaser.release(NODE)
    assert len(await leaser.lease(NODE, most=1)) == 1


async def test_named_shards_are_given_up_and_the_others_kept(leaser: Leaser) -> None:
    mine = await leaser.lease(NODE)
    given = [3, 77, 255]
    await leaser.release(NODE, given)
    assert await leaser.lease(OTHER_NODE) == dict.fromkeys(given, 2)
    kept = await leaser.lease(NODE, most=0)
    assert kept == {shard: epoch for shard, epoch in mine.items() if shard not in given}


async def test_naming_no_shard_gives_up_none(leaser: Leaser) -> None:
    mine = await leaser.lease(NODE)
    await leaser.release(NODE, [])
    assert await leaser.lease(OTHER_NODE) == {}
    assert await leaser.lease(NODE, most=0) == mine


async def test_a_node_cannot_give_up_what_another_one_holds(leaser: Leaser) -> None:
    mine = await leaser.lease(NODE, most=10)
    theirs = await leaser.lease(OTHER_NODE)
    await leaser.release(NODE, [*mine, *theirs])
    assert await leaser.lease(OTHER_NODE, most=0) == theirs
    assert await leaser.lease(NODE) == dict.fromkeys(mine, 2)


async def test_a_late_release_leaves_shards_alone_that_were_taken_over(leaser: Leaser) -> None:
    await leaser.lease(NODE)
    leaser.clock.advance(_LONG_MS / 1000)
    theirs = await leaser.lease(OTHER_NODE)
    await leaser.release(NODE)
    await leaser.release(NODE, list(range(SHARDS)))
    assert await leaser.lease(NODE) == {}
    assert await leaser.lease(OTHER_NODE, most=0) == theirs


async def test_nodes_that_lease_at_the_same_moment_never_get_the_same_shard(leaser: Leaser) -> None:
    first, second = await asyncio.gather(leaser.lease(NODE, most=200), leaser.lease(OTHER_NODE, most=200))
    assert first.keys().isdisjoint(second.keys())
    # A shard that the other one was just looking at may have been passed over. The next round finds it.
    first, second = await leaser.lease(NODE), await leaser.lease(OTHER_NODE)
    assert first.keys().isdisjoint(second.keys())
    assert len(first) + len(second) == SHARDS
    assert set((first | second).values()) == {1}


async def test_the_stages_are_leased_apart(store: Store, clock: ManualClock) -> None:
    deciding, delivering = (Leaser(store, clock, stage) for stage in (Stage.DECIDE, Stage.DELIVER))
    await deciding.lease(NODE)
    await deciding.release(NODE)
    assert await delivering.lease(NODE) == dict.fromkeys(range(SHARDS), 1)
    assert await deciding.lease(OTHER_NODE) == dict.fromkeys(range(SHARDS), 2)
    await delivering.release(NODE, [0])
    await deciding.release(NODE)
    assert await deciding.lease(NODE) == {}
    assert len(await delivering.lease(NODE, most=0)) == SHARDS - 1


async def test_renewing_the_leases_of_one_stage_renews_none_of_the_other(store: Store, clock: ManualClock) -> None:
    deciding, delivering = (Leaser(store, clock, stage) for stage in (Stage.DECIDE, Stage.DELIVER))
    await deciding.lease(NODE)
    await delivering.lease(NODE)
    clock.advance(_LONG_MS / 1000 - 1)
    await deciding.lease(NODE, most=0)
    clock.advance(1)
    assert await delivering.lease(OTHER_NODE) == dict.fromkeys(range(SHARDS), 2)
    assert await deciding.lease(OTHER_NODE) == {}
