"""What real senders send goes through byte for byte: kept as it came, passed on as it came."""

import asyncio
import base64
import gzip
import hmac
import json
import random
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from posthorn_process import inbox_path
from raw_http import Api, Client, Connection, Headers
from recording_receiver import Received, Receiver
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GITHUB_PUSH = json.dumps(
    {
        "ref": "refs/heads/main",
        "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
        "after": "0000000000000000000000000000000000000000",
        "repository": {"id": 186853002, "full_name": "Codertocat/Hello-World", "private": False},
        "pusher": {"name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com"},
        "commits": [{"message": "Ünïcode, кириллица, 中文, 🎺\n\nsecond line", "distinct": True, "added": []}],
        "head_commit": None,
    },
    indent=2,
    ensure_ascii=False,
).encode()
STRIPE_EVENT = (
    b'{\n  "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy",\n  "object": "event",\n  "api_version": "2019-02-19",\n'
    b'  "created": 1686089970,\n  "data": {\n    "object": {\n      "amount": 2000,\n      "description": null\n'
    b'    }\n  },\n  "livemode": false,\n  "type": "setup_intent.created"\n}'
)
JSON = "application/json"
BODIES: dict[str, tuple[bytes, str, str | None]] = {
    "github push": (GITHUB_PUSH, JSON, None),
    "stripe event": (STRIPE_EVENT, "application/json; charset=utf-8", None),
    "cyrillic": ('{"имя":"Ёжик","город":"Орёл"}'.encode(), JSON, None),
    "chinese": ('{"名字":"张伟","备注":"已付款"}'.encode(), JSON, None),
    "emoji": ('{"e":"🎺👩‍👩‍👧‍👦🏴󠁧󠁢󠁳󠁣󠁴󠁿","esc":"\\ud83c\\udfba"}'.encode(), JSON, None),
    "cyrillic in another encoding": ("тело=значение".encode("cp1251"), "text/plain; charset=windows-1251", None),
    "form": (b"token=abc&text=a+b%20c&text=%D0%B9", "application/x-www-form-urlencoded", None),
    "binary with NULs": (b"\x00\x01\xff\x00PNG\r\n\x1a\n\x00", "application/octet-stream", None),
    "gzip": (gzip.compress(GITHUB_PUSH, mtime=0), JSON, "gzip"),
    "not what it says": (b'{"broken": ', JSON, None),
    "nothing": (b"", JSON, None),
    "line ends": (b"a\r\nb\nc\rd\r\n\r\n0\r\n\r\n", "text/plain", None),
}


@pytest.fixture
async def passage(api: Api, receiver: Receiver) -> str:
    """Make a source whose requests an automation passes on unchanged; return its path."""
    name = f"in.{uuid4().hex}"
    source = await api.post("/source", {"name": name, "eventType": name})
    send = {"url": receiver.url("/out"), "body": None}
    await api.post("/automation", {"name": name, "trigger": {"eventType": name}, "send": send})
    return inbox_path(source["url"])


async def passed_on(receiver: Receiver) -> Received:
    (row,) = await receiver.wait_for_count("/out", 1)
    return row


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_is_passed_on_byte_for_byte_and_labelled_as_it_came(
    inbox: Client, api: Api, receiver: Receiver, passage: str, name: str
) -> None:
    body, content_type, encoding = BODIES[name]
    headers = [("content-type", content_type), *([("content-encoding", encoding)] if encoding else [])]
    answer = await inbox.request("POST", passage, headers, body)
    assert answer.status == 202
    row = await passed_on(receiver)
    assert row.body == body
    assert (row.header("content-type"), row.header("content-encoding")) == (content_type, encoding)
    kept = await api.call("GET", f"/request/{answer.json()['request']}/body")
    assert kept.body == body


