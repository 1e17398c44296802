"""When an event happened, by each way in: its sender says it, a time that lies ahead is now, nonsense is told."""

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from receiving_world import Answered, World

from posthorn.clock import HOUR_MS, iso_text
from posthorn.engine.directory import Directory
from posthorn.engine.resources import CloudEventsMapping, FieldsMapping, Place, TrackingMapping
from posthorn.receive.bridges.port import BrokerMessage
from posthorn.receive.bridges.units import bridged, unit_of
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import a_source

Send = Callable[[World, str | None], Awaitable[Answered]]
CLOUD = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
WRITE_KEY = {"authorization": "Basic " + base64.b64encode(b"write-key:").decode()}


def with_time(fields: dict[str, Any], name: str, time: str | None) -> dict[str, Any]:
    return fields if time is None else fields | {name: time}


async def by_api(world: World, time: str | None) -> Answered:
    return await world.post(json.dumps(with_time({"type": "order.paid"}, "time", time)).encode())


async def by_a_list(world: World, time: str | None) -> Answered:
    return await world.post(json.dumps([with_time({"type": "order.paid"}, "time", time)]).encode())


async def by_cloudevents(world: World, time: str | None) -> Answered:
    return await world.call(world.cloud, "/api/v1/event/cloudevents", with_time(CLOUD, "time", time), STRUCTURED)


async def by_cloudevents_to_an_inbox(world: World, time: str | None) -> Answered:
    await world.source(mapping=CloudEventsMapping())
    return await world.capture(body=json.dumps(with_time(CLOUD, "time", time)).encode(), headers=STRUCTURED)


async def by_a_mapping(world: World, time: str | None) -> Answered:
    await world.source(mapping=FieldsMapping(time=Place(field="at")))
    return await world.capture(body=json.dumps(with_time({}, "at", time)).encode())


async def by_segment(world: World, time: str | None) -> Answered:
    await world.source("write-key", mapping=TrackingMapping())
    call = with_time({"userId": "u", "event": "order.paid"}, "timestamp", time)
    return await world.call(world.tracking, "/v1/track", call, WRITE_KEY)


async def by_braze(world: World, time: str | None) -> Answered:
    one = with_time({"external_id": "u", "name": "order.paid"}, "time", time)
    return await world.call(world.users, "/users/track", {"events": [one]})


WAYS: list[Send] = [
    by_api,
    by_a_list,
    by_cloudevents,
    by_cloudevents_to_an_inbox,
    by_a_mapping,
    by_segment,
    by_braze,
]
STRICT: list[Send] = [by_api, by_a_list, by_cloudevents, by_braze]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("send", WAYS)
@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (iso_text(START_MS - 5 * HOUR_MS), START_MS - 5 * HOUR_MS),
        ("1970-01-01T00:00:00Z", 0),
        ("1950-06-01T00:00:00Z", -618_105_600_000),
        (iso_text(START_MS + 1), START_MS),
        (iso_text(START_MS + HOUR_MS), START_MS),
        ("2199-12-31T23:59:59Z", START_MS),
    ],
)
async def test_a_late_event_keeps_its_time_and_one_that_lies_ahead_happens_now(
    world: World, send: Send, time: str, expected: int
) -> None:
    assert (await send(world, time)).status < 300
    [event] = world.stored()
    assert (event.occurred_ms, event.received_ms) == (expected, START_MS)


@pytest.mark.parametrize("send", [send for send in WAYS if send is not by_braze])
async def test_without_a_time_an_event_happens_now(world: World, send: Send) -> None:
    await send(world, None)
    [event] = world.stored()
    assert event.occurred_ms == START_MS


@pytest.mark.parametrize("send", STRICT)
@pytest.mark.parametrize("time", ["soon", "1899-12-31T23:59:59Z", "2200-01-01T00:00:00Z"])
async def test_who_gets_an_answer_is_told_that_a_time_is_none(world: World, send: Send, time: str) -> None:
    answered = await send(world, time)
    assert answered.status in {400, 422}
    assert b"time" in answered.body
    assert world.stored() == []


@pytest.mark.parametrize("send", [send for send in WAYS if send not in STRICT])
@pytest.mark.parametrize("time", ["soon", "1899-12-31T23:59:59Z", "2200-01-01T00:00:00Z"])
async def test_who_is_never_turned_away_has_sent_it_now(world: World, send: Send, time: str) -> None:
    assert (await send(world, time)).status < 300
    [event] = world.stored()
    assert event.occurred_ms == START_MS


@pytest.mark.parametrize(
    ("broker_ms", "field", "expected"),
    [
        (START_MS - 5_000, None, START_MS - 5_000),
        (START_MS + HOUR_MS, None, START_MS),
        (START_MS + HOUR_MS, START_MS - 7, START_MS - 7),
        (START_MS - 5_000, START_MS + HOUR_MS, START_MS),
        (START_MS + HOUR_MS, "soon", START_MS),
    ],
)
def test_a_message_of_a_broker_has_its_brokers_time_unless_a_mapping_finds_another(
    broker_ms: int, field: object, expected: int
) -> None:
    source = a_source(mapping=FieldsMapping(time=Place(field="at")))
    message = BrokerMessage(
        place="orders/3/7",
        subject="orders",
        headers=(),
        body=json.dumps({"at": field}).encode(),
        key="k",
        occurred_ms=broker_ms,
        receipt=None,
    )
    made = unit_of(bridged(source, protocol="KAFKA", peer="kafka.test:9092"), message, Directory(), START_MS)
    assert made.event is not None
    assert made.event.occurred_ms == expected
