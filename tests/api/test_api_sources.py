"""/api/v1/source over HTTP."""

import hashlib
from typing import Any

import httpx
import pytest
from served import INBOX_URL, World

GITHUB = {"type": "github"}


async def test_a_source_has_an_address_that_its_token_digest_finds(http: httpx.AsyncClient, world: World) -> None:
    answer = await http.post("/source", json={"name": "GitHub", "uid": "gh"})
    assert answer.status_code == 201
    made = answer.json()
    base, token = made["url"].rsplit("/", 1)
    assert base == f"{INBOX_URL}/in"
    assert len(token) >= 27
    found = world.directory.source_of_token(hashlib.sha256(token.encode()).hexdigest())
    assert found is not None
    assert found.id == made["id"]
    assert made["verification"] == {"type": "none"}
    assert made["answer"] == {"status": 202, "headers": {}, "body": None}
    assert (await http.get("/source/gh")).json() == made
    assert (await http.get("/source")).json()["data"] == [made]


async def test_a_sources_secrets_are_never_shown(http: httpx.AsyncClient, world: World) -> None:
    body = {"name": "GitHub", "verification": GITHUB, "secrets": ["s3cret-value"]}
    made = (await http.post("/source", json=body)).json()
    assert made["secrets"] == [{"createdAt": made["createdAt"], "expiresAt": None}]
    source = world.directory.source(made["id"])
    assert source is not None
    assert "s3cret-value" not in repr(source)


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body", "name"]),
        ({"name": "x", "verification": GITHUB}, ["body", "secrets"]),
        ({"name": "x", "verification": GITHUB, "secrets": []}, ["body", "secrets"]),
        ({"name": "x", "verification": GITHUB, "secrets": [" padded"]}, ["body", "secrets", 0]),
        (
            {"name": "x", "verification": {"type": "github", "more": 1}, "secrets": ["s"]},
            ["body", "verification", "more"],
        ),
        ({"name": "x", "verification": {"type": "magic"}}, ["body", "verification", "type"]),
        ({"name": "x", "dedupe": {}}, ["body", "dedupe"]),
        ({"name": "x", "dedupe": {"header": "a", "field": "b"}}, ["body", "dedupe"]),
        ({"name": "x", "answer": {"status": 100}}, ["body", "answer", "status"]),
        ({"name": "x", "answer": {"status": 204, "body": "x"}}, ["body", "answer", "body"]),
        ({"name": "x", "answer": {"headers": {"x": "a\r\nb: c"}}}, ["body", "answer", "headers", "x"]),
        (
            {"name": "x", "answer": {"headers": {"Content-Length": "1"}}},
            ["body", "answer", "headers", "Content-Length"],
        ),
        ({"name": "x", "eventType": "{{ body.kind"}, ["body", "eventType"]),
        ({"name": "x", "bodyLimitBytes": 0}, ["body", "bodyLimitBytes"]),
        ({"name": "x", "bodyLimitBytes": 25 * 1024 * 1024 + 1}, ["body", "bodyLimitBytes"]),
    ],
)
async def test_a_wrong_source_is_refused_at_its_place(
    http: httpx.AsyncClient, body: dict[str, Any], loc: list[Any]
) -> None:
    answer = await http.post("/source", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == loc


async def test_a_put_creates_and_then_keeps_address_and_secrets(http: httpx.AsyncClient) -> None:
    body = {"name": "GitHub", "verification": GITHUB, "secrets": ["one"], "enabled": False}
    made = await http.put("/source/gh", json=body)
    again = await http.put("/source/gh", json={"name": "New", "verification": GITHUB})
    assert (made.status_code, again.status_code) == (201, 200)
    assert again.json()["url"] == made.json()["url"]
    assert again.json()["uid"] == "gh"
    assert again.json()["enabled"] is True
    assert len(again.json()["secrets"]) == 1


async def test_a_patch_keeps_what_is_absent_and_clears_what_is_null(http: httpx.AsyncClient) -> None:
    body = {"name": "x", "dedupe": {"header": "x-id"}, "eventType": "a.b", "answer": {"status": 200, "body": "ok"}}
    made = (await http.post("/source", json=body)).json()
    changed = (await http.patch(f"/source/{made['id']}", json={"dedupe": None, "answer": None})).json()
    assert (changed["dedupe"], changed["answer"]["status"], changed["eventType"]) == (None, 202, "a.b")


async def test_verification_cannot_be_switched_on_without_a_fitting_secret(http: httpx.AsyncClient) -> None:
    made = (await http.post("/source", json={"name": "x"})).json()
    refused = await http.patch(f"/source/{made['id']}", json={"verification": GITHUB})
    assert refused.json()["detail"][0]["loc"] == ["body", "secrets"]
    accepted = await http.patch(f"/source/{made['id']}", json={"verification": GITHUB, "secrets": ["s"]})
    assert accepted.json()["verification"] == GITHUB


async def test_a_rotated_secret_leaves_the_old_one_valid_for_a_while(http: httpx.AsyncClient, world: World) -> None:
    body = {"name": "x", "verification": GITHUB, "secrets": ["old"]}
    made = (await http.post("/source", json=body)).json()
    rotated = (
        await http.post(f"/source/{made['id']}/secret/rotate", json={"secret": "new", "gracePeriodSeconds": 60})
    ).json()
    assert [secret["expiresAt"] is None for secret in rotated["secrets"]] == [True, False]
    world.clock.advance(61)
    assert len((await http.get(f"/source/{made['id']}")).json()["secrets"]) == 1
    missing = await http.post(f"/source/{made['id']}/secret/rotate", json={})
    assert missing.json()["detail"][0]["loc"] == ["body", "secret"]


async def test_a_rotated_address_ends_the_old_one(http: httpx.AsyncClient, world: World) -> None:
    made = (await http.post("/source", json={"name": "x"})).json()
    rotated = (await http.post(f"/source/{made['id']}/address/rotate")).json()
    assert rotated["url"] != made["url"]
    old = made["url"].rsplit("/", 1)[1]
    assert world.directory.source_of_token(hashlib.sha256(old.encode()).hexdigest()) is None


async def test_a_deleted_source_is_gone(http: httpx.AsyncClient) -> None:
    made = (await http.post("/source", json={"name": "x"})).json()
    assert (await http.delete(f"/source/{made['id']}")).status_code == 204
    assert (await http.get(f"/source/{made['id']}")).status_code == 404
    assert (await http.delete(f"/source/{made['id']}")).status_code == 404
