"""Segment's tracking calls: what becomes of each, who may send them, and what is refused in which words."""

import asyncio
import base64
import gzip
import json
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiving_world import Answered, World

from posthorn.clock import HOUR_MS, MINUTE_MS, iso_text
from posthorn.engine.marks import HOPS_HEADER
from posthorn.engine.people import Device, ProfileChange
from posthorn.engine.records import Event
from posthorn.engine.resources import TrackingMapping
from posthorn.receive.capture import MOST_HOPS
from posthorn.receive.inflating import NotInflated, inflated
from posthorn.receive.tracking.items import with_members
from posthorn.receive.wire import with_whole_characters
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import WORKSPACE

KEY = "token"
BASIC = {"authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()}
DAY_31_MS = 31 * 24 * HOUR_MS


@pytest.fixture
async def world() -> World:
    world = World()
    await world.source(KEY, mapping=TrackingMapping())
    return world


async def track(world: World, path: str, body: Any, headers: dict[str, str] | None = None) -> Answered:
    return await world.call(world.tracking, f"/v1/{path}", body, BASIC if headers is None else headers)


async def tracked(world: World, path: str, body: Any) -> list[Event]:
    """Send a call that must succeed and return the events that it added."""
    before = len(world.stored())
    answered = await track(world, path, body)
    assert (answered.status, answered.json) == (200, {"success": True})
    return world.stored()[before:]


async def test_track_is_an_event_of_its_name_with_its_properties_byte_for_byte(world: World) -> None:
    body = (
        b'{"userId":"u1","event":"Item Purchased","messageId":"m1","timestamp":"2025-01-02T03:04:05.678Z",'
        b'"properties": { "revenue": 14.990, "big":123456789012345678901234567890, "a":1,"a":2 } }'
    )
    [event] = await tracked(world, "track", body)
    assert (event.type, event.user, event.uid, event.source) == ("Item Purchased", "u1", "m1", "src_token")
    assert event.payload == b'{ "revenue": 14.990, "big":123456789012345678901234567890, "a":1,"a":2 }'
    assert iso_text(event.occurred_ms) == "2025-01-02T03:04:05.678Z"
    assert (event.workspace, event.context, event.content_type) == (WORKSPACE, None, None)
    [work] = world.store._tables.undecided.values()
    assert work.profile == f"{WORKSPACE}/user/u1"


@pytest.mark.parametrize(
    ("path", "kind"), [("t", "x"), ("i", "identify"), ("p", "page"), ("s", "screen"), ("g", "group"), ("a", "alias")]
)
async def test_the_one_letter_paths_of_browsers_and_phones_are_the_same_calls(
    world: World, path: str, kind: str
) -> None:
    body = {"userId": "u", "event": "x", "groupId": "g", "previousId": "anon", "anonymousId": "anon"}
    assert kind in [event.type for event in await tracked(world, path, body)]


async def test_context_is_a_member_of_the_data_unless_a_property_has_that_name(world: World) -> None:
    body: dict[str, Any] = {"userId": "u", "event": "e", "context": {"ip": "192.0.2.1"}}
    [event] = await tracked(world, "track", body)
    assert event.payload == b'{"context":{"ip":"192.0.2.1"}}'
    [event] = await tracked(world, "track", body | {"properties": {"a": {"context": 1}}})
    assert event.payload == b'{"a":{"context":1},"context":{"ip":"192.0.2.1"}}'
    [event] = await tracked(world, "track", body | {"properties": {"context": "mine"}})
    assert event.payload == b'{"context":"mine"}'


async def test_pages_and_screens_carry_their_name_and_category(world: World) -> None:
    page = {"userId": "u", "name": "Pricing", "category": "Docs", "properties": {"url": "/p", "category": "own"}}
    [event] = await tracked(world, "page", page)
    assert (event.type, event.payload) == ("page", b'{"url":"/p","category":"own","name":"Pricing"}')
    [event] = await tracked(world, "screen", {"anonymousId": "a"})
    assert (event.type, event.user, event.payload) == ("screen", "$anonymous/a", b"{}")


async def test_identify_sets_traits_time_zone_locale_and_device(world: World) -> None:
    body = {
        "userId": 42,
        "traits": {"email": "a@b.example", "address": {"city": "Köln"}, "gone": None},
        "context": {
            "timezone": "Europe/Berlin",
            "locale": "de_DE",
            "device": {"id": "d1", "type": "ios", "model": "iPhone", "token": "push"},
            "os": {"name": "iOS"},
            "app": {"version": "2.1"},
        },
    }
    [event] = await tracked(world, "identify", body)
    assert (event.type, event.user) == ("identify", "42")
    assert msgspec.json.decode(event.payload or b"")["email"] == "a@b.example"
    device = Device(
        id="d1", platform="ios", model="iPhone", os="iOS", app_version="2.1", push_token="push", seen_ms=START_MS
    )
    assert world.changes(event) == ProfileChange(
        set=body["traits"], time_zone="Europe/Berlin", locale="de-DE", devices=(device,)
    )


@pytest.mark.parametrize(
    "context",
    [
        {"timezone": "Mars/Olympus", "locale": "!", "device": {"id": ""}},
        {"timezone": 7, "locale": [], "device": "phone", "os": 1},
        {"timezone": "../../etc/passwd", "locale": "x" * 500},
    ],
)
async def test_what_is_no_time_zone_locale_or_device_is_left_out(world: World, context: Any) -> None:
    [event] = await tracked(world, "identify", {"userId": "u", "traits": {"a": 1}, "context": context})
    assert world.changes(event) == ProfileChange(set={"a": 1})


async def test_identify_with_both_ids_merges_the_anonymous_person_once_in_thirty_days(world: World) -> None:
    body = {"userId": "u", "anonymousId": "a"}
    merge, identify = await tracked(world, "identify", body)
    assert (merge.type, merge.user, world.changes(merge)) == ("alias", "$anonymous/a", ProfileChange(merge_into="u"))
    assert (identify.type, identify.user) == ("identify", "u")
    assert merge.id < identify.id
    assert [event.type for event in await tracked(world, "identify", body)] == ["identify"]
    assert len(await tracked(world, "identify", body | {"anonymousId": "b"})) == 2
    world.clock.advance(DAY_31_MS / 1000)
    assert len(await tracked(world, "identify", body)) == 2


async def test_who_signs_in_next_in_the_same_browser_is_not_merged_with_the_first(world: World) -> None:
    await tracked(world, "identify", {"userId": "first", "anonymousId": "shared"})
    [event] = await tracked(world, "identify", {"userId": "second", "anonymousId": "shared"})
    assert (event.type, event.user) == ("identify", "second")


async def test_alias_moves_the_previous_id_whichever_kind_it_was(world: World) -> None:
    known, anonymous = await tracked(world, "alias", {"previousId": "old", "userId": "new"})
    assert (known.user, world.changes(known)) == ("old", ProfileChange(merge_into="new"))
    assert anonymous.user == "$anonymous/old"
    assert world.changes(anonymous) == ProfileChange(merge_into="new", existing_only=True)
    [event] = await tracked(world, "alias", {"previousId": "a", "anonymousId": "a", "userId": "new"})
    assert event.user == "$anonymous/a"


async def test_at_the_public_door_an_alias_moves_nobody_but_the_anonymous(world: World) -> None:
    body = {"previousId": "victim", "userId": "attacker"}
    await world.call(world.public_tracking, "/v1/alias", body, BASIC)
    [event] = world.stored()
    assert (event.user, world.changes(event)) == ("$anonymous/victim", ProfileChange(merge_into="attacker"))


async def test_a_group_becomes_an_attribute_of_the_person(world: World) -> None:
    [event] = await tracked(world, "group", {"userId": "u", "groupId": "acme.com", "traits": {"plan": "gold"}})
    assert event.payload == b'{"plan":"gold","groupId":"acme.com"}'
    assert world.changes(event) == ProfileChange(set={"groups.acme_com": {"plan": "gold"}})


async def test_a_message_id_seen_before_is_taken_once_by_each_source(world: World) -> None:
    body = {"userId": "u", "event": "e", "messageId": "m"}
    await tracked(world, "track", body)
    assert await tracked(world, "track", body) == []
    assert await tracked(world, "batch", {"batch": [body | {"type": "track"}]}) == []
    await world.source("other", mapping=TrackingMapping())
    assert (await track(world, "track", body | {"writeKey": "other"}, {"authorization": ""})).status == 200
    assert len(world.stored()) == 2


async def test_a_batch_is_taken_in_its_order_with_its_context_and_its_sent_at(world: World) -> None:
    sent = START_MS + HOUR_MS  # the sender's clock is an hour ahead
    calls = [
        {"type": "identify", "userId": "u", "anonymousId": "a", "traits": {"n": 1}},
        {"type": "track", "userId": "u", "event": "one", "context": {"ip": "2"}},
        {"type": "track", "userId": "u", "event": "two", "timestamp": iso_text(sent - MINUTE_MS)},
        {"type": "page", "userId": "u"},
    ]
    body = {"batch": calls, "sentAt": iso_text(sent), "context": {"ip": "1", "locale": "en-US"}}
    events = await tracked(world, "batch", body)
    assert [event.type for event in events] == ["alias", "identify", "one", "two", "page"]
    assert [event.id for event in events] == sorted(event.id for event in events)
    assert world.changes(events[1]).locale == "en-US"
    assert json.loads(events[2].payload or b"")["context"] == {"ip": "2", "locale": "en-US"}
    assert events[3].occurred_ms == START_MS - MINUTE_MS


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, START_MS),
        ({"timestamp": "2012-12-02T00:30:08.276Z"}, 1354408208276),
        ({"timestamp": "2015-2-02T00:30:08.276Z"}, 1422837008276),
        ({"timestamp": START_MS - 5}, START_MS - 5),
        ({"timestamp": "nonsense"}, START_MS),
        ({"timestamp": {"a": 1}}, START_MS),
        ({"timestamp": iso_text(START_MS + HOUR_MS)}, START_MS),
        ({"originalTimestamp": START_MS - 10, "timestamp": START_MS - 99}, START_MS - 10),
        ({"timestamp": START_MS + HOUR_MS - 700, "sentAt": START_MS + HOUR_MS}, START_MS - 700),
        ({"timestamp": START_MS - HOUR_MS - 700, "sentAt": START_MS - HOUR_MS}, START_MS - 700),
        ({"timestamp": START_MS + 700, "sentAt": START_MS}, START_MS),
        ({"timestamp": START_MS - 700, "sentAt": "never"}, START_MS - 700),
    ],
)
async def test_times_are_corrected_by_the_senders_clock_and_never_lie_ahead(
    world: World, times: dict[str, Any], expected: int
) -> None:
    [event] = await tracked(world, "track", {"userId": "u", "event": "e"} | times)
    assert event.occurred_ms == expected


