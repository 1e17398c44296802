"""/api/v1/segment over HTTP, with a node that decides."""

from typing import Any

import httpx
import pytest
from deciding_node import DecidingNode
from served import World

from posthorn.engine.people import ProfileChange

GOLD = {"field": "profile.attributes.plan", "operator": "eq", "value": "gold"}


@pytest.fixture
def node(world: World) -> DecidingNode:
    return DecidingNode(world)


async def test_a_segment_lives(http: httpx.AsyncClient) -> None:
    answer = await http.post("/segment", json={"name": "Gold", "uid": "gold", "conditions": GOLD})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["id"].startswith("seg_"), made["conditions"]) == (True, GOLD)
    assert (await http.get("/segment/gold")).json() == made
    changed = (await http.patch("/segment/gold", json={"name": "Golden"})).json()
    assert (changed["name"], changed["conditions"]) == ("Golden", GOLD)
    replaced = await http.put("/segment/gold", json={"name": "Gold", "conditions": {"not": GOLD}})
    assert (replaced.status_code, replaced.json()["conditions"]) == (200, {"not": GOLD})
    assert (await http.put("/segment/second", json={"name": "Second", "conditions": GOLD})).status_code == 201
    assert [row["uid"] for row in (await http.get("/segment")).json()["data"]] == ["gold", "second"]
    assert (await http.delete("/segment/gold")).status_code == 204
    assert (await http.get("/segment/gold")).status_code == 404


async def test_people_enter_and_leave_as_events_change_them(http: httpx.AsyncClient, node: DecidingNode) -> None:
    count = {"count": {"event": "flight_booked", "op": "gte", "value": 2}}
    await http.post("/segment", json={"name": "Gold", "uid": "gold", "conditions": {"any": [GOLD, count]}})
    await node.happen("seen", "a", change=ProfileChange(set={"plan": "gold"}))
    for _ in range(2):
        await node.happen("flight_booked", "b")
    await node.happen("seen", "c")

    async def members() -> list[str]:
        pages = [await http.get("/segment/gold/profile"), await http.get("/profile", params={"segment": "gold"})]
        first, second = ([row["user"] for row in page.json()["data"]] for page in pages)
        assert first == second
        return first

    assert await members() == ["a", "b"]
    await http.patch("/profile/a", json={"set": {"plan": "free"}})
    await node.decide()
    assert await members() == ["b"]
    assert (await http.get("/segment/none/profile")).status_code == 404
    assert (await http.get("/profile", params={"segment": "none"})).json()["data"] == []


async def test_new_conditions_hold_for_everybody_without_an_event_of_theirs(
    http: httpx.AsyncClient, node: DecidingNode
) -> None:
    for user, plan in (("a", "gold"), ("b", "silver"), ("c", "free")):
        await node.happen("seen", user, change=ProfileChange(set={"plan": plan}))

    async def members() -> list[str]:
        return [row["user"] for row in (await http.get("/segment/best/profile")).json()["data"]]

    await http.post("/segment", json={"name": "Best", "uid": "best", "conditions": GOLD})
    assert await members() == []  # deciding has not gone through them yet
    await node.decide()
    assert await members() == ["a"]
    await http.patch("/segment/best", json={"conditions": GOLD | {"value": "silver"}})
    await node.decide()
    assert await members() == ["b"]