async def test_a_signed_github_push_is_verified_named_and_passed_on(
    api: Api, inbox: Client, receiver: Receiver
) -> None:
    fields = {"verification": {"type": "github"}, "secrets": ["It's a Secret to Everybody"]}
    named = "github.{{ request.headers['x-github-event'] }}.{{ body.repository.full_name }}"
    source = await api.post("/source", {"name": "GitHub", "eventType": named, **fields})
    event_type = "github.push.Codertocat_Hello-World"
    condition = {"field": "event.data.ref", "operator": "eq", "value": "refs/heads/main"}
    automation = {"name": "On push", "trigger": {"eventType": event_type, "source": source["id"]}}
    send = {"url": receiver.url("/out")}
    created = await api.call("POST", "/automation", automation | {"conditions": {"all": [condition]}, "send": send})
    assert created.status == 201, created.body
    signature = hmac.digest(b"It's a Secret to Everybody", GITHUB_PUSH, sha256).hex()
    headers = [
        ("Content-Type", "application/json"),
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", str(uuid4())),
        ("X-Hub-Signature-256", f"sha256={signature}"),
    ]
    assert (await inbox.request("POST", inbox_path(source["url"]), headers, GITHUB_PUSH)).status == 202
    assert (await passed_on(receiver)).body == GITHUB_PUSH


@pytest.mark.parametrize("size", [10, 1024, 65_536, 1024 * 1024])
async def test_a_standard_webhook_of_any_size_is_verified_and_passed_on(
    api: Api, inbox: Client, receiver: Receiver, size: int
) -> None:
    name = f"sized.{size}"
    verification = {"verification": {"type": "standard_webhooks"}, "secrets": [SECRET]}
    source = await api.post("/source", {"name": name, "eventType": name, **verification})
    await api.post("/automation", {"name": name, "trigger": {"eventType": name}, "send": {"url": receiver.url("/out")}})
    body = ('"' + "".join(random.Random(size).choices("abc 123", k=size - 2)) + '"').encode()
    at = datetime.now(UTC)
    headers: Headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", str(int(at.timestamp()))),
        ("webhook-signature", Webhook(SECRET).sign("msg_1", at, body.decode())),
    ]
    path = inbox_path(source["url"])
    assert (await inbox.request("POST", path, headers, body)).status == 202
    assert (await inbox.request("POST", path, headers, body[:-2] + b'x"')).status == 401
    assert (await passed_on(receiver)).body == body


MESSAGES = {
    "whitespace": '{ "b" :\t1 ,\r\n  "a":  [ ]  ,"c" : { } }',
    "key order": '{"z":1,"a":2,"m":3}',
    "escapes": '{"a":"\\u0041\\/\\u00e9\\n","\\u006b":"\\ud83c\\udfba é 🎺"}',
    "big integers": '{"big":123456789012345678901234567890,"neg":-9223372036854775809}',
    "numbers": '{"a":1.0,"b":1e2,"c":1E+2,"d":-0,"e":0.10,"f":3.141592653589793238462643383279}',
    "duplicate keys": '{"a":1,"a":2,"a":{"b":1,"b":2}}',
    "deep": '{"a":' + "[" * 200 + "]" * 200 + "}",
    "empty": "{}",
    "line separators": '{"a":"\u2028\u2029\u0000x"}'.replace("\u0000", "\\u0000"),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_a_message_is_delivered_byte_for_byte_and_its_signature_fits(
    api: Api, receiver: Receiver, name: str
) -> None:
    uid = uuid4().hex
    await api.post("/app", {"name": name, "uid": uid})
    await api.post(f"/app/{uid}/endpoint", {"url": receiver.url("/out"), "secret": SECRET})
    payload = MESSAGES[name]
    body = f'{{ "payload": {payload} , "eventType": "exact" }}'.encode()
    answer = await api.call("POST", f"/app/{uid}/msg", body)
    assert answer.status == 202, answer.body
    row = await passed_on(receiver)
    assert row.body == payload.encode()
    assert row.header("content-type") == "application/json"
    assert row.webhook_id == answer.json()["id"]
    verify(row)


def verify(row: Received) -> None:
    """Check the signature over the very bytes: a verifier that parses first would hide what changed."""
    signed = f"{row.header('webhook-id')}.{row.header('webhook-timestamp')}.".encode() + row.body
    digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, sha256)
    assert row.header("webhook-signature") == "v1," + base64.b64encode(digest).decode()


