"""What deciding writes of people beside its decisions, and recalls of them: whole, under its epoch, the last word."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from typing import Any

from msgspec.structs import replace

from posthorn.engine.journal import DecisionQuery, EventQuery
from posthorn.engine.people import Device, Membership, Profile, ProfileQuery
from posthorn.engine.records import Decided, DecisionWork, EligibilityKey, EventCount, Firing, NewEvent, Recall
from posthorn.engine.runs import RunState
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.timers import ANN, BOB, undecided_of
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import (
    AUTOMATION,
    WORKSPACE,
    a_decision,
    a_delivery,
    a_profile,
    a_rendered_request,
    a_run,
    a_timer,
    a_unit,
    an_event,
)

CONTEXT = b'{"changes":{"set":{"plan":"gold"}},"depth":1}'


async def decide(world: World, profile: str = ANN, **fields: Any) -> DecisionWork:
    """Settle a new event of a person with this outcome."""
    work = await undecided_of(world, profile)
    assert await world.store.settle_decisions([world.decided(work, **fields)]) == [True]
    return work


async def members(world: World, segment: str) -> list[str]:
    """List the user ids of a segment's members."""
    page = await world.store.profiles(ProfileQuery(workspace=WORKSPACE, segment=segment))
    return [profile.user for profile in page.profiles]


def _enters(segment: str, profile: str = ANN, *, is_in: bool = True) -> Membership:
    return Membership(segment=segment, profile=profile, is_in=is_in, since_ms=5)


async def test_a_profile_comes_back_whole(world: World) -> None:
    attributes = {
        "name": 'Zoë "Z" Жук 龍 \x7f\0',
        "big": 2**60,
        "float": 0.1,
        "nested": {"list": [1, None, True, {"": []}], "a.b": -1},
    }
    profile = a_profile(
        "ann", attributes=attributes, aliases=("$alias/mail/a@b",), devices=(Device(id="x", seen_ms=7), Device(id="y"))
    )
    plain = Profile(key=BOB, workspace=WORKSPACE, user="bob", created_ms=1, updated_ms=2)
    await decide(world, profiles=(profile, plain))
    assert await world.store.profile(ANN) == profile
    recalled = await world.store.recall(Recall(profiles=frozenset({ANN, BOB, "nobody"})))
    assert recalled.profiles == {ANN: profile, BOB: plain}
    assert await world.store.profile("nobody") is None


async def test_a_profile_takes_the_place_of_what_it_was(world: World) -> None:
    await decide(world, profiles=(a_profile(attributes={"a": 1, "b": 2}, locale="ru"),))
    later = a_profile(attributes={"b": 3}, updated_ms=9, locale=None)
    await decide(world, profiles=(later,))
    assert await world.store.profile(ANN) == later


async def test_of_two_profiles_in_one_batch_the_later_one_stays(world: World) -> None:
    works = [await undecided_of(world) for _ in range(3)]
    made = [a_profile(attributes={"n": number}) for number in range(4)]
    batch = [
        world.decided(works[0], profiles=(made[0],)),
        world.decided(works[1], profiles=(made[1], made[2])),
        world.decided(works[2], profiles=(made[3],), epoch=0),
    ]
    assert await world.store.settle_decisions(batch) == [True, True, False]
    assert await world.store.profile(ANN) == made[2]


async def test_memberships_are_entered_and_left(world: World) -> None:
    await decide(world, profiles=(a_profile("ann"), a_profile("bob")))
    await decide(world, memberships=(_enters("seg_1"), _enters("seg_1", BOB), _enters("seg_2")))
    assert await members(world, "seg_1") == ["ann", "bob"]
    await decide(world, memberships=(_enters("seg_1", is_in=False), _enters("seg_3", is_in=False), _enters("seg_2")))
    assert await members(world, "seg_1") == ["bob"]
    assert await members(world, "seg_2") == ["ann"]
    assert await members(world, "seg_3") == []


