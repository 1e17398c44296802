"""Forgetting a person: all that is theirs goes, in bounded pieces, and nothing of anybody else."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

import pytest
from msgspec.structs import replace

from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery, EventQuery, RequestQuery
from posthorn.engine.people import Membership, ProfileQuery
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import DecisionWork, EligibilityKey, Firing, Recall, RequestOutcome
from posthorn.engine.runs import RunQuery
from posthorn.manage.dossiers import Dossier
from posthorn.testing.conformance.profiles import CONTEXT
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.timers import ANN, BOB
from posthorn.testing.conformance.world import FAR_MS, World
from posthorn.testing.factories import (
    AUTOMATION,
    OTHER_WORKSPACE,
    WORKSPACE,
    a_claim,
    a_decision,
    a_delivery,
    a_profile,
    a_rendered_request,
    a_run,
    a_timer,
    a_unit,
    an_event,
    an_inbox_unit,
)


async def _erase(world: World, key: str, *, most: int = 1000) -> int:
    """Forget a person, and count the pieces."""
    pieces = 0
    while gone := await world.store.erase(key, most=most):
        assert gone <= most
        pieces += 1
    return pieces


async def _live(world: World, user: str, *, workspace: str = WORKSPACE) -> None:
    """Let a person leave something everywhere: inbox and repeat, deliveries in every state, runs and the rest."""
    key = user_profile(workspace, user)
    unit = an_inbox_unit(received_ms=world.later(), body=f"of {user}".encode(), profile=key)
    assert unit.event is not None
    assert unit.request is not None
    event = replace(unit.event, user=user, workspace=workspace, context=CONTEXT)
    claim = a_claim(key=key, event=event.id)
    await world.append(replace(unit, event=event, claims=(claim,), request=replace(unit.request, workspace=workspace)))
    repeat = an_inbox_unit(received_ms=world.later(), claims=(claim,))
    assert repeat.request is not None
    await world.append(replace(repeat, request=replace(repeat.request, workspace=workspace)))
    work = next(one for one in await world.waiting() if isinstance(one, DecisionWork) and one.id == event.id)
    deliveries = [
        a_delivery(event, endpoint=LANE, due_ms=world.now_ms, rendered=a_rendered_request(tells=a_timer(id=f"t_{key}")))
        for _ in range(4)
    ]
    decided = world.decided(
        work,
        decisions=(a_decision(work, delivery=deliveries[0].id),),
        deliveries=tuple(deliveries),
        firings=((EligibilityKey(automation=AUTOMATION, profile=key, key=""), Firing(times=1, last_ms=1)),),
        count=True,
        profiles=(a_profile(user, workspace=workspace),),
        memberships=(Membership(segment="seg_1", profile=key, is_in=True, since_ms=1),),
        runs=(a_run(profile=key, workspace=workspace),),
        timers=(a_timer(id=f"timer_{key}", profile=key, due_ms=world.now_ms + FAR_MS // 2),),
    )
    assert await world.store.settle_decisions([decided]) == [True]
    wanted = {delivery.id for delivery in deliveries}
    works = [one for one in await world.due(LANE) if one.id in wanted]
    attempts = {"workspace": workspace}
    await world.settle(
        world.delivered(works[0], **attempts),
        world.cancelled(works[1]),
        world.failed(works[2], retry_in_ms=FAR_MS // 2, **attempts),
    )
    await world.append(a_unit(an_event(received_ms=world.later(), user=user, workspace=workspace), profile=key))


async def _left(world: World, user: str, *, workspace: str = WORKSPACE) -> dict[str, object]:
    """Describe all that is there of a person and of what may be theirs."""
    store, key, limit = world.store, user_profile(workspace, user), 1000
    recalled = await store.recall(
        Recall(
            firings=frozenset({EligibilityKey(automation=AUTOMATION, profile=key, key="")}),
            counts=frozenset({(key, "order.paid")}),
            profiles=frozenset({key}),
            active_runs=frozenset({key}),
        )
    )
    waiting = await store.take_decisions(range(256), room=limit, now_ms=world.now_ms + FAR_MS, held=frozenset())
    requests = (await store.requests(RequestQuery(workspace=workspace, limit=limit))).rows
    attempts = (await store.attempts(AttemptQuery(workspace=workspace, limit=limit))).rows
    deliveries = (await store.deliveries(DeliveryQuery(workspace=workspace, limit=limit))).rows
    events = (await store.events(EventQuery(workspace=workspace, user=user, limit=limit))).rows
    named = {event.id for event in events}
    return {
        "firings": len(recalled.firings),
        "counts": len(recalled.counts),
        "profiles": len(recalled.profiles),
        "runs": len((await store.runs(RunQuery(workspace=workspace, profile=key))).runs) + len(recalled.runs),
        "members": len((await store.profiles(ProfileQuery(workspace=workspace, segment="seg_1"))).profiles),
        "waiting": sum(one.profile == key for one in waiting),
        "requests": sum(row.event in named for row in requests) if named else len(requests),
        "events": len(events),
        "decisions": len((await store.decisions(DecisionQuery(workspace=workspace, profile=key))).rows),
        "attempts": sum(row.attempt.event in named for row in attempts) if named else len(attempts),
        "deliveries": sum(row.event in named for row in deliveries) if named else len(deliveries),
    }


async def test_all_that_will_be_forgotten_is_shown_before_repeats_among_it(world: World) -> None:
    await _live(world, "bob")
    await _live(world, "ann")
    kept = await _left(world, "ann")
    dossier = Dossier(world.store, workspace=WORKSPACE, users=("ann",), profile=None, counts=())
    requests = [row async for row in dossier.requests()]
    assert [row.outcome for row in requests] == [RequestOutcome.ACCEPTED, RequestOutcome.DUPLICATE]
    assert requests[0].body == b"of ann"
    assert len([row async for row in dossier.events()]) == kept["events"]
    assert len([row async for row in dossier.decisions()]) == kept["decisions"]
    assert len([row async for row in dossier.deliveries()]) == kept["deliveries"]
    assert len([row async for row in dossier.attempts()]) == kept["attempts"]


@pytest.mark.parametrize("most", [1, 3, 1000])
async def test_everything_of_a_person_is_forgotten_in_bounded_pieces(world: World, most: int) -> None:
    await _live(world, "ann")
    before = await _left(world, "ann")
    assert [name for name, count in before.items() if not count] == []
    pieces = await _erase(world, ANN, most=most)
    assert await _left(world, "ann") == dict.fromkeys(before, 0)
    assert pieces == 1 or most < 1000
    assert pieces > 5 or most == 1000


async def test_what_is_of_others_stays_as_it_was(world: World) -> None:
    await _live(world, "bob")
    await _live(world, "ann", workspace=OTHER_WORKSPACE)
    bob, stranger = await _left(world, "bob"), await _left(world, "ann", workspace=OTHER_WORKSPACE)
    await _live(world, "ann")
    await _erase(world, ANN, most=5)
    assert await _left(world, "bob") == bob
    assert await _left(world, "ann", workspace=OTHER_WORKSPACE) == stranger
    assert await world.store.profile(BOB) is not None


async def test_whoever_was_merged_into_a_person_is_forgotten_too(world: World) -> None:
    for user in ("first", "second", "third", "fourth"):
        await _live(world, user)
    keys = {user: user_profile(WORKSPACE, user) for user in ("first", "second", "third", "fourth")}
    (work, *_) = await world.waiting()
    changed = (
        a_profile("first", merged_into=keys["second"]),
        a_profile("second", merged_into=keys["third"], aliases=("first",)),
        a_profile("third", aliases=("fourth",)),
    )
    assert await world.store.settle_decisions([world.decided(work, profiles=changed)]) == [True]
    await _erase(world, keys["third"], most=4)
    for user in keys:
        assert set((await _left(world, user)).values()) == {0}


async def test_a_person_of_whom_there_are_only_events_is_forgotten(world: World) -> None:
    event = await world.publish(world.event(user="ann", payload=b"secret"))
    assert (await world.due())[0].payload.body == b"secret"
    assert await world.store.erase(ANN, most=10) == 2
    assert await world.store.event(WORKSPACE, event.id) is None
    assert await world.due() == []


async def test_an_event_that_waits_to_be_decided_is_forgotten_and_its_decision_refused(world: World) -> None:
    await world.append(a_unit(world.event(user="ann"), deliveries=(), profile=ANN))
    (work,) = await world.undecided()
    await _erase(world, ANN)
    assert await world.store.settle_decisions([world.decided(work, profiles=(a_profile(),))]) == [False]
    assert await world.waiting() == []
    assert await world.store.profile(ANN) is None


async def test_of_somebody_unknown_there_is_nothing_to_forget(world: World) -> None:
    await world.publish()
    assert await world.store.erase(user_profile(WORKSPACE, "nobody"), most=10) == 0
    assert len((await world.store.events(EventQuery(workspace=WORKSPACE))).rows) == 1