async def test_half_a_surrogate_pair_is_refused_because_receivers_read_it_differently(api: Api) -> None:
    response = await api.call("POST", "/event", b'{"type": "exact", "data": {"a": "\\ud83c"}}')
    assert response.status == 422
    assert "column" in response.json()["detail"][0]["msg"]


async def test_an_event_keeps_its_data_byte_for_byte(api: Api, receiver: Receiver) -> None:
    await api.post(
        "/automation", {"name": "E", "trigger": {"eventType": "exact.data"}, "send": {"url": receiver.url("/out")}}
    )
    for number, data in enumerate(MESSAGES.values(), 1):
        body = f'{{"type": "exact.data", "data":   {data}  }}'.encode()
        assert (await api.call("POST", "/event", body)).status == 202
        rows = await receiver.wait_for_count("/out", number)
        assert rows[-1].body == data.encode()


HEADER_LINES = [
    b"Host: 127.0.0.1",
    b"X-CuStOm-CaSe: MiXeD",
    b"x-twice: first",
    b"Accept: */*",
    b"X-Twice: second",
    b"x-twice: first",
    b"X-Latin: caf\xe9",
    b"X-Empty: ",
    b"User-Agent: GitHub-Hookshot/044aadd",
]
TARGETS = [
    "",
    "/deeper/path",
    "/%2e%2E/a%2fb/%C3%A4%zz",
    "?x=%C3%A4&y=a+b&&=;&x=again",
    "//double//slash/?",
    "/semi;colon=1?q=a?b#no",
]


@pytest.mark.parametrize("tail", TARGETS)
async def test_a_captured_request_is_kept_as_it_stood_on_the_wire(api: Api, inbox: Client, tail: str) -> None:
    source = await api.post("/source", {"name": "Exact"})
    target = inbox_path(source["url"]) + tail
    body = b"\x00\xff exact"
    connection = await Connection.open(inbox._port)
    lines = [f"PUT {target} HTTP/1.1".encode(), *HEADER_LINES, b"Content-Length: %d" % len(body), b"", b""]
    connection.writer.write(b"\r\n".join(lines) + body)
    answer = await connection.response()
    await connection.close()
    assert answer.status == 202, answer.body
    row: Any = await api.get(f"/request/{answer.json()['request']}")
    assert row["method"] == "PUT"
    assert row["httpVersion"] == "1.1"
    assert row["target"] == target
    sent = [line.decode("latin-1").partition(": ") for line in lines[1:-2]]
    assert row["headers"] == [[name, value] for name, _, value in sent]
    assert base64.b64decode(row["bodyBase64"]) == body


async def test_a_chunked_body_in_pieces_is_kept_whole(api: Api, inbox: Client) -> None:
    source = await api.post("/source", {"name": "Chunks"})
    connection = await Connection.open(inbox._port)
    connection.write_head("POST", inbox_path(source["url"]), [("transfer-encoding", "chunked")])
    pieces = [b"a", b"bc" * 500, b"\r\n", b"\x00" * 70_000]
    for piece in pieces:
        connection.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await connection.writer.drain()
        await asyncio.sleep(0)
    connection.writer.write(b"0\r\n\r\n")
    answer = await connection.response()
    await connection.close()
    kept = await api.call("GET", f"/request/{answer.json()['request']}/body")
    assert kept.body == b"".join(pieces)


async def test_a_secret_that_travels_in_a_header_is_masked_in_the_record(api: Api, inbox: Client) -> None:
    verification = {"verification": {"type": "bearer"}, "secrets": ["token-that-must-not-be-kept"]}
    source = await api.post("/source", {"name": "Bearer", **verification})
    headers = [("Authorization", "Bearer token-that-must-not-be-kept"), ("X-Other", "kept")]
    answer = await inbox.request("POST", inbox_path(source["url"]), headers, b"{}")
    assert answer.status == 202
    row = await api.get(f"/request/{answer.json()['request']}")
    assert "token-that-must-not-be-kept" not in json.dumps(row)
    assert ["X-Other", "kept"] in row["headers"]
