"""Broken expressions, templates and inputs at every place of a flow: refused with place, line and column."""

from typing import Any

import httpx
import pytest

Json = dict[str, Any]

CEL = {"cel": "event.data.total > 10 &&\n  evnt.data.vip"}  # what is unknown begins in line 2, column 3
TREE = {"all": [{"field": "event.type", "operator": "eq", "value": "x"}, CEL]}
TEXT = "fine\nand {{ event.data.x | nope }}"
OPEN = "{{ event.data.x"
SEND: Json = {"type": "send", "name": "tell", "send": {"url": "https://chat.test/{{ profile.id }}"}}
EXIT: Json = {"type": "exit", "name": "end"}


def flow(*steps: Json, **parts: Any) -> Json:
    triggers = [{"type": "event", "eventType": "order.paid"}]
    return {"name": "Flow", "flow": {"triggers": triggers, "steps": list(steps) or [SEND]} | parts}


def simple(**fields: Any) -> Json:
    return {"name": "Simple", "trigger": {"eventType": "order.paid"}, "send": {"url": "https://chat.test/"}} | fields


def request(**fields: Any) -> Json:
    return {"url": "https://chat.test/"} | fields


def sent(**fields: Any) -> Json:
    return SEND | {"send": request(**fields)}


def called(**inputs: Any) -> Json:
    call = {"connector": "telegram", "credentials": {"token": "BOT"}, "inputs": {"chat_id": "1", "text": "x"} | inputs}
    return {"type": "send", "name": "tell", "connector": call}


def way(conditions: Json, *steps: Json) -> Json:
    return {"conditions": conditions, "steps": list(steps)}


def branch(*ways: Json, **fields: Any) -> Json:
    return {"type": "branch", "name": "b", "ways": list(ways), **fields}


def reply(**fields: Any) -> Json:
    return {"type": "wait_for_event", "name": "w", "eventTypes": ["replied"], "seconds": 60, **fields}


FINE = {"field": "event.data.total", "operator": "gt", "value": 10}
CEL_AT = "line 2, column 3: unknown name 'evnt.data.vip'"
NOPE_AT = "line 2, column 23: unknown filter 'nope'"
WRONG: list[tuple[str, Json, list[str | int], str]] = [
    ("conditions", simple(conditions=CEL), ["conditions", "cel"], CEL_AT),
    ("inner conditions", flow() | {"conditions": TREE}, ["conditions", "all", 1, "cel"], CEL_AT),
    (
        "a way",
        flow(branch(way(FINE), way(TREE))),
        ["flow", "steps", "b", "ways", 1, "conditions", "all", 1, "cel"],
        CEL_AT,
    ),
    (
        "a way within a way",
        flow({"type": "split", "name": "s", "shares": [{"percent": 9, "steps": [branch(way(CEL, EXIT))]}]}),
        ["flow", "steps", "b", "ways", 0, "conditions", "cel"],
        CEL_AT,
    ),
    ("a wait", flow(reply(conditions=CEL)), ["flow", "steps", "w", "conditions", "cel"], CEL_AT),
    (
        "a key of eligibility",
        simple(eligibility={"type": "once_per_key", "key": TEXT}),
        ["eligibility", "key"],
        NOPE_AT,
    ),
    ("exitKey", flow(exitKey=TEXT), ["flow", "exitKey"], NOPE_AT),
    (
        "a key of an absence",
        flow(triggers=[{"type": "absence", "eventType": "a", "without": ["b"], "seconds": 9, "key": TEXT}]),
        ["flow", "triggers", 0, "key"],
        NOPE_AT,
    ),
    (
        "a URL",
        flow(sent(url="https://chat.test/{{ event.data.x | nope }}")),
        ["flow", "steps", "tell", "send", "url"],
        "line 1, column 37: unknown filter 'nope'",
    ),
    (
        "a header",
        flow(sent(headers={"X-Name": OPEN})),
        ["flow", "steps", "tell", "send", "headers", "X-Name"],
        "line 1, column 1: ",
    ),
    ("a body", flow(sent(body=TEXT)), ["flow", "steps", "tell", "send", "body"], NOPE_AT),
    ("the only body", simple(send=request(body=TEXT)), ["send", "body"], NOPE_AT),
    (
        "a body of Braze",
        flow(sent(body="fine\n{{${first_name}", dialect="braze")),
        ["flow", "steps", "tell", "send", "body"],
        "line 2, column ",
    ),
    (
        "one of several requests",
        flow({"type": "send_all", "name": "all", "sends": [{"name": "one", "send": request(body=TEXT)}]}),
        ["flow", "steps", "all", "sends", "one", "send", "body"],
        NOPE_AT,
    ),
    ("an input", flow(called(text=TEXT)), ["flow", "steps", "tell", "connector", "inputs", "text"], NOPE_AT),
    (
        "an input within a list",
        flow(called(reply_markup={"keys": ["a", TEXT]})),
        ["flow", "steps", "tell", "connector", "inputs", "reply_markup", "keys", 1],
        NOPE_AT,
    ),
    (
        "an input of another name",
        flow(called(txt="x")),
        ["flow", "steps", "tell", "connector", "inputs", "txt"],
        "unknown input; this action has: chat_id, text",
    ),
    (
        "an input that is missing",
        flow(called(text="")),
        ["flow", "steps", "tell", "connector", "inputs", "text"],
        "is ",
    ),
    (
        "an input that no person could have",
        flow(called(parse_mode="Word")),
        ["flow", "steps", "tell", "connector", "inputs", "parse_mode"],
        "must be one of ",
    ),
    (
        "a step on the way of an event",
        flow(reply(onEvent=[branch(way(FINE), otherwise=[sent(body=TEXT)])])),
        ["flow", "steps", "tell", "send", "body"],
        NOPE_AT,
    ),
    (
        "a step after a timeout",
        flow(
            reply(onTimeout=[{"type": "emit_event", "name": "e", "eventType": "x", "data": '{"a":\n {{ b | nope }}}'}])
        ),
        ["flow", "steps", "e", "data"],
        "line 2, column 9: unknown filter 'nope'",
    ),
    (
        "a change of the person",
        flow({"type": "update_profile", "name": "u", "changes": {"set": {"tier": TEXT}}}),
        ["flow", "steps", "u", "changes", "set", "tier"],
        NOPE_AT,
    ),
]


@pytest.mark.parametrize(("body", "place", "message"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
async def test_a_mistake_is_refused_with_its_place_and_kept_only_in_a_draft(
    http: httpx.AsyncClient, body: Json, place: list[str | int], message: str
) -> None:
    await http.post("/secret", json={"name": "BOT", "value": "1:A"})
    refused = await http.post("/automation", json=body)
    assert refused.status_code == 422, refused.text
    [problem] = refused.json()["detail"]
    assert problem["loc"] == ["body", *place]
    assert problem["msg"].startswith(message), problem["msg"]
    assert (await http.put("/automation/a", json=body)).json()["detail"] == [problem]
    assert (await http.get("/automation")).json()["data"] == []

    assert (await http.put("/automation/a/draft", json=body)).json()["problems"] == [problem]
    published = await http.post("/automation/a/publish")
    assert (published.status_code, published.json()["detail"]) == (422, [problem])
    assert (await http.get("/automation/a")).json()["state"] == "draft"
