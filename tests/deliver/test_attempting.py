"""One attempt, from taken work to what is written down."""

import msgspec
import pytest
from delivering_world import World

from posthorn.clock import SECOND_MS
from posthorn.deliver.attempting import Outcome
from posthorn.deliver.transport.failures import FailureCode
from posthorn.engine.fairqueue import Finish
from posthorn.engine.lanes import lane_shard
from posthorn.engine.records import DeliveryState, DeliveryWork, Payload, Trigger
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import an_event_type
from posthorn.testing.transport import failure, response


def a_work(**overrides: object) -> DeliveryWork:
    fields: dict[str, object] = {
        "id": "dlv_1",
        "shard": lane_shard("ep_1"),
        "endpoint": "ep_1",
        "due_ms": START_MS,
        "event": "msg_1",
        "attempts": 0,
        "step": 0,
        "trigger": Trigger.SCHEDULED,
        "payload": Payload(type="order.paid", body=b'{"total": 12}'),
    }
    return DeliveryWork(**(fields | overrides))  # type: ignore[arg-type]


@pytest.fixture
async def world() -> World:
    world = World()
    await world.endpoint()
    return world


async def attempted(world: World, work: DeliveryWork) -> Outcome:
    rules = world.attempter.rules(work.endpoint)
    assert rules is not None
    return await world.attempter.attempt(work, rules, 7)


async def test_success_takes_the_delivery_off_the_queue_and_is_written_down_whole(world: World) -> None:
    world.transport.script(response(201, headers=((b"X-A", b"\xe9"),), body=b"y" * 20_000))
    outcome = await attempted(world, a_work(attempts=2, step=2, trigger=Trigger.MANUAL))
    attempt = outcome.settlement.attempt
    assert attempt is not None
    assert (outcome.settlement.next_due_ms, outcome.settlement.epoch, outcome.finish) == (None, 7, Finish.ANSWERED_WELL)
    assert (attempt.number, attempt.trigger, attempt.state) == (3, Trigger.MANUAL, DeliveryState.DELIVERED)
    assert (attempt.response_status, attempt.error, attempt.url) == (201, None, "https://ep-1.test/hook")
    assert attempt.response_body == b"y" * 16 * 1024
    assert msgspec.json.decode(attempt.response_headers or b"") == [["X-A", "é"]]


@pytest.mark.parametrize(("step", "delay_s"), [(0, 5), (1, 300), (8, 86_400)])
async def test_a_failure_is_tried_again_after_the_default_schedule(world: World, step: int, delay_s: int) -> None:
    world.transport.script(failure(FailureCode.CONNECTION_REFUSED))
    outcome = await attempted(world, a_work(attempts=step, step=step))
    assert outcome.settlement.next_due_ms == START_MS + delay_s * SECOND_MS
    assert outcome.settlement.next_step == step + 1
    attempt = outcome.settlement.attempt
    assert attempt is not None
    assert (attempt.state, attempt.error, attempt.response_status) == ("pending", "connection_refused", None)
    assert attempt.next_ms == outcome.settlement.next_due_ms


async def test_the_last_step_of_a_schedule_exhausts_the_delivery(world: World) -> None:
    world.transport.script(response(500))
    outcome = await attempted(world, a_work(attempts=9, step=9))
    attempt = outcome.settlement.attempt
    assert attempt is not None
    assert (outcome.settlement.next_due_ms, attempt.state) == (None, DeliveryState.EXHAUSTED)


async def test_an_event_types_schedule_replaces_the_default_and_an_endpoints_replaces_both(world: World) -> None:
    await world.store.insert(an_event_type(retry_schedule_seconds=(60,)))
    await world.endpoint("ep_own", retry_schedule_seconds=())
    world.transport.script(response(500), response(500))
    outcome = await attempted(world, a_work())
    assert outcome.settlement.next_due_ms == START_MS + 60 * SECOND_MS
    outcome = await attempted(world, a_work(endpoint="ep_own"))
    assert outcome.settlement.next_due_ms is None


async def test_retry_after_puts_the_next_attempt_off(world: World) -> None:
    world.transport.script(response(429, headers=((b"retry-after", b"120"),)))
    outcome = await attempted(world, a_work())
    assert outcome.settlement.next_due_ms == START_MS + 120 * SECOND_MS


async def test_a_hostile_retry_after_does_not_keep_the_attempt_from_being_recorded(world: World) -> None:
    header = (b"retry-after", b"Mon, 01 Jan 2026 00:00:00 +9999999999999999999")
    world.transport.script(response(503, headers=(header,)))
    outcome = await attempted(world, a_work())
    assert outcome.settlement.attempt is not None
    assert outcome.settlement.next_due_ms == START_MS + 5 * SECOND_MS


async def test_own_trouble_counts_no_attempt(world: World) -> None:
    world.transport.script(failure(FailureCode.TOO_MANY_OPEN_FILES))
    outcome = await attempted(world, a_work(attempts=1, step=1))
    settlement = outcome.settlement
    assert (settlement.attempt, settlement.next_step, outcome.finish) == (None, 1, Finish.NOTHING_LEARNED)
    assert settlement.next_due_ms == START_MS + 5 * SECOND_MS


async def test_410_ends_the_delivery_and_says_so(world: World) -> None:
    world.transport.script(response(410))
    outcome = await attempted(world, a_work())
    assert (outcome.is_gone, outcome.settlement.next_due_ms) == (True, None)


async def test_a_url_that_cannot_be_sent_to_is_hopeless_and_nothing_is_sent(world: World) -> None:
    endpoint = await world.endpoint("ep_bad", url="ftp://example.test/")
    outcome = await attempted(world, a_work(endpoint=endpoint.id))
    attempt = outcome.settlement.attempt
    assert attempt is not None
    assert (attempt.state, attempt.error, attempt.url) == ("exhausted", "scheme_not_allowed", "ftp://example.test/")
    assert world.transport.requests == []


async def test_the_rules_of_a_deleted_endpoint_are_none(world: World) -> None:
    assert world.attempter.rules("ep_unknown") is None
