"""Eligibility that counts from receipt: whom nothing reached stays eligible, and the time runs from what they got."""

from typing import Any

import msgspec
import pytest
from deciding_world import World
from stored_world import StoredWorld

from posthorn.engine.flows import AgainAfter, Eligibility, Once, OncePerKey, OncePerPeriod
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.records import DeliveryState
from posthorn.engine.resources import Cap, Workspace
from posthorn.testing.factories import WORKSPACE

HOUR = 3600
DAY = 24 * HOUR
ON = {"type": "event", "eventType": "order.paid"}
RECEIVED_ONCE = Once(counts_from="receipt")


def send(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "send", "name": name, "send": {"url": f"https://example.test/{name}"}, **fields}


async def simple(world: World, rule: Eligibility) -> None:
    await world.automation(eligibility=rule, send={"url": "https://example.test/simple"})


async def flow(world: World, rule: Eligibility) -> None:
    await world.flow(triggers=[ON], eligibility=rule, steps=[send("first")])


FORMS = pytest.mark.parametrize("publish", [simple, flow])


async def fires(world: World, **event: Any) -> bool:
    await world.happen(**event)
    await world.decide_all()
    return world.outcomes()[-1][0] == "fired"


async def ended(world: World, state: DeliveryState = DeliveryState.DELIVERED, only: str = "") -> None:
    await world.deliver(status=200 if state is DeliveryState.DELIVERED else 500, state=state, only=only)
    await world.decide_all()


@FORMS
@pytest.mark.parametrize(
    "rule",
    [
        RECEIVED_ONCE,
        AgainAfter(seconds=DAY, counts_from="receipt"),
        OncePerPeriod(period="day", counts_from="receipt"),
    ],
)
async def test_whom_the_request_did_not_reach_is_eligible_again(
    world: StoredWorld, publish: Any, rule: Eligibility
) -> None:
    await publish(world, rule)
    assert await fires(world)
    await ended(world, DeliveryState.EXHAUSTED)
    assert await fires(world)
    await ended(world)
    assert not await fires(world)


@FORMS
async def test_counting_from_entry_does_not_care_for_what_was_received(world: StoredWorld, publish: Any) -> None:
    await publish(world, Once())
    assert await fires(world)
    await ended(world, DeliveryState.EXHAUSTED)
    assert not await fires(world)


@FORMS
async def test_a_request_under_way_holds_the_place(world: StoredWorld, publish: Any) -> None:
    await publish(world, RECEIVED_ONCE)
    assert [await fires(world) for _ in range(3)] == [True, False, False]
    assert len(world.requests()) == 1


@FORMS
async def test_the_time_runs_from_receipt(world: StoredWorld, publish: Any) -> None:
    await publish(world, AgainAfter(seconds=DAY, counts_from="receipt"))
    assert await fires(world)
    world.clock.advance(DAY - HOUR)
    await world.own()
    await world.deliver(status=200, started_ms=world.clock.now_ms())
    await world.decide_all()
    world.clock.advance(2 * HOUR)  # a day after entering, not after receiving
    await world.own()
    assert not await fires(world)
    world.clock.advance(DAY - 2 * HOUR)
    await world.own()
    assert await fires(world)


async def test_each_key_has_a_place_of_its_own(world: StoredWorld) -> None:
    await simple(world, OncePerKey(key="{{ event.data.mode }}", counts_from="receipt"))
    assert await fires(world, data={"mode": "a"})
    assert await fires(world, data={"mode": "b"})
    await ended(world, DeliveryState.EXHAUSTED)
    assert await fires(world, data={"mode": "a"})
    await ended(world)
    assert not await fires(world, data={"mode": "a"})
    assert await fires(world, data={"mode": "b"})


async def test_one_of_several_requests_is_enough(world: StoredWorld) -> None:
    step = {"type": "send_all", "name": "both", "sends": [send("left"), send("right")]}
    await world.flow(triggers=[ON], eligibility=RECEIVED_ONCE, steps=[step])
    assert await fires(world)
    await ended(world, only="left")
    await ended(world, DeliveryState.EXHAUSTED, only="right")
    assert not await fires(world)


async def test_a_run_that_sends_nothing_leaves_its_person_eligible(world: StoredWorld) -> None:
    cap = Cap(most=1, seconds=DAY)
    await world.put(Workspace(id=WORKSPACE, workspace=WORKSPACE, name="w", created_ms=0, updated_ms=0, caps=(cap,)))
    await world.flow("auto_2", triggers=[ON], eligibility=Once(), steps=[send("other")])
    await world.happen()
    await world.decide_all()
    await world.flow(triggers=[ON], eligibility=RECEIVED_ONCE, steps=[send("first")])
    await world.happen()
    await world.decide_all()
    assert world.urls() == ["https://example.test/other"]  # the other one took the only place under the cap
    world.clock.advance(2 * DAY)
    await world.own()
    await world.happen()
    await world.decide_all()
    assert world.urls() == ["https://example.test/other", "https://example.test/first"]


async def test_a_run_that_is_ended_before_it_sends_leaves_its_person_eligible(world: StoredWorld) -> None:
    steps = [{"type": "wait", "name": "wait", "seconds": HOUR}, send("first")]
    await world.flow(triggers=[ON], eligibility=RECEIVED_ONCE, steps=steps, exitOn=["left"])
    assert await fires(world)
    assert not await fires(world)
    await world.happen(type="left")
    await world.decide_all()
    assert await fires(world)


async def test_people_who_are_held_out_are_not_drawn_again_by_getting_nothing(world: StoredWorld) -> None:
    await world.flow(triggers=[ON], eligibility=RECEIVED_ONCE, steps=[send("first")], holdoutPercent=100)
    await world.happen()
    await world.happen()
    await world.decide_all()
    assert [reason for _, reason in world.outcomes()] == ["held_out", "fired_before"]


async def test_a_step_that_waits_for_its_answer_hears_it_as_before(world: StoredWorld) -> None:
    await world.flow(
        triggers=[ON], eligibility=RECEIVED_ONCE, steps=[send("ask", waitForAnswer=True), send("then")]
    )  # fmt: skip
    assert await fires(world)
    await ended(world, only="ask")
    assert world.urls()[-1] == "https://example.test/then"
    await ended(world, DeliveryState.EXHAUSTED, only="then")
    assert not await fires(world)


async def test_a_receipt_counts_for_whom_the_person_was_merged_into(world: StoredWorld) -> None:
    await simple(world, RECEIVED_ONCE)
    assert await fires(world, user="anonymous")
    context = EventContext(changes=ProfileChange(merge_into="ann"))
    await world.happen(type="profile.alias", user="anonymous", context=msgspec.json.encode(context))
    await world.decide_all()
    await ended(world)
    assert not await fires(world, user="ann")


async def test_a_late_receipt_remembers_nothing_of_somebody_who_was_erased() -> None:
    world = World()  # in memory, where what it remembers can be taken out of the middle
    await simple(world, RECEIVED_ONCE)
    assert await fires(world)
    world.store._tables.firings.clear()
    await ended(world)
    assert world.store._tables.firings == {}
