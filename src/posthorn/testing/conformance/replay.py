"""Enqueue and cancel: what people do to deliveries by hand."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from posthorn import ids
from posthorn.engine.records import DeliveryState, DeliveryWork, Event, NewDelivery, Trigger
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import WORKSPACE, a_delivery, a_rendered_request, a_unit


async def _again(world: World, work: DeliveryWork) -> NewDelivery:
    event = await world.store.event(WORKSPACE, work.event)
    assert isinstance(event, Event)
    return a_delivery(event, id=work.id, endpoint=work.endpoint, due_ms=world.later())


async def test_a_delivered_delivery_begins_its_schedule_anew_and_goes_on_counting(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.failed(work, retry_in_ms=1000))
    world.later()
    (work,) = await world.due()
    await world.settle(world.delivered(work))
    replay = await _again(world, work)
    await world.store.enqueue(replay)
    (again,) = await world.due()
    assert (again.id, again.event, again.payload) == (work.id, work.event, work.payload)
    assert (again.due_ms, again.attempts, again.step, again.trigger) == (replay.due_ms, 2, 0, Trigger.MANUAL)


async def test_an_exhausted_delivery_can_be_replayed(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.exhausted(work))
    await world.store.enqueue(await _again(world, work))
    assert [(again.attempts, again.step, again.trigger) for again in await world.due()] == [(1, 0, Trigger.MANUAL)]
    row = await world.store.delivery(WORKSPACE, work.id)
    assert row is not None
    assert (row.state, row.attempts, row.next_ms) == (DeliveryState.PENDING, 1, world.now_ms)


async def test_a_cancelled_delivery_can_be_replayed_and_its_reason_is_gone(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.cancelled(work))
    await world.store.enqueue(await _again(world, work))
    assert len(await world.due()) == 1
    row = await world.store.delivery(WORKSPACE, work.id)
    assert row is not None
    assert (row.state, row.reason) == (DeliveryState.PENDING, None)


async def test_a_replayed_delivery_that_ends_again_shows_its_new_end(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.exhausted(work))
    await world.store.enqueue(await _again(world, work))
    (again,) = await world.due()
    await world.settle(world.delivered(again))
    row = await world.store.delivery(WORKSPACE, work.id)
    assert row is not None
    assert (row.state, row.attempts, row.next_ms) == (DeliveryState.DELIVERED, 2, None)


async def test_a_pending_delivery_becomes_due_now_and_keeps_its_step(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.failed(work, retry_in_ms=3_600_000))
    assert await world.due() == []
    replay = await _again(world, work)
    await world.store.enqueue(replay)
    (again,) = await world.due()
    assert (again.due_ms, again.attempts, again.step, again.trigger) == (replay.due_ms, 1, 1, Trigger.MANUAL)
    world.later(7200)
    assert await world.due() == [again]


async def test_an_attempt_made_ends_the_manual_trigger(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.exhausted(work))
    await world.store.enqueue(await _again(world, work))
    (again,) = await world.due()
    await world.settle(world.failed(again, retry_in_ms=1000))
    world.later()
    assert [(work.trigger, work.step) for work in await world.due()] == [(Trigger.SCHEDULED, 1)]


async def test_a_deferral_keeps_the_manual_trigger(world: World) -> None:
    work = await world.publish_and_take()
    await world.store.enqueue(await _again(world, work))
    (again,) = await world.due()
    await world.settle(world.deferred(again, by_ms=1000))
    world.later()
    assert [work.trigger for work in await world.due()] == [Trigger.MANUAL]


async def test_a_new_delivery_of_a_known_event_can_be_queued_by_hand(world: World) -> None:
    event = await world.publish(endpoints=())
    delivery = a_delivery(event, due_ms=world.later())
    await world.store.enqueue(delivery)
    (work,) = await world.due()
    assert (work.id, work.attempts, work.step, work.trigger) == (delivery.id, 0, 0, Trigger.MANUAL)
    assert work.payload.body == event.payload


async def test_a_replay_sends_what_was_rendered_at_first(world: World) -> None:
    event, rendered = world.event(), a_rendered_request()
    await world.append(a_unit(event, deliveries=(a_delivery(event, endpoint=LANE, rendered=rendered),)))
    (work,) = await world.due(LANE)
    await world.settle(world.delivered(work))
    await world.store.enqueue(await _again(world, work))
    assert [again.rendered for again in await world.due(LANE)] == [rendered]


async def test_a_cancelled_delivery_leaves_the_queue_with_its_reason(world: World) -> None:
    work = await world.publish_and_take()
    assert await world.store.cancel(work.id, "by_hand") is True
    assert await world.due() == []
    row = await world.store.delivery(WORKSPACE, work.id)
    assert row is not None
    assert (row.state, row.reason, row.next_ms) == (DeliveryState.CANCELLED, "by_hand", None)


async def test_a_delivery_is_cancelled_once(world: World) -> None:
    work = await world.publish_and_take()
    assert await world.store.cancel(work.id, "first") is True
    assert await world.store.cancel(work.id, "second") is False
    row = await world.store.delivery(WORKSPACE, work.id)
    assert row is not None
    assert row.reason == "first"


async def test_what_is_not_pending_cannot_be_cancelled(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.delivered(work))
    assert await world.store.cancel(work.id, "late") is False
    assert await world.store.cancel(ids.new_id(ids.DELIVERY, world.now_ms), "unknown") is False
    row = await world.store.delivery(WORKSPACE, work.id)
    assert row is not None
    assert row.state is DeliveryState.DELIVERED


async def test_an_attempt_in_flight_does_not_revive_a_cancelled_delivery(world: World) -> None:
    work = await world.publish_and_take()
    await world.store.cancel(work.id, "by_hand")
    assert await world.settle(world.failed(work, retry_in_ms=1000)) == [False]
    world.later()
    assert await world.due() == []