async def test_of_memberships_in_one_batch_the_last_word_counts(world: World) -> None:
    one, two = [await undecided_of(world) for _ in range(2)]
    batch = [
        world.decided(one, profiles=(a_profile(),), memberships=(_enters("seg_1"), _enters("seg_2", is_in=False))),
        world.decided(two, memberships=(_enters("seg_1", is_in=False), _enters("seg_2"))),
    ]
    assert await world.store.settle_decisions(batch) == [True, True]
    assert (await members(world, "seg_1"), await members(world, "seg_2")) == ([], ["ann"])


async def test_runs_come_back_whole_and_the_later_one_stays(world: World) -> None:
    run = a_run(version=7, key="k", wake_ms=9, document=b"\x00\xff")
    await decide(world, runs=(run,))
    assert await world.store.run(WORKSPACE, run.id) == run
    ended = replace(run, state=RunState.EXITED, changed_ms=77, wake_ms=None, document=b"")
    one, two = [await undecided_of(world) for _ in range(2)]
    batch = [world.decided(one, runs=(replace(run, version=8),)), world.decided(two, runs=(ended,))]
    assert await world.store.settle_decisions(batch) == [True, True]
    assert await world.store.run(WORKSPACE, run.id) == ended


async def test_runs_are_recalled_by_id_and_the_active_ones_by_their_profile(world: World) -> None:
    active, ended = a_run(profile=ANN), a_run(profile=ANN, state=RunState.COMPLETED)
    other, others_active = a_run(profile=BOB, state=RunState.FAILED), a_run(profile=BOB)
    await decide(world, runs=(active, ended, other, others_active))

    async def recalled(**wanted: Any) -> set[str]:
        runs = (await world.store.recall(Recall(**{name: frozenset(ids) for name, ids in wanted.items()}))).runs
        assert all(run.id == name for name, run in runs.items())
        return set(runs)

    assert await recalled(active_runs=[ANN]) == {active.id}
    assert await recalled(active_runs=[ANN, BOB, "nobody"]) == {active.id, others_active.id}
    assert await recalled(runs=[ended.id, "run_unknown"]) == {ended.id}
    assert await recalled(runs=[active.id, other.id], active_runs=[ANN]) == {active.id, other.id}


async def test_what_is_not_asked_for_is_not_recalled_and_nothing_asks_nothing(world: World) -> None:
    key = EligibilityKey(automation=AUTOMATION, profile=ANN, key="")
    firing = Firing(times=1, last_ms=1)
    await decide(world, profiles=(a_profile(),), runs=(a_run(),), firings=((key, firing),), count=True)
    before = world.store.figures()["statements"]
    nothing = await world.store.recall(Recall())
    assert (nothing.firings, nothing.counts, nothing.profiles, nothing.runs, nothing.answers) == ({}, {}, {}, {}, {})
    assert world.store.figures()["statements"] == before
    recalled = await world.store.recall(Recall(firings=frozenset({key})))
    assert (recalled.firings, recalled.counts, recalled.profiles, recalled.runs) == ({key: firing}, {}, {}, {})


async def test_counters_are_recalled_by_profile_and_type(world: World) -> None:
    for name, at_ms in (("visit", 3), ("visit", 1), ("order.paid", 2)):
        work = await undecided_of(world, type=name, occurred_ms=at_ms)
        await world.store.settle_decisions([world.decided(work, count=True)])
    asked = frozenset({(ANN, "visit"), (ANN, "unknown"), (BOB, "visit")})
    assert (await world.store.recall(Recall(counts=asked))).counts == {
        (ANN, "visit"): EventCount(profile=ANN, type="visit", count=2, first_ms=1, last_ms=3)
    }


async def test_answers_are_the_last_attempts_by_number(world: World) -> None:
    tried, untried = await world.publish_and_take(), await world.publish_and_take()
    first = world.failed(tried, retry_in_ms=1000)
    await world.settle(first)
    world.later(2)
    again = next(work for work in await world.due() if work.id == tried.id)
    last = world.delivered(again, response_body=b'{"id":\x00}')
    await world.settle(last)
    asked = frozenset({tried.id, untried.id, "dlv_unknown"})
    assert (await world.store.recall(Recall(answers=asked))).answers == {tried.id: last.attempt}


