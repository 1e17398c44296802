"""Mappings of sources: what a captured request tells of its user, type, time, id and attributes."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from receiving_world import World

from posthorn.engine.brokers import RedisBroker
from posthorn.engine.directory import Directory
from posthorn.engine.people import ProfileChange
from posthorn.engine.records import Append, Event, RequestOutcome
from posthorn.engine.resources import CloudEventsMapping, DedupeRule, FieldsMapping, Place
from posthorn.receive.bridges.port import BrokerMessage
from posthorn.receive.bridges.units import bridged, unit_of
from posthorn.receive.capture import Incoming
from posthorn.receive.instants import instant_of
from posthorn.receive.mapping import map_fields
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import WORKSPACE, a_source

SHOP = FieldsMapping(
    user=Place(field="order.customer.id"),
    event_type=Place(header="X-Topic"),
    time=Place(field="order.created_at"),
    id=Place(field="order.id"),
    attributes={"email": Place(field="order.customer.email"), "first_item": Place(field="order.items.0.sku")},
)
ORDER: dict[str, Any] = {
    "order": {
        "id": 1007,
        "created_at": "2025-06-01T10:00:00+02:00",
        "customer": {"id": 42, "email": "a@b.example"},
        "items": [{"sku": "S1"}],
    }
}


@pytest.fixture
def world() -> World:
    return World()


async def capture(world: World, body: object, **headers: str) -> Event:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answered = await world.capture(
        body=data, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    assert answered.status == 202
    return world.stored()[-1]


async def test_named_places_become_user_type_time_id_and_attributes(world: World) -> None:
    await world.source(mapping=SHOP)
    event = await capture(world, ORDER, x_topic="orders/paid")
    assert (event.user, event.type, event.uid) == ("42", "orders_paid", "1007")
    assert event.occurred_ms == 1748764800000
    assert world.changes(event) == ProfileChange(set={"email": "a@b.example", "first_item": "S1"})
    assert (event.payload, event.source) == (None, "src_token")
    [request] = world.requests()
    assert (json.loads(request.body), request.event) == (ORDER, event.id)
    [work] = world.store._tables.undecided.values()
    assert work.profile == f"{WORKSPACE}/user/42"


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b"7", b'{"order":null}', b'{"order":{"customer":"x","items":[]}}', b"[" * 99_999]
)
async def test_a_place_where_nothing_stands_leaves_the_event_as_it_is_and_no_sender_is_turned_away(
    world: World, body: bytes
) -> None:
    await world.source(mapping=SHOP, event_type="shop.order")
    event = await capture(world, body)
    assert (event.user, event.type, event.uid, event.context) == (None, "shop.order", None, None)
    assert event.occurred_ms == START_MS


@pytest.mark.parametrize(
    ("value", "user"),
    [("u", "u"), (42, "42"), ("", None), (None, None), (True, None), ([], None), ({}, None), ("u" * 513, None)],
)
async def test_a_user_is_text_or_a_number(world: World, value: object, user: str | None) -> None:
    await world.source(mapping=FieldsMapping(user=Place(field="who")))
    assert (await capture(world, {"who": value})).user == user


async def test_without_a_user_no_attribute_is_set_and_null_deletes_one(world: World) -> None:
    mapping = FieldsMapping(user=Place(header="X-User"), attributes={"a": Place(field="a"), "b": Place(field="b")})
    await world.source(mapping=mapping)
    assert (await capture(world, {"a": 1})).context is None
    assert world.changes(await capture(world, {"a": None}, x_user="u")) == ProfileChange(set={"a": None})


async def test_attributes_that_are_too_large_are_left_out(world: World) -> None:
    await world.source(mapping=FieldsMapping(user=Place(field="u"), attributes={"a": Place(field="a")}))
    event = await capture(world, {"u": "u", "a": "x" * 200_000})
    assert (event.user, event.context) == ("u", None)


async def test_the_mapped_id_makes_two_requests_the_same_one(world: World) -> None:
    await world.source(mapping=SHOP)
    await capture(world, ORDER)
    await capture(world, ORDER)
    assert len(world.stored()) == 1
    assert [request.outcome for request in world.requests()] == [RequestOutcome.ACCEPTED, RequestOutcome.DUPLICATE]


async def test_a_dedupe_rule_goes_before_the_mapped_id(world: World) -> None:
    await world.source(mapping=SHOP, dedupe=DedupeRule(header="X-Id"))
    await capture(world, ORDER, x_id="1")
    await capture(world, ORDER, x_id="2")
    assert [event.uid for event in world.stored()] == ["1007", "1007"]


def cloud(**more: Any) -> CloudEvent:
    attributes = {"type": "order.paid", "source": "/shop", "id": "1", "specversion": "1.0", "user": "u1"}
    return CloudEvent(attributes | {"datacontenttype": "application/json"} | more, {"customer": {"id": "c1"}})


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
async def test_an_inbox_reads_cloudevents_of_the_official_sdk(world: World, write: Any) -> None:
    await world.source(mapping=CloudEventsMapping())
    message = write(cloud())
    answered = await world.capture(body=message.body, headers=dict(message.headers))
    [event], [request] = world.stored(), world.requests()
    assert answered.json == {"request": request.id, "event": event.id}
    assert (event.type, event.user, event.uid, event.content_type) == ("order.paid", "u1", "1", None)
    assert json.loads(world.store._tables.payload_of(event) or b"") == {"customer": {"id": "c1"}}
    assert request.body == message.body
    await world.capture(body=message.body, headers=dict(message.headers))
    assert len(world.stored()) == 1


@pytest.mark.parametrize(("place", "user"), [("subject", "s1"), ("data.customer.id", "c1"), ("other", None)])
async def test_the_user_of_a_cloudevent_stands_where_the_mapping_says(
    world: World, place: str, user: str | None
) -> None:
    await world.source(mapping=CloudEventsMapping(user=place))
    message = to_structured_event(cloud(subject="s1"))
    await world.capture(body=message.body, headers=dict(message.headers))
    assert world.stored()[0].user == user


async def test_a_batch_becomes_as_many_events_of_one_request_and_what_is_none_stays_as_it_came(world: World) -> None:
    await world.source(mapping=CloudEventsMapping(), event_type="cloud.unknown")
    one = json.loads(to_structured_event(cloud()).body)
    body = json.dumps([one, one | {"id": "2", "type": "b"}, {"no": "event"}, one]).encode()
    headers = {"content-type": "application/cloudevents-batch+json"}
    answered = await world.capture(body=body, headers=headers)
    [request] = world.requests()
    events = world.stored()
    assert (answered.status, answered.json["event"]) == (202, events[0].id)
    assert [event.type for event in events] == ["order.paid", "b", "cloud.unknown"]
    assert {event.request for event in events} == {request.id}
    assert events[2].payload == b'{"no": "event"}'
    assert [event.id for event in events] == sorted(event.id for event in events)
    assert request.event == events[0].id


async def test_a_batch_cut_short_is_whole_once_it_is_repeated(world: World) -> None:
    await world.source(mapping=CloudEventsMapping())
    one = json.loads(to_structured_event(cloud()).body)
    body = json.dumps([one | {"id": str(number)} for number in range(1000)]).encode()
    headers = {"content-type": "application/cloudevents-batch+json"}
    world.store.commits_left = 1
    assert (await world.capture(body=body, headers=headers)).status == 503
    world.store.commits_left = None
    assert (await world.capture(body=body, headers=headers)).status == 202
    assert sorted(int(event.uid or "") for event in world.stored()) == list(range(1000))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'[{"a":1}'])
@pytest.mark.parametrize("kind", ["application/cloudevents+json", "application/cloudevents-batch+json", "text/plain"])
async def test_what_is_no_cloudevent_stays_one_event_of_the_sources_own_type(
    world: World, body: bytes, kind: str
) -> None:
    await world.source(mapping=CloudEventsMapping(), event_type="cloud.unknown")
    event = await capture(world, body, content_type=kind)
    assert (event.type, event.user, world.store._tables.payload_of(event)) == ("cloud.unknown", None, body)


def test_a_brokers_messages_are_mapped_too() -> None:
    broker = RedisBroker(url="redis://broker:6379", stream="s", group="g")
    source = a_source(mapping=SHOP, broker=broker)
    message = BrokerMessage(
        occurred_ms=None,
        receipt=None,
        body=json.dumps(ORDER).encode(),
        headers=((b"x-topic", b"order.paid"),),
        subject="s",
        place="s/1",
        key="s/1",
    )
    bridge = bridged(source, protocol="REDIS", peer="broker:6379")
    unit = unit_of(bridge, message, Directory(), START_MS)
    assert isinstance(unit, Append)
    assert unit.event is not None
    assert (unit.event.user, unit.event.type, unit.event.uid) == ("42", "order.paid", "1007")
    assert unit.profile == f"{source.workspace}/user/42"
    assert [claim.key for claim in unit.claims] == ["1007"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3),
    max_leaves=10,
)
PATHS = st.lists(st.sampled_from(["a", "b", "0", "1", "99999999999"]), min_size=1, max_size=4).map(".".join)


@given(VALUES, PATHS, PATHS, PATHS, PATHS)
def test_mapping_anything_gives_an_event_that_can_be_stored(
    value: object, user: str, name: str, time: str, uid: str
) -> None:
    mapping = FieldsMapping(
        user=Place(field=user),
        event_type=Place(field=name),
        time=Place(field=time),
        id=Place(field=uid),
        attributes={"x": Place(field=name)},
    )
    incoming = Incoming(method="POST", path="/", headers=[], body=json.dumps(value).encode())
    event = Event(id="evt_1", workspace=WORKSPACE, type="plain", occurred_ms=START_MS, received_ms=START_MS)
    mapped = map_fields(mapping, incoming, event).event
    assert 0 < len(mapped.type) <= 256
    assert mapped.user is None or 0 < len(mapped.user) <= 512
    assert mapped.uid is None or 0 < len(mapped.uid) <= 256


@pytest.mark.parametrize(
    ("value", "at_ms"),
    [
        ("2025-01-02T03:04:05Z", 1735787045000),
        ("2025-01-02T03:04:05.6789+02:00", 1735779845678),
        ("2025-01-02 03:04:05", 1735787045000),
        ("2025-01-02", 1735776000000),
        (1735787045, 1735787045000),
        (1735787045.5, 1735787045500),
        (1735787045000, 1735787045000),
        ("1735787045", 1735787045000),
        ("1735787045.250", 1735787045250),
        ("1735787045000", 1735787045000),
        ("2025-13-02T03:04:05Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T00:00:00Z", None),
        (10**30, None),
        ("1" * 39, None),
        ("²", None),
        ("", None),
        ("x" * 10_000, None),
        (True, None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_times_are_read_in_the_forms_that_senders_use(value: object, at_ms: int | None) -> None:
    assert instant_of(value) == at_ms


@given(st.text(max_size=45) | st.floats() | st.integers())
def test_reading_a_time_never_fails(value: object) -> None:
    instant_of(value)
