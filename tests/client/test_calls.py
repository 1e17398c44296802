"""What the calls put on the wire, and what they refuse."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from posthorn.client import Client, EventTooLarge, InvalidCall
from posthorn.client.calls import Calls
from posthorn.client.lanes import LaneName, event_lane, tracking_lane

URL = "http://127.0.0.1:9"
AT = datetime(2026, 1, 2, 6, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=3)))


class Kept(Calls):
    """Keeps what would be queued."""

    def __init__(self) -> None:
        tracking = tracking_lane(URL, "wk", gzip_from_bytes=None)
        super().__init__(
            {LaneName.TRACKING: tracking, LaneName.EVENTS: event_lane(URL, "key")}, largest_event_bytes=2_000
        )
        self.kept: list[dict[str, Any]] = []

    def _put(self, lane: LaneName, message_id: str, body: bytes) -> None:
        self.kept.append(json.loads(body))


@pytest.fixture
def calls() -> Kept:
    return Kept()


def test_every_tracking_call_has_segments_fields(calls: Kept) -> None:
    calls.track("Order Paid", user_id="u1", properties={"total": 5}, timestamp=AT, message_id="m1")
    calls.identify("u1", traits={"email": "a@example.com"}, anonymous_id="a1", timestamp=AT, message_id="m2")
    calls.page("Home", anonymous_id="a1", timestamp=AT, message_id="m3")
    calls.screen(user_id="u1", timestamp=AT, message_id="m4")
    calls.group("g1", user_id="u1", traits={"plan": "pro"}, timestamp=AT, message_id="m5")
    calls.alias("a1", "u1", timestamp=AT, message_id="m6")
    for call in calls.kept:
        assert call.pop("timestamp") == "2026-01-02T03:04:05.678Z"
        assert call.pop("context")["library"]["name"] == "posthorn-python"
    assert calls.kept == [
        {"type": "track", "event": "Order Paid", "userId": "u1", "properties": {"total": 5}, "messageId": "m1"},
        {
            "type": "identify",
            "userId": "u1",
            "anonymousId": "a1",
            "traits": {"email": "a@example.com"},
            "messageId": "m2",
        },
        {"type": "page", "name": "Home", "anonymousId": "a1", "properties": {}, "messageId": "m3"},
        {"type": "screen", "userId": "u1", "properties": {}, "messageId": "m4"},
        {"type": "group", "groupId": "g1", "userId": "u1", "traits": {"plan": "pro"}, "messageId": "m5"},
        {"type": "alias", "previousId": "a1", "userId": "u1", "messageId": "m6"},
    ]


def test_a_published_event_has_our_fields_and_the_time_of_the_call(calls: Kept) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    event_id = calls.publish("order.paid", {"total": 5}, user="u1")
    (event,) = calls.kept
    assert before <= datetime.fromisoformat(event.pop("time")) <= datetime.now(UTC)
    assert event == {"id": event_id, "type": "order.paid", "data": {"total": 5}, "user": "u1"}


def test_ids_are_made_when_none_is_given_and_never_twice(calls: Kept) -> None:
    made = {calls.track("x", user_id="u") for _ in range(100)}
    assert len(made) == 100
    assert {call["messageId"] for call in calls.kept} == made


def test_context_is_added_to_what_the_library_says_of_itself(calls: Kept) -> None:
    calls.track("x", user_id="u", context={"ip": "192.0.2.1"})
    assert calls.kept[0]["context"].keys() == {"library", "ip"}


def test_values_of_python_become_json(calls: Kept) -> None:
    @dataclass
    class Item:
        sku: str

    calls.track(
        "x",
        user_id="u",
        properties={
            "at": AT,
            "day": date(2026, 1, 2),
            "id": UUID(int=1),
            "price": Decimal("1.10"),
            "items": (Item("a"),),
            "nan": float("nan"),
        },
    )
    assert calls.kept[0]["properties"] == {
        "at": "2026-01-02T06:04:05.678901+03:00",
        "day": "2026-01-02",
        "id": "00000000-0000-0000-0000-000000000001",
        "price": "1.10",
        "items": [{"sku": "a"}],
        "nan": None,
    }


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda calls: calls.track("x"), "user_id or anonymous_id"),
        (lambda calls: calls.track("", user_id="u"), "event must be a text that is not empty"),
        (lambda calls: calls.track("x", user_id=5), "user_id must be a text .* not int"),
        (lambda calls: calls.track("x", user_id=""), "user_id must be"),
        (lambda calls: calls.track("x", user_id="u", message_id=""), "message_id must be"),
        (lambda calls: calls.track("x", user_id="u", timestamp=datetime(2026, 1, 1)), "time zone"),  # noqa: DTZ001 - the mistake itself
        (lambda calls: calls.track("x", user_id="u", timestamp="2026"), "timestamp must be a datetime"),
        (lambda calls: calls.track("x", user_id="u", properties={"f": object()}), "cannot be written as JSON"),
        (lambda calls: calls.track("x", user_id="u", properties={"f": endless()}), "cannot be written as JSON"),
        (lambda calls: calls.track("x", user_id="\ud800"), "cannot be written as JSON"),
        (lambda calls: calls.group("", user_id="u"), "group_id must be"),
        (lambda calls: calls.alias("", "u"), "previous_id must be"),
        (lambda calls: calls.publish(""), "event_type must be"),
        (lambda calls: calls.publish("x", user=""), "user must be"),
    ],
)
def test_a_wrong_argument_is_refused_by_name_and_queues_nothing(call: Callable[[Any], str], message: str) -> None:
    calls = Kept()
    with pytest.raises(InvalidCall, match=message):
        call(calls)
    assert calls.kept == []


def test_an_event_that_is_too_large_is_refused(calls: Kept) -> None:
    with pytest.raises(EventTooLarge, match="at most 2000"):
        calls.track("x", user_id="u", properties={"text": "x" * 2_000})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "posthorn.example.com",
        "ftp://posthorn.example.com",
        "http://",
        "http://user:pass@posthorn.example.com",
        "http://posthorn.example.com?x=1",
        "http://posthorn.example.com:99999",
        "http://[::1",
    ],
)
def test_what_is_no_address_of_a_server_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidCall, match="url must be like") as refusal:
        Client(url, write_key="wk")
    assert "pass" not in str(refusal.value)


@pytest.mark.parametrize("key", ["", "a b", "a\n", "clé", "a:b"])
def test_a_key_that_cannot_be_one_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(InvalidCall, match="write_key") as refusal:
        Client(URL, write_key=key)
    assert not key or key not in str(refusal.value)


def test_a_client_needs_the_key_of_what_it_calls() -> None:
    with pytest.raises(InvalidCall, match="write_key"):
        Client(URL)
    with Client(URL, write_key="wk") as client, pytest.raises(InvalidCall, match="api_key"):
        client.publish("order.paid")
    with Client(URL, api_key="key") as client, pytest.raises(InvalidCall, match="write_key"):
        client.track("x", user_id="u")


def test_keys_are_in_no_repr() -> None:
    lane = tracking_lane(URL, "secret-key", gzip_from_bytes=None)
    request = lane.request([b"{}"], sent_at="now")
    with Client(URL, write_key="secret-key", api_key="secret-key") as client:
        texts = [repr(lane), repr(request), repr(client), repr(event_lane(URL, "secret-key"))]
    assert [text for text in texts if "secret-key" in text or "c2VjcmV0" in text] == []
