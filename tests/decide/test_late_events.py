"""Events that arrive long after they happened: what goes by their own time, and what by receipt; on every store."""

from typing import Any

import pytest
from flow_parts import DAY, HOUR, on, send, wait
from stored_world import StoredWorld

from posthorn.decide.footprints import track_of
from posthorn.engine.flows import AgainAfter
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import EventCount
from posthorn.testing.factories import WORKSPACE

SECOND_MS = 1000
YEAR = 365 * DAY


async def happened(world: StoredWorld, seconds_ago: float, kind: str = "order.paid", **fields: Any) -> int:
    """Let an event arrive that happened so long ago; return when that was."""
    at_ms = int(world.clock.now_ms() - seconds_ago * SECOND_MS)
    await world.happen(type=kind, occurred_ms=at_ms, **fields)
    await world.decide_all()
    return at_ms


async def counted(world: StoredWorld) -> EventCount:
    [count] = await world.store.event_counts(user_profile(WORKSPACE, "u1"))
    return count


@pytest.mark.parametrize("years", [3, 75])  # the older one is before 1970
async def test_counters_have_the_first_and_the_last_time_in_whatever_order_events_come(
    world: StoredWorld, years: int
) -> None:
    last_ms = await happened(world, HOUR)
    first_ms = await happened(world, years * YEAR)
    await happened(world, DAY)
    count = await counted(world)
    assert (count.count, count.first_ms, count.last_ms) == (3, first_ms, last_ms)


async def test_the_second_of_a_count_is_the_one_that_comes_second(world: StoredWorld) -> None:
    second = {"type": "count", "eventType": "order.paid", "count": 2}
    await world.flow(triggers=[second], steps=[send(path="{{ event.data.n }}")])
    for n, seconds_ago in ((1, 0), (2, DAY), (3, HOUR)):
        await happened(world, seconds_ago, payload=b'{"n": %d}' % n)
    assert world.urls() == ["https://example.test/2"]


async def test_a_window_counts_an_event_where_it_happened(world: StoredWorld) -> None:
    twice = {"performed": {"event": "login", "atLeast": 2, "withinSeconds": DAY}}
    await world.flow(triggers=[on("login")], steps=[send()], conditions=twice)
    await happened(world, 0, "login")
    await happened(world, 2 * DAY, "login")  # too old for the window
    assert world.requests() == []
    await happened(world, DAY - HOUR, "login")  # the second one within a day
    assert len(world.requests()) == 1
    await world.pass_time(2 * HOUR)  # that one leaves the window a day after it happened, and not after it came
    await happened(world, 3 * DAY, "login")
    assert len(world.requests()) == 1


async def test_a_late_event_leaves_its_segment_by_its_own_time(world: StoredWorld) -> None:
    await world.segment("active", {"performed": {"event": "login", "atLeast": 1, "withinSeconds": DAY}})
    await happened(world, DAY - HOUR, "login")
    assert await world.members("seg_active") == ["u1"]
    await world.pass_time(HOUR - 10)
    assert await world.members("seg_active") == ["u1"]
    await world.pass_time(20)
    assert await world.members("seg_active") == []


async def test_an_absence_is_reckoned_from_receipt_and_ended_by_what_comes_whenever_that_was(
    world: StoredWorld,
) -> None:
    absence = {"type": "absence", "eventType": "cart", "without": ["paid"], "seconds": HOUR}
    await world.flow(triggers=[absence], steps=[send(path="{{ profile.id }}")])
    for user in ("gone", "payer"):
        await happened(world, DAY, "cart", user=user)
    assert world.requests() == []
    await world.pass_time(HOUR - 60)
    assert world.requests() == []
    await happened(world, 2 * DAY, "paid", user="payer")  # paid before the cart, by another device's clock
    await world.pass_time(120)
    assert world.urls() == ["https://example.test/gone"]


async def test_a_goal_counts_by_receipt(world: StoredWorld) -> None:
    goal = {"eventType": "bought", "withinSeconds": HOUR}
    await world.flow(triggers=[on()], steps=[wait(DAY)], goal=goal)
    for user in ("timely", "late"):
        await world.happen(user=user)
    await world.decide_all()
    await happened(world, 2 * DAY, "bought", user="timely")  # even if it was before the run began
    await world.pass_time(HOUR + 60)
    await happened(world, HOUR / 2, "bought", user="late")  # in time, and nobody heard of it then
    reached = {run.profile: track_of(run).goal_ms is not None for run in world.all_runs()}
    assert reached == {user_profile(WORKSPACE, "timely"): True, user_profile(WORKSPACE, "late"): False}


async def test_a_wait_for_an_event_ends_by_what_comes_unless_its_conditions_say_when(world: StoredWorld) -> None:
    recent = {"field": "event.time", "operator": "within_last", "value": {"hours": 1}}
    for name, conditions in (("any", None), ("recent", recent)):
        waiting = {"type": "wait_for_event", "name": "w", "eventTypes": ["replied"], "seconds": DAY}
        steps = [waiting | {"conditions": conditions, "onEvent": [send(name)]}]
        await world.flow(f"auto_{name}", triggers=[on()], steps=steps)
    await world.happen()
    await world.decide_all()
    await happened(world, 2 * DAY, "replied")
    assert world.urls() == ["https://example.test/any"]
    await happened(world, HOUR / 2, "replied")
    assert world.urls()[1:] == ["https://example.test/recent"]


async def test_an_event_that_ends_runs_ends_them_when_it_comes(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[wait(DAY), send()], exitOn=["unsubscribed"])
    await world.happen()
    await world.decide_all()
    await happened(world, YEAR, "unsubscribed")
    assert world.runs() == [("", "exited")]


async def test_firing_again_is_reckoned_from_receipt(world: StoredWorld) -> None:
    await world.automation(eligibility=AgainAfter(seconds=DAY))
    await happened(world, 3 * DAY)
    await happened(world, 0)  # three days later by their own times, and within the same second here
    assert [outcome for outcome, _ in sorted(world.outcomes())] == ["fired", "not_eligible"]
