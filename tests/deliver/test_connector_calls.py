"""Requests of connectors: what each attempt computes anew, what the answer means, tokens, and what is never shown."""

from typing import Any

import msgspec
import pytest
from delivering_world import World

from posthorn.clock import SECOND_MS
from posthorn.deliver.attempting import Outcome
from posthorn.deliver.transport.exchange import OutboundRequest
from posthorn.deliver.transport.failures import FailureCode
from posthorn.engine.lanes import lane_shard
from posthorn.engine.records import DeliveryWork, OutgoingRequest, Payload, RenderedRequest, Trigger
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import an_automation
from posthorn.testing.transport import failure, response

MASK = "••••••"
LANE = "auto_1/vendor.test"


@pytest.fixture
async def world() -> World:
    world = World()
    await world.store.insert(an_automation(id="auto_1", secrets=()))
    await world.directory.refresh(world.store)
    return world


def a_call(world: World, connector: str, account: dict[str, str], **fields: Any) -> DeliveryWork:
    """Make the work of a connector's request, sealed as deciding does it."""
    shown = OutgoingRequest(
        **({"method": "POST", "url": "https://vendor.test/x", "headers": (), "body": "{}"} | fields),
        connector=connector,
    )
    real = msgspec.structs.replace(shown, account=account)
    sealed = world.key_ring.seal(msgspec.json.encode(real), context="dlv_1")
    return DeliveryWork(
        id="dlv_1",
        shard=lane_shard(LANE),
        endpoint=LANE,
        due_ms=START_MS,
        event="evt_1",
        attempts=0,
        step=0,
        trigger=Trigger.SCHEDULED,
        payload=Payload(type="order.paid", body=b'{"total": 12}'),
        rendered=RenderedRequest(shown=msgspec.json.encode(shown), sealed=sealed),
    )


async def attempted(world: World, work: DeliveryWork) -> Outcome:
    rules = world.attempter.rules(work.endpoint)
    assert rules is not None
    return await world.attempter.attempt(work, rules, 7)


def told(outcome: Outcome) -> tuple[str, str | None]:
    attempt = outcome.settlement.attempt
    assert attempt is not None
    return attempt.state.value, attempt.detail


async def test_an_answer_with_http_200_that_says_no_is_a_failure_with_its_reason(world: World) -> None:
    world.transport.script(response(200, body=b'{"ok": false, "error": "channel_not_found"}'))
    outcome = await attempted(world, a_call(world, "slack/send_message", {"token": "xoxb-1"}))
    assert told(outcome) == ("exhausted", "HTTP 200: channel_not_found")
    world.transport.script(response(200, body=b'{"ok": true}'))
    outcome = await attempted(world, a_call(world, "slack/send_message", {"token": "xoxb-1"}))
    assert told(outcome) == ("delivered", None)


async def test_how_long_to_wait_may_stand_in_the_body(world: World) -> None:
    body = b'{"ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 77}}'
    world.transport.script(response(429, body=body))
    outcome = await attempted(world, a_call(world, "telegram/send_message", {"token": "1:A"}))
    assert outcome.settlement.next_due_ms == START_MS + 77 * SECOND_MS


async def test_a_signature_over_the_time_is_new_on_each_attempt_and_masked_in_the_journal(world: World) -> None:
    work = a_call(world, "dingtalk/send_text", {"token": "t0", "secret": "SEC000abc"})
    seen = []
    for _ in range(2):
        world.transport.script(response(200, body=b'{"errcode": 0}'))
        outcome = await attempted(world, work)
        attempt = outcome.settlement.attempt
        assert attempt is not None
        assert f"sign={MASK}" in attempt.url
        seen.append(_target(world.transport.requests[-1]))
        world.clock.advance(60)
    assert all("timestamp=" in one and "sign=" in one for one in seen)
    assert seen[0] != seen[1]


def _target(request: OutboundRequest) -> str:
    return request.target.raw_target.decode()  # type: ignore[union-attr]


async def test_vendors_get_none_of_our_headers_and_no_payload_that_nobody_asked_for(world: World) -> None:
    work = a_call(world, "slack/send_message", {"token": "xoxb-1"}, body="", method="GET")
    world.transport.script(response(200, body=b'{"ok": true}'))
    await attempted(world, work)
    [request] = world.transport.requests
    names = {name.decode().lower() for name, _ in request.headers}
    assert names == {"user-agent"}
    assert request.body == b""


