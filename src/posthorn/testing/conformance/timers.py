"""Timers: taken with the events in one order, settled like them, moved, taken off, and told by deliveries that end."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from typing import Any

import pytest
from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import DecisionWork, DeliveryState, DeliveryWork
from posthorn.engine.runs import Timer, TimerKind
from posthorn.engine.shards import shard_of
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.world import ALL_SHARDS, NODE, World
from posthorn.testing.factories import (
    WORKSPACE,
    a_delivery,
    a_node,
    a_rendered_request,
    a_timer,
    a_unit,
)

ANN, BOB = user_profile(WORKSPACE, "ann"), user_profile(WORKSPACE, "bob")


async def undecided_of(world: World, profile: str = ANN, **event: Any) -> DecisionWork:
    """Commit an event that waits to be decided, and take it."""
    made = world.event(user=profile.rpartition("/")[2], **event)
    await world.append(a_unit(made, deliveries=(), profile=profile))
    taken = await world.waiting()
    return next(work for work in taken if isinstance(work, DecisionWork) and work.id == made.id)


async def _queued(world: World, *timers: Timer) -> None:
    """Settle an event that queues timers."""
    work = await undecided_of(world)
    assert await world.store.settle_decisions([world.decided(work, timers=timers)]) == [True]


async def _waiting_ids(world: World, **asked: Any) -> list[str]:
    return [one.id for one in await world.waiting(**asked)]


async def test_a_timer_that_was_queued_comes_back_whole_when_it_is_due(world: World) -> None:
    timers = [
        a_timer(id=f"timer_{kind}", due_ms=world.now_ms + 60_000 + number, kind=kind, data=b"\x00\xff")
        for number, kind in enumerate(TimerKind)
    ]
    await _queued(world, *timers)
    assert await world.waiting() == []
    world.later(61)
    assert await world.waiting() == timers


async def test_timers_and_events_are_taken_together_by_due_and_then_id(world: World) -> None:
    first = await undecided_of(world)
    early = a_timer(id="timer_early", due_ms=first.due_ms + 1)
    same = a_timer(id="timer_same", due_ms=first.due_ms + 2000)
    before = a_timer(id="a_timer", due_ms=first.due_ms + 2000)
    await _queued(world, same, early, before)
    second = await undecided_of(world, received_ms=first.due_ms + 2000)
    expected = [first.id, early.id, before.id, second.id, same.id]
    assert await _waiting_ids(world) == expected
    assert await _waiting_ids(world, room=3) == expected[:3]
    assert await _waiting_ids(world, room=2, held=[first.id, before.id]) == [early.id, second.id]
    taken = await world.store.take_decisions(
        ALL_SHARDS, room=9, now_ms=world.now_ms, held=frozenset(), since_ms=first.due_ms + 2000
    )
    assert [one.id for one in taken] == [before.id, second.id, same.id]


async def test_timers_of_other_shards_are_not_taken(world: World) -> None:
    mine, theirs = a_timer(id="timer_mine", profile=ANN), a_timer(id="timer_theirs", profile=BOB)
    assert mine.shard != theirs.shard
    await _queued(world, mine, theirs)
    found = await world.store.take_decisions([mine.shard], room=9, now_ms=world.now_ms, held=frozenset())
    assert found == [mine]


async def test_a_settled_timer_is_gone_and_its_outcome_is_committed(world: World) -> None:
    timer = a_timer()
    await _queued(world, timer)
    event = await undecided_of(world)
    other = a_timer(id="timer_next", due_ms=world.now_ms)
    delivery = a_delivery(event.event, endpoint=LANE, due_ms=world.now_ms)
    decided = world.decided(timer, timers=(other,), deliveries=(delivery,))
    assert await world.store.settle_decisions([decided]) == [True]
    assert await _waiting_ids(world) == sorted([event.id, other.id])
    assert [work.id for work in await world.due(LANE)] == [delivery.id]
    assert await world.store.settle_decisions([decided]) == [False]


async def test_a_timer_is_nothing_to_count(world: World) -> None:
    timer = a_timer()
    await _queued(world, timer)
    assert await world.store.settle_decisions([world.decided(timer, count=True)]) == [True]
    assert await world.store.event_counts(timer.profile) == []


async def test_a_timer_of_an_older_epoch_touches_nothing(world: World) -> None:
    timer = a_timer()
    await _queued(world, timer)
    decided = world.decided(timer, timers=(a_timer(id="timer_next"),))
    await world.lose_to()
    assert await world.store.settle_decisions([decided]) == [False]
    assert await world.waiting() == [timer]


async def test_a_timer_under_the_epoch_of_the_other_stage_touches_nothing(world: World) -> None:
    timer = a_timer()
    await _queued(world, timer)
    decided = world.decided(timer, epoch=world.epochs[Stage.DELIVER][timer.shard])
    assert await world.store.settle_decisions([decided]) == [False]
    assert await world.waiting() == [timer]


async def test_a_timer_that_moved_meanwhile_is_not_settled_at_its_old_due(world: World) -> None:
    old = a_timer()
    await _queued(world, old)
    new = replace(old, due_ms=old.due_ms + 500, about="auto_new", data=b"new")
    await _queued(world, new)
    assert await world.waiting() == [new]
    assert await world.store.settle_decisions([world.decided(old)]) == [False]
    assert await world.store.settle_decisions([world.decided(new)]) == [True]
    assert await world.waiting() == []


async def test_a_timer_with_a_known_id_moves_to_another_profile_too(world: World) -> None:
    await _queued(world, a_timer(id="timer_1", profile=ANN))
    moved = a_timer(id="timer_1", profile=BOB, due_ms=world.now_ms)
    await _queued(world, moved)
    assert await world.waiting() == [moved]


async def test_a_timer_can_queue_itself_again(world: World) -> None:
    timer = a_timer(kind=TimerKind.SCHEDULE)
    await _queued(world, timer)
    again = replace(timer, due_ms=world.now_ms + 60_000, data=b"second")
    assert await world.store.settle_decisions([world.decided(timer, timers=(again,))]) == [True]
    assert await world.waiting() == []
    world.later(60)
    assert await world.waiting() == [again]


async def test_an_unwanted_timer_is_taken_off_and_one_that_is_gone_does_no_harm(world: World) -> None:
    kept, unwanted = a_timer(id="timer_kept"), a_timer(id="timer_unwanted", profile=BOB)
    await _queued(world, kept, unwanted)
    work = await undecided_of(world)
    decided = world.decided(work, unwanted=(unwanted.id, "timer_unknown"))
    assert await world.store.settle_decisions([decided]) == [True]
    assert await world.waiting() == [kept]


async def test_a_refused_outcome_neither_queues_nor_takes_off_a_timer(world: World) -> None:
    kept = a_timer(id="timer_kept")
    await _queued(world, kept)
    work = await undecided_of(world)
    stale = replace(world.decided(work, timers=(a_timer(id="timer_new"),), unwanted=(kept.id,)), epoch=0)
    assert await world.store.settle_decisions([stale]) == [False]
    assert await _waiting_ids(world) == [kept.id, work.id]


async def test_in_a_batch_a_timer_that_was_taken_off_before_is_not_settled(world: World) -> None:
    timer = a_timer()
    await _queued(world, timer)
    work = await undecided_of(world)
    late = a_timer(id="timer_late")
    batch = [world.decided(work, unwanted=(timer.id,)), world.decided(timer, timers=(late,))]
    assert await world.store.settle_decisions(batch) == [True, False]
    assert await world.waiting() == []


async def test_in_a_batch_a_timer_that_was_settled_can_be_queued_again(world: World) -> None:
    timer = a_timer()
    await _queued(world, timer)
    work = await undecided_of(world)
    again = replace(timer, due_ms=timer.due_ms + 5)
    assert (
        await world.store.settle_decisions([world.decided(timer), world.decided(work, timers=(again,))]) == [True] * 2
    )
    assert await world.waiting() == [again]


async def test_of_a_timer_queued_and_taken_off_in_one_batch_the_last_word_counts(world: World) -> None:
    one, two = [await undecided_of(world) for _ in range(2)]
    a, b = a_timer(id="timer_a"), a_timer(id="timer_b")
    batch = [
        world.decided(one, timers=(a,), unwanted=(b.id,)),
        world.decided(two, timers=(b,), unwanted=(a.id,)),
    ]
    assert await world.store.settle_decisions(batch) == [True, True]
    assert await world.waiting() == [b]


async def test_an_outcome_that_takes_a_timer_off_and_queues_it_queues_it(world: World) -> None:
    timer = a_timer()
    await _queued(world, timer)
    work = await undecided_of(world)
    again = replace(timer, due_ms=timer.due_ms + 5)
    assert await world.store.settle_decisions([world.decided(work, timers=(again,), unwanted=(timer.id,))]) == [True]
    assert await world.waiting() == [again]


async def test_what_is_moved_to_another_profile_keeps_its_place_and_changes_nothing_else(world: World) -> None:
    timer, work = a_timer(profile=ANN), await undecided_of(world)
    await _queued(world, timer)
    batch = [
        world.decided(one, moved_to=BOB, count=True, timers=(a_timer(id="timer_no"),), unwanted=(timer.id,))
        for one in (timer, work)
    ]
    assert await world.store.settle_decisions(batch[:1]) == [True]
    assert await world.store.settle_decisions(batch[1:]) == [True]
    bob = shard_of(BOB)
    assert await world.waiting() == [
        replace(timer, profile=BOB, shard=bob),
        replace(work, profile=BOB, shard=bob),
    ]
    assert await world.store.event_counts(ANN) == []
    assert await world.store.settle_decisions(batch) == [False, False]


async def test_what_was_moved_is_settled_by_the_owner_of_its_new_shard(world: World) -> None:
    await _queued(world, a_timer(profile=ANN))
    await undecided_of(world)
    decided = [world.decided(one, moved_to=BOB) for one in await world.waiting()]
    assert await world.store.settle_decisions(decided) == [True, True]
    moved = await world.waiting()
    assert await world.store.settle_decisions([world.decided(one, count=True) for one in moved]) == [True, True]
    assert [count.count for count in await world.store.event_counts(BOB)] == [1]
    assert await world.waiting() == []


async def test_nothing_is_moved_under_an_older_epoch(world: World) -> None:
    await _queued(world, a_timer(profile=ANN))
    await undecided_of(world)
    waiting = await world.waiting()
    decided = [world.decided(one, moved_to=BOB) for one in waiting]
    await world.lose_to()
    assert await world.store.settle_decisions(decided) == [False, False]
    assert await world.waiting() == waiting


async def _telling(world: World, timer: Timer) -> DeliveryWork:
    """Let an event's decision queue a delivery that tells, and take it."""
    work = await undecided_of(world)
    delivery = a_delivery(work.event, endpoint=LANE, due_ms=world.now_ms, rendered=a_rendered_request(tells=timer))
    assert await world.store.settle_decisions([world.decided(work, deliveries=(delivery,))]) == [True]
    found = next(one for one in await world.due(LANE) if one.id == delivery.id)
    assert found.rendered == delivery.rendered
    return found


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.CANCELLED])
async def test_a_delivery_that_ends_for_good_tells_now_what_it_has_to_tell(world: World, state: DeliveryState) -> None:
    timer = a_timer(kind=TimerKind.ANSWER, due_ms=world.now_ms + 3_600_000, data=b"\x00which")
    work = await _telling(world, timer)
    ended_ms = world.later()
    outcomes = {
        DeliveryState.DELIVERED: world.delivered(work),
        DeliveryState.EXHAUSTED: world.exhausted(work),
        DeliveryState.CANCELLED: world.cancelled(work),
    }
    assert await world.settle(outcomes[state]) == [True]
    world.later()
    (told,) = await world.waiting()
    assert isinstance(told, Timer)
    assert replace(told, due_ms=timer.due_ms) == timer
    assert ended_ms <= told.due_ms < world.now_ms


