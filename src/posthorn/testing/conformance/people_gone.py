"""People whose events are gone: what came of them is still shown."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from typing import Any

import pytest
from msgspec.structs import replace

from posthorn import ids
from posthorn.decide.case import Happening
from posthorn.decide.footprints import Track, document_of
from posthorn.engine.journal import DecisionQuery, DeliveryQuery
from posthorn.engine.records import DecisionWork, DeliveryState, DeliveryWork, Recall
from posthorn.engine.runs import RunState, Timer, TimerKind
from posthorn.manage.dossiers import Dossier
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.timers import ANN
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


async def decisions_of(world: World, profile: str) -> list[str]:
    """List the decisions about somebody."""
    found = await world.store.decisions(DecisionQuery(workspace=WORKSPACE, profile=profile))
    return [row.id for row in found.rows]


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
async def test_what_a_run_sends_though_its_event_is_gone_is_shown(ann: Past, state: str) -> None:
    await ann.let_in()
    work = await ann.send()
    await become(ann.world, work, state)
    tried = [] if state in ("pending", "cancelled") else [work.id]
    assert await ann.shown() == {"deliveries": [work.id], "attempts": tried}


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
