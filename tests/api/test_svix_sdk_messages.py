"""The official SDK against our messages, attempts and replays."""

from datetime import UTC, datetime, timedelta

import pytest
from served import World, work_off
from svix.api import (
    ApplicationIn,
    EndpointIn,
    EventExampleIn,
    EventTypeIn,
    MessageListOptions,
    SvixAsync,
)
from svix.api.endpoint import EndpointGetStatsOptions
from svix.api.message import MessageGetOptions
from svix.api.message_attempt import (
    MessageAttemptListAttemptedMessagesOptions,
    MessageAttemptListByEndpointOptions,
    MessageAttemptListByMsgOptions,
)
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import (
    ApplicationOut,
    EndpointOut,
    MessagePrecheckIn,
    MessageStatus,
    MessageStatusText,
    RecoverIn,
    ReplayIn,
    StatusCodeClass,
)


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


@pytest.fixture
async def shop(svix: SvixAsync) -> ApplicationOut:
    return await svix.application.create(ApplicationIn(name="Shop", uid="shop"))


@pytest.fixture
async def hook(svix: SvixAsync, shop: ApplicationOut) -> EndpointOut:
    return await svix.endpoint.create(shop.id, EndpointIn(url="https://example.com/hook", uid="hook"))


async def test_messages_are_listed_newest_first_and_filtered(
    svix: SvixAsync, world: World, shop: ApplicationOut
) -> None:
    first = await world.publish(world.workspace, shop.id, "a.b", b'{"n": 1}', channels=("eu",))
    second = await world.publish(world.workspace, shop.id, "c.d", b'{"n": 2}', uid="second")
    everything = await svix.message.list("shop")
    assert [row.id for row in everything.data] == [second.id, first.id]
    assert everything.data[0].payload == {}
    assert everything.done

    of_type = await svix.message.list("shop", MessageListOptions(event_types=["a.b", "x"], with_content=True))
    assert [(row.id, row.payload, row.channels) for row in of_type.data] == [(first.id, {"n": 1}, ["eu"])]
    in_channel = await svix.message.list("shop", MessageListOptions(channel="eu"))
    assert [row.id for row in in_channel.data] == [first.id]
    before = await svix.message.list("shop", MessageListOptions(before=at(second.received_ms)))
    assert [row.id for row in before.data] == [first.id]
    page = await svix.message.list("shop", MessageListOptions(limit=1))
    rest = await svix.message.list("shop", MessageListOptions(limit=1, iterator=page.iterator))
    assert ([row.id for row in rest.data], page.done, rest.done) == ([first.id], False, True)


async def test_a_message_is_found_by_event_id_and_forgets_its_payload(
    svix: SvixAsync, world: World, shop: ApplicationOut
) -> None:
    made = await world.publish(world.workspace, shop.id, "a.b", b'{"n":  1.50}', uid="mine")
    assert (await svix.message.get("shop", "mine")).payload == {}
    found = await svix.message.get("shop", "mine", MessageGetOptions(with_content=True))
    assert (found.id, found.event_id, found.payload) == (made.id, "mine", {"n": 1.5})
    assert found.timestamp == at(made.received_ms)
    await svix.message.expunge_content("shop", "mine")
    gone = await svix.message.get("shop", made.id, MessageGetOptions(with_content=True))
    assert gone.payload == {"expired": True}


async def test_a_message_of_another_application_is_not_found(
    svix: SvixAsync, world: World, shop: ApplicationOut
) -> None:
    other = await svix.application.create(ApplicationIn(name="Other"))
    made = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    with pytest.raises(HttpError) as refused:
        await svix.message.get(other.id, made.id)
    assert refused.value.status_code == 404


