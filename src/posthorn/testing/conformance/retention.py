"""Retention and erasure: what may go, what has to stay, and that payloads are really gone."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from msgspec.structs import replace

from posthorn import ids
from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery, EventQuery, RequestQuery
from posthorn.engine.records import Append, DeliveryState, RequestOutcome
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import (
    OTHER_WORKSPACE,
    WORKSPACE,
    a_claim,
    a_decision,
    a_delivery,
    a_request,
    an_inbox_unit,
)

EVERYTHING = 10_000


async def _row_ids(world: World) -> list[str]:
    """List the ids of all requests, events, decisions and attempts."""
    store, limit = world.store, EVERYTHING
    requests = (await store.requests(RequestQuery(workspace=WORKSPACE, limit=limit))).rows
    events = (await store.events(EventQuery(workspace=WORKSPACE, limit=limit))).rows
    decisions = (await store.decisions(DecisionQuery(workspace=WORKSPACE, limit=limit))).rows
    attempts = (await store.attempts(AttemptQuery(workspace=WORKSPACE, limit=limit))).rows
    return [
        *(request.id for request in requests),
        *(event.id for event in events),
        *(decision.id for decision in decisions),
        *(row.attempt.id for row in attempts),
    ]


async def _prune_all(world: World, *, before_ms: int) -> None:
    while await world.store.prune(before_ms=before_ms, most=100):
        pass


async def _inbox(world: World, *, is_decided: bool = True) -> Append:
    """Commit an inbox request, with one delivery, and decide it."""
    unit = an_inbox_unit(received_ms=world.later())
    assert unit.event is not None
    await world.append(replace(unit, deliveries=(a_delivery(unit.event),)))
    if is_decided:
        work = next(work for work in await world.undecided() if work.id == unit.event.id)
        decision = a_decision(work, decided_ms=world.now_ms)
        await world.store.settle_decisions([world.decided(work, decisions=(decision,))])
    return unit


async def _finished(world: World) -> Append:
    unit = await _inbox(world)
    await world.settle(*(world.delivered(work) for work in await world.due()))
    return unit


async def test_everything_old_and_finished_goes(world: World) -> None:
    for _ in range(3):
        await _finished(world)
    assert len(await _row_ids(world)) == 12
    await _prune_all(world, before_ms=world.later())
    assert await _row_ids(world) == []
    assert (await world.store.deliveries(DeliveryQuery(workspace=WORKSPACE))).rows == []


async def test_pruning_an_empty_store_takes_nothing(world: World) -> None:
    assert await world.store.prune(before_ms=world.now_ms, most=10) == 0


async def test_prune_takes_no_more_than_asked_and_says_how_many(world: World) -> None:
    for _ in range(4):
        await _finished(world)
    before_ms = world.later()
    left = len(await _row_ids(world))
    while left:
        gone = await world.store.prune(before_ms=before_ms, most=3)
        now_left = len(await _row_ids(world))
        assert 1 <= gone <= 3
        assert left - now_left <= gone
        left = now_left


async def test_rows_go_by_their_own_time_and_the_limit_itself_stays(world: World) -> None:
    await _finished(world)
    world.later(10)
    young = await _finished(world)
    assert young.event is not None
    edge_ms = young.event.received_ms - 4  # The times in ids are cut to steps of 4 ms.
    kept = [identifier for identifier in await _row_ids(world) if (ids.time_of(identifier) or 0) >= edge_ms]
    assert len(kept) == 4
    await _prune_all(world, before_ms=young.event.received_ms)
    assert await _row_ids(world) == kept


async def test_an_attempt_younger_than_the_limit_outlives_its_event(world: World) -> None:
    await _inbox(world)
    before_ms = world.later()
    world.later()
    (work,) = await world.due()
    settlement = world.delivered(work)
    await world.settle(settlement)
    await _prune_all(world, before_ms=before_ms)
    assert settlement.attempt is not None
    assert await _row_ids(world) == [settlement.attempt.id]


async def test_a_pending_delivery_keeps_its_event_request_and_attempts(world: World) -> None:
    unit = await _inbox(world)
    assert unit.event is not None
    assert unit.request is not None
    (work,) = await world.due()
    settlement = world.failed(work, retry_in_ms=3_600_000)
    await world.settle(settlement)
    await _prune_all(world, before_ms=world.later())
    assert settlement.attempt is not None
    assert {unit.event.id, unit.request.id, settlement.attempt.id} <= set(await _row_ids(world))
    world.later(3600)
    assert [(work.payload, work.attempts) for work in await world.due()] == [(work.payload, 1)]


async def test_an_undecided_event_keeps_its_request(world: World) -> None:
    unit = an_inbox_unit(received_ms=world.later(), body=b"\x00kept")
    assert unit.event is not None
    assert unit.request is not None
    await world.append(unit)
    await _prune_all(world, before_ms=world.later())
    assert sorted(await _row_ids(world)) == sorted([unit.event.id, unit.request.id])
    assert [(work.event.payload, work.head) for work in await world.undecided()] == [(b"\x00kept", unit.request.head)]


async def test_what_was_kept_for_pending_work_goes_once_it_is_finished(world: World) -> None:
    await _inbox(world)
    before_ms = world.later()
    await _prune_all(world, before_ms=before_ms)
    await world.settle(*(world.cancelled(work) for work in await world.due()))
    await _prune_all(world, before_ms=before_ms)
    assert await _row_ids(world) == []


async def test_while_retention_works_no_event_loses_its_payload(world: World) -> None:
    for _ in range(3):
        await _finished(world)
    before_ms = world.later()
    while await world.store.prune(before_ms=before_ms, most=1):
        page = await world.store.events(EventQuery(workspace=WORKSPACE, with_payload=True))
        assert [event.payload for event in page.rows] == [b'{"total": 12}'] * len(page.rows)


async def test_old_rejected_requests_go(world: World) -> None:
    await world.append(Append(request=a_request(received_ms=world.later(), outcome=RequestOutcome.REJECTED)))
    assert await world.store.prune(before_ms=world.later(), most=10) == 1
    assert await _row_ids(world) == []


async def test_an_unfinished_delivery_is_still_pending_after_retention(world: World) -> None:
    await _inbox(world)
    (work,) = await world.due()
    await _prune_all(world, before_ms=world.later())
    row = await world.store.delivery(WORKSPACE, work.id)
    assert row is not None
    assert row.state is DeliveryState.PENDING
    assert await world.due() == [work]


async def test_a_forgotten_payload_is_empty_everywhere_and_the_record_stays(world: World) -> None:
    event = await world.publish(world.event(uid="kept", payload=b"secret"))
    assert (await world.due())[0].payload.body == b"secret"
    assert await world.store.forget_payload(WORKSPACE, event.id) is True
    assert await world.store.event(WORKSPACE, event.id) == replace(event, payload=b"")
    page = await world.store.events(EventQuery(workspace=WORKSPACE, with_payload=True))
    assert [row.payload for row in page.rows] == [b""]
    assert [work.payload.body for work in await world.due()] == [b""]


async def test_forgetting_a_payload_empties_the_request_and_its_repeats(world: World) -> None:
    first, other = an_inbox_unit(received_ms=world.later()), an_inbox_unit(received_ms=world.later())
    assert first.event is not None
    await world.append(replace(first, claims=(a_claim(event=first.event.id),)), other)
    repeat = an_inbox_unit(received_ms=world.later(), claims=(a_claim(),))
    await world.append(repeat)
    assert await world.store.forget_payload(WORKSPACE, first.event.id) is True
    bodies = []
    for unit in (first, repeat, other):
        assert unit.request is not None
        request = await world.store.request(WORKSPACE, unit.request.id)
        assert request is not None
        assert request.head == unit.request.head
        bodies.append(request.body)
    assert bodies == [b"", b"", b'{"total": 12}']
    found = await world.store.event(WORKSPACE, first.event.id)
    assert found is not None
    assert found.payload == b""
    assert [work.event.payload for work in await world.undecided()] == [b"", b'{"total": 12}']


async def test_a_payload_of_another_workspace_cannot_be_forgotten(world: World) -> None:
    event = await world.publish()
    assert await world.store.forget_payload(OTHER_WORKSPACE, event.id) is False
    assert await world.store.forget_payload(WORKSPACE, ids.new_id(ids.EVENT, world.now_ms)) is False
    assert await world.store.event(WORKSPACE, event.id) == event


async def test_a_forgotten_response_is_gone_and_the_attempt_stays(world: World) -> None:
    work = await world.publish_and_take()
    settlement = world.delivered(work, response_body=b"private")
    await world.settle(settlement)
    assert settlement.attempt is not None
    identifier = settlement.attempt.id
    assert await world.store.forget_response(OTHER_WORKSPACE, identifier) is False
    assert await world.store.forget_response(WORKSPACE, ids.new_id(ids.ATTEMPT, world.now_ms)) is False
    row = await world.store.attempt(WORKSPACE, identifier)
    assert row is not None
    assert row.attempt.response_body == b"private"
    assert await world.store.forget_response(WORKSPACE, identifier) is True
    row = await world.store.attempt(WORKSPACE, identifier)
    assert row is not None
    assert row.attempt == replace(settlement.attempt, response_body=None)
