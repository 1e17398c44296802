"""/api/v1/event/{id}/why: for any event and automation fired or not, and why; one test for each reason."""

from typing import Any

import httpx
import pytest
from deciding_node import DecidingNode
from msgspec.structs import replace
from served import RETENTION_DAYS, World, receive, work_off

from posthorn import ids
from posthorn.clock import DAY_MS
from posthorn.engine.people import ProfileChange
from posthorn.engine.records import RequestOutcome
from posthorn.engine.resources import Automation
from posthorn.manage.whynot import Untried

PAID = {"type": "event", "eventType": "order.paid"}
SEND = {"type": "send", "name": "s", "send": {"url": "https://chat.test/", "body": "{}"}}
SIMPLE: dict[str, Any] = {
    "name": "Simple",
    "trigger": {"eventType": "order.paid"},
    "send": {"url": "https://chat.test/", "body": "{}"},
}
BIG = {"field": "event.data.total", "operator": "gt", "value": 10}


@pytest.fixture
def node(world: World) -> DecidingNode:
    return DecidingNode(world)


def flow(*triggers: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"name": "Flow", "flow": {"triggers": list(triggers), "steps": [SEND]} | parts}


async def put(http: httpx.AsyncClient, body: dict[str, Any], uid: str = "a") -> str:
    answer = await http.put(f"/automation/{uid}", json=body)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


async def pause(http: httpx.AsyncClient, *, enabled: bool = False) -> None:
    assert (await http.patch("/automation/a", json={"enabled": enabled})).is_success


async def why(http: httpx.AsyncClient, event: str, automation: str = "a") -> dict[str, Any]:
    answer = await http.get(f"/event/{event}/why", params={"automation": automation})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def untried(answer: dict[str, Any], reason: Untried) -> str:
    """Check an answer without a decision, and return its sentence."""
    fired = None if reason.outcome == "unknown" else False
    assert (answer["fired"], answer["outcome"], answer["reason"]) == (fired, reason.outcome, reason.value), answer
    assert (answer["decisions"], answer["runs"], answer["deliveries"]) == ([], [], [])
    return str(answer["detail"])


# ---- with a decision ----


