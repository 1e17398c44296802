"""Idempotency-Key on every POST of the framework's routes."""

import asyncio

import httpx
from served import World

from posthorn.clock import DAY_MS


async def test_a_repeated_call_gets_the_first_answer_and_does_nothing(http: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "once"}
    first = await http.post("/app", json={"name": "x"}, headers=headers)
    second = await http.post("/app/", json={"name": "x"}, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert len((await http.get("/app")).json()["data"]) == 1


async def test_the_same_key_for_another_call_is_refused(http: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "once"}
    await http.post("/app", json={"name": "x"}, headers=headers)
    others = [
        await http.post("/app", json={"name": "y"}, headers=headers),
        await http.post("/app?get_if_exists=true", json={"name": "x"}, headers=headers),
        await http.post("/event-type", json={"name": "x"}, headers=headers),
    ]
    assert [(each.status_code, each.json()["code"]) for each in others] == [(409, "idempotency_mismatch")] * 3


async def test_twins_at_the_same_moment_do_the_work_once(http: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "twins"}
    answers = await asyncio.gather(*(http.post("/app", json={"name": "x"}, headers=headers) for _ in range(5)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await http.get("/app")).json()["data"]) == 1


async def test_a_failed_call_may_be_mended_under_the_same_key(http: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "mended"}
    assert (await http.post("/app", json={"nam": "x"}, headers=headers)).status_code == 422
    assert (await http.post("/app", json={"name": "x"}, headers=headers)).status_code == 201


async def test_a_kept_answer_with_a_secret_is_not_readable_in_the_store(http: httpx.AsyncClient, world: World) -> None:
    headers = {"idempotency-key": "key"}
    first = await http.post("/api-key", json={"name": "ci"}, headers=headers)
    token = first.json()["token"]
    claim = await world.store.claimed(f"key:{world.workspace}", "key", now_ms=world.clock.now_ms())
    assert claim is not None
    assert token.encode() not in claim.answer_body
    assert b"token" not in claim.answer_body
    assert (await http.post("/api-key", json={"name": "ci"}, headers=headers)).json()["token"] == token


async def test_a_key_means_another_call_in_another_workspace_and_after_a_day(
    http: httpx.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "shared"}
    other = await world.services.api_keys.ensure_workspace("other")
    _, token = await world.services.api_keys.create(other.id, "other")
    mine = (await http.post("/app", json={"name": "x"}, headers=headers)).json()["id"]
    async with world.client(token) as stranger:
        theirs = (await stranger.post("/app", json={"name": "x"}, headers=headers)).json()["id"]
    world.clock.advance(DAY_MS / 1000 + 1)
    later = (await http.post("/app", json={"name": "x"}, headers=headers)).json()["id"]
    assert len({mine, theirs, later}) == 3


async def test_a_repeated_rotation_rotates_once(http: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "rotation"}
    source = (await http.post("/source", json={"name": "x"})).json()["id"]
    first = await http.post(f"/source/{source}/address/rotate", headers=headers)
    second = await http.post(f"/source/{source}/address/rotate", headers=headers)
    assert first.json()["url"] == second.json()["url"]


async def test_an_unusable_key_is_named(http: httpx.AsyncClient) -> None:
    answer = await http.post("/app", json={"name": "x"}, headers={"idempotency-key": "k" * 257})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "idempotency-key"]
