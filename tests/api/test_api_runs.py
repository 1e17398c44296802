"""/api/v1/run over HTTP, with a node that decides."""

from typing import Any

import httpx
import pytest
from deciding_node import DecidingNode
from served import POLICY, World

from posthorn.deliver.content import ContentFetcher
from posthorn.deliver.transport import HttpTransport

WELCOME: dict[str, Any] = {
    "name": "Welcome",
    "uid": "welcome",
    "eligibility": {"type": "always"},
    "flow": {
        "triggers": [{"type": "event", "eventType": "signed_up"}, {"type": "call"}],
        "steps": [
            {"type": "send", "name": "hello", "send": {"url": "https://example.com/{{ event.data.n }}"}},
            {"type": "wait", "name": "later", "seconds": 3600},
            {"type": "exit", "name": "end"},
        ],
    },
}


@pytest.fixture
async def automation(http: httpx.AsyncClient) -> str:
    answer = await http.post("/automation", json=WELCOME)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def node(world: World) -> DecidingNode:
    return DecidingNode(world)


async def test_a_run_is_shown_step_by_step(
    http: httpx.AsyncClient, world: World, node: DecidingNode, automation: str
) -> None:
    event = await node.happen("signed_up", "a/b", {"n": 1})
    [row] = (await http.get("/automation/welcome/run")).json()["data"]
    assert (row["user"], row["state"], row["automationId"], row["automationName"], row["version"]) == (
        "a/b",
        "active",
        automation,
        "Welcome",
        1,
    )
    run = (await http.get(f"/run/{row['id']}")).json()
    assert row.items() <= run.items()
    assert run["event"]["id"] == event
    assert (run["waits"]["kind"], run["waits"]["step"], run["waits"]["until"]) == ("time", "later", row["wakesAt"])
    assert [(step["step"], step["what"]) for step in run["path"]] == [
        ("", "entered"),
        ("hello", "queued"),
        ("later", "waits"),
    ]
    delivery = (await http.get(f"/delivery/{run['path'][1]['deliveryId']}")).json()
    assert delivery["eventId"] == event

    world.clock.advance(3601)
    await node.decide()
    ended = (await http.get(f"/run/{row['id']}")).json()
    assert (ended["state"], ended["waits"], ended["path"][3]["what"]) == ("exited", None, "went_on")


async def test_runs_are_listed_by_automation_person_and_state(
    http: httpx.AsyncClient, node: DecidingNode, automation: str
) -> None:
    for user in ("a", "b", "c"):
        await node.happen("signed_up", user, {"n": 1})
    first = (await http.get("/automation/welcome/run", params={"limit": 2})).json()
    second = (await http.get("/automation/welcome/run", params={"limit": 2, "iterator": first["iterator"]})).json()
    assert [row["user"] for row in [*first["data"], *second["data"]]] == ["c", "b", "a"]
    assert (first["done"], second["done"]) == (False, True)
    back = (await http.get("/automation/welcome/run", params={"limit": 2, "iterator": second["prevIterator"]})).json()
    assert back["data"] == first["data"]
    assert [row["user"] for row in (await http.get("/profile/b/run")).json()["data"]] == ["b"]
    assert (await http.get("/profile/b/run", params={"state": "failed"})).json()["data"] == []
    assert (await http.get("/profile/nobody/run")).status_code == 404
    counts = (await http.get("/automation/welcome/run-count")).json()
    assert counts == {"active": 3, "completed": 0, "exited": 0, "cancelled": 0, "failed": 0}
    wrong = await http.get("/automation/welcome/run", params={"state": "gone"})
    assert wrong.json()["detail"][0]["loc"] == ["query", "state"]


