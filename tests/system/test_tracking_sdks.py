"""Official SDKs, unmodified, with another host: Segment's for Python and CloudEvents', against the real server."""

import asyncio
import base64
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from posthorn_process import API_KEY, Posthorn, inbox_path
from raw_http import Api, Client, Response
from segment.analytics.client import Client as Segment

BEARER = ("authorization", f"Bearer {API_KEY}")


@pytest.fixture
async def tracking(api: Api) -> dict[str, Any]:
    """A source of tracking calls."""
    made: dict[str, Any] = await api.post("/source", {"name": "Web", "mapping": {"type": "tracking"}})
    return made


class Failures:
    """Collects what the SDK could not send."""

    def __init__(self) -> None:
        self.told: list[Exception] = []

    def __call__(self, error: Exception, items: object) -> None:
        self.told.append(error)


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture(params=["private door", "public door, gzip"])
def segment(
    request: pytest.FixtureRequest, posthorn: Posthorn, tracking: dict[str, Any], failures: Failures
) -> Iterator[Segment]:
    is_private = request.param == "private door"
    host = f"http://127.0.0.1:{posthorn.port if is_private else posthorn.inbox_port}"
    sdk = Segment(
        tracking["writeKey"], host=host, on_error=failures, gzip=not is_private, upload_interval=0.05, max_retries=1
    )
    yield sdk
    sdk.shutdown()


async def events_of(api: Api, source: dict[str, Any]) -> list[Any]:
    """Return a source's events with their payloads, oldest first."""
    rows = await api.rows(f"/event?source={source['id']}&order=ascending")
    return [await api.get(f"/event/{row['id']}") for row in rows]


async def test_every_call_of_segments_library_becomes_an_event(
    segment: Segment, api: Api, tracking: dict[str, Any], failures: Failures, request: pytest.FixtureRequest
) -> None:
    at = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    user, anonymous, old = (f"{name}-{uuid4().hex}" for name in ("user", "anonymous", "old"))
    segment.identify(user, {"email": "a@b.example"}, {"timezone": "Europe/Berlin"}, anonymous_id=anonymous)
    segment.track(user, "Item Purchased", {"revenue": 14.99, "title": "Ёж"}, {"ip": "192.0.2.1"}, at)
    segment.page(user, "Docs", "Pricing", {"url": "/pricing"})
    segment.screen(anonymous_id=anonymous, name="Home")
    segment.group(user, "acme", {"plan": "gold"})
    segment.alias(old, user)
    await asyncio.to_thread(segment.flush)
    assert failures.told == []
    events = await events_of(api, tracking)
    is_private = request.node.callspec.params["segment"] == "private door"
    assert [(event["type"], event["userId"]) for event in events] == [
        ("alias", f"$anonymous/{anonymous}"),
        ("identify", user),
        ("Item Purchased", user),
        ("page", user),
        ("screen", f"$anonymous/{anonymous}"),
        ("group", user),
        *([("alias", old)] if is_private else []),  # strangers move nobody but the anonymous
        ("alias", f"$anonymous/{old}"),
    ]
    bought = events[2]
    assert (bought["payload"]["revenue"], bought["payload"]["title"]) == (14.99, "Ёж")
    assert bought["payload"]["context"]["library"]["name"] == "analytics-python"
    # Corrected by how far the library's clock is off, which is next to nothing on one machine.
    assert abs(datetime.fromisoformat(bought["occurredAt"]) - at).total_seconds() < 5


async def test_the_library_may_repeat_a_message_and_it_is_taken_once(
    segment: Segment, api: Api, tracking: dict[str, Any], failures: Failures
) -> None:
    for _ in range(3):
        segment.track("u1", "once", message_id="the same")
        await asyncio.to_thread(segment.flush)
    segment.track("u1", "twice", message_id="another")
    await asyncio.to_thread(segment.flush)
    assert failures.told == []
    assert [event["type"] for event in await events_of(api, tracking)] == ["once", "twice"]


async def test_a_thousand_calls_of_the_library_arrive_in_their_order(
    segment: Segment, api: Api, tracking: dict[str, Any], failures: Failures
) -> None:
    for number in range(1000):
        segment.track("u1", f"n{number}")
    await asyncio.to_thread(segment.flush)
    assert failures.told == []
    rows = await api.rows(f"/event?source={tracking['id']}&order=ascending")
    assert [row["type"] for row in rows] == [f"n{number}" for number in range(1000)]


async def test_the_library_is_told_that_its_write_key_is_wrong(posthorn: Posthorn, failures: Failures) -> None:
    sdk = Segment("wrong", host=f"http://127.0.0.1:{posthorn.port}", on_error=failures, max_retries=0)
    sdk.track("u1", "e")
    await asyncio.to_thread(sdk.shutdown)
    [error] = failures.told
    assert "invalid_write_key" in str(error)
    assert "401" in str(error)


def basic(source: dict[str, Any]) -> tuple[str, str]:
    return ("authorization", "Basic " + base64.b64encode(f"{source['writeKey']}:".encode()).decode())


