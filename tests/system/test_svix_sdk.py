"""The official Svix SDK, unmodified, through the whole story against the real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from posthorn_process import API_KEY, Posthorn
from raw_http import eventually
from recording_receiver import Received, Receiver, answering
from svix.api import (
    ApplicationIn,
    ApplicationListOptions,
    EndpointIn,
    EndpointSecretRotateIn,
    EventTypeIn,
    MessageIn,
    MessageListOptions,
    SvixAsync,
    SvixOptions,
)
from svix.api.message import MessageGetOptions
from svix.api.message_attempt import MessageAttemptListByMsgOptions
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import ApplicationOut, EndpointOut, EndpointPatch, ListResponseMessageAttemptOut, MessageStatus
from svix.webhooks import Webhook, WebhookVerificationError

INVOICE = {"amount": 12.5, "to": "Ёж"}
WITH_CONTENT = MessageAttemptListByMsgOptions(with_content=True)


def sdk(posthorn: Posthorn, token: str) -> SvixAsync:
    return SvixAsync(token, SvixOptions(server_url=f"http://127.0.0.1:{posthorn.port}", retry_schedule=[]))


@pytest.fixture
async def svix(posthorn: Posthorn) -> AsyncIterator[SvixAsync]:
    made = sdk(posthorn, API_KEY)
    async with made._httpx_client:
        yield made


@pytest.fixture
async def shop(svix: SvixAsync) -> ApplicationOut:
    return await svix.application.create(ApplicationIn(name="Shop", uid=f"shop-{uuid4().hex}"))


@pytest.fixture
async def hook(svix: SvixAsync, shop: ApplicationOut, receiver: Receiver) -> EndpointOut:
    return await svix.endpoint.create(shop.id, EndpointIn(url=receiver.url("/hook"), uid="hook"))


async def attempts(svix: SvixAsync, shop: ApplicationOut, message: str, count: int) -> ListResponseMessageAttemptOut:
    """List a message's attempts once there are so many: they are written down a little after they are made."""
    return await eventually(
        lambda: svix.message_attempt.list_by_msg(shop.id, message, WITH_CONTENT), lambda page: len(page.data) == count
    )


def verified(row: Received, secret: str) -> object:
    Webhook(secret).verify(row.body, dict(row.headers))
    return json.loads(row.body)


async def test_a_message_goes_the_whole_way_and_is_told_about(
    svix: SvixAsync, shop: ApplicationOut, hook: EndpointOut, receiver: Receiver
) -> None:
    await svix.event_type.create(EventTypeIn(name=f"invoice.paid.{shop.id}", description="An invoice was paid"))
    message = await svix.message.create(
        shop.uid or "",
        MessageIn(
            event_type=f"invoice.paid.{shop.id}",
            event_id="inv-1",
            payload=INVOICE,
            channels=["eu"],
        ),
    )
    (row,) = await receiver.wait_for_count("/hook", 1)
    secret = (await svix.endpoint.get_secret(shop.id, "hook")).key
    assert verified(row, secret) == INVOICE
    assert (row.webhook_id, row.header("svix-id")) == (message.id, message.id)

    listed = await svix.message.list(shop.id, MessageListOptions(channel="eu", with_content=True))
    assert [(one.id, one.event_id, one.payload) for one in listed.data] == [(message.id, "inv-1", INVOICE)]
    assert (await svix.message.get(shop.id, "inv-1", MessageGetOptions(with_content=True))).payload == INVOICE

    by_msg = await attempts(svix, shop, "inv-1", 1)
    by_endpoint = await svix.message_attempt.list_by_endpoint(shop.id, "hook")
    assert [one.id for one in by_msg.data] == [one.id for one in by_endpoint.data]
    (attempt,) = by_msg.data
    assert (attempt.status, attempt.response, attempt.response_status_code) == (MessageStatus.SUCCESS, "ok", 200)
    assert (attempt.endpoint_id, attempt.msg_id, attempt.url) == (hook.id, message.id, receiver.url("/hook"))
    destinations = await svix.message_attempt.list_attempted_destinations(shop.id, message.id)
    assert [(one.id, one.status) for one in destinations.data] == [(hook.id, MessageStatus.SUCCESS)]


async def test_a_repeated_event_id_is_a_conflict_and_sends_nothing(
    svix: SvixAsync, shop: ApplicationOut, hook: EndpointOut, receiver: Receiver
) -> None:
    await svix.message.create(shop.id, MessageIn(event_type="a.b", event_id="same", payload={"n": 1}))
    with pytest.raises(HttpError) as refused:
        await svix.message.create(shop.id, MessageIn(event_type="a.b", event_id="same", payload={"n": 1}))
    assert (refused.value.status_code, refused.value.code) == (409, "conflict")
    await svix.message.create(shop.id, MessageIn(event_type="a.b", payload={"n": 2}))
    rows = await receiver.wait_for_count("/hook", 2)
    assert sorted(json.loads(row.body)["n"] for row in rows) == [1, 2]


