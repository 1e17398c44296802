"""Events: one, an array, lines; each stored once, whatever is repeated and wherever it breaks off."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiving_world import Call, World

from posthorn.engine.records import Event
from posthorn.errors import Overloaded
from posthorn.receive.events import EventIn, _event
from posthorn.testing.factories import WORKSPACE


@pytest.fixture
def world() -> World:
    return World()


def several(count: int, **fields: object) -> bytes:
    return json.dumps([{"type": "a", "data": {"n": number}} | fields for number in range(count)]).encode()


async def test_one_event_is_stored_byte_for_byte_and_answered(world: World) -> None:
    data = b'{ "big": 123456789012345678901234567890, "b":"\\u00e9", "b":1}'
    answered = await world.post(
        b'{"type":"order.paid","data":%b,"user":"u1","id":"x","time":"2025-01-02T03:04:05.678+02:00"}' % data
    )
    [event] = world.stored()
    assert answered.status == 202
    assert answered.json == {"id": event.id, "uid": "x", "type": "order.paid", "time": "2025-01-02T01:04:05.678Z"}
    assert (event.payload, event.user, event.workspace) == (data, "u1", WORKSPACE)
    [work] = world.store._tables.undecided.values()
    assert work.profile == f"{WORKSPACE}/user/u1"


@given(st.integers(min_value=-2_000_000_000_000, max_value=7_000_000_000_000))
def test_a_time_is_exact_to_the_millisecond(at_ms: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    assert _event("ws", EventIn(type="a", time=at), at_ms).occurred_ms == at_ms
    assert _event("ws", EventIn(type="a", time=at), at_ms - 1).occurred_ms == at_ms - 1


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        (b"", ["body"], "json_invalid"),
        (b"{", ["body"], "json_invalid"),
        (b"1", ["body"], "value_error"),
        (b"{}", ["body", "type"], "missing"),
        (b'{"type":"a b"}', ["body", "type"], "value_error"),
        (b'{"type":"a\\n"}', ["body", "type"], "value_error"),
        (b'{"type":"a","usr":"x"}', ["body", "usr"], "extra_forbidden"),
        (b'{"type":"a","time":"2026-01-01T00:00:00"}', ["body", "time"], "value_error"),
        (b'{"type":"a","time":"0001-01-01T00:00:00+01:00"}', ["body", "time"], "value_error"),
        (b'{"type":"a","time":"9999-12-31T23:59:59-01:00"}', ["body", "time"], "value_error"),
        (b'{"type":"a","data":{"x":"\xff"}}', ["body"], "json_invalid"),
        (b'{"type":"a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ["body"], "json_invalid"),
        (b'{"type":"a","data":"' + b"x" * 2_097_152 + b'"}', ["body", "data"], "too_large"),
        (b"[]", ["body"], "value_error"),
        (b"[" + b",".join([b'{"type":"a"}'] * 1001) + b"]", ["body"], "value_error"),
        (b'[{"type":"a"},{"type":"b","x":1}]', ["body", 1, "x"], "extra_forbidden"),
        (b'[{"type":"a"},{"type":"b","data":"\xff"}]', ["body"], "json_invalid"),
        (b'[{"type":"a"},7]', ["body", 1], "value_error"),
    ],
)
async def test_what_is_wrong_is_named_with_its_place_and_nothing_is_kept(
    world: World, body: bytes, loc: list[object], kind: str
) -> None:
    answered = await world.post(body)
    assert (answered.status, answered.problems()) == (422, [(loc, kind)])
    assert world.stored() == []


async def test_every_wrong_event_of_a_call_is_named(world: World) -> None:
    answered = await world.post(b'{"type":"a"}\n\n{"typ":"b"}\n{nope\n', content_type="application/x-ndjson")
    assert answered.problems() == [
        (["body", "line", 3, "typ"], "extra_forbidden"),
        (["body", "line", 4], "json_invalid"),
    ]
    assert world.stored() == []


async def test_lines_are_events_in_their_order(world: World) -> None:
    answered = await world.post(b'{"type":"a"}\r\n  \n{"type":"b"}\n{"type":"c"}', content_type="application/jsonl")
    assert [event.type for event in world.stored()] == ["a", "b", "c"]
    assert [row["status"] for row in answered.json["data"]] == ["accepted"] * 3


async def test_a_thousand_events_are_stored_in_one_call(world: World) -> None:
    answered = await world.post(several(1000))
    assert (answered.status, len(answered.json["data"]), len(world.stored())) == (202, 1000, 1000)


async def test_an_id_seen_before_is_a_duplicate_or_with_other_content_a_conflict(world: World) -> None:
    first = await world.post(b'{"type":"a","id":"x","data":{"n":1}}')
    again = await world.post(b'{"id":"x","type":"a","data":{"n":1}}')
    other = await world.post(b'{"type":"a","id":"x","data":{"n":2}}')
    assert (again.status, again.body) == (202, first.body)
    assert (other.status, other.json["code"]) == (409, "conflict")
    rows = (await world.post(b'[{"type":"a","id":"x","data":{"n":1}},{"type":"b","id":"x"},{"type":"c"}]')).json["data"]
    assert [row["status"] for row in rows] == ["duplicate", "conflict", "accepted"]
    assert rows[0]["id"] == first.json["id"]
    assert len(world.stored()) == 2


async def test_the_same_id_twice_in_one_call_is_stored_once(world: World) -> None:
    answered = await world.post(b'[{"type":"a","id":"x"},{"type":"a","id":"x"},{"type":"b","id":"x"}]')
    assert [row["status"] for row in answered.json["data"]] == ["accepted", "duplicate", "conflict"]
    assert len(world.stored()) == 1


@pytest.mark.parametrize("body", [b'{"type":"a"}', several(3), several(1)])
async def test_a_repeated_call_under_its_key_gets_its_answer_again(world: World, body: bytes) -> None:
    first = await world.post(body, idempotency_key="k")
    count = len(world.stored())
    again = await world.post(body, idempotency_key="k")
    assert (again.status, again.json) == (202, first.json)
    assert len(world.stored()) == count


@pytest.mark.parametrize("other", [b'{"type":"b"}', several(5), several(3, user="u")])
async def test_another_call_under_a_used_key_is_refused_whole(world: World, other: bytes) -> None:
    await world.post(several(3), idempotency_key="k")
    refused = await world.post(other, idempotency_key="k")
    assert (refused.status, refused.json["code"]) == (409, "idempotency_mismatch")
    assert len(world.stored()) == 3


async def test_a_batch_after_a_single_event_under_the_same_key_is_refused(world: World) -> None:
    await world.post(b'{"type":"a"}', idempotency_key="k")
    refused = await world.post(several(3), idempotency_key="k")
    assert (refused.status, len(world.stored())) == (409, 1)


@pytest.mark.parametrize("commits", [0, 1])
async def test_a_call_cut_short_stores_the_rest_when_it_is_repeated(world: World, commits: int) -> None:
    """A thousand events need two commits. Neither a crash before nor one between them may lose or double any."""
    world.store.commits_left = commits
    broken = await world.post(several(1000), idempotency_key="k")
    assert broken.status == 503
    assert len(world.stored()) == 500 * commits
    world.store.commits_left = None
    repeated = await world.post(several(1000), idempotency_key="k")
    assert repeated.status == 202
    stored = world.stored()
    assert sorted(event.payload or b"" for event in stored) == sorted(b'{"n": %d}' % n for n in range(1000))
    assert [row["id"] for row in repeated.json["data"]] == _ids_by_number(stored)


def _ids_by_number(events: list[Event]) -> list[str]:
    return [event.id for event in sorted(events, key=lambda event: json.loads(event.payload or b"")["n"])]


async def test_a_key_that_is_unusable_is_refused(world: World) -> None:
    for key in (" ", "k" * 257):
        answered = await world.post(several(2), idempotency_key=key)
        assert answered.problems() == [(["header", "idempotency-key"], "value_error")]


async def test_a_call_without_a_key_of_ours_is_401(world: World) -> None:
    call = Call("POST", "/api/v1/event", [], [b'{"type":"a"}'])
    await world.events.handle(call.scope, call.receive, call.send)
    assert (call.answered.status, call.answered.json["code"]) == (401, "authentication_failed")


async def test_more_than_may_wait_is_refused_before_any_of_it_is_written() -> None:
    world = World(backlog=10)
    answered = await world.post(several(11))
    assert (answered.status, answered.json["code"], answered.headers["retry-after"]) == (503, "overloaded", "1")
    await world.intake.drain()
    assert world.stored() == []
    with pytest.raises(Overloaded):
        await world.intake.accept_all([object()] * 11)  # type: ignore[list-item]


async def test_calls_at_the_same_time_share_commits(world: World) -> None:
    commits: list[int] = []
    world.telemetry.subscribe(lambda _name, facts: commits.append(facts["units"]), "append.committed")
    answers = await asyncio.gather(*[world.post(b'{"type":"a","id":"%d"}' % (n % 50)) for n in range(100)])
    assert {answered.status for answered in answers} == {202}
    assert len(world.stored()) == 50
    assert sum(commits) == 100
    assert len(commits) < 10
