"""Messages: who gets one is decided in its own commit, and a repeated call changes nothing."""

import pytest
from receiving_world import World

from posthorn.engine.resources import Kind
from posthorn.errors import NotFound
from posthorn.testing.factories import OTHER_WORKSPACE, WORKSPACE, an_application, an_automation, an_endpoint

MESSAGE = b'{"eventType":"order.paid","payload":{"total":  12}}'


@pytest.fixture
async def world() -> World:
    world = World()
    await world.put(an_application(id="app_1", uid="shop"))
    return world


def delivered_to(world: World) -> list[str]:
    return sorted(row.endpoint for row in world.store._tables.deliveries.values())


async def endpoints(world: World, **by_name: dict[str, object]) -> None:
    for name, fields in by_name.items():
        await world.put(an_endpoint(id=name, parent="app_1", **fields))


async def test_a_message_is_stored_byte_for_byte_and_owed_to_each_endpoint(world: World) -> None:
    await endpoints(world, ep_1={}, ep_2={})
    answered = await world.post(MESSAGE, app="shop")
    [event] = world.stored()
    assert (answered.status, answered.json["id"], answered.json["payload"]) == (202, event.id, {"total": 12})
    assert answered.json["timestamp"] == "2026-01-01T00:00:00.000Z"
    assert (event.payload, event.application) == (b'{"total":  12}', "app_1")
    assert delivered_to(world) == ["ep_1", "ep_2"]
    assert {endpoint for _, endpoint in world.to_deliver.collect()} == {"ep_1", "ep_2"}


async def test_types_channels_and_disabled_endpoints_decide_who_gets_it(world: World) -> None:
    await endpoints(
        world,
        ep_all={},
        ep_type={"event_types": ("order.paid",)},
        ep_other_type={"event_types": ("order.sent",)},
        ep_a={"channels": ("a",)},
        ep_b={"channels": ("b",)},
        ep_off={"disabled": True},
    )
    await world.post(MESSAGE, app="shop")
    assert delivered_to(world) == ["ep_all", "ep_type"]
    world.store._tables.deliveries.clear()
    await world.post(b'{"eventType":"order.paid","payload":{},"channels":["a","c"]}', app="shop")
    assert delivered_to(world) == ["ep_a", "ep_all", "ep_type"]


async def test_a_change_of_endpoints_counts_for_the_next_message(world: World) -> None:
    await world.post(MESSAGE, app="shop")
    await endpoints(world, ep_1={})
    await world.post(MESSAGE, app="shop")
    assert delivered_to(world) == ["ep_1"]
    await world.store.delete(Kind.ENDPOINT, world.stored()[0].workspace, "ep_1")
    await world.directory.refresh(world.store)
    await world.post(MESSAGE, app="shop")
    assert delivered_to(world) == ["ep_1"]


async def test_content_can_be_left_out_of_the_answer(world: World) -> None:
    answered = await world.post(MESSAGE, app="shop", query="?with_content=false")
    assert (answered.json["payload"], world.stored()[0].payload) == ({}, b'{"total":  12}')


async def test_a_repeated_call_under_its_key_is_answered_alike_and_stored_once(world: World) -> None:
    first = await world.post(MESSAGE, app="shop", idempotency_key="k")
    again = await world.post(MESSAGE, app="shop", idempotency_key="k")
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (202, first.body, "true")
    assert len(world.stored()) == 1


async def test_a_used_key_with_another_request_is_409(world: World) -> None:
    await world.put(an_application(id="app_2", uid="other"))
    await world.post(MESSAGE, app="shop", idempotency_key="k")
    for body, app, query in ((MESSAGE, "other", ""), (MESSAGE + b" ", "shop", ""), (MESSAGE, "shop", "?a=b")):
        refused = await world.post(body, app=app, query=query, idempotency_key="k")
        assert (refused.status, refused.json["code"]) == (409, "idempotency_mismatch")
    assert len(world.stored()) == 1


async def test_an_expired_key_may_be_used_again(world: World) -> None:
    await world.post(MESSAGE, app="shop", idempotency_key="k")
    world.clock.advance(24 * 3600 + 1)
    assert (await world.post(b'{"eventType":"b","payload":{}}', app="shop", idempotency_key="k")).status == 202


async def test_an_event_id_is_taken_once_in_an_application(world: World) -> None:
    await world.put(an_application(id="app_2", uid="other"))
    body = b'{"eventType":"a","payload":{},"eventId":"x"}'
    first = await world.post(body, app="shop", idempotency_key="k")
    refused = await world.post(body, app="shop")
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert first.json["id"] in refused.json["detail"]
    assert (await world.post(body, app="shop", idempotency_key="k")).body == first.body
    assert (await world.post(body, app="other")).status == 202


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (b'{"payload":{}}', ["body", "eventType"]),
        (b'{"eventType":"a"}', ["body", "payload"]),
        (b'{"eventType":"a","payload":[]}', ["body", "payload"]),
        (b'{"eventType":"a","payload":{},"extra":1}', ["body", "extra"]),
        (b'{"eventType":"a\\n","payload":{}}', ["body", "eventType"]),
        (b'{"eventType":"a","payload":{},"channels":[]}', ["body", "channels"]),
        (b'{"eventType":"a","payload":{},"channels":["x y"]}', ["body", "channels", 0]),
        (b'{"eventType":"a","payload":{"b":"\xfe"}}', ["body"]),
        (b'{"eventType":"a","payload":' + b'{"a":' * 50_000, ["body"]),
    ],
)
async def test_what_is_wrong_is_named_with_its_place(world: World, body: bytes, loc: list[object]) -> None:
    answered = await world.post(body, app="shop")
    assert (answered.status, [place for place, _ in answered.problems()]) == (422, [loc])
    assert world.stored() == []


async def test_applications_of_nobody_and_of_others_are_404(world: World) -> None:
    await world.put(an_application(id="app_3", uid="theirs", workspace=OTHER_WORKSPACE))
    for app in ("nobody", "theirs", "app_3"):
        assert (await world.post(MESSAGE, app=app)).status == 404


async def test_more_than_two_mebibytes_are_413(world: World) -> None:
    body = b'{"eventType":"a","payload":{"a":"' + b"x" * 2 * 1024 * 1024 + b'"}}'
    answered = await world.post(body, app="shop")
    assert (answered.status, answered.json["code"]) == (413, "payload_too_large")


async def test_a_message_that_an_automation_listens_to_becomes_decision_work(world: World) -> None:
    await world.put(an_automation())
    await world.post(MESSAGE, app="shop")
    await world.post(b'{"eventType":"other","payload":{}}', app="shop")
    assert [work.event for work in world.store._tables.undecided.values()] == [world.stored()[0].id]


async def test_an_example_goes_to_the_endpoint_it_is_meant_for_alone(world: World) -> None:
    await endpoints(world, ep_1={"event_types": ("other",)}, ep_2={})
    event = await world.messages.publish(WORKSPACE, "app_1", "order.paid", b"{}", "ep_1")
    assert delivered_to(world) == ["ep_1"]
    assert [stored.id for stored in world.stored()] == [event.id]
    with pytest.raises(NotFound):
        await world.messages.publish(WORKSPACE, "app_none", "order.paid", b"{}")
