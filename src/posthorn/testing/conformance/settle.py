"""Settle: how taken deliveries end or go on, guarded by the row and by the epoch."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.journal import AttemptQuery
from posthorn.engine.records import DeliveryState, DeliveryWork, Trigger
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.world import NODE, World
from posthorn.testing.factories import WORKSPACE, a_delivery, a_rendered_request, a_unit

HOUR_MS = 3_600_000


async def _attempts(world: World) -> list[str]:
    page = await world.store.attempts(AttemptQuery(workspace=WORKSPACE, ascending=True))
    return [row.attempt.id for row in page.rows]


async def _works(world: World, count: int) -> list[DeliveryWork]:
    for _ in range(count):
        await world.publish()
    return await world.due()


async def test_settling_nothing_answers_nothing(world: World) -> None:
    assert await world.settle() == []


async def test_delivered_work_leaves_the_queue_and_its_attempt_is_kept_whole(world: World) -> None:
    work = await world.publish_and_take()
    settlement = world.delivered(work, response_body=b"\x00\xff", request_headers=b"[]", detail=None)
    assert await world.settle(settlement) == [True]
    assert await world.due() == []
    assert settlement.attempt is not None
    row = await world.store.attempt(WORKSPACE, settlement.attempt.id)
    assert row is not None
    assert row.attempt == settlement.attempt


async def test_failed_work_comes_back_when_its_next_step_is_due(world: World) -> None:
    work = await world.publish_and_take()
    settlement = world.failed(work, retry_in_ms=5000)
    assert await world.settle(settlement) == [True]
    world.later(4.999)
    assert await world.due() == []
    world.later(0.001)
    assert await world.due() == [replace(work, due_ms=world.now_ms, attempts=1, step=1)]
    assert settlement.attempt is not None
    assert await _attempts(world) == [settlement.attempt.id]


async def test_exhausted_work_leaves_the_queue(world: World) -> None:
    work = await world.publish_and_take()
    assert await world.settle(world.exhausted(work)) == [True]
    world.later(HOUR_MS)
    assert await world.due() == []
    assert len(await _attempts(world)) == 1


async def test_deferred_work_comes_back_with_no_attempt_and_no_step_more(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.failed(work, retry_in_ms=1000))
    world.later()
    (work,) = await world.due()
    assert await world.settle(world.deferred(work, by_ms=2000)) == [True]
    assert await world.due() == []
    world.later(2)
    assert await world.due() == [replace(work, due_ms=world.now_ms)]
    assert len(await _attempts(world)) == 1


async def test_cancelled_work_leaves_the_queue_without_an_attempt(world: World) -> None:
    work = await world.publish_and_take()
    assert await world.settle(world.cancelled(work)) == [True]
    world.later(HOUR_MS)
    assert await world.due() == []
    assert await _attempts(world) == []


async def test_each_failure_counts_one_attempt_and_one_step(world: World) -> None:
    await world.publish()
    for number in range(4):
        (work,) = await world.due()
        assert (work.attempts, work.step) == (number, number)
        await world.settle(world.failed(work, retry_in_ms=1000))
        world.later()
    assert len(await _attempts(world)) == 4


async def test_a_rendered_request_stays_with_the_work_through_its_retries(world: World) -> None:
    event, rendered = world.event(), a_rendered_request()
    await world.append(a_unit(event, deliveries=(a_delivery(event, endpoint=LANE, rendered=rendered),)))
    (work,) = await world.due(LANE)
    await world.settle(world.failed(work, retry_in_ms=1000))
    world.later()
    assert [work.rendered for work in await world.due(LANE)] == [rendered]


async def test_an_outcome_of_an_older_epoch_touches_nothing(world: World) -> None:
    delivered, failed, exhausted, deferred, cancelled = works = await _works(world, 5)
    outcomes = [
        world.delivered(delivered),
        world.failed(failed, retry_in_ms=1000),
        world.exhausted(exhausted),
        world.deferred(deferred, by_ms=1000),
        world.cancelled(cancelled),
    ]
    await world.lose_to()
    assert await world.settle(*outcomes) == [False] * 5
    assert await world.due() == works
    assert await _attempts(world) == []
    for work in works:
        row = await world.store.delivery(WORKSPACE, work.id)
        assert row is not None
        assert row.state is DeliveryState.PENDING


async def test_the_new_owner_settles_with_its_own_epoch(world: World) -> None:
    work = await world.publish_and_take()
    await world.lose_to()
    world.epochs[Stage.DELIVER] = {shard: epoch + 1 for shard, epoch in world.epochs[Stage.DELIVER].items()}
    assert await world.settle(world.delivered(work)) == [True]


async def test_an_outcome_does_not_look_at_who_decides(world: World) -> None:
    work = await world.publish_and_take()
    await world.lose_to(stages=(Stage.DECIDE,))
    assert await world.settle(world.delivered(work)) == [True]


async def test_an_outcome_under_the_epoch_of_the_other_stage_touches_nothing(world: World) -> None:
    work = await world.publish_and_take()
    settlement = replace(world.delivered(work), epoch=world.epochs[Stage.DECIDE][work.shard])
    assert await world.settle(settlement) == [False]
    assert await world.due() == [work]


async def test_an_outcome_of_an_epoch_to_come_touches_nothing(world: World) -> None:
    work = await world.publish_and_take()
    settlement = world.delivered(work)
    assert await world.settle(replace(settlement, epoch=settlement.epoch + 1)) == [False]
    assert await world.due() == [work]


async def test_renewing_the_lease_does_not_spoil_work_in_flight(world: World) -> None:
    work = await world.publish_and_take()
    settlement = world.delivered(work)
    world.later()
    await world.own(NODE)
    assert await world.settle(settlement) == [True]


async def test_settling_finished_work_again_writes_nothing(world: World) -> None:
    work = await world.publish_and_take()
    first, second = world.delivered(work), world.delivered(work)
    assert await world.settle(first) == [True]
    assert await world.settle(second) == [False]
    assert first.attempt is not None
    assert await _attempts(world) == [first.attempt.id]


async def test_settling_work_that_went_on_writes_nothing(world: World) -> None:
    work = await world.publish_and_take()
    assert await world.settle(world.failed(work, retry_in_ms=1000)) == [True]
    assert await world.settle(world.exhausted(work)) == [False]
    assert await world.settle(world.deferred(work, by_ms=9000)) == [False]
    assert await world.settle(world.cancelled(work)) == [False]
    world.later()
    assert [(work.attempts, work.step) for work in await world.due()] == [(1, 1)]
    assert len(await _attempts(world)) == 1


async def test_of_two_outcomes_for_one_work_in_a_batch_the_first_counts(world: World) -> None:
    work = await world.publish_and_take()
    first = world.failed(work, retry_in_ms=1000)
    assert await world.settle(first, world.delivered(work)) == [True, False]
    assert first.attempt is not None
    assert await _attempts(world) == [first.attempt.id]
    world.later()
    assert len(await world.due()) == 1


async def test_in_a_batch_each_outcome_counts_by_itself(world: World) -> None:
    a, b, c, d = await _works(world, 4)
    await world.settle(world.delivered(b))
    stale = world.delivered(c)
    outcomes = [world.delivered(a), world.delivered(b), replace(stale, epoch=stale.epoch - 1), world.exhausted(d)]
    assert await world.settle(*outcomes) == [True, False, False, True]
    assert await world.due() == [c]
    assert outcomes[0].attempt is not None
    assert outcomes[3].attempt is not None
    assert (await _attempts(world))[1:] == [outcomes[0].attempt.id, outcomes[3].attempt.id]


async def test_work_that_was_replayed_meanwhile_is_changed_work(world: World) -> None:
    work = await world.publish_and_take()
    event = await world.store.event(WORKSPACE, work.event)
    assert event is not None
    await world.store.enqueue(a_delivery(event, id=work.id, due_ms=world.later()))
    assert await world.settle(world.delivered(work)) == [False]
    assert [(work.trigger, work.due_ms) for work in await world.due()] == [(Trigger.MANUAL, world.now_ms)]
    assert await _attempts(world) == []


async def test_a_batch_of_a_thousand_outcomes_is_applied_whole(world: World) -> None:
    event = world.event()
    deliveries = tuple(a_delivery(event, due_ms=event.received_ms - number) for number in range(1000))
    await world.append(a_unit(event, deliveries=deliveries))
    works = await world.due(room=1000)
    assert await world.settle(*(world.delivered(work) for work in works)) == [True] * 1000
    assert await world.due() == []