async def test_attempts_are_listed_by_endpoint_and_by_message(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    message = await world.publish(world.workspace, shop.id, "a.b", b'{"n": 1}', uid="mine")
    [failed] = await work_off(world, succeed=False)
    await svix.message_attempt.resend("shop", "mine", "hook")
    [succeeded] = await work_off(world, succeed=True)

    by_endpoint = await svix.message_attempt.list_by_endpoint("shop", "hook")
    assert [row.id for row in by_endpoint.data] == [succeeded, failed]
    assert [row.status for row in by_endpoint.data] == [MessageStatus.SUCCESS, MessageStatus.FAIL]
    assert [row.trigger_type for row in by_endpoint.data] == [1, 0]
    assert [row.response for row in by_endpoint.data] == ["", ""]
    assert by_endpoint.data[0].msg is None

    failures = await svix.message_attempt.list_by_endpoint(
        "shop",
        "hook",
        MessageAttemptListByEndpointOptions(
            status=MessageStatus.FAIL, with_content=True, with_msg=True, event_types=["a.b"]
        ),
    )
    [row] = failures.data
    assert (row.id, row.response, row.response_status_code, row.msg_id) == (failed, "oh no", 500, message.id)
    assert row.msg is not None
    assert (row.msg.id, row.msg.payload) == (message.id, {})

    of_class = MessageAttemptListByMsgOptions(status_code_class=StatusCodeClass.CODE2XX, endpoint_id="hook")
    by_message = await svix.message_attempt.list_by_msg("shop", "mine", of_class)
    assert [row.id for row in by_message.data] == [succeeded]
    pending = MessageAttemptListByMsgOptions(status=MessageStatus.PENDING)
    assert (await svix.message_attempt.list_by_msg("shop", "mine", pending)).data == []


async def test_one_attempt_is_read_and_forgets_its_response(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    message = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    other = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    attempts = await work_off(world, succeed=True)
    found = [await svix.message_attempt.list_by_msg("shop", message.id)]
    attempt = found[0].data[0].id
    assert attempt in attempts
    assert (await svix.message_attempt.get("shop", message.id, attempt)).response == "ok"
    with pytest.raises(HttpError) as refused:
        await svix.message_attempt.get("shop", other.id, attempt)
    assert refused.value.status_code == 404
    await svix.message_attempt.expunge_content("shop", message.id, attempt)
    assert (await svix.message_attempt.get("shop", message.id, attempt)).response == ""


async def test_what_an_endpoint_was_owed_shows_where_each_message_stands(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    done = await world.publish(world.workspace, shop.id, "a.b", b'{"n": 1}', channels=("eu",))
    await work_off(world, succeed=True)
    failed = await world.publish(world.workspace, shop.id, "a.b", b'{"n": 2}')
    await work_off(world, succeed=False)
    retried = await world.publish(world.workspace, shop.id, "a.b", b'{"n": 3}')
    await work_off(world, succeed=False, retry=True)
    waiting = await world.publish(world.workspace, shop.id, "c.d", b'{"n": 4}')

    page = await svix.message_attempt.list_attempted_messages("shop", "hook")
    assert [(row.id, row.status_text) for row in page.data] == [
        (waiting.id, MessageStatusText.PENDING),
        (retried.id, MessageStatusText.SENDING),
        (failed.id, MessageStatusText.FAIL),
        (done.id, MessageStatusText.SUCCESS),
    ]
    assert page.data[1].next_attempt is not None
    assert page.data[3].next_attempt is None

    async def listed(**options: object) -> list[str]:
        query = MessageAttemptListAttemptedMessagesOptions(**options)  # type: ignore[arg-type]
        return [row.id for row in (await svix.message_attempt.list_attempted_messages("shop", "hook", query)).data]

    assert await listed(status=MessageStatus.SENDING) == [retried.id]
    assert await listed(status=MessageStatus.PENDING) == [waiting.id]
    assert await listed(event_types=["c.d"]) == [waiting.id]
    assert await listed(channel="eu") == [done.id]
    assert await listed(before=at(failed.received_ms)) == [done.id]

    first = await svix.message_attempt.list_attempted_messages(
        "shop", "hook", MessageAttemptListAttemptedMessagesOptions(limit=3)
    )
    rest = await svix.message_attempt.list_attempted_messages(
        "shop", "hook", MessageAttemptListAttemptedMessagesOptions(limit=3, iterator=first.iterator, with_content=True)
    )
    assert ([row.id for row in rest.data], rest.done) == ([done.id], True)
    assert rest.data[0].payload == {"n": 1}


async def test_a_cancelled_delivery_is_canceled_or_for_older_sdks_a_success(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    message = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    [delivery] = await world.services.history.deliveries_of(world.workspace, message.id)
    await world.services.replay.cancel(world.workspace, delivery.id)
    [row] = (await svix.message_attempt.list_attempted_messages("shop", "hook")).data
    assert row.status is MessageStatus.CANCELED
    older = MessageAttemptListAttemptedMessagesOptions(expanded_statuses=False)
    [row] = (await svix.message_attempt.list_attempted_messages("shop", "hook", older)).data
    assert row.status is MessageStatus.SUCCESS


async def test_a_messages_destinations_show_where_each_delivery_stands(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    second = await svix.endpoint.create("shop", EndpointIn(url="https://example.com/second"))
    message = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    await work_off(world, succeed=True)
    page = await svix.message_attempt.list_attempted_destinations("shop", message.id)
    assert {row.id for row in page.data} == {hook.id, second.id}
    assert {row.status for row in page.data} == {MessageStatus.SUCCESS}


async def test_resending_reuses_the_delivery_and_an_endpoint_that_never_got_it_gets_one(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    message = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    await work_off(world, succeed=True)
    late = await svix.endpoint.create("shop", EndpointIn(url="https://example.com/late"))
    await svix.message_attempt.resend("shop", message.id, "hook")
    await svix.message_attempt.resend("shop", message.id, late.id)
    assert len(await work_off(world, succeed=True)) == 2
    deliveries = await world.services.history.deliveries_of(world.workspace, message.id)
    assert sorted((row.endpoint, row.attempts) for row in deliveries) == sorted([(hook.id, 2), (late.id, 1)])


async def test_an_erased_message_and_a_disabled_endpoint_cannot_be_resent_to(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    message = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    off = await svix.endpoint.create("shop", EndpointIn(url="https://example.com/off", disabled=True))
    with pytest.raises(HttpError) as refused:
        await svix.message_attempt.resend("shop", message.id, off.id)
    assert refused.value.status_code == 409
    await svix.message.expunge_content("shop", message.id)
    with pytest.raises(HttpError) as refused:
        await svix.message_attempt.resend("shop", message.id, "hook")
    assert refused.value.status_code == 409


async def test_recovering_sends_again_only_what_failed_for_good_since_a_time(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    await world.publish(world.workspace, shop.id, "a.b", b'{"n": "too old"}')
    await work_off(world, succeed=False)
    world.clock.advance(60)
    since = at(world.clock.now_ms())
    failed = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    await work_off(world, succeed=False)
    await world.publish(world.workspace, shop.id, "a.b", b"{}")
    await work_off(world, succeed=True)
    task = await svix.endpoint.recover("shop", "hook", RecoverIn(since=since))
    assert (task.status, task.task) == ("finished", "endpoint.recover")
    await work_off(world, succeed=True)
    [again] = await world.services.history.deliveries_of(world.workspace, failed.id)
    assert (again.state, again.attempts) == ("delivered", 2)
    stats = await svix.endpoint.get_stats("shop", "hook")
    assert (stats.success, stats.fail, stats.pending, stats.sending, stats.canceled) == (2, 1, 0, 0, 0)


async def test_replaying_what_is_missing_sends_what_the_endpoint_wants_and_never_got(
    svix: SvixAsync, world: World, shop: ApplicationOut
) -> None:
    since = at(world.clock.now_ms())
    wanted = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    await world.publish(world.workspace, shop.id, "c.d", b"{}")
    late = await svix.endpoint.create("shop", EndpointIn(url="https://example.com/l", event_types=["a.b"]))
    got = await world.publish(world.workspace, shop.id, "a.b", b"{}")
    await svix.endpoint.replay_missing("shop", late.id, ReplayIn(since=since))
    await svix.endpoint.replay_missing("shop", late.id, ReplayIn(since=since))
    await work_off(world, succeed=True)
    page = await svix.message_attempt.list_by_endpoint("shop", late.id)
    assert sorted(row.msg_id for row in page.data) == sorted([wanted.id, got.id])


async def test_counts_are_refused_for_too_long_a_range(
    svix: SvixAsync, world: World, shop: ApplicationOut, hook: EndpointOut
) -> None:
    now = at(world.clock.now_ms())
    with pytest.raises(HTTPValidationError) as refused:
        await svix.endpoint.get_stats("shop", "hook", EndpointGetStatsOptions(since=now - timedelta(days=29)))
    assert refused.value.detail[0].loc == ["query", "since"]
    attempts = await svix.endpoint.get_attempt_stats("shop", "hook")
    assert (attempts.success, attempts.fail, attempts.canceled) == (0, 0, 0)


async def test_an_example_comes_from_the_schema_and_goes_to_the_endpoint_whatever_its_filters_say(
    svix: SvixAsync, world: World, shop: ApplicationOut
) -> None:
    only_other = await svix.endpoint.create("shop", EndpointIn(url="https://example.com/x", event_types=["other"]))
    schemas = {"1": {"examples": [{"old": True}]}, "2": {"examples": [{"n": 0}, {"n": 1}]}}
    await svix.event_type.create(EventTypeIn(name="order.paid", description="", schemas=schemas))
    sent = await svix.endpoint.send_example(
        "shop", only_other.id, EventExampleIn(event_type="order.paid", example_index=1)
    )
    assert sent.payload == {"n": 1}
    assert len(await work_off(world, succeed=True)) == 1
    own = await svix.endpoint.send_example(
        "shop", only_other.id, EventExampleIn(event_type="unknown", payload={"mine": 1})
    )
    assert own.payload == {"mine": 1}
    with pytest.raises(HTTPValidationError) as refused:
        await svix.endpoint.send_example("shop", only_other.id, EventExampleIn(event_type="unknown"))
    assert refused.value.detail[0].loc == ["body", "eventType"]


async def test_a_precheck_says_whether_anybody_would_receive(svix: SvixAsync, shop: ApplicationOut) -> None:
    await svix.endpoint.create("shop", EndpointIn(url="https://example.com/x", event_types=["a.b"], channels=["eu"]))
    hit = await svix.message.precheck("shop", MessagePrecheckIn(event_type="a.b", channels=["eu", "us"]))
    miss = await svix.message.precheck("shop", MessagePrecheckIn(event_type="a.b", channels=["us"]))
    assert (hit.active, miss.active) == (True, False)


async def test_filtering_by_tag_is_refused_because_it_would_filter_nothing(
    svix: SvixAsync, shop: ApplicationOut
) -> None:
    with pytest.raises(HTTPValidationError) as refused:
        await svix.message.list("shop", MessageListOptions(tag="x"))
    assert refused.value.detail[0].loc == ["query", "tag"]
