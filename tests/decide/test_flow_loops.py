"""Events that automations emit for each other: through ten of them, and no further; on every store."""

from flow_parts import on, send
from stored_world import StoredWorld

from posthorn.decide.footprints import track_of
from posthorn.decide.stepping import DEEPEST


async def test_an_event_comes_through_ten_automations_and_the_eleventh_says_why_it_emits_none(
    world: StoredWorld,
) -> None:
    for number in range(DEEPEST + 3):
        emit = {"type": "emit_event", "name": "emit", "eventType": f"level.{number + 1}"}
        steps = [emit, send(path=str(number))]
        await world.flow(f"auto_{number:02}", triggers=[on(f"level.{number}")], steps=steps)
    await world.happen(type="level.0")
    await world.decide_all()
    assert sorted(world.urls()) == sorted(f"https://example.test/{number}" for number in range(DEEPEST + 1))
    paths = {run.automation: track_of(run).path for run in world.all_runs()}
    looping = {name: [step.detail for step in path if step.what == "loop"] for name, path in paths.items()}
    said = f"no event was emitted: this one came through {DEEPEST} automations already"
    assert looping.pop(f"auto_{DEEPEST}") == [said]
    assert set(map(len, looping.values())) == {0}
    assert [state for _, state in world.runs()] == ["completed"] * (DEEPEST + 1)  # the other steps are done


async def test_an_automation_that_hears_its_own_event_emits_it_once(world: StoredWorld) -> None:
    emit = {"type": "emit_event", "name": "emit", "eventType": "ping"}
    await world.flow(triggers=[on("ping")], steps=[emit, send()])
    await world.happen(type="ping")
    await world.decide_all()
    assert len(world.requests()) == 2
    assert await world.count("u1", "ping") == 2
    told = [step.detail for run in world.all_runs() for step in track_of(run).path if step.what == "loop"]
    assert [("circle" in detail) for detail in told] == [True]


async def test_two_events_of_one_person_are_two_lines_and_no_loop(world: StoredWorld) -> None:
    emit = {"type": "emit_event", "name": "emit", "eventType": "vip"}
    await world.flow(triggers=[on()], steps=[emit])
    await world.flow("auto_2", triggers=[on("vip")], steps=[send()])
    for _ in range(DEEPEST + 5):
        await world.happen()
    await world.decide_all()
    assert len(world.requests()) == DEEPEST + 5
