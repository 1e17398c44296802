"""Take of several lanes: each read is answered by itself, and the payloads of one call stay within bounds."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from collections.abc import Sequence
from typing import Any

import pytest

from posthorn import ids
from posthorn.engine.lanes import lane_shard
from posthorn.engine.ports import TAKE_BYTES
from posthorn.engine.records import Append, LaneRead, Taken
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import ENDPOINT, OTHER_ENDPOINT, a_delivery, a_unit

_BIG_BYTES = 3 * 1024 * 1024  # Three of them are over the bound; a store would not keep such a payload in a cache.


def _read(endpoint: str = ENDPOINT, *, room: int = 100, **fields: Any) -> LaneRead:
    return LaneRead(shard=lane_shard(endpoint), endpoint=endpoint, room=room, **fields)


async def _take(world: World, *reads: LaneRead) -> list[Taken]:
    return await world.store.take(reads, now_ms=world.now_ms)


def _ids(taken: Taken) -> list[str]:
    return [work.id for work in taken.works]


async def _queue(world: World, *due_ms: int, endpoint: str = ENDPOINT) -> list[str]:
    """Queue deliveries of one event, in the order of their ids."""
    event = world.event()
    deliveries = tuple(
        a_delivery(event, endpoint=endpoint, due_ms=due, id=ids.new_id(ids.DELIVERY, world.later())) for due in due_ms
    )
    await world.append(a_unit(event, deliveries=deliveries))
    return [delivery.id for delivery in deliveries]


async def _queue_in_turn(world: World, count: int, *, endpoint: str = ENDPOINT) -> list[str]:
    start_ms = world.now_ms
    return await _queue(world, *range(start_ms, start_ms + count), endpoint=endpoint)


async def test_no_reads_bring_no_answers(world: World) -> None:
    await world.publish()
    assert await _take(world) == []


async def test_every_read_is_answered_in_its_place(world: World) -> None:
    mine = await _queue_in_turn(world, 2)
    theirs = await _queue_in_turn(world, 3, endpoint=OTHER_ENDPOINT)
    reads = [_read(OTHER_ENDPOINT), _read("ep_unknown"), _read(ENDPOINT)]
    assert [_ids(taken) for taken in await _take(world, *reads)] == [theirs, [], mine]
    assert [_ids(taken) for taken in await _take(world, *reads[::-1])] == [mine, [], theirs]


async def test_many_lanes_are_read_in_one_call(world: World) -> None:
    endpoints = [ids.new_id(ids.ENDPOINT, world.now_ms) for _ in range(300)]
    events = [await world.publish(endpoints=endpoints) for _ in range(2)]
    taken = await _take(world, *(_read(endpoint, room=1 + number % 2) for number, endpoint in enumerate(endpoints)))
    assert [[(work.endpoint, work.event) for work in one.works] for one in taken] == [
        [(endpoint, event.id) for event in events[: 1 + number % 2]] for number, endpoint in enumerate(endpoints)
    ]
    assert [one.more for one in taken[::2]] == [True] * 150


async def test_each_read_has_its_own_room(world: World) -> None:
    mine = await _queue_in_turn(world, 3)
    theirs = await _queue_in_turn(world, 3, endpoint=OTHER_ENDPOINT)
    taken = await _take(world, _read(room=1), _read(OTHER_ENDPOINT, room=2))
    assert [_ids(one) for one in taken] == [mine[:1], theirs[:2]]
    taken = await _take(world, _read(room=0), _read(OTHER_ENDPOINT, room=3))
    assert [_ids(one) for one in taken] == [[], theirs]


async def test_each_read_leaves_out_what_it_holds_itself(world: World) -> None:
    mine = await _queue_in_turn(world, 4)
    theirs = await _queue_in_turn(world, 2, endpoint=OTHER_ENDPOINT)
    holds_theirs = _read(room=2, held=frozenset([mine[0], mine[2], theirs[0]]))
    taken = await _take(world, holds_theirs, _read(OTHER_ENDPOINT))
    assert [_ids(one) for one in taken] == [[mine[1], mine[3]], theirs]


async def test_a_read_goes_on_behind_the_last_one_taken(world: World) -> None:
    now_ms = world.now_ms
    # The third and the fourth are due together: their ids alone tell which one comes first.
    a, b, c, d, e = await _queue(world, now_ms, now_ms + 1, now_ms + 2, now_ms + 2, now_ms + 3)
    theirs = await _queue_in_turn(world, 2, endpoint=OTHER_ENDPOINT)
    taken = await _take(world, _read(after=(now_ms + 2, c), room=1), _read(OTHER_ENDPOINT), _read(after=(now_ms, a)))
    assert [_ids(one) for one in taken] == [[d], theirs, [b, c, d, e]]
    behind = [_read(after=(now_ms + 2, d)), _read(after=(now_ms + 3, e))]
    assert [_ids(one) for one in await _take(world, *behind)] == [[e], []]


async def test_what_is_held_is_left_out_behind_the_last_one_taken_too(world: World) -> None:
    now_ms = world.now_ms
    a, b, c, d = await _queue_in_turn(world, 4)
    (taken,) = await _take(world, _read(after=(now_ms, a), held=frozenset([a, c]), room=2))
    assert _ids(taken) == [b, d]


async def test_a_row_that_came_late_is_found_by_a_read_from_the_front(world: World) -> None:
    now_ms = world.now_ms
    (first,) = await _queue(world, now_ms + 10)
    (late,) = await _queue(world, now_ms)
    behind, front = await _take(world, _read(after=(now_ms + 10, first)), _read())
    assert (_ids(behind), _ids(front)) == ([], [late, first])


async def test_what_is_due_before_a_read_begins_is_left_out(world: World) -> None:
    now_ms = world.now_ms
    a, b, c, d, e = await _queue(world, now_ms, now_ms + 1, now_ms + 2, now_ms + 2, now_ms + 3)
    theirs = await _queue_in_turn(world, 2, endpoint=OTHER_ENDPOINT)
    reads = [
        _read(since_ms=now_ms + 2),
        _read(since_ms=now_ms),
        _read(OTHER_ENDPOINT),
        _read(since_ms=now_ms + 4),
        _read(since_ms=now_ms + 1, room=2, held=frozenset([a, b, d])),
        _read(since_ms=now_ms, after=(now_ms + 2, d)),
    ]
    taken = await _take(world, *reads)
    assert [_ids(one) for one in taken] == [[c, d, e], [a, b, c, d, e], theirs, [], [c, e], [e]]
    assert [one.more for one in await _take(world, _read(since_ms=now_ms + 1, room=3))] == [True]


async def test_a_lane_that_is_named_twice_is_read_twice(world: World) -> None:
    now_ms = world.now_ms
    a, b, c = await _queue_in_turn(world, 3)
    reads = [_read(room=2), _read(room=2), _read(held=frozenset([a])), _read(after=(now_ms + 1, b))]
    assert [_ids(taken) for taken in await _take(world, *reads)] == [[a, b], [a, b], [b, c], [c]]


async def test_more_tells_that_due_deliveries_are_left_behind(world: World) -> None:
    now_ms = world.now_ms
    a, b, c = await _queue_in_turn(world, 3)
    left = [
        _read(room=2),
        _read(room=1, held=frozenset([a])),
        _read(room=1, held=frozenset([b])),
        _read(room=1, after=(now_ms, a)),
        _read(room=0),
    ]
    assert [taken.more for taken in await _take(world, *left)] == [True] * len(left)
    # A read that is full may say that more is left though nothing is. One that has room to spare has seen the end.
    all_came = [
        _read(room=4),
        _read(room=2, held=frozenset([a, b])),
        _read(room=1, held=frozenset([a, b, c])),
        _read(room=2, after=(now_ms + 1, b)),
        _read(room=1, after=(now_ms + 2, c)),
        _read(OTHER_ENDPOINT, room=1),
    ]
    assert [taken.more for taken in await _take(world, *all_came)] == [False] * len(all_came)


async def test_what_is_not_due_is_not_left_behind(world: World) -> None:
    due = world.now_ms
    (first,) = await _queue(world, due)
    await _queue(world, due + 3_600_000)
    (taken,) = await _take(world, _read(room=2))
    assert (_ids(taken), taken.more) == ([first], False)


async def _queue_big(world: World, endpoint: str, sizes: Sequence[int]) -> list[str]:
    made: list[str] = []
    for number, size in enumerate(sizes):
        event = world.event(payload=bytes([number]) * size)
        delivery = a_delivery(event, endpoint=endpoint)
        await world.append(a_unit(event, deliveries=(delivery,)))
        made.append(delivery.id)
    return made


@pytest.mark.parametrize("sizes", [(_BIG_BYTES,) * 4, (_BIG_BYTES, 100, _BIG_BYTES, 100, _BIG_BYTES, 100)])
async def test_the_payloads_of_a_call_stay_within_bounds_and_all_come_in_the_end(
    world: World, sizes: tuple[int, ...]
) -> None:
    lanes = {endpoint: await _queue_big(world, endpoint, sizes) for endpoint in (ENDPOINT, OTHER_ENDPOINT)}
    for _ in range(8):
        taken = await _take(world, *map(_read, lanes))
        bodies = [work.payload.body for one in taken for work in one.works]
        assert 0 < sum(map(len, bodies)) < TAKE_BYTES + _BIG_BYTES
        for one, (endpoint, left) in zip(taken, lanes.items(), strict=True):
            # Behind one that was left out nothing may come: whoever goes on behind the last would pass it over.
            assert _ids(one) == left[: len(one.works)]
            assert one.more or len(one.works) == len(left)
            await world.settle(*(world.delivered(work) for work in one.works))
            lanes[endpoint] = left[len(one.works) :]
        if not any(lanes.values()):
            return
    pytest.fail("the calls brought too little to come to an end")


async def test_a_payload_over_the_bound_comes_all_the_same(world: World) -> None:
    (big,) = await _queue_big(world, ENDPOINT, [TAKE_BYTES + 1])
    (taken,) = await _take(world, _read())
    assert (_ids(taken), [len(work.payload.body) for work in taken.works]) == ([big], [TAKE_BYTES + 1])


async def test_nothing_comes_from_behind_what_was_left_out(world: World) -> None:
    events = [world.event(payload=bytes([number]) * _BIG_BYTES) for number in range(4)]
    # The last delivery needs no other payload than the first, which is brought already.
    deliveries = [a_delivery(event) for event in events] + [a_delivery(events[0], due_ms=world.later())]
    await world.append(*(a_unit(event, deliveries=()) for event in events))
    await world.append(Append(deliveries=tuple(deliveries)))
    (taken,) = await _take(world, _read())
    assert 1 <= len(taken.works) <= 3
    assert _ids(taken) == [delivery.id for delivery in deliveries[: len(taken.works)]]
    assert taken.more


@pytest.mark.parametrize("size", [_BIG_BYTES, TAKE_BYTES + 1])
async def test_one_payload_for_many_lanes_counts_once(world: World, size: int) -> None:
    endpoints = [ids.new_id(ids.ENDPOINT, world.now_ms) for _ in range(20)]
    event = await world.publish(world.event(payload=b"\x00" * size), endpoints=endpoints)
    taken = await _take(world, *map(_read, endpoints))
    assert [[work.event for work in one.works] for one in taken] == [[event.id]] * 20