async def test_the_key_may_stand_in_the_header_the_body_or_the_query(world: World) -> None:
    body = {"userId": "u", "event": "e"}
    none = {"authorization": ""}
    assert (await track(world, "track", body | {"writeKey": KEY}, none)).status == 200
    assert (await track(world, f"track?writeKey={KEY}", body, none)).status == 200
    assert (await track(world, "batch", {"batch": [body | {"type": "track"}], "writeKey": KEY}, none)).status == 200
    bare = {"authorization": "Basic " + base64.b64encode(KEY.encode()).decode()}
    assert (await track(world, "track", body, bare)).status == 200
    assert len(world.stored()) == 4


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"wrong:").decode()},
        {"authorization": "Basic " + base64.b64encode(b":").decode()},
        {"authorization": "Basic " + base64.b64encode(b"k" * 4000).decode()},
        {"authorization": "Basic " + base64.b64encode(b"inbox:").decode()},
    ],
)
async def test_without_a_write_key_nothing_is_taken(world: World, headers: dict[str, str]) -> None:
    await world.source("inbox")  # the token of an inbox is no write key
    answered = await track(world, "track", {"userId": "u", "event": "e", "messageId": "m"}, headers)
    assert (answered.status, answered.json["success"], answered.json["code"]) == (401, False, "invalid_write_key")
    assert world.stored() == []