async def test_an_emitted_event_is_kept_and_waits_to_be_decided(world: World) -> None:
    emitted = world.event(user="bob", type="points.added", context=CONTEXT)
    silent = world.event(user="bob", type="note")
    await decide(world, events=(NewEvent(event=emitted, profile=BOB), NewEvent(event=silent, profile=None)))
    assert await world.store.event(WORKSPACE, emitted.id) == emitted
    assert await world.store.event(WORKSPACE, silent.id) == silent
    (work,) = await world.undecided()
    assert (work.id, work.profile, work.due_ms, work.event) == (emitted.id, BOB, emitted.received_ms, emitted)
    assert await world.store.settle_decisions([world.decided(work, count=True)]) == [True]
    assert [count.type for count in await world.store.event_counts(BOB)] == ["points.added"]


async def test_events_stand_before_the_decisions_that_emitted_them(world: World) -> None:
    start = (await world.store.tail(WORKSPACE, after=None, limit=9)).cursor
    work = await undecided_of(world)
    emitted = NewEvent(event=world.event(), profile=None)
    decisions = tuple(a_decision(work, automation=f"auto_{number}") for number in range(2))
    await world.store.settle_decisions([world.decided(work, decisions=decisions, events=(emitted,))])
    world.later(2)
    tail = await world.store.tail(WORKSPACE, after=start, limit=9)
    assert [row.id for row in tail.rows] == [work.id, emitted.event.id, *(decision.id for decision in decisions)]


async def test_an_outcome_of_an_older_epoch_changes_nothing_of_people(world: World) -> None:
    work = await undecided_of(world)
    run, timer, emitted = a_run(), a_timer(), world.event()
    decided = world.decided(
        work,
        profiles=(a_profile(),),
        memberships=(_enters("seg_1"),),
        runs=(run,),
        timers=(timer,),
        events=(NewEvent(event=emitted, profile=ANN),),
        absorbs=BOB,
    )
    await world.lose_to()
    assert await world.store.settle_decisions([decided]) == [False]
    assert await world.waiting() == [work]
    assert await world.store.profile(ANN) is None
    assert await world.store.run(WORKSPACE, run.id) is None
    assert await world.store.event(WORKSPACE, emitted.id) is None
    assert await members(world, "seg_1") == []


async def test_everything_of_one_outcome_is_committed_together(world: World) -> None:
    work = await undecided_of(world)
    run, timer, emitted = a_run(), a_timer(due_ms=world.now_ms), world.event()
    delivery = a_delivery(work.event, endpoint=LANE, due_ms=world.now_ms, rendered=a_rendered_request())
    decided = world.decided(
        work,
        decisions=(a_decision(work, delivery=delivery.id),),
        deliveries=(delivery,),
        count=True,
        profiles=(a_profile(),),
        memberships=(_enters("seg_1"),),
        runs=(run,),
        timers=(timer,),
        events=(NewEvent(event=emitted, profile=BOB),),
    )
    assert await world.store.settle_decisions([decided]) == [True]
    assert [one.id for one in await world.waiting()] == [timer.id, emitted.id]
    assert (await world.store.decisions(DecisionQuery(workspace=WORKSPACE))).rows == list(decided.decisions)
    assert [one.id for one in await world.due(LANE)] == [delivery.id]
    assert await members(world, "seg_1") == ["ann"]
    assert await world.store.run(WORKSPACE, run.id) == run
    assert [count.count for count in await world.store.event_counts(ANN)] == [1]


def _key(profile: str, key: str = "", automation: str = AUTOMATION) -> EligibilityKey:
    return EligibilityKey(automation=automation, profile=profile, key=key)