async def test_a_run_is_cancelled_by_an_event_of_its_person(
    http: httpx.AsyncClient, node: DecidingNode, automation: str
) -> None:
    await node.happen("signed_up", "a", {"n": 1})
    [row] = (await http.get("/profile/a/run")).json()["data"]
    answer = await http.post(f"/run/{row['id']}/cancel")
    assert answer.status_code == 202
    event = (await http.get(f"/event/{answer.json()['id']}")).json()
    assert (event["type"], event["userId"]) == ("run.cancelled", "a")
    assert event["payload"] == {"run": row["id"], "automation": automation}
    await node.decide()
    assert (await http.get(f"/run/{row['id']}")).json()["state"] == "cancelled"
    assert (await http.post(f"/run/{row['id']}/cancel")).status_code == 409
    assert (await http.post("/run/run_none/cancel")).status_code == 404


async def test_a_call_lets_a_person_in_once_under_its_id(
    http: httpx.AsyncClient, node: DecidingNode, automation: str
) -> None:
    call = {"user": "Яна", "data": {"n": 7}, "id": "order-1"}
    first = await http.post("/automation/welcome/trigger", json=call)
    again = await http.post("/automation/welcome/trigger", json=call)
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    other = await http.post("/automation/welcome/trigger", json=call | {"data": {"n": 8}})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    await node.decide()
    [row] = (await http.get("/automation/welcome/run")).json()["data"]
    run = (await http.get(f"/run/{row['id']}")).json()
    assert (run["user"], run["event"]["id"]) == ("Яна", first.json()["id"])
    event = (await http.get(f"/event/{first.json()['id']}")).json()
    assert (event["type"], event["payload"], event["uid"]) == (f"$call/{automation}", {"n": 7}, "order-1")


async def test_a_call_that_nothing_would_come_of_is_refused(http: httpx.AsyncClient, automation: str) -> None:
    assert (await http.post("/automation/none/trigger", json={"user": "a"})).status_code == 404
    for body, place in (({}, "user"), ({"user": ""}, "user"), ({"user": "a", "x": 1}, "x"), ({"user": "a\0"}, "user")):
        answer = await http.post("/automation/welcome/trigger", json=body)
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", place])
    await http.patch("/automation/welcome", json={"enabled": False})
    assert (await http.post("/automation/welcome/trigger", json={"user": "a"})).status_code == 409
    plain = {"name": "x", "uid": "plain", "trigger": {"eventType": "a"}, "send": {"url": "https://example.com"}}
    await http.post("/automation", json=plain)
    assert (await http.post("/automation/plain/trigger", json={"user": "a"})).status_code == 409
    assert (await http.get("/event")).json()["data"] == []


async def _pass_time(world: World, node: DecidingNode, seconds: float) -> None:
    await node.decide()
    world.clock.advance(seconds)
    for _ in range(3):  # a page of the runs, then each of them
        await node.decide()


async def test_a_pause_holds_runs_and_its_end_lets_them_go_on_at_once(
    http: httpx.AsyncClient, world: World, node: DecidingNode, automation: str
) -> None:
    await node.happen("signed_up", "a", {"n": 1})
    assert (await http.patch(f"/automation/{automation}", json={"enabled": False})).status_code == 200
    await _pass_time(world, node, 2 * 3600)
    [row] = (await http.get("/automation/welcome/run")).json()["data"]
    assert row["state"] == "active"
    run = (await http.get(f"/run/{row['id']}")).json()
    assert (run["waits"]["step"], run["waits"]["isHeld"]) == ("later", True)
    assert (await http.patch(f"/automation/{automation}", json={"enabled": True})).status_code == 200
    await _pass_time(world, node, 2)
    [row] = (await http.get("/automation/welcome/run")).json()["data"]
    assert row["state"] == "exited"