async def test_a_secret_that_a_vendor_repeats_is_masked_in_what_is_kept(world: World) -> None:
    body = b'{"message": "Invalid API key: 11111111-2222-3333"}'
    world.transport.script(response(401, body=body))
    account = {"api_key": "11111111-2222-3333", "host": "rest.iad-01.braze.com"}
    outcome = await attempted(world, a_call(world, "braze/track_event", account))
    attempt = outcome.settlement.attempt
    assert attempt is not None
    assert b"11111111" not in (attempt.response_body or b"")
    assert "11111111" not in (attempt.detail or "")


async def test_a_vendor_s_rate_puts_a_delivery_off_without_an_attempt(world: World) -> None:
    slack = {"token": "xoxb-1"}
    world.transport.script(response(200, body=b'{"ok": true}'))
    work = a_call(world, "slack/send_message", slack, paced_by={"input.channel": "C1"})
    assert told(await attempted(world, work))[0] == "delivered"
    second, third = _renamed(world, work, "dlv_2"), _renamed(world, work, "dlv_3")
    world.transport.script(response(200, body=b'{"ok": true}'))
    assert told(await attempted(world, second))[0] == "delivered"  # within patience
    outcome = await attempted(world, third)
    assert outcome.settlement.attempt is None
    due_ms = outcome.settlement.next_due_ms
    assert due_ms is not None
    assert START_MS + SECOND_MS < due_ms < START_MS + 2 * SECOND_MS
    world.clock.advance(2)
    world.transport.script(response(200, body=b'{"ok": true}'))
    assert told(await attempted(world, third))[0] == "delivered"


def _renamed(world: World, work: DeliveryWork, name: str) -> DeliveryWork:
    rendered = work.rendered
    assert rendered is not None
    assert rendered.sealed is not None
    sealed = world.key_ring.seal(world.key_ring.open(rendered.sealed, context=work.id), context=name)
    return msgspec.structs.replace(work, id=name, rendered=msgspec.structs.replace(rendered, sealed=sealed))


WECHAT = {"app_id": "wx1234567890abcdef", "app_secret": "0123456789abcdef0123456789abcdef"}


def _token(value: str) -> Any:
    return response(200, body=msgspec.json.encode({"access_token": value, "expires_in": 7200}))


async def test_a_short_lived_token_is_exchanged_once_and_kept_while_it_lasts(world: World) -> None:
    world.transport.script(_token("T1"), response(200, body=b'{"errcode": 0}'), response(200, body=b'{"errcode": 0}'))
    for _ in range(2):
        outcome = await attempted(world, a_call(world, "wechat/send_text", WECHAT))
        attempt = outcome.settlement.attempt
        assert attempt is not None
        assert (attempt.state, f"access_token={MASK}" in attempt.url) == ("delivered", True)
    assert [_target(request).partition("?")[2] for request in world.transport.requests[1:]] == ["access_token=T1"] * 2
    world.clock.advance(7200)
    world.transport.script(_token("T2"), response(200, body=b'{"errcode": 0}'))
    await attempted(world, a_call(world, "wechat/send_text", WECHAT))
    assert _target(world.transport.requests[-1]).endswith("access_token=T2")


async def test_a_token_that_ended_early_is_exchanged_anew_for_the_next_attempt(world: World) -> None:
    ended = response(200, body=b'{"errcode": 42001, "errmsg": "access_token expired"}')
    world.transport.script(_token("T1"), ended)
    outcome = await attempted(world, a_call(world, "wechat/send_text", WECHAT))
    assert told(outcome)[0] == "pending"
    world.transport.script(_token("T2"), response(200, body=b'{"errcode": 0}'))
    outcome = await attempted(world, a_call(world, "wechat/send_text", WECHAT))
    assert told(outcome)[0] == "delivered"


@pytest.mark.parametrize(
    "answer", [failure(FailureCode.TIMEOUT), response(200, body=b'{"errcode": 40013, "errmsg": "invalid appid"}')]
)
async def test_without_a_token_the_attempt_fails_and_comes_again(world: World, answer: Any) -> None:
    world.transport.script(answer)
    outcome = await attempted(world, a_call(world, "wechat/send_text", WECHAT))
    attempt = outcome.settlement.attempt
    assert attempt is not None
    assert (attempt.state, attempt.response_status) == ("pending", None)
    assert attempt.error in ("timeout", "token_refused")
    assert "0123456789abcdef" not in (attempt.detail or "")


async def test_a_connector_that_is_in_the_catalogue_no_more_is_judged_by_its_status(world: World) -> None:
    world.transport.script(response(200, body=b"anything"))
    outcome = await attempted(world, a_call(world, "gone/action", {}))
    assert told(outcome)[0] == "delivered"
