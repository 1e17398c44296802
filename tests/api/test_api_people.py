"""/api/v1/profile over HTTP, with a node that decides."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest
from deciding_node import DecidingNode
from served import World, receive, work_off

from posthorn.engine.people import ProfileChange

ODD_USERS = [
    "42",
    "a/b",
    "a/run",
    "/",
    "50%",
    "%2F",
    "Иван Петров",
    "王小明",
    "o'neil+a@example.com",
    "a?b#c",
    "-x",
    "$alias/crm/7/8",
    "🙂",
    "a b ",
]


@pytest.fixture
def node(world: World) -> DecidingNode:
    return DecidingNode(world)


def at(user: str, more: str = "") -> str:
    return f"/profile/{quote(user, safe='')}{more}"


async def test_a_person_is_changed_by_an_event_and_shown_with_everything(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    segment = {
        "name": "Gold",
        "uid": "gold",
        "conditions": {"field": "profile.attributes.plan", "operator": "eq", "value": "gold"},
    }
    made = (await http.post("/segment", json=segment)).json()
    change = {
        "set": {"plan": "gold", "address.city": "Köln"},
        "subscriptions": {"email": "opted_in"},
        "timeZone": "Europe/Berlin",
        "locale": "de-DE",
        "devices": [{"id": "d1", "appVersion": "2"}],
    }
    answer = await http.patch("/profile/42", json=change)
    assert answer.status_code == 202
    event = (await http.get(f"/event/{answer.json()['id']}")).json()
    assert (event["type"], event["userId"], event["payload"]) == ("profile.updated", "42", change)
    assert (await http.get("/profile/42")).status_code == 404  # it is there once it is decided

    await node.decide()
    person = (await http.get("/profile/42")).json()
    assert person["attributes"] == {"plan": "gold", "address": {"city": "Köln"}}
    assert person["subscriptions"] == {"email": "opted_in"}
    assert (person["timeZone"], person["locale"], person["user"]) == ("Europe/Berlin", "de-DE", "42")
    assert person["devices"] == [{"id": "d1", "appVersion": "2"}]
    [member] = person["segments"]
    assert (member["id"], member["uid"], member["name"]) == (made["id"], "gold", "Gold")
    counter = person["counters"]["profile.updated"]
    assert (counter["count"], counter["firstAt"]) == (1, event["occurredAt"])


@pytest.mark.parametrize("user", ODD_USERS)
async def test_a_user_id_may_hold_any_character(http: httpx.AsyncClient, node: DecidingNode, user: str) -> None:
    assert (await http.patch(at(user), json={"set": {"x": 1}})).status_code == 202
    await node.decide()
    assert (await http.get(at(user))).json()["user"] == user
    assert (await http.get(at(user, "/run"))).json()["data"] == []
    assert (await http.get(at(user, "/export"))).json()["profile"]["user"] == user
    assert [row["user"] for row in (await http.get("/profile")).json()["data"]] == [user]
    assert (await http.delete(at(user, "/"))).status_code == 204
    assert (await http.get(at(user))).status_code == 404


async def test_a_user_id_that_nobody_can_have_is_refused(http: httpx.AsyncClient) -> None:
    for part in ("x" * 513, "a%00b"):
        answer = await http.get(f"/profile/{part}")
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["path", "user"])
    assert (await http.get("/profile/%ff")).status_code == 404


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"name": "x"}, ["body", "name"]),
        ({"timeZone": "Mars/Base"}, ["body", "timeZone"]),
        ({"locale": "so long a tag"}, ["body", "locale"]),
        ({"subscriptions": {"email": "maybe"}}, ["body", "subscriptions", "..."]),
        ({"increment": {"n": "1"}}, ["body", "increment", "..."]),
        ({"mergeInto": "42"}, ["body", "mergeInto"]),
        ({"set": {"x": "y" * 140_000}}, ["body"]),
    ],
)
async def test_a_change_that_nobody_could_apply_is_refused_at_its_place(
    http: httpx.AsyncClient, change: dict[str, Any], loc: list[str]
) -> None:
    answer = await http.patch("/profile/42", json=change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == loc
    assert (await http.get("/event")).json()["data"] == []


async def test_people_are_listed_by_user_id_in_both_directions(http: httpx.AsyncClient, node: DecidingNode) -> None:
    users = sorted(["-1", "a", "Яна", "王", "u/2"])
    for user in users:
        await node.happen("seen", user)
    first = (await http.get("/profile", params={"limit": 2})).json()
    second = (await http.get("/profile", params={"limit": 2, "iterator": first["iterator"]})).json()
    third = (await http.get("/profile", params={"limit": 2, "iterator": second["iterator"]})).json()
    assert [row["user"] for page in (first, second, third) for row in page["data"]] == users
    assert [page["done"] for page in (first, second, third)] == [False, False, True]
    back = (await http.get("/profile", params={"limit": 2, "iterator": second["prevIterator"]})).json()
    assert back["data"] == first["data"]
    for wrong in ("a", "u", "u%%%", "-u_"):
        answer = await http.get("/profile", params={"iterator": wrong})
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "iterator"]), wrong


async def test_a_merged_user_id_stands_for_the_person(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await node.happen("seen", "anonymous", change=ProfileChange(set={"first": "visit"}))
    await node.happen("signed_up", "42", change=ProfileChange(set={"plan": "free"}))
    await http.patch("/profile/anonymous", json={"mergeInto": "42"})
    await node.decide()
    person = (await http.get("/profile/anonymous")).json()
    assert (person["user"], person["aliases"]) == ("42", ["anonymous"])
    assert person["attributes"] == {"first": "visit", "plan": "free"}
    assert [row["user"] for row in (await http.get("/profile")).json()["data"]] == ["42"]
    assert (await http.patch("/profile/anonymous", json={"mergeInto": "42"})).status_code == 202
    around = await http.patch("/profile/42", json={"mergeInto": "anonymous"})
    assert (around.status_code, around.json()["detail"][0]["loc"]) == (422, ["body", "mergeInto"])


async def test_an_export_holds_everything_of_a_person_and_nothing_of_others(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    send = {"url": "https://example.com/hook"}
    automation = {"name": "Push", "uid": "push", "trigger": {"eventType": "github.push"}, "send": send}
    made = (await http.post("/automation", json=automation)).json()
    request = await receive(world, b'{"ref": "main"}')
    await node.happen("seen", "old", change=ProfileChange(set={"x": 1}))
    await node.happen("seen", "somebody else", {"secret": "theirs"})
    await http.patch("/profile/old", json={"mergeInto": "u1"})
    await node.decide()
    await work_off(world, succeed=True)

    answer = await http.get("/profile/u1/export")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "theirs" not in answer.text
    export = answer.json()
    assert (export["profile"]["user"], export["profile"]["aliases"]) == ("u1", ["old"])
    assert export["counters"]["github.push"]["count"] == 1
    assert sorted(event["type"] for event in export["events"]) == [
        "github.push",
        "profile.merged",
        "profile.updated",
        "seen",
    ]
    assert [row["id"] for row in export["requests"]] == [request.id]
    [decision] = export["decisions"]
    assert (decision["automationId"], decision["outcome"]) == (made["id"], "fired")
    assert [row["id"] for row in export["deliveries"]] == [decision["deliveryId"]]
    assert [row["deliveryId"] for row in export["attempts"]] == [decision["deliveryId"]]
    assert export["runs"] == []
    assert (await http.get("/profile/nobody/export")).status_code == 404


async def test_a_person_is_forgotten_under_all_their_ids(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    await node.happen("seen", "old", {"n": "private"})
    await node.happen("seen", "42", {"n": "private"})
    await node.happen("seen", "kept", {"n": "public"})
    await http.patch("/profile/old", json={"mergeInto": "42"})
    await node.decide()
    await node.happen("seen", "42", {"n": "not decided yet"}, decide=False)
    assert (await http.delete("/profile/old")).status_code == 204
    for user in ("old", "42"):
        assert (await http.get(f"/profile/{user}")).status_code == 404
        assert (await http.get("/event", params={"user": user})).json()["data"] == []
        assert (await http.get(f"/profile/{user}/export")).status_code == 404
    await node.decide()
    assert (await http.get("/profile/42")).status_code == 404
    assert (await http.get("/profile/kept")).json()["counters"]["seen"]["count"] == 1
    assert (await http.delete("/profile/old")).status_code == 204


async def test_a_long_history_is_forgotten_in_several_calls(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    for _ in range(10_100):
        await node.happen("seen", "42", decide=False)
    answers = [await http.delete("/profile/42") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 204]
    assert answers[0].json() == {"deletedRows": 10_000, "done": False}
    assert (await http.get("/event", params={"user": "42"})).json()["data"] == []


async def test_the_workspace_has_a_zone_and_caps(http: httpx.AsyncClient, world: World) -> None:
    shown = (await http.get("/workspace")).json()
    assert (shown["id"], shown["name"], shown["timeZone"], shown["caps"]) == (world.workspace, "default", "UTC", [])
    caps = [{"most": 3, "period": "week"}, {"most": 1, "seconds": 3600, "channel": "sms"}]
    changed = (await http.patch("/workspace", json={"timeZone": "europe/berlin", "caps": caps})).json()
    assert (changed["timeZone"], changed["name"]) == ("Europe/Berlin", "default")
    assert [(cap["most"], cap["period"], cap["seconds"], cap["channel"]) for cap in changed["caps"]] == [
        (3, "week", None, None),
        (1, None, 3600, "sms"),
    ]
    kept = world.directory.workspace(world.workspace)
    assert kept is not None
    assert (kept.time_zone, len(kept.caps)) == ("Europe/Berlin", 2)
    cleared = (await http.patch("/workspace", json={"timeZone": None, "caps": None})).json()
    assert (cleared["timeZone"], cleared["caps"]) == ("UTC", [])


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"name": None}, ["body", "name"]),
        ({"timeZone": "Berlin"}, ["body", "timeZone"]),
        ({"timeZone": ""}, ["body", "timeZone"]),
        ({"caps": [{"most": 1}]}, ["body", "caps", 0]),
        ({"caps": [{"most": 1, "seconds": 60, "period": "day"}]}, ["body", "caps", 0]),
        ({"caps": [{"most": 0, "period": "day"}]}, ["body", "caps", 0, "most"]),
        ({"caps": [{"most": 1, "period": "day", "channel": ""}]}, ["body", "caps", 0, "channel"]),
        ({"caps": [{"most": 1, "period": "day", "channel": "a", "tag": "b"}]}, ["body", "caps", 0]),
        ({"caps": [{"most": 1, "period": "day"}, {"most": 1, "period": "day"}]}, ["body", "caps", 1]),
        ({"plan": "x"}, ["body", "plan"]),
    ],
)
async def test_a_wrong_workspace_is_refused_at_its_place(
    http: httpx.AsyncClient, body: dict[str, Any], loc: list[Any]
) -> None:
    answer = await http.patch("/workspace", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == loc
