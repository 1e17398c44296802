"""Through how many automations an event came, by each way in: a loop through our own intake ends like any other."""

import base64
import json
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from receiving_world import Answered, World

from posthorn.engine.people import EventContext
from posthorn.engine.resources import TrackingMapping

Send = Callable[[World, dict[str, str]], Awaitable[Answered]]
CLOUD = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "user": "u"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
WRITE_KEY = {"authorization": "Basic " + base64.b64encode(b"write-key:").decode()}
PERSON = {"type": "order.paid", "user": "u", "profile": {"set": {"plan": "gold"}}}


async def by_api(world: World, headers: dict[str, str]) -> Answered:
    return await world.post(json.dumps(PERSON).encode(), **headers)


async def by_a_list(world: World, headers: dict[str, str]) -> Answered:
    return await world.post(json.dumps([PERSON, PERSON]).encode(), **headers)


async def by_cloudevents(world: World, headers: dict[str, str]) -> Answered:
    return await world.call(world.cloud, "/api/v1/event/cloudevents", CLOUD, STRUCTURED | headers)


async def by_segment(world: World, headers: dict[str, str]) -> Answered:
    await world.source("write-key", mapping=TrackingMapping())
    call = {"userId": "u", "event": "order.paid"}
    return await world.call(world.tracking, "/v1/track", call, WRITE_KEY | headers)


async def by_a_batch_of_segment(world: World, headers: dict[str, str]) -> Answered:
    await world.source("write-key", mapping=TrackingMapping())
    call = {"type": "track", "userId": "u", "event": "order.paid"}
    return await world.call(world.tracking, "/v1/batch", {"batch": [call]}, WRITE_KEY | headers)


async def by_braze(world: World, headers: dict[str, str]) -> Answered:
    one = {"external_id": "u", "name": "order.paid", "time": "2025-12-06T19:20:45Z"}
    return await world.call(world.users, "/users/track", {"events": [one]}, headers)


@pytest.fixture
def world() -> World:
    return World()


WAYS = pytest.mark.parametrize(
    "send", [by_api, by_a_list, by_cloudevents, by_segment, by_a_batch_of_segment, by_braze]
)  # fmt: skip


@WAYS
@pytest.mark.parametrize(("headers", "depth"), [({}, 0), ({"posthorn-hops": "3"}, 3)])
async def test_an_event_remembers_its_hops(world: World, send: Send, headers: dict[str, str], depth: int) -> None:
    answered = await send(world, headers)
    assert answered.status in (200, 201, 202), answered.json
    contexts = [event.context for event in world.stored()]
    assert contexts
    for context in contexts:
        known = msgspec.json.decode(context, type=EventContext) if context is not None else EventContext()
        assert known.depth == depth
        assert send is not by_api or known.changes is not None  # what came with it is still there


@WAYS
@pytest.mark.parametrize("hops", ["5", "x", "-1", "9" * 500])
async def test_too_many_hops_are_a_loop(world: World, send: Send, hops: str) -> None:
    answered = await send(world, {"posthorn-hops": hops})
    assert (answered.status, world.stored()) == (508, [])