async def test_what_fired_is_answered_with_what_the_vendor_answered_and_the_next_attempt(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    automation = await put(http, SIMPLE)
    event = await node.happen("order.paid", "ann")
    queued = await why(http, event)
    assert (queued["fired"], queued["outcome"], queued["reason"]) == (True, "fired", "matched")
    assert "the request to chat.test is queued" in queued["detail"]
    await work_off(world, succeed=False, retry=True)
    failed = await why(http, event)
    [delivery] = failed["deliveries"]
    [decision] = failed["decisions"]
    assert (failed["eventId"], failed["automationId"], failed["automationName"]) == (event, automation, "Simple")
    assert (decision["deliveryId"], delivery["state"], delivery["attempts"]) == (delivery["id"], "pending", 1)
    assert delivery["lastAttempt"]["responseStatus"] == 500
    assert failed["detail"].endswith(
        "; the request to chat.test failed 1 time, the last time answered 500,"
        f" and the next attempt is due at {delivery['nextAttemptAt']}"
    )
    world.clock.advance(301)
    await work_off(world, succeed=True)
    delivered = await why(http, event)
    assert "the request to chat.test was delivered, answered 200" in delivered["detail"]


async def test_what_did_not_match_says_which_condition_failed(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, SIMPLE | {"conditions": BIG})
    answer = await why(http, await node.happen("order.paid", "ann", {"total": 3}))
    assert (answer["fired"], answer["outcome"], answer["reason"]) == (False, "not_matched", "condition_failed")
    assert answer["detail"] == answer["decisions"][0]["detail"]
    assert answer["data"] == answer["decisions"][0]["data"]


async def test_a_run_is_answered_with_where_it_stands(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    wait = {"type": "wait", "name": "later", "seconds": 3600}
    await put(http, flow(PAID, steps=[SEND, wait, {"type": "exit", "name": "end"}]))
    event = await node.happen("order.paid", "ann")
    answer = await why(http, event)
    [run] = answer["runs"]
    assert (answer["reason"], answer["data"], run["state"]) == ("entered", {"run": run["id"]}, "active")
    assert f"the run {run['id']} is active and waits at later (time), until {run['wakesAt']}" in answer["detail"]
    assert [delivery["eventId"] for delivery in answer["deliveries"]] == [event]
    world.clock.advance(3601)
    await node.decide()
    ended = await why(http, event)
    assert (ended["fired"], ended["runs"][0]["state"]) == (True, "exited")
    assert f"the run {run['id']} is exited since " in ended["detail"]


async def test_of_several_decisions_the_last_that_fired_answers_and_all_are_shown(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    absence = {"type": "absence", "eventType": "order.paid", "without": ["cart"], "seconds": 60}
    await put(http, flow(absence) | {"eligibility": {"type": "once"}})
    first = await node.happen("order.paid", "ann")
    world.clock.advance(61)
    await node.decide()
    entered = await why(http, first)
    assert [decision["reason"] for decision in entered["decisions"]] == ["entered", "entered"]
    assert "2 decisions about it are kept; another says fired, entered: it waits whether cart" in entered["detail"]
    second = await node.happen("order.paid", "ann")
    world.clock.advance(61)
    await node.decide()
    refused = await why(http, second)
    assert [decision["outcome"] for decision in refused["decisions"]] == ["fired", "not_eligible"]
    assert "another says not_eligible, fired_before: " in refused["detail"]
    assert refused["runs"][0]["state"] == "exited"


async def test_a_wait_that_began_anew_names_the_later_event(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    absence = {"type": "absence", "eventType": "order.paid", "without": ["cart"], "seconds": 60}
    await put(http, flow(absence))
    first, second = await node.happen("order.paid", "ann"), await node.happen("order.paid", "ann")
    assert f"which began to wait anew with {second}, is active" in (await why(http, first))["detail"]
    assert "anew" not in (await why(http, second))["detail"].partition("the run")[2]


async def test_what_is_held_is_said_to_be_held(http: httpx.AsyncClient, world: World, node: DecidingNode) -> None:
    wait = {"type": "wait", "name": "later", "seconds": 60}
    await put(http, flow(PAID, steps=[wait, {"type": "exit", "name": "end"}]))
    event = await node.happen("order.paid", "ann")
    await pause(http)
    await node.decide()
    world.clock.advance(61)
    await node.decide()
    assert "held at later, because the automation is paused" in (await why(http, event))["detail"]


async def test_a_request_and_a_run_that_retention_took_are_said_to_be_gone(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    await put(http, SIMPLE)
    await put(http, flow(PAID), uid="b")
    event = await node.happen("order.paid", "ann")
    before = [await why(http, event), await why(http, event, "b")]
    await work_off(world, succeed=True)
    world.store._tables.deliveries.clear()
    world.store._tables.runs.clear()
    after = [await why(http, event), await why(http, event, "b")]
    assert [answer["fired"] for answer in after] == [True, True]
    assert f"{before[0]['deliveries'][0]['id']} is not kept any more" in after[0]["detail"]
    assert f"{before[1]['runs'][0]['id']} is not kept any more" in after[1]["detail"]


async def test_who_is_held_out_is_answered_with_the_run_that_watches(
    http: httpx.AsyncClient, node: DecidingNode
) -> None:
    await put(http, flow(PAID, holdoutPercent=100))
    answer = await why(http, await node.happen("order.paid", "ann"))
    assert (answer["fired"], answer["reason"], answer["deliveries"]) == (False, "held_out", [])
    assert [run["id"] for run in answer["runs"]] == [answer["data"]["run"]]


async def test_a_deleted_automation_is_answered_by_the_decision_it_left(
    http: httpx.AsyncClient, node: DecidingNode
) -> None:
    automation = await put(http, SIMPLE)
    event = await node.happen("order.paid", "ann")
    await http.delete("/automation/a")
    answer = await why(http, event, automation)
    assert (answer["fired"], answer["reason"], answer["automationName"]) == (True, "matched", None)


async def test_a_captured_request_is_answered_like_its_event(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    await put(http, SIMPLE | {"trigger": {"eventType": "github.push"}})
    request = await receive(world, b"{}")
    await node.decide()
    assert request.event is not None
    assert await why(http, request.id) == await why(http, request.event)


# ---- without a decision ----


async def test_undecided(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, SIMPLE)
    event = await node.happen("order.paid", "ann", decide=False)
    assert "waits to be decided" in untried(await why(http, event), Untried.UNDECIDED)
    await node.decide()
    assert (await why(http, event))["fired"] is True


async def test_other_type(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, flow(PAID, {"type": "call"}, exitOn=["order.sent"]))
    event = await node.happen("order.sent", "ann")
    answer = await why(http, event)
    assert untried(answer, Untried.OTHER_TYPE) == (
        "a trigger waits for events of type order.paid; a trigger waits for a call of the API;"
        " this event is of type order.sent, which its runs under way wait for, and which lets nobody in"
    )
    assert answer["data"]["eventType"] == "order.sent"


async def test_attribute_differs(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, flow({"type": "attribute", "attribute": "plan", "to": ["gold"]}))
    event = await node.happen("seen", "ann", change=ProfileChange(set={"plan": "silver"}))
    detail = untried(await why(http, event), Untried.ATTRIBUTE_DIFFERS)
    assert detail.startswith(
        'the event set the attribute plan to "silver", and the trigger waits for a change to "gold"'
    )
    gold = await node.happen("seen", "ann", change=ProfileChange(set={"plan": "gold"}))
    assert (await why(http, gold))["fired"] is True


async def test_attribute_unchanged(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, flow({"type": "attribute", "attribute": "plan", "to": ["gold"]}))
    await node.happen("seen", "ann", change=ProfileChange(set={"plan": "gold"}))
    again = await node.happen("seen", "ann", change=ProfileChange(set={"plan": "gold"}))
    detail = untried(await why(http, again), Untried.ATTRIBUTE_UNCHANGED)
    assert detail.startswith('the event did not change the attribute plan to "gold"')


async def test_segment_unmoved(http: httpx.AsyncClient, node: DecidingNode) -> None:
    for uid, plan in (("gold", "Gold"), ("tin", "Tin")):
        conditions = {"field": "profile.attributes.plan", "operator": "eq", "value": plan}
        assert (await http.put(f"/segment/{uid}", json={"name": plan, "conditions": conditions})).is_success
    await put(http, flow({"type": "segment", "segment": "gold"}))
    event = await node.happen("seen", "ann", change=ProfileChange(set={"plan": "Tin"}))
    detail = untried(await why(http, event), Untried.SEGMENT_UNMOVED)
    assert detail.startswith("the event did not make its person enter the segment Gold")
    moved = await node.happen("seen", "ann", change=ProfileChange(set={"plan": "Gold"}))
    assert (await why(http, moved))["fired"] is True


async def test_paused(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, SIMPLE)
    await pause(http)
    event = await node.happen("order.paid", "ann")
    assert "it is paused still" in untried(await why(http, event), Untried.PAUSED)
    await pause(http, enabled=True)
    answer = await why(http, event)
    assert "it was paused when the event came" in untried(answer, Untried.PAUSED)
    assert "it was resumed at " in answer["detail"]
    assert (await why(http, await node.happen("order.paid", "ann")))["fired"] is True


async def test_draft(http: httpx.AsyncClient, node: DecidingNode) -> None:
    assert (await http.put("/automation/a/draft", json=SIMPLE)).is_success
    event = await node.happen("order.paid", "ann")
    assert "nothing of it is published" in untried(await why(http, event), Untried.DRAFT)


@pytest.mark.parametrize("begins_as_draft", [False, True])
async def test_published_later(http: httpx.AsyncClient, node: DecidingNode, begins_as_draft: bool) -> None:
    if begins_as_draft:
        await http.put("/automation/a/draft", json=SIMPLE)
    event = await node.happen("order.paid", "ann")
    await (http.post("/automation/a/publish") if begins_as_draft else put(http, SIMPLE))
    detail = untried(await why(http, event), Untried.PUBLISHED_LATER)
    assert detail.startswith("it was first published at ")


async def test_duplicate(http: httpx.AsyncClient, world: World) -> None:
    await put(http, SIMPLE)
    first = await receive(world, b"{}")
    again = await receive(world, b"{}", outcome=RequestOutcome.DUPLICATE, event=first.event)
    answer = await why(http, again.id)
    assert untried(answer, Untried.DUPLICATE).startswith("the request repeated the one that became evt_")
    assert (answer["eventId"], answer["data"]) == (first.event, {"eventId": first.event})


async def test_rejected(http: httpx.AsyncClient, world: World) -> None:
    await put(http, SIMPLE)
    request = await receive(
        world, b"{}", outcome=RequestOutcome.REJECTED, event=None, cause="signature_mismatch", detail="It differs."
    )
    assert untried(await why(http, request.id), Untried.REJECTED).endswith("no event came of it: It differs.")


async def test_message(http: httpx.AsyncClient, world: World) -> None:
    await put(http, SIMPLE)
    message = await world.publish(world.workspace, "app_1", "order.paid", b"{}")
    assert "a message to an application" in untried(await why(http, message.id), Untried.MESSAGE)


async def test_merge(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, SIMPLE)
    event = await node.happen("order.paid", "guest", change=ProfileChange(merge_into="ann"))
    assert "merged its person into 'ann'" in untried(await why(http, event), Untried.MERGE)


async def test_person_unknown(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, SIMPLE)
    event = await node.happen("order.paid", "nobody", change=ProfileChange(set={"a": 1}, existing_only=True))
    assert "nobody was known by this user id" in untried(await why(http, event), Untried.PERSON_UNKNOWN)


async def test_automation_gone(http: httpx.AsyncClient, node: DecidingNode) -> None:
    automation = await put(http, SIMPLE)
    await http.delete("/automation/a")
    event = await node.happen("order.paid", "ann")
    assert "it was deleted, or never was here" in untried(await why(http, event, automation), Untried.AUTOMATION_GONE)


async def test_event_gone(http: httpx.AsyncClient, world: World, node: DecidingNode) -> None:
    await put(http, SIMPLE)
    await put(http, SIMPLE | {"trigger": {"eventType": "other"}}, uid="b")
    event = await node.happen("order.paid", "ann", decide=False)
    world.clock.advance(3600)
    between_ms = world.clock.now_ms()
    await node.decide()
    await work_off(world, succeed=True)
    await world.store.prune(before_ms=between_ms, most=100)
    assert (await why(http, event))["fired"] is True
    assert "not kept any more" in untried(await why(http, event, "b"), Untried.EVENT_GONE)


async def test_decision_expired(http: httpx.AsyncClient, world: World, node: DecidingNode) -> None:
    await put(http, SIMPLE)
    await put(http, SIMPLE | {"conditions": BIG}, uid="small")
    event = await node.happen("order.paid", "ann", {"total": 3})  # its request is queued, so the event stays
    assert (await why(http, event, "small"))["reason"] == "condition_failed"
    world.clock.advance((RETENTION_DAYS + 2) * DAY_MS / 1000)
    await world.store.prune(before_ms=world.clock.now_ms() - RETENTION_DAYS * DAY_MS, most=100)
    assert "are not kept any more" in untried(await why(http, event, "small"), Untried.DECISION_EXPIRED)
    assert (await why(http, event))["fired"] is True


async def test_not_known_because_it_was_paused_before_the_event_was_decided(
    http: httpx.AsyncClient, node: DecidingNode
) -> None:
    await put(http, SIMPLE)
    event = await node.happen("order.paid", "ann", decide=False)
    await pause(http)
    await node.decide()
    detail = untried(await why(http, event), Untried.NOT_KNOWN)
    assert detail.startswith("version 1 listened when the event came, and yet no decision is kept; it was paused at ")


async def test_not_known_because_the_version_of_that_time_is_not_kept(
    http: httpx.AsyncClient, node: DecidingNode
) -> None:
    await put(http, SIMPLE | {"trigger": {"eventType": "other"}})
    event = await node.happen("order.paid", "ann")
    await put(http, SIMPLE)
    detail = untried(await why(http, event), Untried.NOT_KNOWN)
    assert detail.startswith("version 1 was in force when the event came, and what that listened to is not kept")


async def test_not_known_because_it_changed_before_turns_were_kept(
    http: httpx.AsyncClient, world: World, node: DecidingNode
) -> None:
    await put(http, SIMPLE | {"enabled": False})
    event = await node.happen("order.paid", "ann")
    [automation] = world.directory.every(Automation)
    await world.store.replace(replace(automation, turns=(), updated_ms=world.clock.now_ms()))
    await world.directory.refresh(world.store)
    detail = untried(await why(http, event), Untried.NOT_KNOWN)
    assert detail.endswith("what it was then is not known any more; it is paused now")
    later = await node.happen("order.paid", "ann")
    untried(await why(http, later), Untried.PAUSED)


async def test_a_kept_version_answers_for_the_time_when_it_was_in_force(
    http: httpx.AsyncClient, node: DecidingNode
) -> None:
    await put(http, flow({"type": "event", "eventType": "other"}))
    event = await node.happen("order.paid", "ann")
    await put(http, flow(PAID))
    answer = await why(http, event)
    assert untried(answer, Untried.OTHER_TYPE).startswith("a trigger waits for events of type other")
    assert answer["data"]["version"] == 1


async def test_nothing_is_concluded_about_a_change_when_the_automation_was_paused_soon_after(
    http: httpx.AsyncClient, node: DecidingNode
) -> None:
    await put(http, flow({"type": "attribute", "attribute": "plan"}))
    event = await node.happen("seen", "ann", change=ProfileChange(set={"plan": "gold"}), decide=False)
    await pause(http)
    await node.decide()
    untried(await why(http, event), Untried.NOT_KNOWN)


# ---- the route ----


async def test_every_reason_without_a_decision_has_a_test() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert [one for one in Untried if one not in tested and one is not Untried.NOT_KNOWN] == []


async def test_without_an_automation_there_is_one_answer_for_each_by_pages(
    http: httpx.AsyncClient, node: DecidingNode
) -> None:
    names = [await put(http, SIMPLE | {"trigger": {"eventType": f"type{n}"}}, uid=f"a{n}") for n in range(5)]
    event = await node.happen("type2", "ann")
    await node.happen("type3", "ann")
    await http.delete("/automation/a2")  # it left a decision about the event
    await http.delete("/automation/a3")  # it left none
    expected = [name for name in names if name != names[3]]
    whole = (await http.get(f"/event/{event}/why")).json()
    assert [row["automationId"] for row in whole["data"]] == expected
    assert [row["fired"] for row in whole["data"]] == [False, False, True, False]
    assert whole["done"]
    walked, page = [], {"iterator": "", "done": False}
    while not page["done"]:
        query = {"limit": "1"} | ({"iterator": page["iterator"]} if page["iterator"] else {})
        page = (await http.get(f"/event/{event}/why", params=query)).json()
        walked += [row["automationId"] for row in page["data"]]
    assert walked == expected
    back = (await http.get(f"/event/{event}/why", params={"limit": "2", "iterator": f"-{expected[3]}"})).json()
    assert ([row["automationId"] for row in back["data"]], back["done"]) == (expected[1:3], False)


async def test_unknown_ids_are_refused_with_the_way_out(http: httpx.AsyncClient, node: DecidingNode) -> None:
    await put(http, SIMPLE)
    event = await node.happen("order.paid", "ann")
    for path, query, said in (
        (f"/event/{ids.new_id(ids.EVENT, 1)}/why", {"automation": "a"}, "no event with this id, or it is not kept"),
        (f"/event/{ids.new_id(ids.REQUEST, 1)}/why", {}, "no request with this id, or it is not kept"),
        (f"/event/{event}/why", {"automation": "b"}, "ask for a deleted one by its id"),
    ):
        answer = await http.get(path, params=query)
        assert (answer.status_code, said in answer.json()["detail"]) == (404, True), answer.text
    both = await http.get(f"/event/{event}/why", params={"automation": "a", "iterator": "x"})
    assert (both.status_code, both.json()["detail"][0]["loc"]) == (422, ["query", "iterator"])
    wrong = await http.get(f"/event/{event}/why", params={"automaton": "a"})
    assert wrong.status_code == 422


async def test_the_answer_of_another_workspace_is_not_there(http: httpx.AsyncClient, world: World) -> None:
    other = await world.services.api_keys.ensure_workspace("other")
    message = await world.publish(other.id, "app_1", "order.paid", b"{}")
    assert (await http.get(f"/event/{message.id}/why")).status_code == 404
