"""People whose events are gone: what came of them is still found by person, shown, and forgotten with them."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from posthorn import ids
from posthorn.decide.case import Happening
from posthorn.decide.footprints import Track, document_of
from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import DecisionWork, DeliveryState, DeliveryWork, Recall
from posthorn.engine.runs import Run, RunQuery, RunState, Timer, TimerKind
from posthorn.errors import NotFound
from posthorn.manage.dossiers import Dossier
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.timers import ANN, BOB
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import (
    AUTOMATION,
    OTHER_WORKSPACE,
    WORKSPACE,
    a_decision,
    a_delivery,
    a_profile,
    a_rendered_request,
    a_run,
    a_timer,
    a_unit,
    an_automation,
)

MONTH_SECONDS = 40 * 24 * 3600


class Past:
    """Somebody who was let in by an event long ago."""

    def __init__(self, world: World, user: str, profile: str) -> None:
        self.world = world
        self.user = user
        self.profile = profile
        self.event = ""

    async def let_in(self) -> None:
        """Let a run begin that waits, and all but that run grow old and go."""
        world = self.world
        work = await self._happen()
        document = document_of(Track(happening=_happening(work), trigger="order.paid"))
        run = a_run(id=f"run_{self.user}", profile=self.profile, document=document, entered_ms=world.now_ms)
        wakes_ms = world.now_ms + 1000 * MONTH_SECONDS
        decided = world.decided(
            work,
            decisions=(a_decision(work, decided_ms=world.now_ms, profile=self.profile),),
            profiles=(a_profile(self.user),),
            runs=(run,),
            timers=(a_timer(id=f"{run.id}/1", profile=self.profile, about=run.id, due_ms=wakes_ms),),
        )
        assert await world.store.settle_decisions([decided]) == [True]
        world.later(MONTH_SECONDS)
        await forget_old(world)
        assert await world.store.event(WORKSPACE, self.event) is None
        assert await decisions_of(world, self.profile) == []

    async def _happen(self) -> DecisionWork:
        event = self.world.event(user=self.user, payload=b"private")
        self.event = event.id
        await self.world.append(a_unit(event, deliveries=(), profile=self.profile))
        works = [one for one in await self.world.waiting() if isinstance(one, DecisionWork)]
        return next(one for one in works if one.id == event.id)

    async def send(self) -> DeliveryWork:
        """Let the run wake, queue a request for its event, and end; take the delivery."""
        world = self.world
        timer = next(one for one in await world.waiting() if one.profile == self.profile)
        assert isinstance(timer, Timer)
        (run,) = (await world.store.recall(Recall(active_runs=frozenset({self.profile})))).runs.values()
        tells = replace(timer, id=f"{run.id}/told", kind=TimerKind.ANSWER)
        delivery = a_delivery(
            world.event(id=self.event),
            id=ids.new_id(ids.DELIVERY, world.now_ms),
            endpoint=LANE,
            rendered=a_rendered_request(tells=tells),
        )
        ended = replace(run, state=RunState.COMPLETED, changed_ms=world.now_ms)
        decided = world.decided(timer, deliveries=(delivery,), runs=(ended,))
        assert await world.store.settle_decisions([decided]) == [True]
        return next(one for one in await world.due(LANE) if one.id == delivery.id)

    async def fire(self) -> DeliveryWork:
        """Let a decision send at once, and everything grow old before the first attempt; take the delivery."""
        world = self.world
        work = await self._happen()
        delivery = a_delivery(work.event, endpoint=LANE, rendered=a_rendered_request())
        decision = a_decision(work, decided_ms=world.now_ms, profile=self.profile, delivery=delivery.id)
        fired = world.decided(work, decisions=(decision,), deliveries=(delivery,), profiles=(a_profile(self.user),))
        assert await world.store.settle_decisions([fired]) == [True]
        world.later(MONTH_SECONDS)
        return next(one for one in await world.due(LANE) if one.id == delivery.id)

    async def shown(self) -> dict[str, list[str]]:
        """Export what is kept, and return the ids of deliveries and attempts."""
        profile = await self.world.store.profile(self.profile)
        dossier = Dossier(self.world.store, workspace=WORKSPACE, users=(self.user,), profile=profile, counts=())
        deliveries = [row.id async for row in dossier.deliveries()]
        return {"deliveries": deliveries, "attempts": [row.delivery async for row in dossier.attempts()]}


def _happening(work: DecisionWork) -> Happening:
    facts = {"event": {"id": work.id, "data": {"zero": "\0", "quote": '"', "happening": {"id": "evt_other"}}}}
    event = work.event
    return Happening(id=work.id, type=event.type, at_ms=event.occurred_ms, received_ms=event.received_ms, facts=facts)


async def forget_old(world: World) -> None:
    """Let retention take whatever is older than a minute."""
    while await world.store.prune(before_ms=world.now_ms - 60_000, most=100):
        pass


async def erase(world: World, key: str, *, most: int = 1000) -> None:
    """Forget a person."""
    while await world.store.erase(key, most=most):
        pass


async def merge(world: World, user: str, into: str) -> None:
    """Let a profile end in that of somebody else."""
    event = world.event(user=into)
    key = user_profile(WORKSPACE, into)
    await world.append(a_unit(event, deliveries=(), profile=key))
    work = next(one for one in await world.waiting() if one.id == event.id)
    profiles = (a_profile(user, merged_into=key), a_profile(into, aliases=(user,)))
    decided = world.decided(work, profiles=profiles, count=True)
    assert await world.store.settle_decisions([decided]) == [True]


async def decisions_of(world: World, profile: str) -> list[str]:
    """List the decisions about somebody."""
    found = await world.store.decisions(DecisionQuery(workspace=WORKSPACE, profile=profile))
    return [row.id for row in found.rows]


async def _runs_of(world: World, profile: str) -> Sequence[Run]:
    return (await world.store.runs(RunQuery(workspace=WORKSPACE, profile=profile))).runs


async def _left(world: World) -> dict[str, Any]:
    """Return all that is left of anybody, under the name of what it is."""
    store = world.store
    found = {
        "deliveries": [row.id for row in (await store.deliveries(DeliveryQuery(workspace=WORKSPACE))).rows],
        "attempts": [row.attempt.id for row in (await store.attempts(AttemptQuery(workspace=WORKSPACE))).rows],
        "decisions": [row.id for row in (await store.decisions(DecisionQuery(workspace=WORKSPACE))).rows],
        "runs": (await store.runs(RunQuery(workspace=WORKSPACE))).runs,
        "due": await world.due(LANE),
        "waiting": await world.waiting(),
        "profiles": (await store.recall(Recall(profiles=frozenset({ANN, BOB})))).profiles,
    }
    return {name: rows for name, rows in found.items() if rows}


@pytest.fixture
async def ann(world: World) -> Past:
    """Ann, in a world with the automation that sends to her."""
    await world.store.insert(an_automation(id=AUTOMATION))
    return Past(world, "ann", ANN)


async def become(world: World, work: DeliveryWork, state: str) -> None:
    """Let a delivery go as far as that."""
    outcomes = {
        "delivered": lambda: world.delivered(work),
        "exhausted": lambda: world.exhausted(work),
        "cancelled": lambda: world.cancelled(work),
        "failed": lambda: world.failed(work, retry_in_ms=60_000),
    }
    if state in outcomes:
        assert await world.settle(outcomes[state]()) == [True]


STATES = ["pending", "failed", "delivered", "exhausted", "cancelled"]


@pytest.mark.parametrize("state", STATES)
async def test_what_a_run_sends_though_its_event_is_gone_is_shown_and_forgotten(ann: Past, state: str) -> None:
    await ann.let_in()
    work = await ann.send()
    await become(ann.world, work, state)
    tried = [] if state in ("pending", "cancelled") else [work.id]
    assert await ann.shown() == {"deliveries": [work.id], "attempts": tried}
    await erase(ann.world, ANN)
    ann.world.later(3600)
    assert await _left(ann.world) == {}
    assert await ann.shown() == {"deliveries": [], "attempts": []}


@pytest.mark.parametrize("most", [1, 2, 3, 7])
async def test_small_pieces_leave_nothing_of_it_either(ann: Past, most: int) -> None:
    await ann.let_in()
    await become(ann.world, await ann.send(), "failed")
    await erase(ann.world, ANN, most=most)
    ann.world.later(3600)
    assert await _left(ann.world) == {}


@pytest.mark.parametrize("state", ["delivered", "exhausted"])
async def test_attempts_that_outlive_their_event_are_shown_and_forgotten(ann: Past, state: str) -> None:
    work = await ann.fire()
    await become(ann.world, work, state)
    await forget_old(ann.world)
    assert await ann.world.store.event(WORKSPACE, ann.event) is None
    assert await ann.shown() == {"deliveries": [work.id], "attempts": [work.id]}
    await erase(ann.world, ANN)
    assert await _left(ann.world) == {}


@pytest.mark.parametrize("state", ["pending", "failed"])
async def test_attempts_that_outlive_the_end_of_their_run_are_forgotten(ann: Past, state: str) -> None:
    await ann.let_in()
    await become(ann.world, await ann.send(), state)
    ann.world.later(MONTH_SECONDS)
    await forget_old(ann.world)
    (work,) = await ann.world.due(LANE)
    await become(ann.world, work, "delivered")
    await forget_old(ann.world)
    assert (await ann.shown())["attempts"] == [work.id]
    await erase(ann.world, ANN)
    ann.world.later()
    assert await _left(ann.world) == {}


async def test_what_let_a_person_in_goes_when_no_attempt_of_it_is_kept_any_more(ann: Past) -> None:
    world = ann.world
    await ann.let_in()
    await become(world, await ann.send(), "delivered")
    bob = Past(world, "bob", BOB)
    await become(world, await bob.fire(), "delivered")
    await forget_old(world)
    assert await _runs_of(world, ANN) == []
    assert len(await decisions_of(world, BOB)) == 1
    world.later(MONTH_SECONDS)
    await forget_old(world)
    assert await decisions_of(world, BOB) == []
    assert (await world.store.attempts(AttemptQuery(workspace=WORKSPACE))).rows == []


async def test_what_was_sent_to_somebody_who_was_merged_is_forgotten_with_them(ann: Past) -> None:
    world, old = ann.world, Past(ann.world, "old", user_profile(WORKSPACE, "old"))
    await old.let_in()
    await become(world, await old.send(), "failed")
    await become(world, await old.fire(), "delivered")
    await merge(world, "old", "ann")
    await forget_old(world)
    await erase(world, ANN)
    world.later(3600)
    assert await _left(world) == {}
    assert await old.shown() == {"deliveries": [], "attempts": []}


@pytest.mark.parametrize("most", [2, 3, 4])
async def test_the_profiles_of_a_person_go_in_one_piece_so_that_each_leads_to_the_others(ann: Past, most: int) -> None:
    world, keys = ann.world, frozenset({user_profile(WORKSPACE, "old"), ANN})
    await merge(world, "old", "ann")
    while await world.store.erase(ANN, most=most):
        left = (await world.store.recall(Recall(profiles=keys))).profiles
        assert left.keys() in (keys, frozenset())
    assert await _left(world) == {}


async def test_what_was_sent_to_others_stays(ann: Past) -> None:
    world, bob = ann.world, Past(ann.world, "bob", BOB)
    await ann.let_in()
    theirs = await ann.send()
    await bob.let_in()
    mine = await bob.send()
    await erase(world, ANN)
    assert await bob.shown() == {"deliveries": [mine.id], "attempts": []}
    assert theirs.id not in [work.id for work in await world.due(LANE)]
    assert await world.store.profile(BOB) is not None


async def test_a_delivery_whose_event_is_gone_is_found_by_its_automation(ann: Past) -> None:
    world, store = ann.world, ann.world.store
    await ann.let_in()
    work = await ann.send()
    row = await store.delivery(WORKSPACE, work.id)
    assert row is not None
    assert (row.event, row.state, row.application) == (ann.event, DeliveryState.PENDING, None)
    thread = await store.thread(WORKSPACE, work.id)
    assert thread is not None
    assert (thread.event, thread.deliveries) == (None, [row])
    queries: list[dict[str, Any]] = [{}, {"event": ann.event}, {"endpoint": LANE}, {"state": DeliveryState.PENDING}]
    for query in queries:
        assert (await store.deliveries(DeliveryQuery(workspace=WORKSPACE, **query))).rows == [row]
        assert (await store.deliveries(DeliveryQuery(workspace=OTHER_WORKSPACE, **query))).rows == []
    assert await store.delivery(OTHER_WORKSPACE, work.id) is None
    await become(world, work, "cancelled")
    for query in ({}, {"event": ann.event}, {"endpoint": LANE}, {"state": DeliveryState.CANCELLED}):
        (row,) = (await store.deliveries(DeliveryQuery(workspace=WORKSPACE, **query))).rows
        assert (row.id, row.state, row.reason) == (work.id, DeliveryState.CANCELLED, "endpoint_gone")
        assert (await store.deliveries(DeliveryQuery(workspace=OTHER_WORKSPACE, **query))).rows == []


@pytest.mark.parametrize("outcome", ["failed", "delivered", "exhausted", "cancelled"])
async def test_what_is_settled_after_a_person_was_forgotten_brings_nothing_back(ann: Past, outcome: str) -> None:
    world = ann.world
    await ann.let_in()
    work = await ann.send()
    outcomes = {
        "failed": world.failed(work, retry_in_ms=1),
        "delivered": world.delivered(work),
        "exhausted": world.exhausted(work),
        "cancelled": world.cancelled(work),
    }
    await erase(world, ANN)
    assert await world.settle(outcomes[outcome]) == [False]
    world.later(60)
    assert await _left(world) == {}


async def test_nothing_can_be_queued_by_hand_of_an_event_that_was_forgotten(ann: Past) -> None:
    world = ann.world
    work = await ann.fire()
    await become(world, work, "exhausted")
    await erase(world, ANN)
    again = a_delivery(world.event(id=ann.event), id=work.id, endpoint=LANE)
    with pytest.raises(NotFound, match=f"the event {ann.event} is not kept any more"):
        await world.store.enqueue(again)
    assert await _left(world) == {}


async def test_a_run_that_wakes_while_its_person_is_forgotten_brings_nothing_back(ann: Past) -> None:
    world = ann.world
    await ann.let_in()
    (timer,) = await world.waiting()
    (run,) = await _runs_of(world, ANN)
    delivery = a_delivery(world.event(id=ann.event), endpoint=LANE, rendered=a_rendered_request())
    woken = world.decided(timer, deliveries=(delivery,), runs=(run,), profiles=(a_profile("ann"),))
    # The first row that goes is what would wake it, so that a piece is enough.
    assert await world.store.erase(ANN, most=1) == 1
    assert await world.store.settle_decisions([woken]) == [False]
    await erase(world, ANN)
    assert await _left(world) == {}
