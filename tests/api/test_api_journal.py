"""/api/v1/request, event, decision, delivery, attempt, thread, replay: what happened, over HTTP."""

from base64 import b64decode

import httpx
import pytest
from served import SOURCE, World, decide, receive, work_off

from posthorn import ids
from posthorn.engine.records import RequestOutcome


async def test_a_request_is_shown_as_it_came(http: httpx.AsyncClient, world: World) -> None:
    request = await receive(world, b'{"n":  1.50}')
    answer = await http.get(f"/request/{request.id}")
    shown = answer.json()
    assert b'"body":{"n":  1.50}' in answer.content
    assert shown["headers"] == [["X-One", "1"], ["x-one", "two"]]
    assert (shown["target"], shown["outcome"], shown["eventId"]) == ("/in/token?x=%ff", "accepted", request.event)
    raw = await http.get(f"/request/{request.id}/body")
    assert raw.content == b'{"n":  1.50}'
    assert raw.headers["content-type"] == "application/octet-stream"
    assert raw.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in raw.headers["content-security-policy"]
    [listed] = (await http.get("/request")).json()["data"]
    assert (listed["id"], listed["body"], listed["bodyBase64"]) == (request.id, None, None)


@pytest.mark.parametrize("body", [b"\x00\xff", b"<b>hi</b>", b"{broken"])
async def test_bytes_that_are_no_json_come_as_base64(http: httpx.AsyncClient, world: World, body: bytes) -> None:
    request = await receive(world, body)
    shown = (await http.get(f"/event/{request.event}")).json()
    assert shown["payload"] is None
    assert b64decode(shown["payloadBase64"]) == body


async def test_the_journal_is_listed_with_filters(http: httpx.AsyncClient, world: World) -> None:
    accepted = await receive(world, b"{}")
    rejected = await receive(world, b"{}", event=None, outcome=RequestOutcome.REJECTED, cause="signature_missing")
    await decide(world)
    [attempt] = await work_off(world, succeed=False)

    async def found(path: str) -> list[str]:
        answer = await http.get(path)
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["data"]]

    assert await found("/request") == [rejected.id, accepted.id]
    assert await found("/request?order=ascending") == [accepted.id, rejected.id]
    assert await found("/request?outcome=rejected") == [rejected.id]
    assert await found(f"/request?source={SOURCE}&limit=1") == [rejected.id]
    assert await found("/request?source=other") == []
    assert await found("/event?type=github.push,x&user=u1") == [accepted.event]
    assert await found("/event?user=u2") == []
    assert await found(f"/event?source={SOURCE}&before=2020-01-01T00:00:00Z") == []
    [decision] = await found("/decision?automation=auto_1&outcome=fired")
    assert await found("/decision?outcome=failed") == []
    [delivery] = await found("/delivery?state=exhausted")
    assert await found("/delivery?state=pending") == []
    assert await found(f"/attempt?delivery={delivery}&status_class=5&succeeded=false&type=github.push") == [attempt]
    assert await found("/attempt?succeeded=true") == []
    assert (await http.get("/request?outcome=perhaps")).status_code == 422

    shown = (await http.get("/decision")).json()["data"][0]
    assert (shown["id"], shown["deliveryId"], shown["eventId"]) == (decision, delivery, accepted.event)
    one = (await http.get(f"/attempt/{attempt}")).json()
    assert (one["responseStatus"], one["responseBody"], one["deliveryId"]) == (500, "oh no", delivery)
    assert one["timings"] == {"dnsUs": 10, "connectUs": 20, "tlsUs": 30, "waitUs": 40, "totalUs": 100}
    assert (await http.get(f"/delivery/{delivery}")).json()["state"] == "exhausted"


async def test_a_page_of_the_journal_leads_on_and_back(http: httpx.AsyncClient, world: World) -> None:
    made = [(await receive(world, b"{}")).id for _ in range(3)]
    first = (await http.get("/request?limit=2")).json()
    second = (await http.get(f"/request?limit=2&iterator={first['iterator']}")).json()
    back = (await http.get(f"/request?limit=2&iterator={second['prevIterator']}")).json()
    assert [row["id"] for row in first["data"] + second["data"]] == made[::-1]
    assert (first["done"], second["done"]) == (False, True)
    assert back["data"] == first["data"]


async def test_a_thread_shows_everything_from_any_of_its_ids(http: httpx.AsyncClient, world: World) -> None:
    request = await receive(world, b'{"n": 1}')
    await decide(world)
    [attempt] = await work_off(world, succeed=True)
    whole = (await http.get(f"/thread/{request.id}")).json()
    assert [row["id"] for row in whole["requests"]] == [request.id]
    assert whole["event"]["payload"] == {"n": 1}
    assert whole["decisions"][0]["deliveryId"] == whole["deliveries"][0]["id"]
    assert [row["id"] for row in whole["attempts"]] == [attempt]
    for identifier in (request.event, whole["decisions"][0]["id"], whole["deliveries"][0]["id"], attempt):
        assert (await http.get(f"/thread/{identifier}")).json() == whole
    assert (await http.get(f"/thread/{ids.new_id(ids.EVENT, 0)}")).status_code == 404


@pytest.mark.parametrize("by", ["request", "event", "delivery", "attempt"])
async def test_replaying_by_any_id_sends_the_delivery_again(http: httpx.AsyncClient, world: World, by: str) -> None:
    request = await receive(world, b"{}")
    await decide(world)
    [attempt] = await work_off(world, succeed=False)
    [delivery] = (await http.get("/delivery")).json()["data"]
    identifier = {"request": request.id, "event": request.event, "delivery": delivery["id"], "attempt": attempt}[by]
    answer = await http.post(f"/replay/{identifier}")
    assert (answer.status_code, answer.json()) == (202, {"deliveries": [delivery["id"]]})
    await work_off(world, succeed=True)
    shown = (await http.get(f"/delivery/{delivery['id']}")).json()
    assert (shown["state"], shown["attempts"]) == ("delivered", 2)


async def test_what_cannot_be_replayed_says_why(http: httpx.AsyncClient, world: World) -> None:
    undecided = await receive(world, b"{}")
    rejected = await receive(world, b"{}", event=None, outcome=RequestOutcome.REJECTED, cause="signature_missing")
    refused = await http.post(f"/replay/{undecided.event}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "decision" in refused.json()["detail"]
    refused = await http.post(f"/replay/{rejected.id}")
    assert (refused.status_code, "signature_missing" in refused.json()["detail"]) == (409, True)
    assert (await http.post("/replay/nonsense")).status_code == 404


async def test_a_delivery_to_a_deleted_endpoint_cannot_be_replayed(http: httpx.AsyncClient, world: World) -> None:
    app = (await http.post("/app", json={"name": "x"})).json()["id"]
    endpoint = (await http.post(f"/app/{app}/endpoint", json={"url": "https://example.com"})).json()["id"]
    message = await world.publish(world.workspace, app, "a", b"{}")
    await work_off(world, succeed=False)
    await http.delete(f"/app/{app}/endpoint/{endpoint}")
    refused = await http.post(f"/replay/{message.id}")
    assert refused.status_code == 409
    assert "deleted" in refused.json()["detail"]


async def test_only_a_pending_delivery_can_be_cancelled(http: httpx.AsyncClient, world: World) -> None:
    await receive(world, b"{}")
    await decide(world)
    [delivery] = (await http.get("/delivery")).json()["data"]
    cancelled = await http.post(f"/delivery/{delivery['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    again = await http.post(f"/delivery/{delivery['id']}/cancel")
    assert again.status_code == 409
    assert await work_off(world, succeed=True) == []
