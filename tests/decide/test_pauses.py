"""What a pause does with runs that are under way, and its end with those that it held, is for people to choose."""

from typing import Any

import msgspec
import pytest
from stored_world import StoredWorld

from posthorn.engine.flows import Pausing
from posthorn.engine.resources import Automation

HOUR = 3600
ON = {"type": "event", "eventType": "order.paid"}
SEND = {"type": "send", "name": "send", "send": {"url": "https://example.test/send"}}
ABSENCE = {"type": "absence", "eventType": "order.paid", "without": ["thanked"], "seconds": HOUR}
WAIT = {"type": "wait", "name": "wait", "seconds": HOUR}


async def under_way(world: StoredWorld, people: int = 1, **parts: Any) -> Automation:
    automation = await world.flow(**({"triggers": [ON], "steps": [WAIT, SEND]} | parts))
    for number in range(people):
        await world.happen(user=f"u{number}")
    await world.decide_all()
    return automation


async def pause(world: StoredWorld, automation: Automation, **pausing: Any) -> Automation:
    paused = msgspec.structs.replace(automation, enabled=False, pausing=Pausing(**pausing))
    await world.change(paused)
    await world.look_at_runs(automation.id)
    return paused


async def resume(world: StoredWorld, automation: Automation) -> None:
    await world.change(msgspec.structs.replace(automation, enabled=True))
    await world.look_at_runs(automation.id)


async def test_a_pause_that_lets_runs_go_on_only_keeps_people_out(world: StoredWorld) -> None:
    automation = await under_way(world)
    await pause(world, automation, runs="go_on")
    await world.happen(user="late")
    await world.pass_time(HOUR + 1)
    assert (len(world.requests()), world.runs()) == (1, [("", "completed")])


async def test_a_pause_that_ends_runs_ends_them_at_once(world: StoredWorld) -> None:
    automation = await under_way(world, people=3)
    paused = await pause(world, automation, runs="exit")
    assert world.runs() == [("", "cancelled")] * 3
    await resume(world, paused)
    await world.pass_time(2 * HOUR)
    assert world.requests() == []


async def test_a_run_that_wakes_before_it_was_looked_at_is_ended_by_the_pause_too(world: StoredWorld) -> None:
    automation = await under_way(world)
    await world.change(msgspec.structs.replace(automation, enabled=False, pausing=Pausing(runs="exit")))
    await world.pass_time(HOUR + 1)
    assert (world.requests(), world.runs()) == ([], [("", "cancelled")])


@pytest.mark.parametrize(("hours", "requests", "state"), [(1, 1, "completed"), (3, 0, "exited")])
async def test_what_a_pause_held_for_too_long_ends_in_place_of_coming_late(
    world: StoredWorld, hours: int, requests: int, state: str
) -> None:
    automation = await under_way(world)
    paused = await pause(world, automation, end_after_seconds=2 * HOUR)
    for _ in range(1 + hours):  # it looks each hour whether the pause is over, which is no new beginning
        await world.pass_time(HOUR)
    await resume(world, paused)
    assert (len(world.requests()), world.runs()) == (requests, [("", state)])


async def test_those_that_a_pause_held_go_on_spread_over_a_time(world: StoredWorld) -> None:
    automation = await under_way(world, people=40)
    paused = await pause(world, automation, spread_seconds=1000)
    await world.pass_time(HOUR + 1)
    await resume(world, paused)
    sent = [len(world.requests())]
    for _ in range(10):
        await world.pass_time(100)
        sent.append(len(world.requests()))
    assert sent[0] <= 4
    assert 10 <= sent[5] <= 30
    assert sent[10] == 40
    await world.pass_time(3 * HOUR)
    assert len(world.requests()) == 40


async def test_what_ends_a_run_is_heard_while_its_turn_to_go_on_has_not_come(world: StoredWorld) -> None:
    automation = await under_way(world, triggers=[ABSENCE], steps=[SEND])
    paused = await pause(world, automation, spread_seconds=86_400)
    await world.pass_time(HOUR + 1)
    await resume(world, paused)
    await world.happen(type="thanked", user="u0")
    await world.pass_time(86_400)
    assert (world.requests(), world.runs()) == ([], [("", "exited")])


async def test_a_pause_that_is_told_to_let_go_lets_go(world: StoredWorld) -> None:
    automation = await under_way(world)
    paused = await pause(world, automation)
    await world.pass_time(2 * HOUR)
    assert world.requests() == []
    await pause(world, paused, runs="go_on")
    assert (len(world.requests()), world.runs()) == (1, [("", "completed")])
