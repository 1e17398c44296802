"""The journal's filters and single rows."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

from typing import Any

import pytest
from msgspec.structs import replace

from posthorn import ids
from posthorn.engine.journal import AttemptQuery, AttemptRow, DecisionQuery, DeliveryQuery, EventQuery, RequestQuery
from posthorn.engine.records import Append, DecisionOutcome, DeliveryState, Event, RequestOutcome
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import (
    APPLICATION,
    AUTOMATION,
    ENDPOINT,
    OTHER_ENDPOINT,
    SOURCE,
    WORKSPACE,
    a_decision,
    a_request,
    a_unit,
    an_inbox_unit,
)

OTHER_APPLICATION = ids.first_id(ids.APPLICATION, 1_500_000_000_000)
OTHER_SOURCE = ids.first_id(ids.SOURCE, 1_500_000_000_000)
_ASKED: dict[str, Any] = {"workspace": WORKSPACE, "ascending": True}


async def _requests(world: World, **query: Any) -> list[str]:
    page = await world.store.requests(RequestQuery(**(_ASKED | query)))
    return [row.id for row in page.rows]


async def _events(world: World, **query: Any) -> list[str]:
    page = await world.store.events(EventQuery(**(_ASKED | query)))
    return [row.id for row in page.rows]


async def _attempt_rows(world: World, **query: Any) -> list[AttemptRow]:
    page = await world.store.attempts(AttemptQuery(**(_ASKED | query)))
    return page.rows


async def _attempts(world: World, **query: Any) -> list[str]:
    return [row.attempt.id for row in await _attempt_rows(world, **query)]


async def test_unknown_ids_are_none(world: World) -> None:
    store = world.store
    await world.publish()
    for prefix in (ids.REQUEST, ids.EVENT, ids.DELIVERY, ids.ATTEMPT):
        identifier = ids.new_id(prefix, world.now_ms)
        assert await store.request(WORKSPACE, identifier) is None
        assert await store.event(WORKSPACE, identifier) is None
        assert await store.delivery(WORKSPACE, identifier) is None
        assert await store.attempt(WORKSPACE, identifier) is None


async def test_an_empty_journal_answers_empty_pages(world: World) -> None:
    store = world.store
    for page in (
        await store.requests(RequestQuery(workspace=WORKSPACE)),
        await store.events(EventQuery(workspace=WORKSPACE)),
        await store.deliveries(DeliveryQuery(workspace=WORKSPACE)),
        await store.attempts(AttemptQuery(workspace=WORKSPACE)),
        await store.decisions(DecisionQuery(workspace=WORKSPACE)),
    ):
        assert page.rows == []
        assert page.done is True


async def test_requests_are_found_by_source_and_outcome(world: World) -> None:
    accepted = a_request(received_ms=world.later())
    rejected = a_request(received_ms=world.later(), outcome=RequestOutcome.REJECTED)
    elsewhere = a_request(received_ms=world.later(), source=OTHER_SOURCE, outcome=RequestOutcome.REJECTED)
    await world.append(*(Append(request=request) for request in (accepted, rejected, elsewhere)))
    assert await _requests(world) == [accepted.id, rejected.id, elsewhere.id]
    assert await _requests(world, source=SOURCE) == [accepted.id, rejected.id]
    assert await _requests(world, outcome=RequestOutcome.REJECTED) == [rejected.id, elsewhere.id]
    assert await _requests(world, source=SOURCE, outcome=RequestOutcome.REJECTED) == [rejected.id]
    assert await _requests(world, outcome=RequestOutcome.DUPLICATE) == []


async def test_listed_requests_come_without_their_bodies(world: World) -> None:
    request = a_request(received_ms=world.later())
    await world.append(Append(request=request))
    page = await world.store.requests(RequestQuery(workspace=WORKSPACE))
    assert page.rows == [replace(request, body=b"")]


async def test_events_are_found_by_every_filter(world: World) -> None:
    plain = world.event(type="a")
    message = world.message(type="b", channels=("red", "blue"))
    elsewhere = world.message(type="a", application=OTHER_APPLICATION, channels=("reddish",))
    sourced = world.event(type="c", source=SOURCE, user="ann")
    await world.append(*(a_unit(event, endpoints=()) for event in (plain, message, elsewhere, sourced)))
    assert await _events(world) == [plain.id, message.id, elsewhere.id, sourced.id]
    assert await _events(world, types=("a",)) == [plain.id, elsewhere.id]
    assert await _events(world, types=("a", "c")) == [plain.id, elsewhere.id, sourced.id]
    assert await _events(world, application=APPLICATION) == [message.id]
    assert await _events(world, channel="red") == [message.id]
    assert await _events(world, channel="blue") == [message.id]
    assert await _events(world, channel="re") == []
    assert await _events(world, source=SOURCE) == [sourced.id]
    assert await _events(world, user="ann") == [sourced.id]
    assert await _events(world, user="an") == []
    assert await _events(world, application=OTHER_APPLICATION, types=("b",)) == []


async def test_listed_events_carry_payloads_only_when_asked(world: World) -> None:
    own = await world.publish(endpoints=())
    unit = an_inbox_unit(received_ms=world.later(), body=b"\x00captured")
    await world.append(unit)
    assert unit.event is not None
    page = await world.store.events(EventQuery(workspace=WORKSPACE, ascending=True))
    assert page.rows == [replace(own, payload=None), unit.event]
    page = await world.store.events(EventQuery(workspace=WORKSPACE, ascending=True, with_payload=True))
    assert page.rows == [own, replace(unit.event, payload=b"\x00captured")]


async def test_an_event_is_found_by_uid_within_its_application(world: World) -> None:
    ours = await world.publish(world.message(uid="same"))
    theirs = await world.publish(world.message(uid="same", application=OTHER_APPLICATION))
    intake = await world.publish(world.event(uid="same"))
    store = world.store
    assert await store.event(WORKSPACE, "same", application=APPLICATION) == ours
    assert await store.event(WORKSPACE, "same", application=OTHER_APPLICATION) == theirs
    assert await store.event(WORKSPACE, "same") == intake
    assert await store.event(WORKSPACE, "other", application=APPLICATION) is None


async def test_an_event_is_found_by_id_in_its_own_application_only(world: World) -> None:
    message = await world.publish(world.message())
    store = world.store
    assert await store.event(WORKSPACE, message.id) == message
    assert await store.event(WORKSPACE, message.id, application=APPLICATION) == message
    assert await store.event(WORKSPACE, message.id, application=OTHER_APPLICATION) is None


async def test_a_uid_that_came_back_names_its_newest_event(world: World) -> None:
    await world.publish(world.message(uid="again"))
    newest = await world.publish(world.message(uid="again"))
    assert await world.store.event(WORKSPACE, "again", application=APPLICATION) == newest


async def _attempts_of_two_events(world: World) -> tuple[list[Event], list[str]]:
    """Make a delivered 200, a failed 500 and a failure without an answer for a message, a 302 for an event."""
    message = world.message(type="a", channels=("red",))
    event = world.event(type="b")
    await world.publish(message, endpoints=(ENDPOINT, OTHER_ENDPOINT))
    await world.publish(event, endpoints=(OTHER_ENDPOINT,))
    (first,) = await world.due(ENDPOINT)
    second, third = await world.due(OTHER_ENDPOINT)
    outcomes = (
        world.delivered(first, application=APPLICATION),
        world.failed(second, retry_in_ms=0, application=APPLICATION),
        world.exhausted(third, response_status=302),
    )
    await world.settle(*outcomes)
    (second,) = await world.due(OTHER_ENDPOINT)
    silent = {"response_status": None, "response_headers": None, "response_body": None, "error": "timeout"}
    last = world.failed(second, retry_in_ms=1, application=APPLICATION, **silent)
    assert await world.settle(last) == [True]
    made = [settlement.attempt for settlement in (*outcomes, last)]
    return [message, event], [attempt.id for attempt in made if attempt is not None]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"endpoint": ENDPOINT}, [0]),
        ({"endpoint": OTHER_ENDPOINT}, [1, 2, 3]),
        ({"application": APPLICATION}, [0, 1, 3]),
        ({"application": OTHER_APPLICATION}, []),
        ({"succeeded": True}, [0]),
        ({"succeeded": False}, [1, 2, 3]),
        ({"state": DeliveryState.PENDING}, [1, 3]),
        ({"state": DeliveryState.EXHAUSTED}, [2]),
        ({"status_class": 2}, [0]),
        ({"status_class": 3}, [2]),
        ({"status_class": 5}, [1]),
        ({"status_class": 4}, []),
        ({"status_class": 0}, [3]),
        ({"types": ("a",)}, [0, 1, 3]),
        ({"types": ("a", "b")}, [0, 1, 2, 3]),
        ({"types": ("c",)}, []),
        ({"channel": "red"}, [0, 1, 3]),
        ({"channel": "re"}, []),
        ({"channel": "red", "endpoint": OTHER_ENDPOINT, "status_class": 5, "types": ("a", "c")}, [1]),
        ({"with_event": True, "types": ("b",)}, [2]),
    ],
)
async def test_attempts_are_found_by_every_filter(world: World, query: dict[str, Any], expected: list[int]) -> None:
    _, attempts = await _attempts_of_two_events(world)
    assert await _attempts(world, **query) == [attempts[number] for number in expected]


async def test_attempts_are_found_by_event_and_by_delivery(world: World) -> None:
    events, attempts = await _attempts_of_two_events(world)
    assert await _attempts(world, event=events[0].id) == [attempts[0], attempts[1], attempts[3]]
    assert await _attempts(world, event=events[1].id) == [attempts[2]]
    row = await world.store.attempt(WORKSPACE, attempts[3])
    assert row is not None
    assert await _attempts(world, delivery=row.attempt.delivery) == [attempts[1], attempts[3]]


async def test_listed_attempts_carry_the_response_body_unless_asked_not_to(world: World) -> None:
    work = await world.publish_and_take()
    settlement = world.delivered(work, response_body=b"\x00\xff")
    await world.settle(settlement)
    (whole,) = await _attempt_rows(world)
    assert whole.attempt == settlement.attempt
    assert whole.event is None
    (bare,) = await _attempt_rows(world, with_content=False)
    assert not bare.attempt.response_body
    assert replace(bare.attempt, response_body=b"\x00\xff") == settlement.attempt


async def test_listed_attempts_carry_their_event_when_asked(world: World) -> None:
    own = await world.publish(world.event(channels=("a", "b")))
    (work,) = await world.due()
    await world.settle(world.delivered(work))
    unit = an_inbox_unit(received_ms=world.later(), body=b"captured")
    assert unit.event is not None
    await world.append(unit)
    rows = await _attempt_rows(world, with_event=True)
    assert [row.event for row in rows] == [own]


async def test_an_attempt_of_a_captured_event_shows_the_captured_payload(world: World) -> None:
    unit = an_inbox_unit(received_ms=world.later(), body=b"\x00captured")
    assert unit.event is not None
    await world.append(replace(unit, deliveries=a_unit(unit.event).deliveries))
    (work,) = await world.due()
    settlement = world.delivered(work)
    await world.settle(settlement)
    (row,) = await _attempt_rows(world, with_event=True)
    assert row.event == replace(unit.event, payload=b"\x00captured")


async def test_one_attempt_is_whole_and_comes_with_its_event(world: World) -> None:
    event = await world.publish()
    (work,) = await world.due()
    settlement = world.delivered(work, error=None, detail="fine", response_body=None, tls_us=0)
    await world.settle(settlement)
    assert settlement.attempt is not None
    assert await world.store.attempt(WORKSPACE, settlement.attempt.id) == AttemptRow(
        attempt=settlement.attempt, event=event
    )


async def test_decisions_are_found_by_every_filter(world: World) -> None:
    events = [world.event(), world.event()]
    profiles = [f"{WORKSPACE}/user/ann", f"{WORKSPACE}/user/bob"]
    for event, profile in zip(events, profiles, strict=True):
        await world.append(a_unit(event, endpoints=(), profile=profile))
    first, second = await world.undecided()
    fired = a_decision(first)
    refused = a_decision(first, automation="auto_other", outcome=DecisionOutcome.NOT_ELIGIBLE)
    failed = a_decision(second, outcome=DecisionOutcome.FAILED, data=b'{"line": 3}', delivery=None)
    await world.store.settle_decisions(
        [
            world.decided(first, decisions=(fired, refused)),
            world.decided(second, decisions=(failed,)),
        ]
    )
    for query, expected in (
        ({}, [fired, refused, failed]),
        ({"event": events[0].id}, [fired, refused]),
        ({"automation": AUTOMATION}, [fired, failed]),
        ({"profile": profiles[1]}, [failed]),
        ({"outcome": DecisionOutcome.NOT_ELIGIBLE}, [refused]),
        ({"automation": AUTOMATION, "event": events[1].id}, [failed]),
        ({"outcome": DecisionOutcome.NOT_MATCHED}, []),
    ):
        assert (await world.store.decisions(DecisionQuery(**(_ASKED | query)))).rows == expected
