"""Ready and take: which endpoints have due deliveries, and what stands at their head."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from posthorn import ids
from posthorn.engine.lanes import automation_lane, lane_shard
from posthorn.engine.records import Append, ReadyEndpoint, Trigger
from posthorn.testing.conformance.world import ALL_SHARDS, World
from posthorn.testing.factories import (
    AUTOMATION,
    ENDPOINT,
    OTHER_ENDPOINT,
    a_delivery,
    a_rendered_request,
    a_unit,
)

LANE = automation_lane(AUTOMATION, "https://example.test/")


def _lane(endpoint: str, due_ms: int) -> ReadyEndpoint:
    return ReadyEndpoint(shard=lane_shard(endpoint), endpoint=endpoint, due_ms=due_ms)


async def _queue(world: World, *due_ms: int, endpoint: str = ENDPOINT) -> list[str]:
    event = world.event()
    deliveries = tuple(
        a_delivery(event, endpoint=endpoint, due_ms=due, id=ids.new_id(ids.DELIVERY, world.later())) for due in due_ms
    )
    # Written against the order of their ids, which are what tells deliveries of the same due apart.
    await world.append(a_unit(event, deliveries=deliveries[::-1]))
    return [delivery.id for delivery in deliveries]


async def test_nothing_is_ready_in_an_empty_store(world: World) -> None:
    assert await world.store.ready(ALL_SHARDS, after_ms=None, now_ms=world.now_ms) == []


async def test_an_endpoint_is_ready_once_with_its_oldest_due(world: World) -> None:
    now_ms = world.now_ms
    await _queue(world, now_ms + 300, now_ms + 100, now_ms + 200)
    await _queue(world, now_ms + 400, endpoint=OTHER_ENDPOINT)
    ready = await world.store.ready(ALL_SHARDS, after_ms=None, now_ms=now_ms + 1000)
    assert sorted(ready, key=lambda lane: lane.due_ms) == [
        _lane(ENDPOINT, now_ms + 100),
        _lane(OTHER_ENDPOINT, now_ms + 400),
    ]


async def test_what_is_due_this_very_millisecond_is_ready(world: World) -> None:
    due_ms = world.now_ms + 100
    await _queue(world, due_ms)
    assert await world.store.ready(ALL_SHARDS, after_ms=None, now_ms=due_ms - 1) == []
    assert await world.store.ready(ALL_SHARDS, after_ms=None, now_ms=due_ms) == [_lane(ENDPOINT, due_ms)]


async def test_the_window_excludes_its_start_and_includes_its_end(world: World) -> None:
    due_ms = world.now_ms + 100
    await _queue(world, due_ms)
    store = world.store
    assert await store.ready(ALL_SHARDS, after_ms=due_ms, now_ms=due_ms + 50) == []
    assert await store.ready(ALL_SHARDS, after_ms=due_ms - 1, now_ms=due_ms) == [_lane(ENDPOINT, due_ms)]
    assert await store.ready(ALL_SHARDS, after_ms=due_ms - 50, now_ms=due_ms - 1) == []


async def test_a_window_tells_the_oldest_due_within_it(world: World) -> None:
    now_ms = world.now_ms
    await _queue(world, now_ms + 100, now_ms + 300, now_ms + 200)
    ready = await world.store.ready(ALL_SHARDS, after_ms=now_ms + 100, now_ms=now_ms + 300)
    assert ready == [_lane(ENDPOINT, now_ms + 200)]


async def test_only_the_asked_shards_are_ready(world: World) -> None:
    now_ms = world.now_ms
    await _queue(world, now_ms)
    await _queue(world, now_ms, endpoint=OTHER_ENDPOINT)
    assert lane_shard(ENDPOINT) != lane_shard(OTHER_ENDPOINT)
    for after_ms in (None, now_ms - 1):
        ready = await world.store.ready([lane_shard(OTHER_ENDPOINT)], after_ms=after_ms, now_ms=now_ms)
        assert ready == [_lane(OTHER_ENDPOINT, now_ms)]
        assert await world.store.ready([], after_ms=after_ms, now_ms=now_ms) == []


async def test_many_endpoints_are_each_ready(world: World) -> None:
    endpoints = {ids.new_id(ids.ENDPOINT, world.now_ms) for _ in range(300)}
    await world.publish(endpoints=sorted(endpoints))
    ready = await world.store.ready(ALL_SHARDS, after_ms=None, now_ms=world.now_ms)
    assert sorted(lane.endpoint for lane in ready) == sorted(endpoints)
    assert all(lane.shard == lane_shard(lane.endpoint) for lane in ready)


async def test_an_endpoint_is_not_ready_once_its_deliveries_are_settled(world: World) -> None:
    work = await world.publish_and_take()
    await world.settle(world.delivered(work))
    assert await world.store.ready(ALL_SHARDS, after_ms=None, now_ms=world.now_ms) == []


async def test_take_reads_oldest_due_first_and_then_by_id(world: World) -> None:
    now_ms = world.now_ms
    a, b, c, d = await _queue(world, now_ms + 20, now_ms + 10, now_ms + 20, now_ms + 10)
    assert [work.id for work in await world.due()] == [b, d, a, c]


async def test_take_reads_no_more_than_there_is_room_for(world: World) -> None:
    now_ms = world.now_ms
    a, b, _ = await _queue(world, now_ms, now_ms + 1, now_ms + 2)
    assert [work.id for work in await world.due(room=2)] == [a, b]
    assert await world.due(room=0) == []


async def test_take_leaves_out_what_is_held_and_fills_the_room_with_others(world: World) -> None:
    now_ms = world.now_ms
    a, b, c, d = await _queue(world, now_ms, now_ms + 1, now_ms + 2, now_ms + 3)
    assert [work.id for work in await world.due(room=2, held=[a, c])] == [b, d]
    assert await world.due(held=[a, b, c, d]) == []


async def test_take_reads_only_what_is_due(world: World) -> None:
    now_ms = world.now_ms
    event = world.event()
    due = (now_ms + 2000, now_ms + 2001)
    deliveries = tuple(
        a_delivery(event, due_ms=due_ms, id=ids.new_id(ids.DELIVERY, now_ms + 4 * number))
        for number, due_ms in enumerate(due)
    )
    await world.append(a_unit(event, deliveries=deliveries))
    world.later(1)
    assert [work.id for work in await world.due()] == [deliveries[0].id]


async def test_take_reads_only_its_own_lane(world: World) -> None:
    (mine,) = await _queue(world, world.now_ms)
    await _queue(world, world.now_ms, endpoint=OTHER_ENDPOINT)
    assert [work.id for work in await world.due(ENDPOINT)] == [mine]
    assert await world.due("ep_unknown") == []


async def test_taking_is_a_read_and_marks_nothing(world: World) -> None:
    await _queue(world, world.now_ms)
    first = await world.due()
    assert len(first) == 1
    assert await world.due() == first


async def test_fresh_work_has_made_no_attempt(world: World) -> None:
    event = world.event()
    delivery = a_delivery(event)
    await world.append(a_unit(event, deliveries=(delivery,)))
    (work,) = await world.due()
    assert (work.id, work.event, work.shard, work.endpoint) == (
        delivery.id,
        event.id,
        delivery.shard,
        delivery.endpoint,
    )
    assert (work.due_ms, work.attempts, work.step, work.trigger) == (delivery.due_ms, 0, 0, Trigger.SCHEDULED)
    assert work.rendered is None


async def test_a_rendered_request_comes_with_the_work(world: World) -> None:
    event = world.event()
    sealed = a_rendered_request(shown=b'{"url":"\xc3\xa9"}', sealed="v1.sealed")
    plain = a_rendered_request(sealed=None)
    deliveries = tuple(
        a_delivery(event, endpoint=LANE, rendered=rendered, id=ids.new_id(ids.DELIVERY, world.later()))
        for rendered in (sealed, plain, None)
    )
    await world.append(a_unit(event, deliveries=deliveries))
    assert [work.rendered for work in await world.due(LANE)] == [sealed, plain, None]


async def test_a_delivery_of_an_earlier_event_can_be_appended_alone(world: World) -> None:
    event = await world.publish(endpoints=())
    await world.append(Append(deliveries=(a_delivery(event),)))
    assert [work.payload.body for work in await world.due()] == [event.payload]
