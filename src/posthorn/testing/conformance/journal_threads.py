"""Threads, the live tail, and that workspaces never see each other."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from posthorn import ids
from posthorn.engine.journal import (
    AttemptQuery,
    DecisionQuery,
    DeliveryQuery,
    EventQuery,
    RequestQuery,
)
from posthorn.engine.records import (
    Append,
    Attempt,
    CapturedRequest,
    Decision,
    DeliveryState,
    Event,
    RequestOutcome,
)
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import (
    OTHER_WORKSPACE,
    WORKSPACE,
    a_claim,
    a_decision,
    a_delivery,
    a_rendered_request,
    a_request,
    a_unit,
    an_event,
    an_inbox_unit,
)


class Story(Struct, frozen=True, kw_only=True):
    """An inbox request that fired an automation, was delivered at the second attempt, and came once more."""

    request: CapturedRequest
    event: Event
    decision: Decision
    delivery: str
    attempts: tuple[Attempt, ...]
    repeat: CapturedRequest


async def _decide(world: World, event: Event) -> tuple[Decision, str]:
    work = next(work for work in await world.undecided() if work.id == event.id)
    delivery = a_delivery(work.event, endpoint=LANE, due_ms=world.now_ms, rendered=a_rendered_request())
    decision = a_decision(work, decided_ms=world.now_ms, delivery=delivery.id)
    decided = world.decided(work, decisions=(decision,), deliveries=(delivery,))
    assert await world.store.settle_decisions([decided]) == [True]
    return decision, delivery.id


async def _deliver(world: World) -> tuple[Attempt, ...]:
    (work,) = await world.due(LANE)
    failed = world.failed(work, retry_in_ms=1000)
    await world.settle(failed)
    world.later()
    (work,) = await world.due(LANE)
    delivered = world.delivered(work)
    await world.settle(delivered)
    return tuple(attempt for attempt in (failed.attempt, delivered.attempt) if attempt is not None)


async def tell(world: World) -> Story:
    """Let the story happen, other things around it."""
    await world.publish()
    unit = an_inbox_unit(received_ms=world.later(), body=b"\x00the body")
    assert unit.event is not None
    assert unit.request is not None
    claim = a_claim(key=unit.event.id, event=unit.event.id)
    await world.append(replace(unit, claims=(claim,)))
    world.later()
    decision, delivery = await _decide(world, unit.event)
    attempts = await _deliver(world)
    repeat = a_request(received_ms=world.later(), body=b"\x00the body")
    await world.append(Append(request=repeat, claims=(claim,)))
    await world.append(Append(request=a_request(received_ms=world.later(), outcome=RequestOutcome.REJECTED)))
    return Story(
        request=unit.request,
        event=unit.event,
        decision=decision,
        delivery=delivery,
        attempts=attempts,
        repeat=repeat,
    )


@pytest.mark.parametrize("start", ["request", "repeat", "event", "decision", "delivery", "attempt"])
async def test_the_whole_thread_is_found_from_any_of_its_ids(world: World, start: str) -> None:
    story = await tell(world)
    known = {
        "request": story.request.id,
        "repeat": story.repeat.id,
        "event": story.event.id,
        "decision": story.decision.id,
        "delivery": story.delivery,
        "attempt": story.attempts[0].id,
    }
    thread = await world.store.thread(WORKSPACE, known[start])
    assert thread is not None
    assert [(row.id, row.outcome) for row in thread.requests] == [
        (story.request.id, RequestOutcome.ACCEPTED),
        (story.repeat.id, RequestOutcome.DUPLICATE),
    ]
    assert thread.event == replace(story.event, payload=b"\x00the body")
    assert thread.decisions == [story.decision]
    assert [(row.id, row.state, row.attempts) for row in thread.deliveries] == [
        (story.delivery, DeliveryState.DELIVERED, 2)
    ]
    assert thread.attempts == list(story.attempts)


async def test_the_thread_of_an_undelivered_message_shows_what_is_pending(world: World) -> None:
    message = await world.publish(world.message(), endpoints=("ep_1", "ep_2"))
    thread = await world.store.thread(WORKSPACE, message.id)
    assert thread is not None
    assert (thread.requests, thread.event, thread.decisions, thread.attempts) == ([], message, [], [])
    assert {row.endpoint for row in thread.deliveries} == {"ep_1", "ep_2"}
    assert [row.id for row in thread.deliveries] == sorted(row.id for row in thread.deliveries)
    assert all(row.state is DeliveryState.PENDING for row in thread.deliveries)


async def test_a_rejected_request_is_a_thread_of_its_own(world: World) -> None:
    await tell(world)
    request = a_request(received_ms=world.later(), outcome=RequestOutcome.REJECTED, cause="signature_mismatch")
    await world.append(Append(request=request))
    thread = await world.store.thread(WORKSPACE, request.id)
    assert thread is not None
    assert [row.id for row in thread.requests] == [request.id]
    assert (thread.event, thread.decisions, thread.deliveries, thread.attempts) == (None, [], [], [])


@pytest.mark.parametrize("prefix", [ids.REQUEST, ids.EVENT, ids.MESSAGE, ids.DELIVERY, ids.ATTEMPT, ids.DECISION])
async def test_an_unknown_id_has_no_thread(world: World, prefix: str) -> None:
    await tell(world)
    assert await world.store.thread(WORKSPACE, ids.new_id(prefix, world.now_ms)) is None


async def test_text_that_is_no_id_has_no_thread(world: World) -> None:
    assert await world.store.thread(WORKSPACE, "nonsense") is None
    assert await world.store.thread(WORKSPACE, "") is None


async def test_another_workspace_sees_nothing_of_a_story(world: World) -> None:
    story = await tell(world)
    store = world.store
    assert await store.request(OTHER_WORKSPACE, story.request.id) is None
    assert await store.event(OTHER_WORKSPACE, story.event.id) is None
    assert await store.delivery(OTHER_WORKSPACE, story.delivery) is None
    assert await store.attempt(OTHER_WORKSPACE, story.attempts[0].id) is None
    for identifier in (
        story.request.id,
        story.repeat.id,
        story.event.id,
        story.decision.id,
        story.delivery,
        story.attempts[1].id,
    ):
        assert await store.thread(OTHER_WORKSPACE, identifier) is None
    assert (await store.tail(OTHER_WORKSPACE, after=0, limit=100)).rows == []


async def test_another_workspace_lists_nothing_of_a_story_even_when_it_names_it(world: World) -> None:
    story = await tell(world)
    event = story.event.id
    store = world.store
    for page in (
        await store.requests(RequestQuery(workspace=OTHER_WORKSPACE)),
        await store.events(EventQuery(workspace=OTHER_WORKSPACE)),
        await store.events(EventQuery(workspace=OTHER_WORKSPACE, after=event, ascending=True)),
        await store.deliveries(DeliveryQuery(workspace=OTHER_WORKSPACE)),
        await store.deliveries(DeliveryQuery(workspace=OTHER_WORKSPACE, event=event)),
        await store.deliveries(DeliveryQuery(workspace=OTHER_WORKSPACE, state=DeliveryState.DELIVERED)),
        await store.attempts(AttemptQuery(workspace=OTHER_WORKSPACE, event=event, with_event=True)),
        await store.attempts(AttemptQuery(workspace=OTHER_WORKSPACE, delivery=story.delivery)),
        await store.decisions(DecisionQuery(workspace=OTHER_WORKSPACE, event=event)),
    ):
        assert page.rows == []
        assert page.done is True


async def test_an_event_of_the_same_uid_in_another_workspace_is_not_found(world: World) -> None:
    await world.publish(world.message(uid="theirs", workspace=OTHER_WORKSPACE))
    message = world.message(uid="theirs")
    assert await world.store.event(WORKSPACE, "theirs", application=message.application) is None


async def _tail(world: World, after: int | None, limit: int = 100) -> tuple[list[str], int]:
    page = await world.store.tail(WORKSPACE, after=after, limit=limit)
    return [row.id for row in page.rows], page.cursor


async def test_a_tail_starts_at_the_present(world: World) -> None:
    await tell(world)
    rows, cursor = await _tail(world, None)
    assert rows == []
    event = await world.publish()
    rows, cursor = await _tail(world, cursor)
    assert rows == [event.id]
    assert await _tail(world, cursor) == ([], cursor)


async def test_the_tail_of_an_empty_store_can_be_followed(world: World) -> None:
    rows, cursor = await _tail(world, None)
    assert rows == []
    rows, cursor = await _tail(world, cursor)
    assert rows == []
    event = await world.publish()
    assert (await _tail(world, cursor))[0] == [event.id]


async def test_the_tail_shows_every_kind_in_the_order_of_commits(world: World) -> None:
    _, cursor = await _tail(world, None)
    story = await tell(world)
    rows, _ = await _tail(world, cursor)
    assert [row.partition("_")[0] for row in rows] == [
        ids.EVENT,  # what happened around the story
        ids.REQUEST,
        ids.EVENT,
        ids.DECISION,
        ids.ATTEMPT,
        ids.ATTEMPT,
        ids.REQUEST,
        ids.REQUEST,  # the rejected one
    ]
    assert rows[1:7] == [
        story.request.id,
        story.event.id,
        story.decision.id,
        *(attempt.id for attempt in story.attempts),
        story.repeat.id,
    ]


async def test_within_a_commit_requests_come_before_events(world: World) -> None:
    _, cursor = await _tail(world, None)
    units = [an_inbox_unit(received_ms=world.now_ms) for _ in range(3)]
    await world.append(*units)
    requests = [unit.request.id for unit in units if unit.request is not None]
    events = [unit.event.id for unit in units if unit.event is not None]
    assert (await _tail(world, cursor))[0] == requests + events


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_a_tail_read_in_pieces_misses_and_repeats_nothing(world: World, limit: int) -> None:
    _, start = await _tail(world, None)
    await tell(world)
    whole, end = await _tail(world, start)
    pieces: list[str] = []
    cursor = start
    while len(pieces) < len(whole):
        rows, cursor = await _tail(world, cursor, limit)
        assert 1 <= len(rows) <= limit
        pieces += rows
    assert pieces == whole
    assert (await _tail(world, cursor))[0] == []
    assert (await _tail(world, end))[0] == []


async def test_a_tail_is_not_stopped_by_the_rows_of_others(world: World) -> None:
    _, cursor = await _tail(world, None)
    foreign = [an_event(received_ms=world.now_ms, workspace=OTHER_WORKSPACE) for _ in range(5)]
    mine = an_event(received_ms=world.now_ms)
    await world.append(*(a_unit(event, endpoints=()) for event in (*foreign, mine)))
    assert (await _tail(world, cursor, limit=2))[0] == [mine.id]


async def test_the_tail_leaves_bodies_and_payloads_out(world: World) -> None:
    _, cursor = await _tail(world, None)
    story = await tell(world)
    page = await world.store.tail(WORKSPACE, after=cursor, limit=100)
    shown: dict[str, Any] = {row.id: row for row in page.rows}
    assert shown[story.request.id] == replace(story.request, body=b"")
    assert shown[story.event.id] == replace(story.event, payload=None)
    assert shown[story.decision.id] == story.decision
    assert not shown[story.attempts[0].id].response_body