async def test_a_pause_ends_runs_where_that_is_chosen_and_ends_those_that_it_held(
    http: httpx.AsyncClient, world: World, node: DecidingNode, automation: str
) -> None:
    await node.happen("signed_up", "a", {"n": 1})
    wrong = await http.patch(f"/automation/{automation}", json={"enabled": False, "pausing": {"runs": "stop"}})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "pausing", "runs"])
    paused = (await http.patch(f"/automation/{automation}", json={"enabled": False})).json()
    assert (paused["version"], paused["pausing"]) == (1, {"runs": "hold", "endAfterSeconds": None, "spreadSeconds": 0})
    await _pass_time(world, node, 2 * 3600)
    assert (await http.get("/automation/welcome/run-count")).json()["active"] == 1
    changed = (await http.patch(f"/automation/{automation}", json={"pausing": {"runs": "exit"}})).json()
    assert (changed["version"], changed["pausing"]["runs"]) == (1, "exit")
    await _pass_time(world, node, 2)
    assert (await http.get("/automation/welcome/run-count")).json()["cancelled"] == 1
    [row] = (await http.get("/automation/welcome/run")).json()["data"]
    assert "paused" in (await http.get(f"/run/{row['id']}")).json()["path"][-1]["detail"]


async def test_runs_of_an_automation_that_is_deleted_are_cancelled_with_it(
    http: httpx.AsyncClient, world: World, node: DecidingNode, automation: str
) -> None:
    await node.happen("signed_up", "a", {"n": 1})
    [row] = (await http.get("/automation/welcome/run")).json()["data"]
    assert (await http.delete(f"/automation/{automation}")).status_code == 204
    await _pass_time(world, node, 2)
    run = (await http.get(f"/run/{row['id']}")).json()
    assert (run["state"], run["path"][-1]["detail"]) == ("cancelled", "the automation is deleted")


async def test_runs_of_a_version_that_ends_its_runs_are_cancelled_when_the_next_one_is_published(
    http: httpx.AsyncClient, world: World, node: DecidingNode, automation: str
) -> None:
    flow = {**WELCOME["flow"], "inFlight": "exit"}
    await node.happen("signed_up", "a", {"n": 1})
    assert (await http.patch(f"/automation/{automation}", json={"flow": flow})).status_code == 200
    await _pass_time(world, node, 2)
    assert (await http.get("/automation/welcome/run-count")).json()["cancelled"] == 1


async def test_a_request_that_waits_for_content_is_a_run_that_hears_of_changes_of_its_automation(
    http: httpx.AsyncClient, world: World, node: DecidingNode, unused_tcp_port: int
) -> None:
    transport = HttpTransport(policy=POLICY)
    contents = ContentFetcher(
        transport=transport, credential=lambda _w, _n: None, clock=world.clock, telemetry=world.telemetry
    )
    node._loop._fetch = contents.fetch
    body = f"{{% connected_content http://127.0.0.1:{unused_tcp_port}/ :save x :retry %}}{{}}"
    send = {"url": "https://example.com/", "dialect": "braze", "body": body}
    made = await http.post("/automation", json={"name": "P", "trigger": {"eventType": "paid"}, "send": send})
    identifier = made.json()["id"]
    shown = (await http.post(f"/automation/{identifier}/preview", json={"user": "a"})).json()
    assert [request["body"] for request in shown["requests"]] == ["{}"]  # a preview asks nobody, and waits for nobody
    for user in ("a", "b"):
        await node.happen("paid", user)
    [second, first] = (await http.get(f"/automation/{identifier}/run")).json()["data"]
    assert (await http.get(f"/run/{first['id']}")).json()["waits"]["kind"] == "content"
    await http.post(f"/run/{first['id']}/cancel")
    await http.patch(f"/automation/{identifier}", json={"enabled": False})
    await _pass_time(world, node, 61)
    run = (await http.get(f"/run/{second['id']}")).json()
    assert (run["waits"]["isHeld"], [one["what"] for one in run["path"]]) == (True, ["entered", "waits"])
    await http.patch(f"/automation/{identifier}", json={"enabled": True})
    await _pass_time(world, node, 2)
    run = (await http.get(f"/run/{second['id']}")).json()
    assert (run["waits"]["isHeld"], [one["what"] for one in run["path"]]) == (False, ["entered", "waits", "waits"])
    await http.delete(f"/automation/{identifier}")
    await _pass_time(world, node, 2)
    states = [(await http.get(f"/run/{row['id']}")).json()["state"] for row in (first, second)]
    assert states == ["cancelled", "cancelled"]
    await transport.close()
