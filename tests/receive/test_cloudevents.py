"""CloudEvents by API: three modes, as the official SDK writes them, and everything that is none."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from receiving_world import Answered, World

from posthorn.engine.marks import HOPS_HEADER
from posthorn.errors import Invalid
from posthorn.receive.capture import MOST_HOPS
from posthorn.receive.cloudevents import read, read_structured
from posthorn.testing.clock import START_MS

TARGET = "/api/v1/event/cloudevents"
ONE = {"content-type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
PLAIN: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid"}


@pytest.fixture
def world() -> World:
    return World()


async def post(world: World, body: Any, headers: dict[str, str] | None = None, query: str = "") -> Answered:
    return await world.call(world.cloud, TARGET + query, body, ONE if headers is None else headers)


def sdk_event(**more: Any) -> CloudEvent:
    attributes = {
        **PLAIN,
        "time": datetime(2025, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC),
        "subject": "Käthe 42%",
        "datacontenttype": "application/json",
        "user": "u1",
    }
    return CloudEvent(attributes | more, {"total": 19.5})


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
async def test_what_the_official_sdk_writes_is_understood(world: World, write: Any) -> None:
    message = write(sdk_event())
    answered = await post(world, message.body, dict(message.headers))
    [event] = world.stored()
    assert answered.status == 202
    assert answered.json == {"id": event.id, "uid": "1", "type": "order.paid", "time": "2025-03-04T05:06:07.089Z"}
    assert (event.type, event.user, event.uid, event.content_type) == ("order.paid", "u1", "1", None)
    assert json.loads(event.payload or b"") == {"total": 19.5}


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
async def test_the_user_stands_where_the_call_says(world: World, write: Any) -> None:
    message = write(sdk_event())
    await post(world, message.body, dict(message.headers), "?user=subject")
    assert world.stored()[0].user == "Käthe 42%"
    world = World()
    await post(world, write(sdk_event()).body, dict(message.headers), "?user=data.total")
    assert world.stored()[0].user == "19.5"
    world = World()
    await post(world, write(sdk_event()).body, dict(message.headers), "?user=data.customer.id")
    assert world.stored()[0].user is None


async def test_data_is_kept_byte_for_byte(world: World) -> None:
    body = b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{ "n": 1.50, "n":2 },"more":7,"yes":true}'
    await post(world, body)
    assert world.stored()[0].payload == b'{ "n": 1.50, "n":2 }'


@pytest.mark.parametrize(
    ("members", "payload", "content_type"),
    [
        ({}, b"{}", None),
        ({"data": None}, b"null", None),
        ({"data": [1]}, b"[1]", None),
        ({"data": "text"}, b'"text"', None),
        ({"data": "text", "datacontenttype": "application/vnd.x+json"}, b'"text"', None),
        ({"data": "<a/>", "datacontenttype": "text/xml"}, b"<a/>", "text/xml"),
        ({"data": {"a": 1}, "datacontenttype": "text/xml"}, b'{"a":1}', None),
        (
            {"data_base64": base64.b64encode(b"\x00\xff").decode(), "datacontenttype": "image/png"},
            b"\x00\xff",
            "image/png",
        ),
        ({"data_base64": base64.b64encode(b"{}").decode()}, b"{}", None),
    ],
)
async def test_data_of_every_kind_becomes_the_payload(
    world: World, members: dict[str, Any], payload: bytes, content_type: str | None
) -> None:
    assert (await post(world, PLAIN | members)).status == 202
    [event] = world.stored()
    assert (event.payload, event.content_type) == (payload, content_type)


async def test_binary_mode_keeps_a_body_of_any_type(world: World) -> None:
    headers = {f"ce-{name}": value for name, value in PLAIN.items()} | {"content-type": "image/png"}
    await post(world, b"\x00\xff", headers | {"ce-subject": '"a%20%22b%22"'}, "?user=subject")
    [event] = world.stored()
    assert (event.payload, event.content_type, event.user) == (b"\x00\xff", "image/png", 'a "b"')


async def test_without_a_time_an_event_happens_now(world: World) -> None:
    await post(world, PLAIN)
    assert world.stored()[0].occurred_ms == START_MS


async def test_the_same_source_and_id_is_the_same_event_in_every_mode(world: World) -> None:
    first = await post(world, PLAIN)
    headers = {f"ce-{name}": value for name, value in PLAIN.items()}
    again = await post(world, b'{"other":1}', headers | {"content-type": "application/json"})
    assert (again.status, again.json) == (202, first.json)
    await post(world, PLAIN | {"source": "/other"})
    assert len(world.stored()) == 2


async def test_a_batch_is_answered_row_by_row(world: World) -> None:
    await post(world, PLAIN)
    answered = await post(world, [PLAIN, PLAIN | {"id": "2"}, PLAIN | {"id": "2"}, PLAIN | {"id": "3"}], BATCH)
    assert answered.status == 202
    assert [row["status"] for row in answered.json["data"]] == ["duplicate", "accepted", "duplicate", "accepted"]
    assert [event.uid for event in world.stored()] == ["1", "2", "3"]
    assert world.stored()[1].id < world.stored()[2].id


async def test_a_repeated_call_under_its_key_gets_its_answer_again(world: World) -> None:
    body = [PLAIN, PLAIN | {"id": "2"}]
    first = await post(world, body, BATCH | {"idempotency-key": "k"})
    again = await post(world, body, BATCH | {"idempotency-key": "k"})
    assert (again.status, again.json, len(world.stored())) == (202, first.json, 2)


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        (b"", ["body"], "json_invalid"),
        (b"{", ["body"], "json_invalid"),
        (b"[]", ["body"], "value_error"),
        (b'{"a":"\xff"}', ["body"], "json_invalid"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ["body"], "json_invalid"),
        ({}, ["body", "specversion"], "missing"),
        (PLAIN | {"specversion": "0.3"}, ["body", "specversion"], "value_error"),
        (PLAIN | {"id": None}, ["body", "id"], "missing"),
        (PLAIN | {"source": ""}, ["body", "source"], "missing"),
        (PLAIN | {"type": "x" * 257}, ["body", "type"], "value_error"),
        (PLAIN | {"time": "yesterday"}, ["body", "time"], "value_error"),
        (PLAIN | {"extra": {"a": 1}}, ["body", "extra"], "value_error"),
        (PLAIN | {"data_base64": "!"}, ["body", "data_base64"], "value_error"),
        (PLAIN | {"data": "x" * 2_097_152}, ["body", "data"], "too_large"),
    ],
)
async def test_what_is_no_cloudevent_is_refused_at_its_place(
    world: World, body: Any, loc: list[object], kind: str
) -> None:
    answered = await post(world, body)
    assert (answered.status, answered.problems()) == (422, [(loc, kind)])
    assert world.stored() == []


@pytest.mark.parametrize(
    ("headers", "loc"),
    [
        ({"content-type": "application/json"}, ["header", "ce-specversion"]),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s"}, ["header", "ce-type"]),
        ({"content-type": "application/cloudevents+avro"}, ["header", "content-type"]),
    ],
)
async def test_headers_that_make_no_event_are_refused_at_their_place(
    world: World, headers: dict[str, str], loc: list[object]
) -> None:
    answered = await post(world, b"{}", headers)
    assert (answered.status, answered.problems()[0][0]) == (422, loc)


async def test_every_wrong_event_of_a_batch_is_named_and_none_is_kept(world: World) -> None:
    answered = await post(world, [PLAIN, {"id": "2"}, 7], BATCH)
    assert answered.problems() == [(["body", 1, "specversion"], "missing"), (["body", 2], "value_error")]
    assert world.stored() == []
    assert (await post(world, [], BATCH)).status == 422
    assert (await post(world, PLAIN, BATCH)).status == 422


@pytest.mark.parametrize("query", ["?user=Not-An-Attribute", "?user=data.", "?user=", "?usr=subject"])
async def test_a_place_where_no_user_can_stand_is_refused(world: World, query: str) -> None:
    answered = await post(world, PLAIN, ONE, query)
    assert (answered.status, answered.problems()[0][0][0]) == (422, "query")


async def test_a_call_that_goes_round_in_a_loop_is_refused(world: World) -> None:
    answered = await post(world, PLAIN, ONE | {HOPS_HEADER: str(MOST_HOPS)})
    assert (answered.status, world.stored()) == (508, [])


async def test_without_a_key_nothing_is_taken(world: World) -> None:
    answered = await post(world, PLAIN, ONE | {"authorization": "Bearer wrong"})
    assert (answered.status, world.stored()) == (401, [])


@given(st.binary(max_size=80) | st.dictionaries(st.text(max_size=5), st.text(max_size=5)).map(msgspec.json.encode))
def test_reading_anything_gives_an_event_or_says_what_is_wrong(text: bytes) -> None:
    for attempt in (lambda: read_structured(text, "body"), lambda: read([(b"ce-id", text)], text)):
        with pytest.raises(Invalid):
            attempt()


@given(
    st.fixed_dictionaries(
        {name: st.text(min_size=1, max_size=20) for name in ("id", "source", "type")},
        optional={"subject": st.text(max_size=20)},
    ),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)),
)
def test_an_event_is_read_as_it_was_written(attributes: dict[str, str], data: dict[str, Any]) -> None:
    event = read_structured(json.dumps({"specversion": "1.0", **attributes, "data": data}).encode(), "body")
    assert {name: event.attributes[name] for name in attributes} == attributes
    assert json.loads(event.data) == data