async def test_both_secrets_verify_during_a_rotation(
    svix: SvixAsync, shop: ApplicationOut, hook: EndpointOut, receiver: Receiver
) -> None:
    old = (await svix.endpoint.get_secret(shop.id, hook.id)).key
    await svix.endpoint.rotate_secret(shop.id, hook.id, EndpointSecretRotateIn())
    new = (await svix.endpoint.get_secret(shop.id, hook.id)).key
    assert new != old
    await svix.message.create(shop.id, MessageIn(event_type="a.b", payload={"n": 1}))
    (row,) = await receiver.wait_for_count("/hook", 1)
    assert verified(row, old) == verified(row, new) == {"n": 1}
    assert len((row.header("webhook-signature") or "").split(" ")) == 2
    with pytest.raises(WebhookVerificationError):
        verified(row, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


async def test_a_failed_message_is_sent_again_by_hand_under_the_same_id(
    svix: SvixAsync, shop: ApplicationOut, hook: EndpointOut, receiver: Receiver
) -> None:
    receiver.behave("/hook", answering(500, body="not now"))
    message = await svix.message.create(shop.id, MessageIn(event_type="a.b", payload={"n": 1}))
    page = await attempts(svix, shop, message.id, 1)
    assert [(one.status, one.response) for one in page.data] == [(MessageStatus.FAIL, "not now")]
    receiver.behave("/hook", answering(204))
    await svix.message_attempt.resend(shop.id, message.id, hook.id)
    rows = await receiver.wait_for_count("/hook", 2)
    assert {row.webhook_id for row in rows} == {message.id}
    page = await attempts(svix, shop, message.id, 2)
    assert [one.trigger_type for one in page.data] == [1, 0]


async def test_filters_channels_and_disabled_endpoints_decide_who_gets_what(
    svix: SvixAsync, shop: ApplicationOut, receiver: Receiver
) -> None:
    await svix.endpoint.create(shop.id, EndpointIn(url=receiver.url("/all")))
    await svix.endpoint.create(shop.id, EndpointIn(url=receiver.url("/typed"), event_types=["order.paid"]))
    await svix.endpoint.create(shop.id, EndpointIn(url=receiver.url("/eu"), channels=["eu"]))
    off = await svix.endpoint.create(shop.id, EndpointIn(url=receiver.url("/off"), disabled=True))
    await svix.message.create(shop.id, MessageIn(event_type="order.paid", payload={"n": 1}, channels=["eu", "us"]))
    await svix.message.create(shop.id, MessageIn(event_type="order.sent", payload={"n": 2}))
    await receiver.wait_for_count("/all", 2)
    await receiver.wait_for_count("/typed", 1)
    await receiver.wait_for_count("/eu", 1)
    await svix.endpoint.patch(shop.id, off.id, EndpointPatch(disabled=False))
    await svix.message.create(shop.id, MessageIn(event_type="order.lost", payload={"n": 3}))
    (late,) = await receiver.wait_for_count("/off", 1)
    assert json.loads(late.body) == {"n": 3}
    assert [json.loads(row.body)["n"] for row in receiver.at("/typed")] == [1]
    assert [json.loads(row.body)["n"] for row in receiver.at("/eu")] == [1]


async def test_errors_arrive_as_the_sdk_s_own_classes(
    svix: SvixAsync, shop: ApplicationOut, posthorn: Posthorn
) -> None:
    with pytest.raises(HttpError) as missing:
        await svix.application.get("nobody-has-this")
    assert (missing.value.status_code, missing.value.code) == (404, "not_found")
    with pytest.raises(HTTPValidationError) as invalid:
        await svix.application.create(ApplicationIn(name=""))
    assert invalid.value.status_code == 422
    assert invalid.value.detail[0].loc == ["body", "name"]
    with pytest.raises(HTTPValidationError) as bad_type:
        await svix.message.create(shop.id, MessageIn(event_type="not a name", payload={}))
    assert bad_type.value.detail[0].loc == ["body", "eventType"]
    stranger = sdk(posthorn, "wrong-token-0123456789")
    async with stranger._httpx_client:
        with pytest.raises(HttpError) as refused:
            await stranger.application.list()
    assert (refused.value.status_code, refused.value.code) == (401, "authentication_failed")


async def test_an_iterator_walks_through_all_applications(svix: SvixAsync) -> None:
    made = [await svix.application.create(ApplicationIn(name=f"Page {number}")) for number in range(5)]
    seen: list[str] = []
    page = await svix.application.list(ApplicationListOptions(limit=2))
    seen += [one.id for one in page.data]
    while not page.done:
        page = await svix.application.list(ApplicationListOptions(limit=2, iterator=page.iterator))
        seen += [one.id for one in page.data]
    assert {one.id for one in made} <= set(seen)
    assert len(seen) == len(set(seen))


async def test_many_callers_at_once_lose_nothing(
    svix: SvixAsync, shop: ApplicationOut, hook: EndpointOut, receiver: Receiver
) -> None:
    calls = (svix.message.create(shop.id, MessageIn(event_type="a.b", payload={"n": number})) for number in range(50))
    made = await asyncio.gather(*calls)
    await receiver.wait_for(lambda: {row.webhook_id for row in receiver.at("/hook")} == {one.id for one in made})
