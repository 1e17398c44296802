"""What random histories found to be wrong once, each as its shortest history. See tests/exactness."""

from typing import Any

import msgspec
import pytest
from deciding_world import World

from posthorn.engine.flows import Once
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.profiles import user_profile
from posthorn.engine.resources import Automation, AutomationVersion, Cap, Workspace
from posthorn.testing.factories import WORKSPACE

HOUR = 3600


@pytest.fixture
def world() -> World:
    return World()


def on(event_type: str = "order.paid") -> dict[str, Any]:
    return {"type": "event", "eventType": event_type}


def send(name: str, path: str | None = None) -> dict[str, Any]:
    return {"type": "send", "name": name, "send": {"url": f"https://example.test/{path or name}"}}


def wait(seconds: int) -> dict[str, Any]:
    return {"type": "wait", "name": "wait", "seconds": seconds}


def update(**changes: Any) -> dict[str, Any]:
    return {"type": "update_profile", "name": "update", "changes": changes}


def counted(least: int) -> dict[str, Any]:
    return {"count": {"event": "order.paid", "op": "gte", "value": least}}


def changing(**changes: Any) -> dict[str, Any]:
    return {"context": msgspec.json.encode(EventContext(changes=ProfileChange(**changes)))}


async def publish(world: World, automation: Automation, **changes: Any) -> Automation:
    """Publish the next version, as the API does: also a pause is one."""
    number = str(automation.version)
    fields = {"workspace": WORKSPACE, "parent": automation.id, "created_ms": 0, "updated_ms": 0}
    await world.put(AutomationVersion(id=f"autov_{number}", uid=number, automation=automation, **fields))
    changed = msgspec.structs.replace(automation, version=automation.version + 1, **changes)
    await world.change(changed)
    return changed


async def test_the_oldest_automation_has_the_first_claim_on_a_cap_however_often_it_was_changed(world: World) -> None:
    cap = Cap(most=1, period="day")
    await world.put(Workspace(id=WORKSPACE, workspace=WORKSPACE, name="w", created_ms=0, updated_ms=0, caps=(cap,)))
    first = await world.flow("auto_1", triggers=[on()], steps=[send("first")])
    await world.flow("auto_2", triggers=[on()], steps=[send("second")])
    await world.change(msgspec.structs.replace(first, name="renamed"))
    await world.happen()
    await world.decide_all()
    assert world.urls() == ["https://example.test/first"]


async def test_what_a_step_changes_after_a_wait_sets_off_others_and_moves_between_segments(world: World) -> None:
    await world.segment("gold", {"field": "profile.attributes.plan", "operator": "eq", "value": "gold"})
    await world.flow(triggers=[on()], steps=[wait(HOUR), update(set={"plan": "gold"})])
    await world.flow("auto_2", triggers=[{"type": "attribute", "attribute": "plan"}], steps=[send("changed")])
    await world.flow("auto_3", triggers=[{"type": "segment", "segment": "seg_gold"}], steps=[send("entered")])
    await world.happen()
    await world.decide_all()
    await world.pass_time(HOUR + 1)
    assert world.urls() == ["https://example.test/changed", "https://example.test/entered"]
    assert list(world.person().segments) == ["seg_gold"]


async def test_a_step_that_unsubscribes_moves_between_segments_at_once(world: World) -> None:
    await world.segment("muted", {"subscription": {"channel": "sms", "is": ["unsubscribed"]}})
    await world.flow(triggers=[on()], steps=[update(subscriptions={"sms": "unsubscribed"})])
    await world.happen()
    await world.decide_all()
    assert list(world.person().segments) == ["seg_muted"]


async def test_an_automation_that_reacts_to_a_change_sees_the_counters(world: World) -> None:
    plan = {"type": "attribute", "attribute": "plan"}
    await world.flow(triggers=[plan], conditions=counted(2), steps=[send("gold")])
    await world.happen()
    await world.happen()
    await world.happen(type="hello", **changing(set={"plan": "gold"}))
    await world.decide_all()
    assert world.urls() == ["https://example.test/gold"]


async def test_conditions_see_what_the_automations_before_changed(world: World) -> None:
    await world.flow("auto_1", triggers=[on()], steps=[update(set={"plan": "gold"})])
    gold = {"field": "profile.attributes.plan", "operator": "eq", "value": "gold"}
    await world.flow("auto_2", triggers=[on()], conditions=gold, steps=[send("gold")])
    await world.happen()
    await world.decide_all()
    assert world.urls() == ["https://example.test/gold"]


async def test_whoever_takes_over_a_person_has_their_counters_and_firings_for_the_next_event_of_the_batch(
    world: World,
) -> None:
    third = {"type": "count", "eventType": "order.paid", "count": 3}
    await world.flow("auto_1", triggers=[third], steps=[send("third")])
    await world.flow("auto_2", triggers=[on()], eligibility=Once(), steps=[send("once")])
    await world.segment("busy", counted(2))
    for _ in range(2):
        await world.happen(user="$anonymous/x")
    await world.happen(type="alias", user="$anonymous/x", **changing(merge_into="ann"))
    await world.decide_all()
    assert list(world.person("ann").segments) == ["seg_busy"]
    await world.happen(user="ann")
    await world.decide_all()
    assert sorted(world.urls()) == ["https://example.test/once", "https://example.test/third"]