async def test_a_wrong_key_in_the_header_is_not_mended_by_one_in_the_body(world: World) -> None:
    wrong = {"authorization": "Basic " + base64.b64encode(b"wrong:").decode()}
    answered = await track(world, "track", {"userId": "u", "event": "e", "writeKey": KEY}, wrong)
    assert answered.status == 401


async def test_a_write_key_is_no_inbox_address(world: World) -> None:
    assert (await world.capture(f"/in/{KEY}")).status == 404
    assert world.requests() == []


async def test_a_source_that_is_switched_off_takes_nothing(world: World) -> None:
    await world.source("off", mapping=TrackingMapping(), enabled=False)
    answered = await track(world, "track?writeKey=off", {"userId": "u", "event": "e"}, {"authorization": ""})
    assert (answered.status, answered.json["code"]) == (403, "source_disabled")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("track", {"event": "e"}, "no_user_anon_id"),
        ("track", {"event": "e", "userId": True, "anonymousId": ""}, "no_user_anon_id"),
        ("track", {"event": "e", "userId": "u" * 513}, "no_user_anon_id"),
        ("track", {"userId": "u"}, "missing_event"),
        ("track", {"userId": "u", "event": "  "}, "missing_event"),
        ("track", {"userId": "u", "event": "x" * 257}, "missing_event"),
        ("track", {"userId": "u", "event": "e", "properties": [1]}, "invalid_properties"),
        ("identify", {"userId": "u", "traits": "x"}, "invalid_traits"),
        ("identify", b'{"userId":"u","traits":{"a":"\\u12"}}', "invalid_json"),
        ("group", {"userId": "u"}, "missing_group_id"),
        ("alias", {"userId": "u"}, "missing_previous_id"),
        ("alias", {"userId": "u", "previousId": "u"}, "same_id"),
        ("track", b"{", "invalid_json"),
        ("track", b"[1]", "invalid_request"),
        ("track", b'{"event":"\xff"}', "invalid_json"),
        ("track", b'{"properties":' + b"[" * 15_000 + b"]" * 15_000 + b"}", "invalid_json"),
        ("batch", {}, "invalid_request"),
        ("batch", {"batch": {}}, "invalid_request"),
        ("batch", {"batch": [{}] * 2501}, "batch_too_long"),
        ("batch", {"batch": [{"type": "track"}, 7]}, "missing_event"),
    ],
)
async def test_what_cannot_be_used_is_refused_by_name_and_not_kept(
    world: World, path: str, body: Any, code: str
) -> None:
    answered = await track(world, path, body)
    assert (answered.status, answered.json["success"], answered.json["code"]) == (400, False, code)
    assert answered.json["message"] == answered.json["detail"] != ""
    assert answered.headers["access-control-allow-origin"] == "*"
    assert world.stored() == []


