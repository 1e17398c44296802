"""Append: whole or not at all, claims, and bytes that come back as they came."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

import pytest
from msgspec.structs import replace

from posthorn.engine.journal import DeliveryQuery, EventQuery, RequestQuery
from posthorn.engine.records import AlreadyClaimed, Append, Appended, RequestOutcome
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import (
    ENDPOINT,
    OTHER_ENDPOINT,
    WORKSPACE,
    a_claim,
    a_delivery,
    a_request,
    a_unit,
    an_inbox_unit,
)

AWKWARD_BYTES = (
    pytest.param(b"", id="no bytes"),
    pytest.param(b"\x00\x00{}\x00", id="NULs"),
    pytest.param(b"\xff\xfe\x80 not UTF-8 \xc3", id="invalid UTF-8"),
    pytest.param(b'\xef\xbb\xbf{"a" :  1e2}\r\n', id="BOM and odd JSON"),
    pytest.param(bytes(range(256)) * 4096, id="1 MiB"),
)


async def test_append_of_nothing_answers_nothing(world: World) -> None:
    assert await world.append() == []


async def test_every_unit_gets_its_result_in_order(world: World) -> None:
    await world.append(a_unit(world.event(), claims=(a_claim(key="taken"),)))
    results = await world.append(
        a_unit(world.event()),
        a_unit(world.event(), claims=(a_claim(key="taken"),)),
        a_unit(world.event(), claims=(a_claim(key="free"),)),
    )
    assert [type(result) for result in results] == [Appended, AlreadyClaimed, Appended]


async def test_an_appended_unit_queues_each_of_its_deliveries(world: World) -> None:
    event = await world.publish(endpoints=(ENDPOINT, OTHER_ENDPOINT))
    assert [work.event for work in await world.due(ENDPOINT)] == [event.id]
    assert [work.event for work in await world.due(OTHER_ENDPOINT)] == [event.id]


async def test_a_taken_second_claim_leaves_nothing_of_the_unit_but_its_request(world: World) -> None:
    await world.append(Append(claims=(a_claim(scope="dedupe", key="b"),)))
    unit = an_inbox_unit(
        received_ms=world.later(), claims=(a_claim(scope="id", key="a"), a_claim(scope="dedupe", key="b"))
    )
    assert unit.event is not None
    (result,) = await world.append(replace(unit, deliveries=(a_delivery(unit.event),)))
    assert isinstance(result, AlreadyClaimed)
    assert result.scope == "dedupe"
    assert await world.store.event(WORKSPACE, unit.event.id) is None
    assert (await world.store.deliveries(DeliveryQuery(workspace=WORKSPACE))).rows == []
    assert await world.due() == []
    assert await world.undecided() == []
    assert await world.store.claimed("id", "a", now_ms=world.now_ms) is None


async def test_the_request_of_a_refused_unit_is_kept_as_a_duplicate_of_the_first(world: World) -> None:
    first = an_inbox_unit(received_ms=world.later())
    assert first.event is not None
    claim = a_claim(event=first.event.id, answer_status=208)
    await world.append(replace(first, claims=(claim,)))
    repeat = an_inbox_unit(received_ms=world.later(), body=b"\x00\xff again", claims=(a_claim(answer_status=202),))
    assert repeat.request is not None
    await world.append(repeat)
    kept = await world.store.request(WORKSPACE, repeat.request.id)
    assert kept == replace(repeat.request, outcome=RequestOutcome.DUPLICATE, event=first.event.id, answer_status=208)


async def test_a_refused_unit_without_a_request_leaves_no_request(world: World) -> None:
    await world.append(a_unit(world.event(), claims=(a_claim(),)))
    await world.append(a_unit(world.event(), claims=(a_claim(),)))
    assert (await world.store.requests(RequestQuery(workspace=WORKSPACE))).rows == []


async def test_two_units_of_one_call_that_claim_the_same_count_in_order(world: World) -> None:
    first, second = world.event(), world.event()
    results = await world.append(
        a_unit(first, claims=(a_claim(event=first.id, answer_body=b"one"),)),
        a_unit(second, claims=(a_claim(event=second.id, answer_body=b"two"),)),
    )
    assert results[0] == Appended()
    assert isinstance(results[1], AlreadyClaimed)
    assert (results[1].event, results[1].answer_body) == (first.id, b"one")
    assert [work.event for work in await world.due()] == [first.id]


async def test_appending_the_same_units_again_is_another_call_that_their_claims_refuse(world: World) -> None:
    first, second = (world.event() for _ in range(2))
    units = [
        a_unit(event, claims=(a_claim(key=event.id, event=event.id),), profile=f"{WORKSPACE}/user/ann")
        for event in (first, second)
    ]
    assert await world.append(*units) == [Appended(), Appended()]
    again = await world.append(*units)
    assert [(type(one), one.same_request, one.event) for one in again if isinstance(one, AlreadyClaimed)] == [
        (AlreadyClaimed, True, first.id),
        (AlreadyClaimed, True, second.id),
    ]
    assert [work.event for work in await world.due()] == [first.id, second.id]
    assert [work.id for work in await world.undecided()] == [first.id, second.id]
    assert len((await world.store.events(EventQuery(workspace=WORKSPACE))).rows) == 2


async def test_the_store_counts_its_commits_and_statements(world: World) -> None:
    before = world.store.figures()
    await world.publish()
    after = world.store.figures()
    assert before.keys() == after.keys() >= {"commits", "statements"}
    assert after["commits"] > before["commits"]
    assert after["statements"] > before["statements"]


async def test_a_refused_unit_does_not_take_claims_from_a_later_one_of_the_call(world: World) -> None:
    results = await world.append(
        a_unit(world.event(), claims=(a_claim(key="a"),)),
        a_unit(world.event(), claims=(a_claim(key="b"), a_claim(key="a"))),
        a_unit(world.event(), claims=(a_claim(key="b"),)),
    )
    assert [type(result) for result in results] == [Appended, AlreadyClaimed, Appended]


@pytest.mark.parametrize(("fingerprint", "is_same"), [(b"\x00one", True), (b"\x00two", False), (b"", False)])
async def test_a_repeat_learns_the_first_answer_and_whether_it_is_the_same_request(
    world: World, fingerprint: bytes, *, is_same: bool
) -> None:
    event = world.event()
    first = a_claim(event=event.id, fingerprint=b"\x00one", answer_status=201, answer_body=b"\x00\xff")
    await world.append(a_unit(event, claims=(first,)))
    (result,) = await world.append(a_unit(world.event(), claims=(a_claim(fingerprint=fingerprint),)))
    assert result == AlreadyClaimed(
        scope=first.scope,
        same_request=is_same,
        answer_status=201,
        answer_body=b"\x00\xff",
        event=event.id,
    )


async def test_the_first_taken_claim_of_a_unit_is_the_one_reported(world: World) -> None:
    await world.append(Append(claims=(a_claim(key="b", answer_body=b"b"), a_claim(key="c", answer_body=b"c"))))
    (result,) = await world.append(Append(claims=(a_claim(key="a"), a_claim(key="c"), a_claim(key="b"))))
    assert isinstance(result, AlreadyClaimed)
    assert result.answer_body == b"c"


async def test_the_same_key_in_another_scope_is_free(world: World) -> None:
    await world.append(Append(claims=(a_claim(scope="one"),)))
    assert await world.append(Append(claims=(a_claim(scope="two"),))) == [Appended()]


async def test_a_claim_alone_is_a_unit_too(world: World) -> None:
    claim = a_claim(scope="key", event=None)
    assert await world.append(Append(claims=(claim,))) == [Appended()]
    assert await world.store.claimed("key", claim.key, now_ms=world.now_ms) == claim


async def test_a_claim_is_found_until_it_expires(world: World) -> None:
    claim = a_claim(expires_ms=world.now_ms + 5000)
    await world.append(Append(claims=(claim,)))
    assert await world.store.claimed(claim.scope, claim.key, now_ms=claim.expires_ms - 1) == claim
    assert await world.store.claimed(claim.scope, claim.key, now_ms=claim.expires_ms) is None
    assert await world.store.claimed(claim.scope, "another", now_ms=world.now_ms) is None


async def test_an_expired_claim_can_be_taken_again_with_a_new_answer(world: World) -> None:
    await world.append(Append(claims=(a_claim(expires_ms=world.now_ms + 5000),)))
    world.later(4.999)
    assert isinstance((await world.append(Append(claims=(a_claim(),))))[0], AlreadyClaimed)
    world.later(0.001)
    again = a_claim(answer_body=b"again")
    assert await world.append(Append(claims=(again,))) == [Appended()]
    assert await world.store.claimed(again.scope, again.key, now_ms=world.now_ms) == again


async def test_forgetting_claims_takes_expired_ones_only_and_no_more_than_asked(world: World) -> None:
    old = tuple(a_claim(key=f"old {number}", expires_ms=world.now_ms + 1000) for number in range(5))
    fresh = a_claim(key="fresh")
    await world.append(Append(claims=(*old, fresh)))
    assert await world.store.forget_claims(now_ms=world.now_ms, most=10) == 0
    now_ms = world.later()
    assert [await world.store.forget_claims(now_ms=now_ms, most=3) for _ in range(3)] == [3, 2, 0]
    assert await world.store.claimed(fresh.scope, fresh.key, now_ms=now_ms) == fresh
    assert await world.store.claimed(old[0].scope, old[0].key, now_ms=now_ms - 1000) is None


async def test_a_rejected_request_is_kept_whole(world: World) -> None:
    request = a_request(
        received_ms=world.later(),
        outcome=RequestOutcome.REJECTED,
        cause="signature_mismatch",
        detail="No signature fits the body.",
        answer_status=401,
        target=b"/in/token/%00?x=\xff",
    )
    await world.append(Append(request=request))
    assert await world.store.request(WORKSPACE, request.id) == request


@pytest.mark.parametrize("payload", AWKWARD_BYTES)
async def test_an_events_own_payload_comes_back_byte_for_byte(world: World, payload: bytes) -> None:
    event = await world.publish(
        world.event(payload=payload, content_type="application/x-odd", content_encoding="gzip", channels=("a", "b"))
    )
    assert await world.store.event(WORKSPACE, event.id) == event
    (work,) = await world.due()
    assert work.payload.body == payload
    assert work.payload.type == event.type
    assert (work.payload.content_type, work.payload.content_encoding) == ("application/x-odd", "gzip")


@pytest.mark.parametrize("body", AWKWARD_BYTES)
async def test_a_captured_body_is_the_payload_byte_for_byte(world: World, body: bytes) -> None:
    unit = an_inbox_unit(received_ms=world.later(), body=body)
    assert unit.event is not None
    assert unit.request is not None
    await world.append(replace(unit, deliveries=(a_delivery(unit.event),)))
    assert await world.store.event(WORKSPACE, unit.event.id) == replace(unit.event, payload=body)
    assert [work.payload.body for work in await world.due()] == [body]
    assert [work.event.payload for work in await world.undecided()] == [body]
    assert await world.store.request(WORKSPACE, unit.request.id) == unit.request


@pytest.mark.parametrize("head", [b"", b"X-A: \xff\r\nx-a: 2\r\n X-Odd\x00:\r\n"])
async def test_the_head_comes_back_byte_for_byte(world: World, head: bytes) -> None:
    unit = an_inbox_unit(received_ms=world.later())
    assert unit.request is not None
    await world.append(replace(unit, request=replace(unit.request, head=head)))
    kept = await world.store.request(WORKSPACE, unit.request.id)
    assert kept is not None
    assert kept.head == head
    assert [work.head for work in await world.undecided()] == [head]


async def test_a_batch_of_a_thousand_units_is_committed_whole(world: World) -> None:
    events = [world.event() for _ in range(1000)]
    results = await world.append(*(a_unit(event, claims=(a_claim(key=event.id, event=event.id),)) for event in events))
    assert results == [Appended()] * 1000
    assert [work.event for work in await world.due(room=2000)] == [event.id for event in events]
