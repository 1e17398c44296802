"""/api/v1/source: mappings, and write keys."""

import hashlib
from typing import Any

import httpx
import pytest
from served import INBOX_URL, World

TRACKING = {"type": "tracking"}
SHOP = {
    "type": "fields",
    "user": {"field": "customer.id"},
    "eventType": {"header": "X-Topic"},
    "attributes": {"email": {"field": "customer.email"}},
}


@pytest.mark.parametrize("mapping", [SHOP, {"type": "cloudevents", "user": "subject"}])
async def test_a_mapping_is_shown_as_it_was_given_and_can_be_cleared(
    http: httpx.AsyncClient, mapping: dict[str, Any]
) -> None:
    made = (await http.post("/source", json={"name": "Shop", "mapping": mapping})).json()
    assert (made["kind"], made["mapping"], made["writeKey"]) == ("inbox", mapping, None)
    changed = (await http.patch(f"/source/{made['id']}", json={"mapping": None})).json()
    assert changed["mapping"] is None
    assert changed["url"] == made["url"]
    changed = (await http.patch(f"/source/{made['id']}", json={"mapping": mapping})).json()
    assert changed["mapping"] == mapping
    replaced = (await http.put(f"/source/{made['id']}", json={"name": "Shop"})).json()
    assert replaced["mapping"] is None


async def test_a_cloudevents_mapping_looks_for_the_user_in_an_attribute_of_that_name(http: httpx.AsyncClient) -> None:
    made = (await http.post("/source", json={"name": "x", "mapping": {"type": "cloudevents"}})).json()
    assert made["mapping"] == {"type": "cloudevents", "user": "user"}


async def test_a_tracking_source_has_a_write_key_that_finds_it(http: httpx.AsyncClient, world: World) -> None:
    made = (await http.post("/source", json={"name": "Web", "mapping": TRACKING})).json()
    assert (made["kind"], made["url"], made["mapping"]) == ("tracking", INBOX_URL, TRACKING)
    found = world.directory.source_of_token(hashlib.sha256(made["writeKey"].encode()).hexdigest())
    assert found is not None
    assert found.id == made["id"]
    rotated = (await http.post(f"/source/{made['id']}/address/rotate")).json()
    assert rotated["writeKey"] != made["writeKey"]
    assert world.directory.source_of_token(hashlib.sha256(made["writeKey"].encode()).hexdigest()) is None


async def test_a_source_stays_an_address_or_a_write_key(http: httpx.AsyncClient) -> None:
    inbox = (await http.post("/source", json={"name": "x"})).json()
    tracking = (await http.post("/source", json={"name": "x", "mapping": TRACKING})).json()
    for source, change in ((inbox, TRACKING), (tracking, None), (tracking, SHOP)):
        answer = await http.patch(f"/source/{source['id']}", json={"mapping": change})
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "mapping"])
    assert (await http.patch(f"/source/{tracking['id']}", json={"name": "y"})).status_code == 200


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"mapping": {}}, ["body", "mapping", "type"]),
        ({"mapping": {"type": "magic"}}, ["body", "mapping", "type"]),
        ({"mapping": {"type": "fields", "usr": {"field": "a"}}}, ["body", "mapping", "usr"]),
        ({"mapping": {"type": "fields", "user": {}}}, ["body", "mapping", "user"]),
        ({"mapping": {"type": "fields", "user": {"field": "a", "header": "b"}}}, ["body", "mapping", "user"]),
        ({"mapping": {"type": "fields", "id": {"field": "a..b"}}}, ["body", "mapping", "id", "field"]),
        ({"mapping": {"type": "fields", "time": {"header": " "}}}, ["body", "mapping", "time", "header"]),
        ({"mapping": {"type": "fields", "eventType": {"field": "x" * 600}}}, ["body", "mapping", "eventType", "field"]),
        ({"mapping": {"type": "fields", "attributes": {"a": {"field": "a"}}}}, ["body", "mapping", "user"]),
        (
            {"mapping": {"type": "fields", "user": {"field": "u"}, "attributes": {"a": {"field": ""}}}},
            ["body", "mapping", "attributes", "a", "field"],
        ),
        ({"mapping": {"type": "cloudevents", "user": "Not valid"}}, ["body", "mapping", "user"]),
        ({"mapping": {"type": "cloudevents"}, "dedupe": {"header": "a"}}, ["body", "dedupe"]),
        ({"mapping": TRACKING, "dedupe": {"header": "a"}}, ["body", "dedupe"]),
        ({"mapping": TRACKING, "verification": {"type": "github"}, "secrets": ["s"]}, ["body", "verification"]),
        ({"mapping": TRACKING, "answer": {"status": 204}}, ["body", "answer"]),
    ],
)
async def test_a_wrong_mapping_is_refused_at_its_place(
    http: httpx.AsyncClient, body: dict[str, Any], loc: list[Any]
) -> None:
    answer = await http.post("/source", json={"name": "x"} | body)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, loc)