async def test_one_wrong_call_of_a_batch_costs_only_itself_and_is_named(world: World) -> None:
    good = {"type": "track", "userId": "u", "event": "e"}
    big = good | {"properties": {"x": "y" * 33_000}}
    calls = [msgspec.json.encode(call) for call in (good, {"type": "magic"}, 7, big)]
    body = b'{"batch":[' + b",".join([*calls, calls[0]]) + b"]}"
    answered = await track(world, "batch", body)
    assert (answered.status, answered.json["success"]) == (200, True)
    assert [(error["index"], error["code"]) for error in answered.json["errors"]] == [
        (1, "unknown_type"), (2, "invalid_event"), (3, "event_too_large"),
    ]  # fmt: skip
    assert len(world.stored()) == 2


async def test_a_text_that_was_cut_within_a_character_costs_nothing_but_that_character(world: World) -> None:
    emoji = '{"userId":"u","event":"e","properties":{"a":"\\ud83d\\ude00","b":"cut \\uD83D","c":"\\\\ud83d"}}'
    [event] = await tracked(world, "track", emoji.encode())
    assert json.loads(event.payload or b"") == {"a": "\U0001f600", "b": "cut \ufffd", "c": "\\ud83d"}


@given(st.text(alphabet=st.characters(categories=("Cs", "Lu", "So")) | st.sampled_from('\\"u'), max_size=12))
def test_half_characters_are_replaced_and_nothing_else(text: str) -> None:
    mended = with_whole_characters(json.dumps(text).encode())
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert msgspec.json.decode(mended) == whole


async def test_a_call_that_goes_round_in_a_loop_is_refused(world: World) -> None:
    body = {"userId": "u", "event": "e"}
    answered = await track(world, "track", body, BASIC | {HOPS_HEADER: str(MOST_HOPS)})
    assert (answered.status, answered.json["code"]) == (508, "loop_detected")
    assert (await track(world, "track", body, BASIC | {HOPS_HEADER: str(MOST_HOPS - 1)})).status == 200


async def test_an_empty_batch_is_a_success(world: World) -> None:
    assert await tracked(world, "batch", {"batch": []}) == []


@pytest.mark.parametrize(("path", "limit"), [("track", 32 * 1024), ("batch", 500 * 1024)])
async def test_too_large_a_body_is_refused_with_400_as_segment_does(world: World, path: str, limit: int) -> None:
    answered = await track(world, path, b" " * (limit + 1))
    assert (answered.status, answered.json["code"]) == (400, "payload_too_large")
    assert str(limit) in answered.json["message"]


