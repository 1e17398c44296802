"""What comes in wrong: broken, too large, too slow, unsigned, twice. Each is answered in its own words and recorded."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
from posthorn_process import Posthorn, inbox_path
from raw_http import Api, Client, Connection, Refused, eventually
from recording_receiver import Receiver

from posthorn import ids
from posthorn.clock import SystemClock
from posthorn.engine.directory import Directory
from posthorn.engine.hints import Hints
from posthorn.engine.journal import RequestQuery
from posthorn.engine.records import CapturedRequest
from posthorn.receive.inbox import Inbox
from posthorn.receive.intake import Intake
from posthorn.receive.sources import CompiledSources
from posthorn.receive.tracking.tracking import Tracking
from posthorn.server.asgi import PublicDoor
from posthorn.server.doors import Door, bind
from posthorn.signing import GitHubVerification
from posthorn.telemetry import Telemetry
from posthorn.testing.factories import WORKSPACE, a_source
from posthorn.testing.memory import MemoryStore
from posthorn.vault import KeyRing

TOKEN = "token-of-a-source-in-this-process"
CHUNK = b"400\r\n" + b"x" * 1024 + b"\r\n"


async def a_new_source(api: Api, **fields: Any) -> tuple[str, str]:
    """Make a source and return its id and the path of its address."""
    source = await api.post("/source", {"name": "Source", **fields})
    return source["id"], inbox_path(source["url"])


async def the_only_request(api: Api, source: str) -> Any:
    (row,) = await api.rows(f"/request?source={source}")
    return row


@pytest.mark.parametrize("path", ["/event", "/app/anything/msg", "/app", "/source", "/automation"])
async def test_broken_json_is_a_422_that_says_where(api: Api, path: str) -> None:
    await api.call("POST", "/app", {"name": "Anything", "uid": "anything"})
    response = await api.call("POST", path, b"{\n  ]")
    assert response.status == 422, response.body
    (problem,) = response.json()["detail"]
    assert problem["loc"][0] == "body"
    assert "line 2" in problem["msg"]


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("/event", {"type": 5}, ["body", "type"]),
        ("/event", {"type": "a.b", "time": "2026-01-01"}, ["body", "time"]),
        ("/event", [{"type": "a.b"}, {"type": ""}], ["body", 1, "type"]),
        ("/app/typed/msg", {"eventType": "a.b", "payload": {}, "channels": "x"}, ["body", "channels"]),
        ("/app/typed/msg", {"eventType": "a.b", "payload": [1]}, ["body", "payload"]),
        ("/app", {"name": {}}, ["body", "name"]),
        ("/app/typed/endpoint", {"url": 1}, ["body", "url"]),
        ("/source", {"name": "S", "bodyLimitBytes": "10"}, ["body", "bodyLimitBytes"]),
    ],
)
async def test_a_wrong_type_is_a_422_that_names_the_place(api: Api, path: str, body: object, loc: list[Any]) -> None:
    await api.call("POST", "/app", {"name": "Typed", "uid": "typed"})
    response = await api.call("POST", path, body)
    assert response.status == 422, response.body
    assert [problem["loc"] for problem in response.json()["detail"]] == [loc]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/event", {"type": "a.b", "userId": "1"}),
        ("/app/strict/msg", {"eventType": "a.b", "payload": {}, "userId": 1}),
        ("/app", {"name": "A", "userId": 1}),
        ("/app/strict/endpoint", {"url": "http://127.0.0.1:1/", "userId": 1}),
        ("/source", {"name": "S", "userId": 1}),
        (
            "/automation",
            {"name": "A", "trigger": {"eventType": "x"}, "send": {"url": "http://127.0.0.1:1/"}, "userId": 1},
        ),
    ],
)
async def test_an_unknown_field_is_a_422_that_names_it(api: Api, path: str, body: object) -> None:
    await api.call("POST", "/app", {"name": "Strict", "uid": "strict"})
    response = await api.call("POST", path, body)
    assert response.status == 422, response.body
    (problem,) = response.json()["detail"]
    assert problem["loc"] == ["body", "userId"]


@pytest.mark.parametrize("path", ["/event", "/app/deep/msg", "/app", "/source", "/automation"])
async def test_json_nested_without_end_is_refused(api: Api, path: str) -> None:
    await api.call("POST", "/app", {"name": "Deep", "uid": "deep"})
    nest = b"[" * 200_000
    for body in (nest, b'{"type": "a", "eventType": "a", "name": "a", "data": ' + nest, b'{"payload": ' + nest):
        response = await api.call("POST", path, body)
        assert response.status in (400, 422), response.body


async def test_a_request_nested_without_end_is_kept_and_decided(api: Api, inbox: Client, receiver: Receiver) -> None:
    _, path = await a_new_source(api, eventType="nested", dedupe={"field": "id"})
    await api.post(
        "/automation", {"name": "N", "trigger": {"eventType": "nested"}, "send": {"url": receiver.url("/nested")}}
    )
    body = b"[" * 200_000 + b"]" * 200_000
    answer = await inbox.request("POST", path, body=body)
    assert answer.status == 202
    (row,) = await receiver.wait_for_count("/nested", 1)
    assert row.body == body
    for path in (f"/request/{answer.json()['request']}", f"/thread/{answer.json()['event']}"):
        assert (await api.call("GET", path)).status == 200


async def test_a_call_without_a_valid_key_is_a_401_on_every_path(api: Api) -> None:
    async with Client(api._port, [("authorization", "Bearer wrong-key-wrong-key")]) as stranger:
        for method, path in (("POST", "/event"), ("POST", "/app/x/msg"), ("GET", "/app"), ("GET", "/request")):
            response = await stranger.request(method, f"/api/v1{path}", body=b"{}" if method == "POST" else b"")
            assert (response.status, response.json()["code"]) == (401, "authentication_failed")


async def test_an_endless_body_is_answered_413_while_its_sender_still_sends(api: Api, inbox: Client) -> None:
    source, path = await a_new_source(api, bodyLimitBytes=64 * 1024)
    connection = await Connection.open(inbox._port)
    connection.write_head("POST", path, [("transfer-encoding", "chunked")])
    response = asyncio.create_task(connection.response())
    sent = 0
    while not response.done() and sent < 64 * 1024 * 1024:
        connection.writer.write(CHUNK)
        sent += 1024
        await connection.writer.drain()
        await asyncio.sleep(0)  # lets the answer in; the sender never pauses
    assert (await response).status == 413
    assert sent < 16 * 1024 * 1024
    await connection.close()
    row = await the_only_request(api, source)
    assert (row["outcome"], row["cause"], row["answerStatus"]) == ("rejected", "body_too_large", 413)
    assert "65536 bytes" in row["detail"]


async def test_a_body_announced_too_large_is_answered_413_before_any_of_it(api: Api, inbox: Client) -> None:
    source, path = await a_new_source(api, bodyLimitBytes=1000)
    connection = await Connection.open(inbox._port)
    connection.write_head("POST", path, [("content-length", "1001")])
    assert (await connection.response()).status == 413
    await connection.close()
    assert (await the_only_request(api, source))["cause"] == "body_too_large"
    assert (await inbox.request("POST", path, body=b"x" * 1000)).status == 202


async def test_a_message_over_its_limit_is_a_413(api: Api) -> None:
    await api.post("/app", {"name": "Large", "uid": "large"})
    head = b'{"eventType": "a.b", "payload": {"x": "'
    body = head + b"x" * (2 * 1024 * 1024) + b'"}}'
    response = await api.call("POST", "/app/large/msg", body)
    assert (response.status, response.json()["code"]) == (413, "payload_too_large")


async def test_a_wrong_signature_is_a_401_whose_cause_only_the_owner_learns(api: Api, inbox: Client) -> None:
    source, path = await a_new_source(api, verification={"type": "github"}, secrets=["It's a Secret"])
    for headers in ([], [("x-hub-signature-256", "sha256=" + "0" * 64)]):
        response = await inbox.request("POST", path, headers, b"{}")
        assert response.status == 401
        assert "expected" not in response.json()["detail"]
    rows = await api.rows(f"/request?source={source}")
    assert [(row["outcome"], row["cause"]) for row in rows] == [
        ("rejected", "signature_mismatch"),
        ("rejected", "signature_missing"),
    ]
    right = "sha256=" + hmac.digest(b"It's a Secret", b"{}", sha256).hex()
    assert (await inbox.request("POST", path, [("x-hub-signature-256", right)], b"{}")).status == 202
    assert len(await api.rows(f"/event?source={source}")) == 1


async def test_a_source_that_verifies_cannot_be_left_without_a_secret(api: Api) -> None:
    refused = await api.call("POST", "/source", {"name": "S", "verification": {"type": "github"}})
    assert (refused.status, refused.json()["detail"][0]["loc"]) == (422, ["body", "secrets"])
    source, _ = await a_new_source(api, verification={"type": "github"}, secrets=["secret"])
    refused = await api.call("PATCH", f"/source/{source}", {"secrets": []})
    assert (refused.status, refused.json()["detail"][0]["loc"]) == (422, ["body", "secrets"])


async def test_an_unknown_address_is_a_404_and_says_nothing_more(api: Api, inbox: Client) -> None:
    for path in ("/in/nobody-has-this-token", "/in/", "/in/" + "x" * 5000, "/in/nobody/deeper?x=1"):
        response = await inbox.request("POST", path, body=b"{}")
        assert (response.status, response.json()["code"]) == (404, "not_found")
    assert (await inbox.request("GET", "/api/v1/app")).status == 404
    assert (await inbox.request("GET", "/health")).status == 404


async def test_a_disabled_source_is_a_403_and_a_deleted_one_never_was(api: Api, inbox: Client) -> None:
    source, path = await a_new_source(api, enabled=False)
    assert (await inbox.request("POST", path, body=b"{}")).status == 403
    assert (await the_only_request(api, source))["cause"] == "source_disabled"
    assert (await api.call("DELETE", f"/source/{source}")).status == 204
    assert (await inbox.request("POST", path, body=b"{}")).status == 404


async def test_a_duplicate_is_answered_as_the_first_and_stored_as_a_duplicate(api: Api, inbox: Client) -> None:
    source, path = await a_new_source(api, dedupe={"header": "x-github-delivery"})
    key = [("x-github-delivery", "72d3162e")]
    first = await inbox.request("POST", path, key, b'{"n": 1}')
    second = await inbox.request("POST", path, key, b'{"n": 2}')
    other = await inbox.request("POST", path, [("x-github-delivery", "else")], b'{"n": 1}')
    assert first.status == 202
    assert (second.status, second.body) == (first.status, first.body)
    assert other.body != first.body
    rows = await api.rows(f"/request?source={source}")
    assert [row["outcome"] for row in rows] == ["accepted", "duplicate", "accepted"]
    assert rows[1]["eventId"] == rows[2]["eventId"] == first.json()["event"]
    assert len(await api.rows(f"/event?source={source}")) == 2


async def test_duplicates_that_race_become_one_event(api: Api, inbox: Client) -> None:
    source, path = await a_new_source(api, dedupe={"field": "id"})
    answers = await asyncio.gather(*(inbox.request("POST", path, body=b'{"id": 7}') for _ in range(40)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 1
    assert len(await api.rows(f"/event?source={source}")) == 1
    assert len(await api.rows(f"/request?source={source}&outcome=duplicate")) == 39


async def test_an_event_sent_twice_is_one_event_and_other_content_a_409(api: Api) -> None:
    body = {"type": "twice.sent", "id": "the-same", "user": "u", "data": {"n": 1}}
    first, second = await api.post("/event", body), await api.post("/event", body)
    assert second == first
    other = await api.call("POST", "/event", body | {"data": {"n": 2}})
    assert (other.status, other.json()["code"]) == (409, "conflict")
    assert len(await api.rows("/event?type=twice.sent")) == 1


async def test_a_batch_repeated_under_its_key_adds_nothing(api: Api) -> None:
    batch = [{"type": "batch.sent", "data": {"n": n}} for n in range(3)]
    key = [("idempotency-key", "batch-1")]
    first = await api.call("POST", "/event", batch, key)
    second = await api.call("POST", "/event", batch, key)
    assert [row["id"] for row in first.json()["data"]] == [row["id"] for row in second.json()["data"]]
    assert len(await api.rows("/event?type=batch.sent")) == 3


async def test_our_own_inbox_is_no_target_when_it_is_written_down(api: Api, inbox: Client) -> None:
    _, path = await a_new_source(api, eventType="went.round")
    send = {"url": f"http://127.0.0.1:{inbox._port}{path}"}
    with pytest.raises(Refused, match="own inbox"):
        await api.post("/automation", {"name": "Loop", "trigger": {"eventType": "went.round"}, "send": send})


async def test_our_own_inbox_is_no_target_when_a_template_leads_there(api: Api, inbox: Client) -> None:
    source, path = await a_new_source(api, eventType="went.round")
    send = {"url": f"http://127.0.0.{{{{ event.data.last }}}}:{inbox._port}{path}"}
    await api.post("/automation", {"name": "Loop", "trigger": {"eventType": "went.round"}, "send": send})
    assert (await inbox.request("POST", path, body=b'{"last":1}')).status == 202
    rows = await api.eventually("/attempt", lambda rows: [row for row in rows if path in row["url"]])
    assert {row["error"] for row in rows if path in row["url"]} == {"address_not_allowed"}
    assert len(await api.rows(f"/request?source={source}")) == 1


async def test_a_request_that_came_round_too_often_is_refused_and_kept(api: Api, inbox: Client) -> None:
    source, path = await a_new_source(api, eventType="went.round")
    answer = await inbox.request("POST", path, [("posthorn-hops", "5")], body=b"{}")
    assert answer.status == 508
    [row] = await api.rows(f"/request?source={source}")
    assert (row["cause"], row["answerStatus"]) == ("loop_detected", 508)


# What no operator can configure, or would take half a minute, is proven with the inbox in this process.


@asynccontextmanager
async def an_inbox(**source: Any) -> AsyncIterator[tuple[int, MemoryStore]]:
    """Serve one source behind the real door, with a body deadline of a fifth of a second."""
    clock, telemetry = SystemClock(), Telemetry(strict=True)
    store, directory = MemoryStore(clock), Directory()
    ring = KeyRing([b"k" * 32])
    identifier = ids.new_id(ids.SOURCE, clock.now_ms())
    sealed = ring.seal(TOKEN.encode(), context=identifier)
    await store.insert(
        a_source(id=identifier, token_sealed=sealed, token_digest=sha256(TOKEN.encode()).hexdigest(), **source)
    )
    await directory.load(store)
    intake = Intake(store=store, to_deliver=Hints(), to_decide=Hints(), telemetry=telemetry)
    inbox = Inbox(
        intake=intake,
        sources=CompiledSources(directory, ring),
        directory=directory,
        clock=clock,
        telemetry=telemetry,
        body_deadline_seconds=0.2,
    )
    tracking = Tracking(intake=intake, directory=directory, clock=clock)
    listener = bind("127.0.0.1", 0, "public")
    door = Door(name="public", application=PublicDoor(inbox, tracking), listener=listener, patience_seconds=1)
    await door.start()
    try:
        yield listener.getsockname()[1], store
    finally:
        await door.stop()


async def the_kept(store: MemoryStore) -> CapturedRequest:
    page = await store.requests(RequestQuery(workspace=WORKSPACE, limit=10))
    (row,) = page.rows
    return row


async def test_a_body_that_trickles_in_is_answered_408_and_recorded() -> None:
    async with an_inbox() as (port, store):
        connection = await Connection.open(port)
        connection.write_head("POST", f"/in/{TOKEN}", [("content-length", "100")])
        connection.writer.write(b"a few")
        response = await connection.response()
        await connection.close()
        assert (response.status, response.header("connection")) == (408, "close")
        row = await the_kept(store)
        assert (row.outcome, row.cause, row.answer_status) == ("rejected", "body_too_slow", 408)


async def test_a_sender_that_hangs_up_within_its_body_is_recorded() -> None:
    async with an_inbox() as (port, store):
        connection = await Connection.open(port)
        connection.write_head("POST", f"/in/{TOKEN}", [("content-length", "100")])
        connection.writer.write(b"a few")
        await connection.close()
        query = RequestQuery(workspace=WORKSPACE, limit=10)
        page = await eventually(lambda: store.requests(query), lambda page: bool(page.rows))
        assert [(row.outcome, row.cause, row.event) for row in page.rows] == [("rejected", "client_disconnected", None)]


async def test_a_source_whose_secrets_are_all_gone_lets_nobody_in() -> None:
    async with an_inbox(verification=GitHubVerification(), secrets=()) as (port, store):
        async with Client(port) as client:
            signature = "sha256=" + hmac.digest(b"", b"{}", sha256).hex()
            response = await client.request("POST", f"/in/{TOKEN}", [("x-hub-signature-256", signature)], b"{}")
        assert response.status == 401
        row = await the_kept(store)
        assert (row.outcome, row.cause) == ("rejected", "secret_missing")


async def test_the_server_of_this_module_has_met_nothing_unexpected(posthorn: Posthorn) -> None:
    assert "Traceback" not in posthorn.errors
    assert "error.unexpected" not in posthorn.errors
