"""Decision work: taken in order, settled together with its counters, firings and deliveries, or not at all."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from typing import Any

import pytest
from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.journal import DecisionQuery, DeliveryQuery
from posthorn.engine.records import Decided, DecisionOutcome, DecisionWork, EligibilityKey, EventCount, Firing
from posthorn.engine.shards import shard_of
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.world import ALL_SHARDS, World
from posthorn.testing.factories import (
    AUTOMATION,
    OTHER_WORKSPACE,
    WORKSPACE,
    a_decision,
    a_delivery,
    a_rendered_request,
    a_unit,
    an_inbox_unit,
)

PROFILE = f"{WORKSPACE}/user/ann"
KEY = EligibilityKey(automation=AUTOMATION, profile=PROFILE, key="")


async def _queue(world: World, profile: str = PROFILE, **event: Any) -> DecisionWork:
    made = world.event(**event)
    await world.append(a_unit(made, deliveries=(), profile=profile))
    return next(work for work in await world.undecided() if work.id == made.id)


def _fired(world: World, work: DecisionWork, *, times: int = 1, **overrides: Any) -> Decided:
    delivery = a_delivery(work.event, endpoint=LANE, due_ms=world.now_ms, rendered=a_rendered_request())
    fields: dict[str, Any] = {
        "decisions": (a_decision(work, decided_ms=world.now_ms, delivery=delivery.id),),
        "deliveries": (delivery,),
        "firings": ((KEY, Firing(times=times, last_ms=world.now_ms)),),
        "count": True,
    }
    return world.decided(work, **(fields | overrides))


async def _count_of(world: World) -> int:
    return sum(count.count for count in await world.store.event_counts(PROFILE))


async def test_an_event_without_a_profile_is_nobodys_decision(world: World) -> None:
    await world.publish()
    assert await world.undecided() == []


async def test_an_event_is_undecided_until_its_decision_is_committed(world: World) -> None:
    work = await _queue(world)
    other = await _queue(world, user="bob")
    assert await world.store.is_undecided(WORKSPACE, work.event.id)
    assert not await world.store.is_undecided(OTHER_WORKSPACE, work.event.id)
    assert await world.store.settle_decisions([_fired(world, work)]) == [True]
    assert not await world.store.is_undecided(WORKSPACE, work.event.id)
    assert await world.store.is_undecided(WORKSPACE, other.event.id)


async def test_an_event_of_nobody_is_never_undecided(world: World) -> None:
    event = await world.publish()
    assert not await world.store.is_undecided(WORKSPACE, event.id)
    assert not await world.store.is_undecided(WORKSPACE, "evt_none")


async def test_decision_work_carries_its_event_whole(world: World) -> None:
    fields: dict[str, Any] = {"user": "ann", "payload": b"\x00\xff", "channels": ("a",), "uid": "their-id"}
    event = world.event(**fields, occurred_ms=world.now_ms - 5000)
    await world.append(a_unit(event, deliveries=(), profile=PROFILE))
    (work,) = await world.undecided()
    assert work.event == event
    assert (work.profile, work.shard, work.due_ms) == (PROFILE, shard_of(PROFILE), event.received_ms)
    assert work.head is None


async def test_decision_work_of_an_inbox_event_carries_the_captured_bytes(world: World) -> None:
    unit = an_inbox_unit(received_ms=world.later(), body=b"\x00 body \xff")
    assert unit.event is not None
    assert unit.request is not None
    await world.append(unit)
    (work,) = await world.undecided()
    assert work.event == replace(unit.event, payload=b"\x00 body \xff")
    assert work.head == unit.request.head


async def test_decision_work_is_taken_oldest_first_as_far_as_there_is_room(world: World) -> None:
    works = [await _queue(world, f"{WORKSPACE}/user/{number}") for number in range(5)]
    assert [work.id for work in await world.undecided()] == [work.id for work in works]
    assert [work.id for work in await world.undecided(room=2)] == [work.id for work in works[:2]]
    assert await world.undecided(room=0) == []


async def test_an_older_message_is_decided_before_a_younger_event(world: World) -> None:
    # The ids of messages sort behind those of events, so that their text alone would turn the order around.
    made = [world.message(), world.event(), world.message()]
    await world.append(*(a_unit(event, endpoints=(), profile=PROFILE) for event in reversed(made)))
    assert [work.id for work in await world.undecided()] == [event.id for event in made]


async def test_held_decision_work_is_left_out_and_others_fill_the_room(world: World) -> None:
    a, b, c = [await _queue(world) for _ in range(3)]
    assert [work.id for work in await world.undecided(room=1, held=[a.id, b.id])] == [c.id]
    assert await world.undecided(held=[a.id, b.id, c.id]) == []


async def test_decision_work_of_other_shards_is_not_taken(world: World) -> None:
    mine, theirs = f"{WORKSPACE}/user/1", f"{WORKSPACE}/user/2"
    assert shard_of(mine) != shard_of(theirs)
    await _queue(world, theirs)
    work = await _queue(world, mine)
    taken = await world.store.take_decisions([shard_of(mine)], room=1, now_ms=world.now_ms, held=set())
    assert [one.id for one in taken] == [work.id]
    assert await world.store.take_decisions([], room=1, now_ms=world.now_ms, held=set()) == []


async def test_decision_work_is_not_taken_before_it_is_due(world: World) -> None:
    work = await _queue(world)
    early = await world.store.take_decisions(ALL_SHARDS, room=1, now_ms=work.due_ms - 1, held=set())
    assert early == []


async def test_decision_work_that_is_due_before_a_read_begins_is_left_out(world: World) -> None:
    first, second, third = [await _queue(world) for _ in range(3)]
    assert first.due_ms < second.due_ms < third.due_ms

    async def since(since_ms: int, room: int = 9) -> list[str]:
        taken = await world.store.take_decisions(
            ALL_SHARDS, room=room, now_ms=world.now_ms, held=set(), since_ms=since_ms
        )
        return [one.id for one in taken]

    assert await since(first.due_ms) == [first.id, second.id, third.id]
    assert await since(second.due_ms) == [second.id, third.id]
    assert await since(second.due_ms, room=1) == [second.id]
    assert await since(third.due_ms + 1) == []


async def test_a_decision_commits_record_delivery_firing_and_counter(world: World) -> None:
    work = await _queue(world)
    decided = _fired(world, work)
    assert await world.store.settle_decisions([decided]) == [True]
    assert await world.undecided() == []
    assert (await world.store.decisions(DecisionQuery(workspace=WORKSPACE))).rows == list(decided.decisions)
    (delivery,) = await world.due(LANE)
    assert (delivery.id, delivery.event) == (decided.deliveries[0].id, work.event.id)
    assert delivery.rendered == decided.deliveries[0].rendered
    assert await world.firings([KEY]) == {KEY: Firing(times=1, last_ms=world.now_ms)}
    assert await _count_of(world) == 1


async def test_a_decision_not_to_fire_commits_its_record_alone(world: World) -> None:
    work = await _queue(world)
    refusal = a_decision(work, outcome=DecisionOutcome.NOT_MATCHED, reason="condition", data=b'{"at":[0]}')
    decided = world.decided(work, decisions=(refusal,))
    assert await world.store.settle_decisions([decided]) == [True]
    assert await world.undecided() == []
    assert (await world.store.decisions(DecisionQuery(workspace=WORKSPACE))).rows == [refusal]
    assert await world.due(LANE) == []
    assert await world.firings([KEY]) == {}
    assert await world.store.event_counts(PROFILE) == []


async def test_an_event_that_no_automation_wants_is_settled_with_its_counter_only(world: World) -> None:
    work = await _queue(world)
    decided = world.decided(work, count=True)
    assert await world.store.settle_decisions([decided]) == [True]
    assert await world.undecided() == []
    assert (await world.store.decisions(DecisionQuery(workspace=WORKSPACE))).rows == []
    assert await _count_of(world) == 1


async def test_a_decision_of_an_older_epoch_touches_nothing(world: World) -> None:
    work = await _queue(world)
    decided = _fired(world, work)
    await world.lose_to()
    assert await world.store.settle_decisions([decided]) == [False]
    assert await world.undecided() == [work]
    assert (await world.store.decisions(DecisionQuery(workspace=WORKSPACE))).rows == []
    assert (await world.store.deliveries(DeliveryQuery(workspace=WORKSPACE))).rows == []
    assert await world.firings([KEY]) == {}
    assert await _count_of(world) == 0


async def test_a_decision_does_not_look_at_who_delivers(world: World) -> None:
    work = await _queue(world)
    await world.lose_to(stages=(Stage.DELIVER,))
    assert await world.store.settle_decisions([_fired(world, work)]) == [True]


async def test_a_decision_under_the_epoch_of_the_other_stage_touches_nothing(world: World) -> None:
    work = await _queue(world)
    decided = _fired(world, work, epoch=world.epochs[Stage.DELIVER][work.shard])
    assert await world.store.settle_decisions([decided]) == [False]
    assert await world.undecided() == [work]


async def test_a_decision_settled_again_doubles_nothing(world: World) -> None:
    work = await _queue(world)
    assert await world.store.settle_decisions([_fired(world, work)]) == [True]
    assert await world.store.settle_decisions([_fired(world, work, times=2)]) == [False]
    assert len((await world.store.decisions(DecisionQuery(workspace=WORKSPACE))).rows) == 1
    assert len(await world.due(LANE)) == 1
    assert (await world.firings([KEY]))[KEY].times == 1
    assert await _count_of(world) == 1


async def test_a_decision_twice_in_one_batch_counts_once(world: World) -> None:
    work = await _queue(world)
    results = await world.store.settle_decisions([_fired(world, work), _fired(world, work, times=2)])
    assert results == [True, False]
    assert (await world.firings([KEY]))[KEY].times == 1
    assert await _count_of(world) == 1


async def test_in_a_batch_of_decisions_each_counts_by_itself(world: World) -> None:
    a, b, c = [await _queue(world) for _ in range(3)]
    await world.store.settle_decisions([_fired(world, b)])
    stale = _fired(world, c)
    batch = [_fired(world, a, times=2), _fired(world, b, times=8), replace(stale, epoch=stale.epoch - 1)]
    assert await world.store.settle_decisions(batch) == [True, False, False]
    assert [work.id for work in await world.undecided()] == [c.id]
    assert (await world.firings([KEY]))[KEY].times == 2
    assert await _count_of(world) == 2


async def test_firings_are_remembered_by_automation_profile_and_key(world: World) -> None:
    others = [
        EligibilityKey(automation=AUTOMATION, profile=PROFILE, key="pt"),
        EligibilityKey(automation=AUTOMATION, profile=f"{PROFILE}e", key=""),
        EligibilityKey(automation=f"{AUTOMATION}2", profile=PROFILE, key=""),
    ]
    work = await _queue(world)
    firings = ((others[0], Firing(times=3, last_ms=5)), (KEY, Firing(times=1, last_ms=7)))
    await world.store.settle_decisions([_fired(world, work, firings=firings)])
    assert await world.firings([]) == {}
    assert await world.firings([*others, KEY]) == dict(firings)
    assert await world.firings(others[1:]) == {}


async def test_a_later_firing_takes_the_place_of_the_older_one(world: World) -> None:
    for times in (1, 2):
        work = await _queue(world)
        await world.store.settle_decisions([_fired(world, work, times=times)])
    assert await world.firings([KEY]) == {KEY: Firing(times=2, last_ms=world.now_ms)}


async def test_a_firing_is_taken_back_by_one_of_no_times(world: World) -> None:
    never = Firing(times=0, last_ms=0)
    await world.store.settle_decisions([_fired(world, await _queue(world), times=1)])
    await world.store.settle_decisions([_fired(world, await _queue(world), firings=((KEY, never),))])
    assert await world.firings([KEY]) == {KEY: never}


async def test_of_two_firings_in_one_batch_the_later_one_stays(world: World) -> None:
    first, second = await _queue(world), await _queue(world)
    await world.store.settle_decisions([_fired(world, first), _fired(world, second, times=2)])
    assert (await world.firings([KEY]))[KEY].times == 2


@pytest.mark.parametrize("is_one_batch", [True, False])
async def test_counters_are_exact_by_type_and_keep_first_and_last_occurrence(
    world: World, *, is_one_batch: bool
) -> None:
    occurred = [("order.paid", 500), ("order.paid", 900), ("visit", 300), ("order.paid", 100)]
    works = [await _queue(world, type=name, occurred_ms=at_ms) for name, at_ms in occurred]
    stranger = await _queue(world, f"{WORKSPACE}/user/bob", type="visit", occurred_ms=1)
    decided = [world.decided(work, count=True) for work in (*works, stranger)]
    for batch in [decided] if is_one_batch else [[one] for one in decided]:
        assert all(await world.store.settle_decisions(batch))
    counts = sorted(await world.store.event_counts(PROFILE), key=lambda count: count.type)
    assert counts == [
        EventCount(profile=PROFILE, type="order.paid", count=3, first_ms=100, last_ms=900),
        EventCount(profile=PROFILE, type="visit", count=1, first_ms=300, last_ms=300),
    ]


async def test_an_unknown_profile_has_no_counters(world: World) -> None:
    assert await world.store.event_counts(f"{WORKSPACE}/user/nobody") == []


async def test_several_decisions_of_one_event_are_kept_in_order(world: World) -> None:
    work = await _queue(world)
    decisions = tuple(a_decision(work, automation=f"auto_{number}") for number in range(3))
    await world.store.settle_decisions([_fired(world, work, decisions=decisions)])
    page = await world.store.decisions(DecisionQuery(workspace=WORKSPACE, ascending=True))
    assert page.rows == list(decisions)
