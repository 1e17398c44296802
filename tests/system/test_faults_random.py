"""Nonsense in every field: the server refuses or accepts it, and never fails over it."""

import json
import os
from random import Random
from typing import Any

import pytest
from posthorn_process import Posthorn
from raw_http import Api

SEED = int(os.environ.get("NONSENSE_SEED", "0")) or Random().randrange(1, 10**9)
CALLS = 1500
URL = "http://127.0.0.1:1/"
TRIGGERED = {"name": "a", "trigger": {"eventType": "a.b"}, "send": {"url": URL}}
SHARED = ["uid", "metadata", "throttleRate"]
#: path, a body that is accepted, fields to put nonsense into
CALLED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("/event", {"type": "a.b", "data": {}}, ["type", "data", "id", "user", "time"]),
    ("/app", {"name": "n"}, ["name", "rateLimit", *SHARED]),
    ("/app/any/msg", {"eventType": "a.b", "payload": {}}, ["eventType", "payload", "eventId", "channels"]),
    (
        "/app/any/endpoint",
        {"url": URL},
        ["url", "eventTypes", "channels", "secret", "headers", "retryScheduleSeconds", "deadlineSeconds", *SHARED],
    ),
    (
        "/source",
        {"name": "s"},
        ["verification", "secrets", "dedupe", "answer", "eventType", "bodyLimitBytes", *SHARED],
    ),
    ("/automation", TRIGGERED, ["trigger", "conditions", "eligibility", "send", "retryScheduleSeconds", *SHARED]),
    ("/event-type", {"name": "e"}, ["name", "description", "schemas", "archived", "featureFlags"]),
]
VALUES: list[Any] = [
    None, True, 0, -1, 2**31, 2**63, 10**30, 1.5, 1e308, "", "a", "a.b", "x" * 300, "x" * 70_000, "\0", "é🎺", URL,
    "http://[::1", "{{ a", "{{ event.data.x }}", "{% if %}", [], {}, [1], {"a": 1}, ["a"] * 20,
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-01T00:00:00+14:00", "evt_" + "z" * 27,
]  # fmt: skip
KEYS = [
    "type", "header", "field", "status", "headers", "body", "url", "method", "eventType", "source", "all", "any", "not",
    "operator", "value", "key", "seconds", "1",
]  # fmt: skip
TAGS = ["github", "hmac", "bearer", "basic", "once", "once_per_key", "again_after", "always", "none"]
LISTS = [
    "/event", "/request", "/delivery", "/attempt", "/decision", "/app", "/source", "/automation", "/event-type",
    "/app/any/endpoint", "/app/any/msg",
]  # fmt: skip
QUERIES = [
    "", "limit=1", "limit=0", "limit=99999999999999999999", "limit=%00", "iterator=x", "iterator=%ff",
    "iterator=evt_%00",
    "iterator=-evt_" + "0" * 27, "order=ascending", "order=sideways", "since=0001-01-01T00:00:00Z", "since=x",
    "before=9999-12-31T23:59:59Z", "before=0001-01-01T00:00:00Z", "with_content=true", "status_class=9", "=", "&&&",
]  # fmt: skip


def nonsense(random: Random, depth: int = 0) -> Any:
    if depth < 2 and random.random() < 0.25:
        made = {random.choice(KEYS): nonsense(random, depth + 1) for _ in range(random.randrange(1, 4))}
        return made | ({"type": random.choice(TAGS)} if random.random() < 0.6 else {})
    return random.choice(VALUES)


async def test_nonsense_in_a_body_is_never_a_failure_of_the_server(api: Api) -> None:
    random = Random(SEED)
    await api.call("POST", "/app", {"name": "Any", "uid": "any"})
    for _ in range(CALLS):
        path, accepted, fields = random.choice(CALLED)
        body = accepted | {random.choice(fields): nonsense(random) for _ in range(random.randrange(3))}
        response = await api.call("POST", path, body)
        assert response.status < 500, f"seed {SEED}: {path} {json.dumps(body)[:1000]}: {response.body!r}"


@pytest.mark.parametrize("path", LISTS)
async def test_nonsense_in_a_query_is_never_a_failure_of_the_server(api: Api, path: str) -> None:
    await api.call("POST", "/app", {"name": "Any", "uid": "any"})
    for query in QUERIES:
        response = await api.call("GET", f"{path}?{query}")
        assert response.status in (200, 422), f"{path}?{query}: {response.body!r}"


async def test_the_server_of_this_module_has_met_nothing_unexpected(posthorn: Posthorn) -> None:
    assert posthorn.is_healthy()
    assert "Traceback" not in posthorn.errors
    assert "error.unexpected" not in posthorn.errors