async def test_a_new_name_of_a_segment_looks_at_nobody(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await node.happen("seen", "a", change=ProfileChange(set={"plan": "gold"}))
    await http.post("/segment", json={"name": "Best", "uid": "best", "conditions": GOLD})
    await node.decide()
    await http.patch("/segment/best", json={"name": "The best"})
    assert not await node.decide_some()


@pytest.mark.parametrize(
    ("conditions", "loc"),
    [
        (None, ["body", "conditions"]),
        ({"field": "profile.x", "operator": "is", "value": 1}, ["body", "conditions", "operator"]),
        ({"field": "event.data.total", "operator": "gt", "value": 1}, ["body", "conditions", "field"]),
        (
            {"all": [GOLD, {"not": {"field": "event.type", "operator": "eq", "value": "x"}}]},
            ["body", "conditions", "all", 1, "not", "field"],
        ),
        ({"field": "run.key", "operator": "eq", "value": "x"}, ["body", "conditions", "field"]),
        ({"field": "steps.a.status", "operator": "eq", "value": 200}, ["body", "conditions", "field"]),
        (
            {
                "items": {
                    "field": "event.data.items",
                    "match": "any",
                    "where": {"field": "item.x", "operator": "is_set"},
                }
            },
            ["body", "conditions", "items", "field"],
        ),
        (
            {
                "items": {
                    "field": "profile.attributes.pets",
                    "match": "any",
                    "where": {"any": [{"field": "event.type", "operator": "is_set"}]},
                }
            },
            ["body", "conditions", "items", "where", "any", 0, "field"],
        ),
        ({"cel": "event.data.total > 1"}, ["body", "conditions", "cel"]),
        (
            {"any": [{"segment": {"is": "in", "segment": "nowhere"}}]},
            ["body", "conditions", "any", 0, "segment", "segment"],
        ),
        ({"field": 'segments["nowhere"]', "operator": "is_set"}, ["body", "conditions", "field"]),
    ],
)
async def test_conditions_that_a_person_cannot_answer_are_refused_at_their_place(
    http: httpx.AsyncClient, conditions: Any, loc: list[Any]
) -> None:
    answer = await http.post("/segment", json={"name": "x", "conditions": conditions})
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == loc
    assert (await http.get("/segment")).json()["data"] == []


@pytest.mark.parametrize(
    "conditions",
    [
        {
            "performed": {
                "event": "paid",
                "where": {"field": "event.data.total", "operator": "gt", "value": 9},
                "atLeast": 2,
            }
        },
        {"cel": "profile.attributes.age > 18"},
        {"subscription": {"channel": "email", "is": ["opted_in"]}},
        {"time": {"weekdays": ["monday"]}},
        {"field": "counts.paid.count", "operator": "gt", "value": 1},
        {
            "items": {
                "field": "profile.attributes.pets",
                "match": "any",
                "where": {"field": "item.kind", "operator": "eq", "value": "cat"},
            }
        },
    ],
)
async def test_conditions_over_a_person_and_what_they_did_are_taken(http: httpx.AsyncClient, conditions: Any) -> None:
    answer = await http.post("/segment", json={"name": "x", "conditions": conditions})
    assert answer.status_code == 201, answer.text


async def test_every_problem_is_told_at_once(http: httpx.AsyncClient) -> None:
    wrong = {"field": "event.type", "operator": "eq", "value": "x"}
    answer = await http.post("/segment", json={"name": "x", "conditions": {"all": [wrong, GOLD, wrong]}})
    assert [problem["loc"][3] for problem in answer.json()["detail"]] == [0, 2]


async def test_a_segment_cannot_depend_on_itself(http: httpx.AsyncClient) -> None:
    def is_in(name: str) -> Any:
        return {"segment": {"is": "in", "segment": name}}

    own = await http.post("/segment", json={"name": "a", "uid": "a", "conditions": {"not": is_in("a")}})
    assert own.json()["detail"][0]["msg"] == "the segment would depend on itself"
    await http.post("/segment", json={"name": "a", "uid": "a", "conditions": GOLD})
    await http.post("/segment", json={"name": "b", "uid": "b", "conditions": is_in("a")})
    await http.post("/segment", json={"name": "c", "uid": "c", "conditions": is_in("b")})
    around = await http.patch("/segment/a", json={"conditions": {"all": [GOLD, is_in("c")]}})
    assert around.json()["detail"][0]["loc"] == ["body", "conditions", "all", 1, "segment", "segment"]


async def test_a_segment_that_something_names_stays_under_its_name(http: httpx.AsyncClient) -> None:
    await http.post("/segment", json={"name": "a", "uid": "a", "conditions": GOLD})
    await http.post("/segment", json={"name": "b", "uid": "b", "conditions": {"segment": {"is": "in", "segment": "a"}}})
    automation = {
        "name": "Welcome",
        "uid": "welcome",
        "flow": {
            "triggers": [{"type": "segment", "segment": "b"}],
            "steps": [{"type": "exit", "name": "end"}],
        },
    }
    assert (await http.post("/automation", json=automation)).status_code == 201
    refused = [
        await http.delete("/segment/a"),
        await http.delete("/segment/b"),
        await http.patch("/segment/a", json={"uid": "z"}),
    ]
    assert [answer.status_code for answer in refused] == [409, 409, 409]
    assert "Welcome" in refused[1].json()["detail"]
    await http.delete("/automation/welcome")
    assert [(await http.delete(f"/segment/{name}")).status_code for name in ("b", "a")] == [204, 204]