async def test_a_merged_profiles_counters_and_firings_are_added(world: World) -> None:
    occurred = [(ANN, "visit", 50), (ANN, "visit", 90), (ANN, "old", 7), (BOB, "visit", 10), (BOB, "new", 8)]
    for profile, name, at_ms in occurred:
        work = await undecided_of(world, profile, type=name, occurred_ms=at_ms)
        await world.store.settle_decisions([world.decided(work, count=True)])
    firings = (
        (_key(ANN), Firing(times=2, last_ms=5)),
        (_key(ANN, "k"), Firing(times=1, last_ms=3)),
        (_key(BOB), Firing(times=4, last_ms=4)),
        (_key(BOB, "", "auto_2"), Firing(times=1, last_ms=9)),
    )
    await decide(world, firings=firings)
    await decide(world, BOB, absorbs=ANN)
    assert await world.store.event_counts(ANN) == []
    assert await world.store.event_counts(BOB) == [
        EventCount(profile=BOB, type="new", count=1, first_ms=8, last_ms=8),
        EventCount(profile=BOB, type="old", count=1, first_ms=7, last_ms=7),
        EventCount(profile=BOB, type="visit", count=3, first_ms=10, last_ms=90),
    ]
    everything = [key for key, _ in firings] + [_key(BOB, "k")]
    assert await world.firings(everything) == {
        _key(BOB): Firing(times=6, last_ms=5),
        _key(BOB, "k"): Firing(times=1, last_ms=3),
        _key(BOB, "", "auto_2"): Firing(times=1, last_ms=9),
    }


async def test_what_is_absorbed_is_added_to_what_the_same_outcome_and_those_before_it_put(world: World) -> None:
    def firing(work: DecisionWork, times: int) -> tuple[tuple[EligibilityKey, Firing], ...]:
        return ((_key(work.profile), Firing(times=times, last_ms=work.due_ms)),)

    anns, bobs = await undecided_of(world, ANN), await undecided_of(world, BOB)
    later = await undecided_of(world, BOB)
    batch: list[Decided] = [
        world.decided(anns, count=True, firings=firing(anns, 3)),
        world.decided(bobs, count=True, firings=firing(bobs, 1), absorbs=ANN),
        world.decided(later, count=True),
    ]
    assert await world.store.settle_decisions(batch) == [True] * 3
    assert [count.count for count in await world.store.event_counts(BOB)] == [3]
    assert await world.store.event_counts(ANN) == []
    assert await world.firings([_key(ANN), _key(BOB)]) == {_key(BOB): Firing(times=4, last_ms=bobs.due_ms)}


async def test_what_comes_with_an_event_is_kept_with_it(world: World) -> None:
    event = an_event(received_ms=world.later(), user="ann", context=CONTEXT)
    await world.append(a_unit(event, deliveries=(), profile=ANN))
    (work,) = await world.undecided()
    assert work.event == event
    assert await world.store.event(WORKSPACE, event.id) == event
    whole = await world.store.events(EventQuery(workspace=WORKSPACE, with_payload=True))
    bare = await world.store.events(EventQuery(workspace=WORKSPACE))
    assert (whole.rows, bare.rows) == ([event], [replace(event, payload=None, context=None)])
    thread = await world.store.thread(WORKSPACE, event.id)
    assert thread is not None
    assert thread.event == event


async def test_forgetting_a_payload_forgets_what_came_with_the_event(world: World) -> None:
    event = an_event(received_ms=world.later(), context=CONTEXT)
    await world.append(a_unit(event, deliveries=(), profile=ANN))
    assert await world.store.forget_payload(WORKSPACE, event.id)
    assert await world.store.event(WORKSPACE, event.id) == replace(event, payload=b"", context=None)
    assert [work.event.context for work in await world.undecided()] == [None]


async def test_retention_takes_runs_that_ended_and_no_active_one(world: World) -> None:
    states = {state: a_run(state=state, changed_ms=world.now_ms) for state in RunState}
    young = a_run(state=RunState.COMPLETED, changed_ms=world.now_ms + 5000)
    await decide(world, runs=(*states.values(), young), timers=(a_timer(due_ms=world.now_ms + 10**9),))
    while await world.store.prune(before_ms=young.changed_ms, most=2):
        pass
    left = [run for run in (*states.values(), young) if await world.store.run(WORKSPACE, run.id) is not None]
    assert left == [states[RunState.ACTIVE], young]
    world.later(10**6)
    assert len(await world.waiting()) == 1


async def test_an_emitted_event_that_waits_is_not_pruned(world: World) -> None:
    emitted = world.event(user="bob")
    await decide(world, events=(NewEvent(event=emitted, profile=BOB),))
    while await world.store.prune(before_ms=world.later(), most=10):
        pass
    assert [work.event for work in await world.undecided()] == [emitted]
