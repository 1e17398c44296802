"""Inbox addresses: everything captured, what is wanted accepted, each sender told only what is durable."""

import hashlib
import hmac

import pytest
from receiving_world import Call, World

from posthorn.engine.flows import EventTrigger
from posthorn.engine.marks import MASK
from posthorn.engine.records import RequestOutcome
from posthorn.engine.resources import Answer, DedupeRule
from posthorn.signing import BearerVerification, HmacVerification
from posthorn.testing.factories import an_automation


@pytest.fixture
def world() -> World:
    return World()


async def test_a_request_is_answered_with_its_ids_once_it_and_its_event_are_stored(world: World) -> None:
    await world.source()
    answered = await world.capture(body=b'{"a": 1}', headers={"Content-Type": "application/json", "X-Odd": "1"})
    [request], [event] = world.requests(), world.stored()
    assert (answered.status, answered.json) == (202, {"request": request.id, "event": event.id})
    assert (request.body, request.head) == (b'{"a": 1}', b"content-type: application/json\r\nx-odd: 1\r\n")
    assert (event.type, event.request, event.source, event.payload) == (
        "webhook.received",
        request.id,
        "src_token",
        None,
    )
    assert (request.peer, request.target, request.outcome) == ("192.0.2.7:4711", b"/in/token", RequestOutcome.ACCEPTED)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
async def test_any_method_is_captured_with_or_without_a_body(world: World, method: str) -> None:
    await world.source()
    assert (await world.capture(method=method, body=b"")).status == 202
    assert [(request.method, request.body) for request in world.requests()] == [(method, b"")]


@pytest.mark.parametrize("target", ["/in/token/", "/in/token/a/b?c=%20d", "/in/token//", "/in/%74oken"])
async def test_whatever_follows_the_token_is_kept_as_it_was_sent(world: World, target: str) -> None:
    await world.source()
    assert (await world.capture(target)).status == 202
    assert world.requests()[0].target == target.encode()


@pytest.mark.parametrize("target", ["/in/", "/in//token", "/in/Token", "/in/tok%00en", "/in/" + "t" * 500, "/in/%ff"])
async def test_an_unknown_address_is_404_and_nothing_is_kept(world: World, target: str) -> None:
    await world.source()
    answered = await world.capture(target)
    assert (answered.status, answered.json["code"], world.requests()) == (404, "not_found", [])


async def test_a_custom_answer_is_given_with_its_status_headers_and_body(world: World) -> None:
    await world.source(answer=Answer(status=200, headers={"content-type": "text/plain", "x-a": "b"}, body="OK"))
    answered = await world.capture()
    assert (answered.status, answered.body, answered.headers["x-a"]) == (200, b"OK", "b")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content_has_neither_body_nor_length(world: World, status: int) -> None:
    await world.source(answer=Answer(status=status))
    answered = await world.capture()
    assert (answered.status, answered.body, "content-length" in answered.headers) == (status, b"", False)


async def test_a_disabled_source_keeps_the_request_with_the_cause(world: World) -> None:
    await world.source(enabled=False)
    answered = await world.capture(body=b"abc")
    [request] = world.requests()
    assert (answered.status, answered.json["code"]) == (403, "source_disabled")
    assert (request.outcome, request.cause, request.body) == (RequestOutcome.REJECTED, "source_disabled", b"abc")
    assert world.stored() == []


async def test_a_wrong_signature_is_kept_with_the_cause_and_the_sender_learns_no_detail(world: World) -> None:
    await world.source(secret="s3cret", verification=HmacVerification(header="X-Signature", algorithm="sha256"))
    answered = await world.capture(headers={"X-Signature": "00" * 32})
    [request] = world.requests()
    assert answered.status == 401
    assert answered.json["detail"] == "the request could not be verified"
    assert (request.outcome, request.answer_status) == (RequestOutcome.REJECTED, 401)
    assert request.cause
    signature = hmac.new(b"s3cret", b"{}", hashlib.sha256).hexdigest()
    assert (await world.capture(headers={"X-Signature": signature})).status == 202