async def send(posthorn: Posthorn, path: str, body: bytes, *headers: tuple[str, str], method: str = "POST") -> Response:
    async with Client(posthorn.inbox_port) as client:
        return await client.request(method, path, headers, body)


async def test_faults_are_answered_and_the_server_goes_on(
    posthorn: Posthorn, api: Api, tracking: dict[str, Any]
) -> None:
    key, packed = basic(tracking), ("content-encoding", "gzip")
    good = {"type": "track", "userId": "u", "event": "good"}
    calls: list[tuple[str, bytes, tuple[tuple[str, str], ...], int]] = [
        ("/v1/track", b"{}", (), 401),
        ("/v1/track", b"{", (key,), 400),
        ("/v1/track", b"not gzip", (key, packed), 400),
        ("/v1/batch", gzip.compress(b" " * 50_000_000), (key, packed), 400),
        ("/v1/batch", b" " * 600_000, (key,), 400),
        ("/v1/track", json.dumps(good | {"properties": {"x": "y" * 40_000}}).encode(), (key,), 400),
        ("/v1/batch", json.dumps({"batch": [good, {"type": "magic"}, 7]}).encode(), (key,), 200),
        ("/v1/nothing", b"{}", (key,), 404),
    ]
    for path, body, headers, status in calls:
        answered = await send(posthorn, path, body, *headers)
        assert (path, answered.status) == (path, status)
        assert answered.json()["success"] is (status == 200)
        assert answered.header("access-control-allow-origin") == "*"
    assert [event["type"] for event in await events_of(api, tracking)] == ["good"]


async def test_a_browser_may_ask_before_it_sends(posthorn: Posthorn, tracking: dict[str, Any], api: Api) -> None:
    asked = await send(posthorn, "/v1/t", b"", ("origin", "https://shop.example"), method="OPTIONS")
    assert (asked.status, asked.header("access-control-allow-origin")) == (204, "*")
    body = json.dumps({"anonymousId": "a", "event": "beacon", "writeKey": tracking["writeKey"]}).encode()
    assert (await send(posthorn, "/v1/t", body, ("content-type", "text/plain"))).status == 200
    assert [event["type"] for event in await events_of(api, tracking)] == ["beacon"]


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
async def test_cloudevents_of_the_official_sdk_come_in_by_api_and_at_an_inbox(
    posthorn: Posthorn, api: Api, write: Any
) -> None:
    identifier = uuid4().hex
    attributes = {"type": "order.paid", "source": "/shop", "id": identifier, "specversion": "1.0", "subject": "u7"}
    message = write(CloudEvent(attributes | {"datacontenttype": "application/json"}, {"total": 1999}))
    async with Client(posthorn.port) as client:
        target = "/api/v1/event/cloudevents?user=subject"
        answered = await client.request("POST", target, [BEARER, *message.headers.items()], message.body)
    assert (answered.status, answered.json()["uid"]) == (202, identifier)
    source = await api.post("/source", {"name": "Cloud", "mapping": {"type": "cloudevents", "user": "subject"}})
    path = inbox_path(source["url"])
    assert (await send(posthorn, path, message.body, *message.headers.items())).status == 202
    for event in (await api.get(f"/event/{answered.json()['id']}"), *await events_of(api, source)):
        assert (event["type"], event["userId"], event["uid"]) == ("order.paid", "u7", identifier)
        assert event["payload"] == {"total": 1999}


async def test_braze_requests_come_in_with_an_api_key(posthorn: Posthorn, api: Api) -> None:
    user = f"braze-{uuid4().hex}"
    body = {
        "attributes": [{"external_id": user, "first_name": "Jon", "points": {"inc": 10}}],
        "events": [{"external_id": user, "name": "rented_movie", "time": "2022-12-06T19:20:45+01:00"}, {"name": "x"}],
    }
    async with Client(posthorn.port) as client:
        answered = await client.request("POST", "/users/track", [BEARER], json.dumps(body).encode())
        refused = await client.request("POST", "/users/track", [], json.dumps(body).encode())
    assert (answered.status, answered.json()["message"], answered.json()["events_processed"]) == (201, "success", 1)
    assert answered.json()["errors"][0]["index"] == 1
    assert (refused.status, "message" in refused.json()) == (401, True)
    rows = await api.rows(f"/event?user={user}&order=ascending")
    assert [row["type"] for row in rows] == ["identify", "rented_movie"]


async def test_a_mapped_inbox_knows_its_users(posthorn: Posthorn, api: Api) -> None:
    mapping = {"type": "fields", "user": {"field": "customer.id"}, "id": {"header": "X-Id"}}
    source = await api.post("/source", {"name": "Shop", "eventType": "order", "mapping": mapping})
    path = inbox_path(source["url"])
    for _ in range(2):
        assert (await send(posthorn, path, b'{"customer":{"id":42}}', ("x-id", "1"))).status == 202
    [event] = await events_of(api, source)
    assert (event["type"], event["userId"], event["uid"]) == ("order", "42", "1")