async def test_a_gzip_body_is_unpacked(world: World) -> None:
    packed = gzip.compress(b'{"userId":"u","event":"e"}')
    answered = await track(world, "track", packed, BASIC | {"content-encoding": "gzip"})
    assert (answered.status, [event.type for event in world.stored()]) == (200, ["e"])


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (b"not gzip", "gzip", 400, "invalid_gzip"),
        (gzip.compress(b"{}")[:-4], "gzip", 400, "invalid_gzip"),
        (gzip.compress(b"{}") + b"more", "gzip", 400, "invalid_gzip"),
        (b"", "gzip", 400, "invalid_gzip"),
        (gzip.compress(b" " * 10_000_000), "gzip", 400, "payload_too_large"),
        (gzip.compress(b" " * 20_000) * 2, "gzip", 400, "payload_too_large"),
        (zlib.compress(b"{}"), "deflate", 415, "unsupported_encoding"),
    ],
    ids=["no gzip", "cut short", "more behind it", "nothing", "a bomb", "two members", "another encoding"],
)
async def test_a_body_that_cannot_be_unpacked_or_is_a_bomb_is_refused(
    world: World, body: bytes, encoding: str, status: int, code: str
) -> None:
    answered = await track(world, "track", body, BASIC | {"content-encoding": encoding})
    assert (answered.status, answered.json["code"]) == (status, code)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(0, 500))
def test_unpacking_gives_the_whole_of_it_or_says_that_it_is_too_large(members: list[bytes], limit: int) -> None:
    packed = b"".join(gzip.compress(member) for member in members)
    whole = b"".join(members)
    expected = whole if len(whole) <= limit else NotInflated.TOO_LARGE
    assert inflated(packed, b"gzip", limit_bytes=limit) == expected


@given(st.binary(max_size=300))
def test_unpacking_anything_never_fails(body: bytes) -> None:
    inflated(body, b"gzip", limit_bytes=1000)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=8) | st.just("context"), JSON_VALUES, max_size=4),
    st.booleans(),
    st.sampled_from([(",", ":"), (" , ", " : ")]),
)
def test_members_are_added_as_a_parser_would_and_never_twice(
    data: dict[str, Any], escapes: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps(data, ensure_ascii=escapes, separators=separators).encode(errors="surrogatepass")
    joined = with_members(text, [("context", b'{"a":1}'), ("name", b'"n"')])
    assert json.loads(joined) == {"context": {"a": 1}, "name": "n"} | data
    assert len(json.loads(joined, object_pairs_hook=list)) == len({"context", "name"} | data.keys())


async def test_a_browser_of_any_origin_may_ask_and_send(world: World) -> None:
    asked = await world.call(world.tracking, "/v1/t", b"", {"origin": "https://shop.example"}, method="OPTIONS")
    assert (asked.status, asked.body) == (204, b"")
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "authorization" in asked.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in asked.headers
    sent = await track(world, f"t?writeKey={KEY}", {"userId": "u", "event": "e"}, {"content-type": "text/plain"})
    assert (sent.status, sent.headers["access-control-allow-origin"]) == (200, "*")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "track", 405), ("PUT", "batch", 405), ("POST", "nothing", 404), ("GET", "x", 404)],
)
async def test_other_methods_and_paths_are_told_so(world: World, method: str, path: str, status: int) -> None:
    answered = await world.call(world.tracking, f"/v1/{path}", b"{}", BASIC, method=method)
    assert (answered.status, answered.json["success"]) == (status, False)


async def test_figures_of_the_browsers_library_are_answered_and_dropped(world: World) -> None:
    assert (await track(world, "m", {"series": []})).status == 200
    assert world.stored() == []


async def test_while_the_store_is_down_the_sender_is_told_to_come_back(world: World) -> None:
    world.store.commits_left = 0
    answered = await track(world, "track", {"userId": "u", "event": "e"})
    assert (answered.status, answered.json["code"], answered.headers["retry-after"]) == (503, "store_unavailable", "5")
    world.store.commits_left = None
    await tracked(world, "track", {"userId": "u", "event": "e"})


@given(JSON_VALUES, JSON_VALUES, st.sampled_from(["track", "identify", "page", "group", "alias", "batch"]))
def test_whatever_comes_is_answered_and_what_is_stored_is_json(first: Any, second: Any, path: str) -> None:
    async def send() -> None:
        world = World()
        await world.source(KEY, mapping=TrackingMapping())
        body = {"userId": first, "anonymousId": "a", "event": second, "traits": second, "properties": first}
        body |= {"context": second, "groupId": first, "previousId": second, "timestamp": first, "sentAt": second}
        call = {"batch": [body | {"type": kind} for kind in ("track", "identify", second)]} if path == "batch" else body
        answered = await track(world, path, call)
        assert answered.status in {200, 400}
        for event in world.stored():
            assert isinstance(json.loads(event.payload or b""), dict)
            assert event.user
            assert event.occurred_ms <= START_MS

    asyncio.run(send())