async def test_counters_taken_over_count_within_the_batch_that_takes_them_over(world: World) -> None:
    third = {"type": "count", "eventType": "order.paid", "count": 3}
    await world.flow("auto_1", triggers=[third], steps=[send("third")])
    await world.flow("auto_2", triggers=[on()], eligibility=Once(), steps=[send("once")])
    for _ in range(2):
        await world.happen(user="$anonymous/x")
    await world.decide_all()
    await world.happen(type="alias", user="$anonymous/x", **changing(merge_into="ann"))
    world.loop._room = 1
    await world.own()
    assert await world.loop._decide_batch() == 1  # now the other profile is told, and decides that with its next event
    await world.happen(user="ann")
    await world.decide_all()
    assert sorted(world.urls()) == ["https://example.test/once", "https://example.test/third"]


async def test_two_people_who_are_merged_into_each_other_are_one_and_deciding_ends(world: World) -> None:
    await world.flow(triggers=[on()], steps=[send("sent", "{{ profile.id }}")])
    await world.happen(type="alias", user="a", **changing(merge_into="b"))
    await world.happen(type="alias", user="b", **changing(merge_into="a"))
    await world.happen(user="a")
    await world.happen(user="b")
    await world.decide_all()
    assert world.urls() == ["https://example.test/b"] * 2


def abandoned(**fields: Any) -> dict[str, Any]:
    return {"type": "absence", "eventType": "cart", "without": ["paid"], "seconds": HOUR} | fields


async def test_a_run_behind_its_absence_is_left_alone_by_a_new_event(world: World) -> None:
    await world.flow(triggers=[abandoned()], steps=[send("coupon"), wait(3 * HOUR), send("last")])
    await world.happen(type="cart")
    await world.decide_all()
    await world.pass_time(HOUR + 1)
    await world.happen(type="cart")
    await world.decide_all()
    await world.pass_time(3 * HOUR + 1)
    assert world.urls().count("https://example.test/last") == 1
    assert world.urls().count("https://example.test/coupon") == 2


async def test_an_absence_begins_anew_also_when_a_new_version_was_published_meanwhile(world: World) -> None:
    automation = await world.flow(triggers=[abandoned()], steps=[send("coupon")])
    await world.happen(type="cart")
    await world.decide_all()
    await publish(world, automation)
    await world.pass_time(HOUR / 2)
    await world.happen(type="cart")
    await world.decide_all()
    await world.pass_time(2 * HOUR)
    assert world.urls() == ["https://example.test/coupon"]


async def test_the_runs_of_an_older_version_wait_too_when_the_automation_is_paused(world: World) -> None:
    automation = await world.flow(triggers=[on()], steps=[wait(HOUR), send("later")])
    await world.happen()
    await world.decide_all()
    paused = await publish(world, automation, enabled=False)
    await world.pass_time(2 * HOUR)
    assert world.urls() == []
    await publish(world, paused, enabled=True)
    await world.look_at_runs(automation.id)
    assert world.urls() == ["https://example.test/later"]


async def test_a_goal_that_was_reached_in_time_counts_however_late_it_is_decided(world: World) -> None:
    goal = {"eventType": "bought", "withinSeconds": HOUR}
    await world.flow(triggers=[on()], steps=[wait(5 * HOUR), send("reminder")], goal=goal)
    await world.happen()
    await world.decide_all()
    world.clock.advance(HOUR - 1)
    await world.happen(type="bought")
    world.clock.advance(10)
    await world.own()
    await world.decide_all()
    assert world.runs() == [("", "completed")]


async def test_a_goal_that_does_not_end_the_run_is_remembered_while_it_waits_for_an_event(world: World) -> None:
    waiting = {"type": "wait_for_event", "name": "reply", "eventTypes": ["replied"], "seconds": HOUR}
    goal = {"eventType": "bought", "withinSeconds": 5 * HOUR, "endsRun": False}
    await world.flow(triggers=[on()], steps=[waiting, send("end")], goal=goal)
    for kind in ("order.paid", "bought", "replied"):
        await world.happen(type=kind)
        await world.decide_all()
    assert world.runs() == [("", "completed")]
    assert "goal" in world.footprints()


async def test_of_two_who_were_merged_into_each_other_at_two_nodes_one_takes_over_the_other_and_is_in_its_segments(
    world: World,
) -> None:
    await world.segment("busy", counted(2))
    for one, other in (("a", "b"), ("b", "a")):
        await world.happen(user=one)
        await world.happen(user=one)
        await world.decide_all()
        tombstone = msgspec.structs.replace(
            world.person(one), merged_into=user_profile(WORKSPACE, other), segments={}
        )  # as two nodes leave it that decide at the same time
        world.store._tables.profiles[tombstone.key] = tombstone
        world.store._tables.members.clear()
    for one, other in (("a", "b"), ("b", "a")):
        told = msgspec.json.encode(EventContext(absorbs=user_profile(WORKSPACE, one)))
        await world.happen(type="profile.merged", user=other, context=told)
    await world.decide_all()
    assert await world.count("a", "order.paid") == 4
    assert list(world.person("a").segments) == ["seg_busy"]
    assert [profile for _, profile in world.store._tables.members] == [user_profile(WORKSPACE, "a")]


async def test_whoever_was_merged_into_another_one_is_in_no_segment(world: World) -> None:
    await world.segment("busy", counted(1))
    await world.happen(user="a")
    await world.happen(type="alias", user="a", **changing(merge_into="b"))
    await world.decide_all()
    assert world.person("a").segments == {}
    assert list(world.person("b").segments) == ["seg_busy"]
