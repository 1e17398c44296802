"""`POST /api/v1/event` with `profile`: what an event changes in its user's profile."""

import json
from typing import Any

import pytest
from receiving_world import World

from posthorn.engine.people import Device, ProfileChange, Subscription


@pytest.fixture
def world() -> World:
    return World()


def event(**more: Any) -> bytes:
    return json.dumps({"type": "signed_up", "user": "u1", "data": {"n": 1}} | more).encode()


async def test_a_change_comes_with_the_event(world: World) -> None:
    profile = {
        "set": {"plan": "gold", "address.city": "Köln", "old": None},
        "setOnce": {"first": 1},
        "increment": {"logins": 1, "score": -0.5},
        "add": {"tags": ["a"]},
        "remove": {"tags": ["b"]},
        "subscriptions": {"email": "opted_in"},
        "timeZone": "Europe/Berlin",
        "locale": "de-DE",
        "devices": [{"id": "d1", "platform": "ios"}],
        "existingOnly": True,
        "mergeInto": "u2",
    }
    answered = await world.post(event(profile=profile))
    assert answered.status == 202
    [stored] = world.stored()
    assert stored.payload == b'{"n": 1}'
    assert world.changes(stored) == ProfileChange(
        set=profile["set"],  # type: ignore[arg-type]
        set_once={"first": 1},
        increment={"logins": 1, "score": -0.5},
        add={"tags": ["a"]},
        remove={"tags": ["b"]},
        subscriptions={"email": Subscription.OPTED_IN},
        time_zone="Europe/Berlin",
        locale="de-DE",
        devices=(Device(id="d1", platform="ios"),),
        existing_only=True,
        merge_into="u2",
    )


async def test_an_event_without_a_change_carries_no_context(world: World) -> None:
    await world.post(event())
    await world.post(event(profile=None))
    assert [stored.context for stored in world.stored()] == [None, None]


@pytest.mark.parametrize(
    ("profile", "loc"),
    [
        ({"sett": {}}, ["sett"]),
        ({"set": []}, ["set"]),
        ({"set": {"": 1}}, ["set"]),
        ({"increment": {"n": "1"}}, ["increment", "..."]),
        ({"add": {"n": 1}}, ["add", "..."]),
        ({"subscriptions": {"email": "yes"}}, ["subscriptions", "..."]),
        ({"timeZone": "Mars/Olympus"}, ["timeZone"]),
        ({"timeZone": "../secret"}, ["timeZone"]),
        ({"locale": "de_DE"}, ["locale"]),
        ({"locale": "-"}, ["locale"]),
        ({"mergeInto": ""}, ["mergeInto"]),
        ({"mergeInto": "u1"}, ["mergeInto"]),
        ({"set": {"x": "y" * 140_000}}, []),
    ],
)
async def test_a_wrong_change_is_refused_at_its_place(world: World, profile: Any, loc: list[str]) -> None:
    answered = await world.post(event(profile=profile))
    assert (answered.status, answered.problems()[0][0]) == (422, ["body", "profile", *loc])
    several = await world.post(b"[" + event() + b"," + event(profile=profile) + b"]")
    assert (several.status, several.problems()[0][0]) == (422, ["body", 1, "profile", *loc])
    assert world.stored() == []


async def test_a_change_needs_a_user(world: World) -> None:
    answered = await world.post(event(user=None, profile={"set": {"a": 1}}))
    assert (answered.status, answered.problems()) == (422, [(["body", "profile"], "missing")])


async def test_the_same_id_with_another_change_is_a_conflict(world: World) -> None:
    first = await world.post(event(id="x", profile={"set": {"a": 1}}))
    again = await world.post(event(id="x", profile={"set": {"a": 1}}))
    other = await world.post(event(id="x", profile={"set": {"a": 2}}))
    assert (again.json, other.status) == (first.json, 409)


async def test_events_of_one_call_are_decided_in_its_order(world: World) -> None:
    await world.post(b"[" + b",".join([event()] * 50) + b"]")
    identifiers = [stored.id for stored in world.stored()]
    assert identifiers == sorted(identifiers)
