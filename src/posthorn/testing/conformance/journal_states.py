"""A delivery's state over its life, and the lists of deliveries."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from typing import Any

from posthorn.engine.journal import DeliveryQuery, DeliveryRow
from posthorn.engine.records import DeliveryState, DeliveryWork
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import APPLICATION, ENDPOINT, OTHER_ENDPOINT, WORKSPACE


async def _row(world: World, work: DeliveryWork) -> DeliveryRow:
    row = await world.store.delivery(WORKSPACE, work.id)
    assert row is not None
    page = await world.store.deliveries(DeliveryQuery(workspace=WORKSPACE, event=work.event))
    assert page.rows == [row]
    return row


async def _list(world: World, **query: Any) -> list[str]:
    asked: dict[str, Any] = {"workspace": WORKSPACE, "ascending": True}
    page = await world.store.deliveries(DeliveryQuery(**(asked | query)))
    return [row.id for row in page.rows]


async def test_a_fresh_delivery_is_pending_and_knows_when_it_is_due(world: World) -> None:
    work = await world.publish_and_take()
    assert await _row(world, work) == DeliveryRow(
        id=work.id,
        workspace=WORKSPACE,
        event=work.event,
        endpoint=work.endpoint,
        application=None,
        state=DeliveryState.PENDING,
        attempts=0,
        next_ms=work.due_ms,
    )


async def test_a_delivery_of_a_message_belongs_to_its_application(world: World) -> None:
    message = await world.publish(world.message())
    (work,) = await world.due()
    assert (await _row(world, work)).application == APPLICATION
    await world.settle(world.delivered(work, application=APPLICATION))
    row = await _row(world, work)
    assert (row.application, row.event) == (APPLICATION, message.id)


async def test_a_failed_delivery_stays_pending_until_its_next_attempt(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.failed(work, retry_in_ms=5000))
    row = await _row(world, work)
    assert (row.state, row.attempts, row.next_ms) == (DeliveryState.PENDING, 1, world.now_ms + 5000)


async def test_a_deferred_delivery_shows_its_new_due_and_no_attempt(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.deferred(work, by_ms=5000))
    row = await _row(world, work)
    assert (row.state, row.attempts, row.next_ms) == (DeliveryState.PENDING, 0, world.now_ms + 5000)


async def test_a_delivery_ends_delivered_with_all_its_attempts_counted(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.failed(work, retry_in_ms=1000))
    world.later()
    (work,) = await world.due()
    await world.settle(world.delivered(work))
    row = await _row(world, work)
    assert (row.state, row.attempts, row.next_ms, row.reason) == (DeliveryState.DELIVERED, 2, None, None)


async def test_a_delivery_ends_exhausted(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.exhausted(work))
    row = await _row(world, work)
    assert (row.state, row.attempts, row.next_ms, row.reason) == (DeliveryState.EXHAUSTED, 1, None, None)


async def test_a_delivery_ends_cancelled_with_the_reason(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.failed(work, retry_in_ms=1000))
    world.later()
    (work,) = await world.due()
    await world.settle(world.cancelled(work, "endpoint_gone"))
    row = await _row(world, work)
    assert (row.state, row.attempts, row.next_ms) == (DeliveryState.CANCELLED, 1, None)
    assert row.reason == "endpoint_gone"


async def test_a_delivery_cancelled_before_its_first_attempt_has_none(world: World) -> None:
    work = await world.publish_and_take()
    await world.store.cancel(work.id, "by_hand")
    row = await _row(world, work)
    assert (row.state, row.attempts, row.reason) == (DeliveryState.CANCELLED, 0, "by_hand")


async def test_deliveries_are_found_by_event_endpoint_and_state(world: World) -> None:
    events = [await world.publish(endpoints=(ENDPOINT, OTHER_ENDPOINT)) for _ in range(4)]
    mine, theirs = await world.due(ENDPOINT), await world.due(OTHER_ENDPOINT)
    await world.settle(
        world.delivered(mine[0]),
        world.failed(mine[1], retry_in_ms=1000),
        world.exhausted(mine[2]),
        world.cancelled(mine[3]),
    )
    both = sorted((mine[1].id, theirs[1].id))
    assert await _list(world, event=events[1].id) == both
    assert await _list(world, endpoint=ENDPOINT) == [work.id for work in mine]
    assert await _list(world, endpoint=OTHER_ENDPOINT) == [work.id for work in theirs]
    assert await _list(world, state=DeliveryState.DELIVERED) == [mine[0].id]
    assert await _list(world, state=DeliveryState.EXHAUSTED) == [mine[2].id]
    assert await _list(world, state=DeliveryState.CANCELLED) == [mine[3].id]
    assert await _list(world, state=DeliveryState.PENDING) == sorted([mine[1].id, *(work.id for work in theirs)])
    assert await _list(world, state=DeliveryState.PENDING, endpoint=ENDPOINT) == [mine[1].id]
    assert await _list(world, state=DeliveryState.PENDING, event=events[0].id) == [theirs[0].id]
    assert await _list(world, event=events[0].id, endpoint=ENDPOINT) == [mine[0].id]
    assert len(await _list(world)) == 8


async def test_a_delivery_is_listed_once_whatever_happened_to_it(world: World) -> None:
    work = await world.publish_and_take()
    for _ in range(3):
        (work,) = await world.due()
        await world.settle(world.failed(work, retry_in_ms=1000))
        world.later()
    assert await _list(world) == [work.id]
    (work,) = await world.due()
    await world.settle(world.exhausted(work))
    assert await _list(world) == [work.id]
    assert await _list(world, state=DeliveryState.PENDING) == []


async def test_deliveries_of_mixed_states_are_paged_in_the_order_of_their_ids(world: World) -> None:
    for _ in range(9):
        await world.publish()
    works = await world.due()
    for number, work in enumerate(works):
        outcome = (world.delivered(work), world.cancelled(work), world.deferred(work, by_ms=1000))[number % 3]
        await world.settle(outcome)
    expected = sorted(work.id for work in works)
    walked: list[str] = []
    while page := await _list(world, limit=2, after=walked[-1] if walked else None):
        walked += page
    assert walked == expected
