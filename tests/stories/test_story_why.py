"""Story: somebody asks why. A vendor in trouble, a pause, a version, a draft; the same answers on either store."""

from typing import Any

from story_instants import at
from story_pages import Page
from story_world import Begin, StoryWorld
from vendor_street import vendor

from posthorn.testing.vendors import Reply

PAGE = Page("quizlet-study-modes")


async def why(world: StoryWorld, event: str, automation: str = "study-modes") -> dict[str, Any]:
    found: dict[str, Any] = await world.get(f"/event/{event}/why", automation=automation)
    return found


async def click(world: StoryWorld, mode: str) -> str:
    event = await world.happen("study_mode_selected", "u-1", {"mode": mode})
    await world.quiet()
    return event


async def test_every_silence_and_every_trouble_is_explained_also_after_a_restart(begin: Begin) -> None:
    world = await begin(at("2026-11-22T10:00+00:00"))
    braze = await world.vendor(vendor("braze"), BRAZE_KEY="api_key")
    early = await click(world, "learn")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    assert (await why(world, early))["reason"] == "published_later"

    braze.trouble = Reply(status=500, body=b"out of order")
    fired = await click(world, "learn")
    await world.pass_time(10)
    await world.pass_time(400)
    answer = await why(world, fired)
    [run], [delivery] = answer["runs"], answer["deliveries"]
    assert (answer["fired"], answer["reason"], run["state"], delivery["attempts"]) == (True, "entered", "completed", 3)
    assert answer["detail"].endswith(
        f"the request to rest.fra-02.braze.eu failed 3 times, the last time answered 500,"
        f" and the next attempt is due at {delivery['nextAttemptAt']}"
    )
    braze.trouble = None
    await world.pass_time(3600)
    assert (await why(world, fired))["detail"].endswith(
        "the request to rest.fra-02.braze.eu was delivered, answered 201"
    )

    again = await click(world, "learn")
    assert (await why(world, again))["reason"] == "fired_before"
    other = await world.happen("signed_up", "u-1")
    assert (await why(world, other))["reason"] == "other_type"
    assert (await world.http.patch("/automation/study-modes", json={"enabled": False})).is_success
    silent = await click(world, "match")
    assert (await why(world, silent))["reason"] == "paused"
    assert (await world.http.patch("/automation/study-modes", json={"enabled": True})).is_success
    assert (await world.http.put("/automation/new/draft", json={"name": "New"})).is_success

    await world.stop_node()
    await world.start()
    paused = await why(world, silent)
    assert (paused["fired"], paused["reason"]) == (False, "paused")
    assert "it was resumed at 2026-11-22T11:" in paused["detail"]
    everything = await world.rows(f"/event/{fired}/why")
    assert [(row["automationName"], row["fired"], row["reason"]) for row in everything] == [
        ("Study modes to Braze, each of them once", True, "entered"),
        ("New", False, "draft"),
    ]