async def test_a_source_without_its_secret_accepts_nothing(world: World) -> None:
    await world.source(verification=BearerVerification())
    assert (await world.capture(headers={"Authorization": "Bearer "})).status == 401
    assert world.requests()[0].cause == "secret_missing"


async def test_the_sources_own_secret_is_masked_in_the_stored_head(world: World) -> None:
    await world.source(secret="s3cret", verification=BearerVerification())
    assert (await world.capture(headers={"Authorization": "Bearer s3cret", "X-A": "b"})).status == 202
    assert world.requests()[0].head == b"authorization: " + MASK.encode() + b"\r\nx-a: b\r\n"


async def test_a_secret_that_does_not_open_tells_the_sender_only_to_come_back(world: World) -> None:
    source = await world.source()
    broken = source.__class__(**{name: getattr(source, name) for name in source.__struct_fields__} | {
        "secrets": (await world.source("other", secret="x")).secrets,
    })  # fmt: skip
    await world.store.replace(broken)
    await world.directory.refresh(world.store)
    answered = await world.capture()
    assert (answered.status, answered.headers["retry-after"]) == (503, "60")
    assert "key" not in answered.json["detail"]
    assert "error.unexpected" in dict(world.told)


async def test_too_many_hops_are_a_loop(world: World) -> None:
    await world.source()
    statuses = [
        (await world.capture(headers={"Posthorn-Hops": hops})).status for hops in ("4", "5", "x", "-1", "9" * 5000)
    ]
    assert statuses == [202, 508, 508, 508, 508]


async def test_a_duplicate_gets_the_first_answer_and_status_whatever_changed_since(world: World) -> None:
    await world.source(dedupe=DedupeRule(header="X-Id"), answer=Answer(status=201))
    first = await world.capture(body=b"1", headers={"X-Id": "a"})
    again = await world.capture(body=b"2", headers={"x-id": "a"})
    other = await world.capture(body=b"3", headers={"X-Id": "b"})
    without = await world.capture(body=b"4")
    assert (again.status, again.body) == (first.status, first.body)
    assert len({first.body, other.body, without.body}) == 3
    assert [request.outcome for request in world.requests()] == ["accepted", "duplicate", "accepted", "accepted"]
    assert world.requests()[1].event == world.stored()[0].id


@pytest.mark.parametrize(
    ("body", "times"),
    [
        (b'{"data": {"id": "x"}}', 1),
        (b'{"data": {"id": 7}}', 1),
        (b'{"data": {"id": true}}', 1),
        (b'{"data": {"id": null}}', 2),
        (b'{"data": {"id": []}}', 2),
        (b'{"data": 1}', 2),
        (b"[]", 2),
        (b"no json", 2),
        (b'{"data": ' + b"[" * 50_000, 2),
    ],
)
async def test_a_key_in_the_body_makes_two_requests_the_same(world: World, body: bytes, times: int) -> None:
    await world.source(dedupe=DedupeRule(field="data.id"))
    assert {(await world.capture(body=body)).status for _ in range(2)} == {202}
    assert len(world.stored()) == times


async def test_two_long_keys_that_begin_alike_are_two(world: World) -> None:
    await world.source(dedupe=DedupeRule(header="X-Id"))
    await world.capture(headers={"X-Id": "a" * 600})
    await world.capture(headers={"X-Id": "a" * 600 + "b"})
    await world.capture(headers={"X-Id": "a" * 600})
    assert len(world.stored()) == 2


