"""What the API answers when something is wrong: always JSON, never more than the caller may know."""

import asyncio
from typing import Any

import httpx
import pytest
from served import World, build_world, serving

from posthorn.errors import Overloaded, StoreUnavailable
from posthorn.testing.memory import MemoryStore


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", "Basic cGhrXzpwaGtf", "phk_without_scheme"],
)
async def test_without_a_valid_key_nothing_is_answered(world: World, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as client:
        answer = await client.get("/api/v1/app", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "authentication_failed"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_two_different_keys_in_one_call_prove_nothing(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as client:
        headers = [("authorization", f"Bearer {world.token}"), ("authorization", "Bearer other")]
        assert (await client.get("/api/v1/app", headers=headers)).status_code == 401


async def test_health_and_the_description_need_no_key(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.url, trust_env=False) as client:
        assert (await client.get("/api/v1/health")).json() == {"status": "ok"}
        head = await client.head("/api/v1/health")
        assert (head.status_code, head.content) == (200, b"")
        assert (await client.get("/api/v1/health/ping")).status_code == 204
        described = (await client.get("/api/v1/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert "/api/v1/app/{app_id}/endpoint" in described["paths"]
    listing = described["paths"]["/api/v1/app"]["get"]
    assert "get_if_exists" not in {each["name"] for each in listing["parameters"]}
    assert {"limit", "iterator", "order"} <= {each["name"] for each in listing["parameters"]}
    assert "default" in listing["responses"]


@pytest.mark.parametrize("path", ["/api/v1/app", "/api/v1/app/", "/api/v1/app//"])
async def test_both_slash_forms_answer_without_a_redirect(http: httpx.AsyncClient, world: World, path: str) -> None:
    assert (await http.get(f"{world.url}{path}")).status_code == 200


async def test_no_answer_may_be_cached_or_taken_for_something_else(http: httpx.AsyncClient) -> None:
    for answer in (await http.get("/app"), await http.get("/app/unknown"), await http.post("/app", content=b"")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_unknown_address_and_a_wrong_method_are_json(http: httpx.AsyncClient) -> None:
    unknown = await http.get("/nothing/here")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    wrong = await http.put("/app")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"]


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        (b'{"name": "x", "colour": "red"}', ["body", "colour"], "extra_forbidden"),
        (b'{"uid": "x"}', ["body", "name"], "missing"),
        (b'{"name": 1}', ["body", "name"], "value_error"),
        (b'{"name": null}', ["body", "name"], "value_error"),
        (b'{"name": "x", "uid": "a b"}', ["body", "uid"], "value_error"),
        (b'{"name": "x", "uid": "app_1"}', ["body", "uid"], "value_error"),
        (b'{"name": "x", "metadata": {"k": 1}}', ["body", "metadata", "..."], "value_error"),
        (b'{"name": "x", "throttleRate": "5"}', ["body", "throttleRate"], "value_error"),
        (b'{"name": "x", "throttleRate": 0}', ["body", "throttleRate"], "value_error"),
        (b"[]", ["body"], "value_error"),
        (b"", ["body"], "missing"),
        (b'{"name": "x"', ["body"], "json_invalid"),
        (b'{"name": "\xff"}', ["body"], "json_invalid"),
        (b'{"name": "x", "metadata": {"k": "' + b"v" * 4096 + b'"}}', ["body", "metadata"], "value_error"),
        (b'{"name": "x", "rateLimit": 1, "throttleRate": 2}', ["body", "rateLimit"], "value_error"),
    ],
)
async def test_wrong_data_is_named(http: httpx.AsyncClient, body: bytes, loc: list[Any], kind: str) -> None:
    answer = await http.post("/app", content=body)
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert (problem["loc"], problem["type"]) == (loc, kind)
    assert problem["msg"]


async def test_broken_json_is_placed_by_line_and_column(http: httpx.AsyncClient) -> None:
    answer = await http.post("/app", content=b'{\n  "name" "x"\n}')
    assert "line 2, column 10" in answer.json()["detail"][0]["msg"]


async def test_deeply_nested_json_is_refused_and_not_a_crash(http: httpx.AsyncClient) -> None:
    body = b'{"name": "x", "schemas": {"1": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    answer = await http.post("/event-type", content=body)
    assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "json_invalid")


@pytest.mark.parametrize(
    ("query", "loc"),
    [
        ("limit=0", ["query", "limit"]),
        ("limit=251", ["query", "limit"]),
        ("limit=many", ["query", "limit"]),
        ("order=sideways", ["query", "order"]),
        ("colour=red", ["query", "colour"]),
        ("limit=1&limit=2", ["query", "limit"]),
        ("exclude_apps_with_no_endpoints=maybe", ["query", "exclude_apps_with_no_endpoints"]),
    ],
)
async def test_a_wrong_query_is_named(http: httpx.AsyncClient, query: str, loc: list[str]) -> None:
    answer = await http.get(f"/app?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == loc


async def test_lists_in_a_query_come_in_every_customary_form(http: httpx.AsyncClient, world: World) -> None:
    app = (await http.post("/app", json={"name": "x"})).json()["id"]
    for kind in ("a", "b", "c"):
        await world.publish(world.workspace, app, kind, b"{}")
    for query in ("event_types=a,b", "event_types=a&event_types=b", "event_types[]=a&event_types[]=b"):
        rows = (await http.get(f"/app/{app}/msg?{query}")).json()["data"]
        assert [row["eventType"] for row in rows] == ["b", "a"]


async def test_times_in_a_query_may_have_a_bare_plus(http: httpx.AsyncClient, world: World) -> None:
    app = (await http.post("/app", json={"name": "x"})).json()["id"]
    await world.publish(world.workspace, app, "a", b"{}")
    for after, count in (("2025-01-01T00:00:00+00:00", 1), ("2027-01-01T00:00:00Z", 0), ("2025-01-01T00:00:00", 1)):
        rows = (await http.get(f"/app/{app}/msg?after={after}")).json()["data"]
        assert len(rows) == count
    wrong = await http.get(f"/app/{app}/msg?after=yesterday")
    assert wrong.json()["detail"][0]["loc"] == ["query", "after"]


async def test_a_foreign_iterator_is_named(http: httpx.AsyncClient) -> None:
    answer = await http.get("/request?iterator=nonsense")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "iterator"]


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "big"}])
async def test_a_body_over_the_limit_is_refused(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await http.post("/app", content=b" " * (2 * 1024 * 1024 + 1), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def test_another_workspaces_things_are_not_there(http: httpx.AsyncClient, world: World) -> None:
    other = await world.services.api_keys.ensure_workspace("other")
    _, token = await world.services.api_keys.create(other.id, "other")
    app = (await http.post("/app", json={"name": "x", "uid": "mine"})).json()["id"]
    message = await world.publish(world.workspace, app, "a", b"{}")
    async with world.client(token) as stranger:
        for path in (
            f"/app/{app}",
            "/app/mine",
            f"/app/{app}/msg/{message.id}",
            f"/event/{message.id}",
            f"/thread/{message.id}",
        ):
            assert (await stranger.get(path)).status_code == 404
        assert (await stranger.delete(f"/app/{app}")).status_code == 404
        assert (await stranger.post(f"/replay/{message.id}")).status_code == 404
        assert (await stranger.get("/app")).json()["data"] == []
        assert (await stranger.get("/event")).json()["data"] == []
    assert (await http.get("/app/mine")).status_code == 200


class BrokenStore(MemoryStore):
    """A store whose next question fails as it is told."""

    failure: Exception | None = None

    async def get(self, *args: Any, **kwargs: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return await super().get(*args, **kwargs)


@pytest.mark.parametrize(
    ("failure", "status", "code", "retry_after"),
    [
        (StoreUnavailable("the disk is full", retry_after_seconds=7), 503, "store_unavailable", "7"),
        (Overloaded("too many wait", retry_after_seconds=2), 503, "overloaded", "2"),
    ],
)
async def test_a_store_in_trouble_says_when_to_come_back(
    failure: Exception, status: int, code: str, retry_after: str
) -> None:
    store = BrokenStore()
    async with serving(await build_world(store)) as world, world.client() as http:
        store.failure = failure
        answer = await http.get("/app/x")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["retry-after"] == retry_after


async def test_an_unexpected_failure_is_reported_here_and_not_to_the_caller() -> None:
    store = BrokenStore()
    reported: list[dict[str, Any]] = []
    async with serving(await build_world(store)) as world, world.client() as http:
        world.telemetry.subscribe(lambda _, facts: reported.append(dict(facts)), "error.unexpected")
        store.failure = RuntimeError("the password is hunter2")
        answer = await http.get("/app/x")
    assert (answer.status_code, answer.json()["code"]) == (500, "server_error")
    assert "hunter2" not in answer.text
    assert [facts["exception"] for facts in reported] == [store.failure]
    assert reported[0]["where"] == "GET /api/v1/app/{app_id}"


async def test_a_caller_who_leaves_in_the_middle_of_a_body_changes_nothing(world: World) -> None:
    host, port = world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/v1/app HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {world.token}\r\nidempotency-key: k\r\n"
    writer.write(head.encode() + b'content-length: 100\r\n\r\n{"name": "x"}')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    async with world.client() as http:
        assert (await http.get("/app")).json()["data"] == []
