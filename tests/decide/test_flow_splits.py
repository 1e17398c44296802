"""Who comes into which share of a split: chance that stays, through merges and changes of the shares."""

from typing import Any

import msgspec
from flow_parts import HOUR, changing, on, send, wait
from stored_world import StoredWorld

from posthorn.calendars import sticky_bucket
from posthorn.engine.flows import Flow
from posthorn.engine.profiles import user_profile
from posthorn.testing.factories import WORKSPACE

PEOPLE = [f"u{number}" for number in range(100)]


def split(*percents: float, name: str = "test") -> dict[str, Any]:
    ways = ("a", "b", "c")
    shares = [
        {"percent": percent, "steps": [send(f"{way}_{name}", f"{way}/{{{{ profile.id }}}}")]}
        for way, percent in zip(ways, percents, strict=False)
    ]
    return {"type": "split", "name": name, "shares": shares}


def somebody_in(way: str) -> str:
    """Name somebody who is drawn into the first or the second half."""
    for number in range(1000):
        drawn = sticky_bucket(f"auto_1/test/{user_profile(WORKSPACE, f'p{number}')}")
        if (drawn < 5_000) == (way == "a"):
            return f"p{number}"
    raise AssertionError(way)


async def drawn(world: StoredWorld) -> dict[str, str]:
    """Let everybody in and return whom the split sent which way."""
    before = len(world.requests())
    for user in PEOPLE:
        await world.happen(user=user)
    await world.decide_all()
    parts = [url.removeprefix("https://example.test/").split("/") for url in world.urls()[before:]]
    return {user: way for way, user in parts}


async def test_whoever_is_merged_is_drawn_as_the_one_who_lives_on(world: StoredWorld) -> None:
    anonymous, known = somebody_in("a"), somebody_in("b")
    await world.flow(triggers=[on()], steps=[split(50, 50), wait(HOUR), send("after", "after/{{ profile.id }}")])
    await world.happen(user=anonymous)
    await world.decide_all()
    await world.happen(user=anonymous, type="alias", context=changing(merge_into=known))
    await world.decide_all()
    await world.happen(user=anonymous)  # who still names the old id is the same person
    await world.decide_all()
    assert [url.removeprefix("https://example.test/") for url in world.urls()] == [f"a/{anonymous}", f"b/{known}"]
    await world.pass_time(HOUR + 1)  # the first run stays on the way that it has taken
    assert [url.removeprefix("https://example.test/") for url in world.urls()[2:]] == [f"after/{known}"] * 2


async def test_a_run_that_has_not_come_to_the_split_is_drawn_as_the_one_who_lives_on(world: StoredWorld) -> None:
    anonymous, known = somebody_in("a"), somebody_in("b")
    await world.flow(triggers=[on()], steps=[wait(HOUR), split(50, 50)])
    await world.happen(user=anonymous)
    await world.happen(user=anonymous, type="alias", context=changing(merge_into=known))
    await world.decide_all()
    await world.pass_time(HOUR + 1)
    assert world.urls() == [f"https://example.test/b/{known}"]


async def test_a_share_that_grows_takes_from_the_next_and_loses_nobody(world: StoredWorld) -> None:
    automation = await world.flow(triggers=[on()], steps=[split(30, 40, 30)])
    before = await drawn(world)
    assert set(before.values()) == {"a", "b", "c"}
    flow = msgspec.convert({"triggers": [on()], "steps": [split(50, 20, 30)]}, Flow)
    await world.change(msgspec.structs.replace(automation, version=2, flow=flow))
    after = await drawn(world)
    moves = {(before[user], after[user]) for user in PEOPLE}
    assert moves == {("a", "a"), ("b", "a"), ("b", "b"), ("c", "c")}


async def test_a_step_of_another_name_draws_anew(world: StoredWorld) -> None:
    automation = await world.flow(triggers=[on()], steps=[split(50, 50)])
    before = await drawn(world)
    flow = msgspec.convert({"triggers": [on()], "steps": [split(50, 50, name="again")]}, Flow)
    await world.change(msgspec.structs.replace(automation, version=2, flow=flow))
    after = await drawn(world)
    assert {(before[user], after[user]) for user in PEOPLE} == {("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")}


async def test_whom_no_share_takes_goes_on_behind_the_split(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[split(30), send("after", "after/{{ profile.id }}")])
    for user in PEOPLE:
        await world.happen(user=user)
    await world.decide_all()
    ways = [url.removeprefix("https://example.test/").split("/")[0] for url in world.urls()]
    assert ways.count("after") == len(PEOPLE)
    assert 15 <= ways.count("a") <= 45
