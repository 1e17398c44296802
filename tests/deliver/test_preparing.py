"""The exact request of an attempt: identity, signature, hops, masks."""

from datetime import UTC, datetime

import msgspec
import pytest
from delivering_world import World
from standardwebhooks import Webhook
from test_attempting import a_work

from posthorn.deliver.preparing import Prepared, prepare, requested
from posthorn.deliver.transport import Refusal
from posthorn.engine.marks import MASK
from posthorn.engine.records import DeliveryWork, OutgoingRequest, Payload, RenderedRequest
from posthorn.errors import PosthornError
from posthorn.signing import new_symmetric_secret
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import an_automation

AUTOMATION_LANE = "auto_1/example.test"


@pytest.fixture
async def world() -> World:
    world = World()
    await world.store.insert(an_automation(id="auto_1", secrets=(world.sealed("auto_1"),)))
    await world.directory.refresh(world.store)
    return world


def prepared(world: World, work: DeliveryWork, now_ms: int = START_MS) -> Prepared:
    rules = world.lanes.rules(work.endpoint, now_ms)
    assert rules is not None
    result = prepare(work, rules, requested(work, key_ring=world.key_ring), now_ms=now_ms)
    assert isinstance(result, Prepared)
    return result


def headers_of(result: Prepared) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in result.request.headers}


def rendered(world: World, real: OutgoingRequest, shown: OutgoingRequest | None = None) -> DeliveryWork:
    sealed = None
    if shown is not None:
        sealed = world.key_ring.seal(msgspec.json.encode(real), context="dlv_1")
    request = RenderedRequest(shown=msgspec.json.encode(shown or real), sealed=sealed)
    return a_work(endpoint=AUTOMATION_LANE, rendered=request)


def outgoing(**overrides: object) -> OutgoingRequest:
    fields: dict[str, object] = {"method": "PUT", "url": "https://example.test/a", "headers": (), "body": None}
    return OutgoingRequest(**(fields | overrides))  # type: ignore[arg-type]


async def test_the_bytes_sent_verify_with_the_standard_library_of_receivers(world: World) -> None:
    secret = new_symmetric_secret()
    await world.endpoint(secrets=(world.sealed("ep_1", secret),))
    body = '{"a":  "ü",\n"big": 123456789012345678901234567890}'.encode()
    now_ms = world.clock.now_ms()
    result = prepared(world, a_work(payload=Payload(type="t", body=body)), now_ms)
    headers = headers_of(result)
    assert result.request.body == body
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_1", str(now_ms // 1000))
    for name in ("id", "timestamp", "signature"):
        assert headers[f"svix-{name}"] == headers[f"webhook-{name}"]
    at = datetime.fromtimestamp(now_ms // 1000, UTC)
    assert headers["webhook-signature"] == Webhook(secret).sign("msg_1", at, body.decode())
    assert headers["posthorn-hops"] == "1"


async def test_the_timestamp_is_new_on_every_attempt_and_the_id_is_not(world: World) -> None:
    await world.endpoint()
    first = headers_of(prepared(world, a_work(), START_MS))
    second = headers_of(prepared(world, a_work(attempts=1, step=1), START_MS + 5000))
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert first["webhook-signature"] != second["webhook-signature"]


async def test_content_type_and_encoding_of_the_payload_go_along(world: World) -> None:
    await world.endpoint()
    payload = Payload(type="t", body=b"\x1f\x8b", content_type="text/xml", content_encoding="gzip")
    headers = headers_of(prepared(world, a_work(payload=payload)))
    assert (headers["content-type"], headers["content-encoding"]) == ("text/xml", "gzip")
    assert headers_of(prepared(world, a_work()))["content-type"] == "application/json"


async def test_an_endpoints_own_headers_are_sent_and_shown_masked(world: World) -> None:
    sealed = world.key_ring.seal(b'{"Authorization": "Bearer s3cret"}', context="ep_1")
    await world.endpoint(headers_sealed=sealed)
    result = prepared(world, a_work())
    assert ("Authorization", MASK) in result.shown_headers
    assert "s3cret" not in repr(result.shown_headers)
    fixed = result.request.fixed_headers
    assert fixed is world.lanes.rules("ep_1", START_MS).fixed_headers  # type: ignore[union-attr]


async def test_a_rendered_request_goes_out_as_rendered_under_the_deliverys_id(world: World) -> None:
    request = outgoing(headers=(("X-A", "1"), ("posthorn-hops", "2")), body="hi")
    result = prepared(world, rendered(world, request))
    headers = headers_of(result)
    assert (result.request.method, result.request.body, headers["X-A"]) == ("PUT", b"hi", "1")
    assert (headers["webhook-id"], headers["posthorn-hops"]) == ("dlv_1", "2")
    assert "webhook-signature" in headers


async def test_a_rendered_request_without_a_body_passes_the_payload_on(world: World) -> None:
    work = rendered(world, outgoing())
    payload = Payload(type="t", body=b"\x00\xff", content_type="image/png", content_encoding="br")
    result = prepared(world, msgspec.structs.replace(work, payload=payload))
    headers = headers_of(result)
    assert result.request.body == b"\x00\xff"
    assert (headers["content-type"], headers["content-encoding"]) == ("image/png", "br")


async def test_a_secret_in_a_rendered_request_is_sent_and_never_shown(world: World) -> None:
    real = outgoing(url="https://example.test/s3cret", headers=(("X-Key", "s3cret"),), body="s3cret")
    shown = outgoing(url="https://example.test/x", headers=(("X-Key", "x"), ("Authorization", "y")), body="x")
    real = msgspec.structs.replace(real, headers=(*real.headers, ("Authorization", "s3cret")))
    result = prepared(world, rendered(world, real, shown))
    assert result.request.body == b"s3cret"
    assert headers_of(result)["X-Key"] == "s3cret"
    assert "s3cret" not in result.url + repr(result.shown_headers)
    assert ("Authorization", MASK) in result.shown_headers


async def test_a_sealed_request_of_another_delivery_does_not_open(world: World) -> None:
    work = rendered(world, outgoing(body="a"), outgoing(body="b"))
    with pytest.raises(PosthornError):
        prepared(world, msgspec.structs.replace(work, id="dlv_2"))


async def test_a_url_that_was_rendered_wrong_is_refused(world: World) -> None:
    work = rendered(world, outgoing(url="https://user:pw@example.test/"))
    rules = world.lanes.rules(work.endpoint, START_MS)
    assert rules is not None
    assert isinstance(prepare(work, rules, requested(work, key_ring=world.key_ring), now_ms=START_MS), Refusal)