@pytest.mark.parametrize(
    ("template", "body", "name"),
    [
        ("order.{{ body.kind }}", b'{"kind": "paid"}', "order.paid"),
        ("{{ request.headers['x-event'] }}", b"{}", "push"),
        ("{{ body.missing }}", b"{}", "webhook.unnamed"),
        ("{{ body.kind }}", b'{"kind": "a b/\\u00e9"}', "a_b_"),
        ("{{ body.kind }}", b'{"kind": ""}', "webhook.unnamed"),
        ("{{ body.kind }}", b"[" * 50_000, "webhook.unnamed"),
        ("two words", b"{}", "two_words"),
    ],
)
async def test_the_event_is_named_by_template_or_falls_back(
    world: World, template: str, body: bytes, name: str
) -> None:
    await world.source(event_type=template)
    assert (await world.capture(body=body, headers={"X-Event": "push"})).status == 202
    assert [event.type for event in world.stored()] == [name]


async def test_a_body_over_the_limit_is_refused_before_it_is_read_and_kept_without_it(world: World) -> None:
    await world.source(body_limit_bytes=10)
    answered = await world.capture(body=b"x" * 11, headers={"Content-Length": "11"})
    assert (answered.status, answered.headers["connection"]) == (413, "close")
    [request] = world.requests()
    assert (request.cause, request.body, request.answer_status) == ("body_too_large", b"", 413)


async def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_large(world: World) -> None:
    await world.source(body_limit_bytes=10)
    call = Call("POST", "/in/token", [], [b"x" * 6, b"x" * 6, *[b"x" * 1000] * 100])
    await world.inbox.handle(call.scope, call.receive, call.send)
    assert call.answered.status == 413
    assert world.requests()[0].cause == "body_too_large"


async def test_a_body_that_does_not_arrive_is_408() -> None:
    world = World(body_deadline_seconds=0.01)
    await world.source()
    call = Call("POST", "/in/token", [], [b"x", b"y"])
    call._parts.pop()
    call._parts.append(b"y")
    held = call.receive

    async def slow() -> dict[str, object]:
        message = await held()
        return message | {"more_body": True}

    await world.inbox.handle(call.scope, slow, call.send)
    assert call.answered.status == 408
    assert world.requests()[0].cause == "body_too_slow"


async def test_a_sender_that_goes_away_in_mid_body_is_on_record_and_nothing_came_of_it(world: World) -> None:
    await world.source()
    call = Call("POST", "/in/token", [], [b"abc", None])
    await world.inbox.handle(call.scope, call.receive, call.send)
    [request] = world.requests()
    assert (request.outcome, request.cause) == (RequestOutcome.REJECTED, "client_disconnected")
    assert request.detail == "the sender went away before the body was complete"
    assert world.stored() == []


class Cycle:
    """What the server's protocol tells of a request whose body came with its head."""

    def __init__(self, body: bytes) -> None:
        self.body, self.more_body = bytearray(body), False


async def test_a_body_that_is_here_already_counts_even_if_its_sender_did_not_wait(world: World) -> None:
    await world.source()
    call = Call("POST", "/in/token", [], [None])
    call.scope["posthorn.cycle"] = Cycle(b'{"a": 1}')
    await world.inbox.handle(call.scope, call.receive, call.send)
    assert call.answered.status == 202
    assert world.requests()[0].body == b'{"a": 1}'


async def test_a_body_that_is_here_already_is_measured_too(world: World) -> None:
    await world.source(body_limit_bytes=3)
    call = Call("POST", "/in/token", [], [None])
    call.scope["posthorn.cycle"] = Cycle(b"1234")
    await world.inbox.handle(call.scope, call.receive, call.send)
    assert call.answered.status == 413


async def test_while_the_store_is_down_nobody_is_told_2xx(world: World) -> None:
    await world.source()
    world.store.commits_left = 0
    answered = await world.capture()
    assert (answered.status, answered.json["code"], answered.headers["retry-after"]) == (503, "store_unavailable", "5")
    world.store.commits_left = None
    assert (await world.capture()).status == 202


async def test_an_event_that_an_automation_listens_to_becomes_decision_work(world: World) -> None:
    await world.source()
    await world.put(an_automation(trigger=EventTrigger(event_type="webhook.received")))
    await world.capture()
    [event] = world.stored()
    assert [work.event for work in world.store._tables.undecided.values()] == [event.id]
    assert len(world.to_decide.collect()) == 1