async def test_a_delivery_that_is_tried_again_tells_nothing_yet(world: World) -> None:
    timer = a_timer(kind=TimerKind.ANSWER)
    work = await _telling(world, timer)
    await world.settle(world.failed(work, retry_in_ms=60_000))
    world.later(60)
    (work,) = await world.due(LANE)
    await world.settle(world.deferred(work, by_ms=60_000))
    world.later(60)
    assert await world.waiting() == []
    (work,) = await world.due(LANE)
    assert work.rendered is not None
    assert work.rendered.tells == timer
    await world.settle(world.delivered(work))
    world.later()
    assert await _waiting_ids(world) == [timer.id]


async def test_a_delivery_cancelled_by_hand_tells_too(world: World) -> None:
    timer = a_timer(kind=TimerKind.ANSWER)
    work = await _telling(world, timer)
    assert await world.store.cancel(work.id, "by_hand")
    world.later()
    assert await _waiting_ids(world) == [timer.id]


async def test_a_refused_settlement_tells_nothing(world: World) -> None:
    work = await _telling(world, a_timer(kind=TimerKind.ANSWER))
    outcome = world.delivered(work)
    await world.lose_to()
    assert await world.settle(outcome) == [False]
    world.later()
    assert await world.waiting() == []


async def test_what_waits_already_is_not_told_again(world: World) -> None:
    timer = a_timer(kind=TimerKind.ANSWER, due_ms=world.now_ms + 60_000)
    work, twin = await _telling(world, timer), await _telling(world, replace(timer, data=b"twin"))
    other = await _telling(world, timer)
    await _queued(world, replace(timer, about="run_first"))
    assert await world.settle(world.delivered(work), world.delivered(twin)) == [True, True]
    assert await world.store.cancel(other.id, "by_hand")
    world.later(60)
    assert await world.waiting() == [replace(timer, about="run_first")]


async def test_deliveries_without_anything_to_tell_end_as_ever_beside_those_that_have(world: World) -> None:
    timer = a_timer(kind=TimerKind.ANSWER)
    telling, plain = await _telling(world, timer), await world.publish_and_take()
    assert await world.settle(world.delivered(plain), world.delivered(telling)) == [True, True]
    world.later()
    assert await _waiting_ids(world) == [timer.id]


async def test_a_node_lags_by_the_oldest_timer_that_is_due(world: World) -> None:
    await world.store.announce(a_node(id=NODE, seen_ms=world.now_ms, until_ms=world.now_ms + 10**6))
    await _queued(world, a_timer(due_ms=world.now_ms + 5000), a_timer(id="timer_far", due_ms=world.now_ms + 10**9))
    world.later(11)
    (standing,) = await world.store.nodes(now_ms=world.now_ms)
    assert standing.decide_lag_ms == 7000


async def test_nothing_comes_from_behind_an_event_that_is_too_big_to_come_now(world: World) -> None:
    start_ms = world.now_ms
    queued = [a_timer(id=f"timer_{number}", due_ms=start_ms + 2001 + 1000 * number) for number in range(4)]
    await _queued(world, *queued)
    payloads = [b"\x00" * (7 * 1024 * 1024)] * 3 + [b"small"]
    events = [world.event(payload=payload) for payload in payloads]
    await world.append(*(a_unit(event, deliveries=(), profile=ANN) for event in events))
    assert [timer.due_ms - event.received_ms for event, timer in zip(events, queued, strict=True)] == [1] * 4
    world.later()
    brought: list[str] = []
    while taken := await world.waiting():
        brought += [one.id for one in taken]
        assert await world.store.settle_decisions([world.decided(one) for one in taken]) == [True] * len(taken)
    assert brought == [one.id for pair in zip(events, queued, strict=True) for one in pair]
