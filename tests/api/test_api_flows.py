"""Automations with flows over the API: saving, what is refused and where, previews, simulations, imports."""

from typing import Any

import httpx
import pytest
from served import World

from posthorn.engine.resources import AutomationVersion


def flow(**parts: Any) -> dict[str, Any]:
    steps = [{"type": "send", "name": "tell", "send": {"url": "https://chat.test/{{ profile.id }}"}}]
    return {
        "name": "Flow",
        "flow": {"triggers": [{"type": "event", "eventType": "order.paid"}], "steps": steps} | parts,
    }


def places(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [".".join(map(str, problem["loc"])) for problem in answer.json()["detail"]]


async def test_a_flow_is_stored_as_it_was_given_and_its_versions_are_kept(
    world: World, http: httpx.AsyncClient
) -> None:
    made = await http.post("/automation", json=flow() | {"uid": "f"})
    assert made.status_code == 201, made.text
    assert made.json()["flow"]["steps"][0]["send"]["url"] == "https://chat.test/{{ profile.id }}"
    changed = await http.patch("/automation/f", json={"flow": flow()["flow"] | {"inFlight": "move"}})
    assert changed.json()["version"] == 2
    [kept] = world.directory.every(AutomationVersion)
    assert (kept.uid, kept.automation.version) == ("1", 1)
    assert (await http.delete("/automation/f")).status_code == 204
    assert world.directory.every(AutomationVersion) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"triggers": []}, "trigger"),
    ({"steps": []}, "send"),
    ({"steps": [{"type": "wait", "name": "w"}]}, "flow.steps.w"),
    ({"steps": [{"type": "send", "name": "s"}]}, "flow.steps.s.send"),
    ({"steps": [{"type": "exit", "name": "e"}, {"type": "exit", "name": "e"}]}, "flow.steps.e.name"),
    (
        {"steps": [{"type": "split", "name": "s", "shares": [{"percent": 60}, {"percent": 50}]}]},
        "flow.steps.s.shares",
    ),
    (
        {"steps": [{"type": "branch", "name": "b", "ways": [{"conditions": {"field": "nope", "operator": "eq"}}]}]},
        "flow.steps.b.ways.0.conditions",
    ),
    (
        {"steps": [{"type": "send", "name": "s", "send": {"url": "https://a.test/", "body": "{{ a | nope }}"}}]},
        "flow.steps.s.send.body",
    ),
    (
        {"steps": [{"type": "send", "name": "s", "send": {"url": "https://a.test/", "method": "CONNECT"}}]},
        "flow.steps.s.send.method",
    ),
    (
        {"steps": [{"type": "send", "name": "s", "connector": {"connector": "nope"}}]},
        "flow.steps.s.connector.connector",
    ),
    (
        {"steps": [{"type": "send", "name": "s", "connector": {"connector": "telegram", "inputs": {"chat_id": "1"}}}]},
        "flow.steps.s.connector.credentials.token",
    ),
    ({"steps": [{"type": "emit_event", "name": "e", "eventType": "x", "data": "{{"}]}, "flow.steps.e.data"),
    ({"triggers": [{"type": "schedule"}]}, "flow.triggers.0"),
    ({"triggers": [{"type": "schedule", "cron": "0 9 * *"}]}, "flow.triggers.0"),
    ({"triggers": [{"type": "schedule", "at": "soon"}]}, "flow.triggers.0.at"),
    ({"triggers": [{"type": "segment", "segment": "nobody"}]}, "flow.triggers.0.segment"),
    ({"quietTime": {"start": "22:00", "end": "22:00"}}, "flow.quietTime"),
    ({"startsMs": 2, "endsMs": 1}, "flow.endsMs"),
    ({"exitKey": "{{ secrets.X }}"}, "flow.exitKey"),
]


@pytest.mark.parametrize(("parts", "place"), WRONG)
async def test_what_could_not_be_run_is_refused_with_its_place(
    http: httpx.AsyncClient, parts: dict[str, Any], place: str
) -> None:
    answer = await http.post("/automation", json=flow(**parts))
    assert any(found.startswith((place, f"body.{place}")) for found in places(answer)), answer.text


async def test_a_secret_that_a_connector_needs_must_be_there(http: httpx.AsyncClient) -> None:
    call = {"connector": "telegram", "credentials": {"token": "BOT"}, "inputs": {"chat_id": "1", "text": "Hi"}}
    body = flow(steps=[{"type": "send", "name": "s", "connector": call}])
    assert "BOT" in (await http.post("/automation", json=body)).text
    await http.post("/secret", json={"name": "BOT", "value": "1:A"})
    assert (await http.post("/automation", json=body)).status_code == 201


async def test_a_preview_shows_what_would_be_sent_and_why_without_saving_the_draft(http: httpx.AsyncClient) -> None:
    await http.post("/automation", json=flow() | {"uid": "f"})
    trial = {"user": "ann", "type": "order.paid", "data": {"total": 3}}
    found = (await http.post("/automation/f/preview", json=trial)).json()
    assert [request["url"] for request in found["requests"]] == ["https://chat.test/ann"]
    assert [decision["reason"] for decision in found["decisions"]] == ["entered"]
    draft = {"conditions": {"field": "event.data.total", "operator": "gt", "value": 10}}
    found = (await http.post("/automation/f/preview", json=trial | {"draft": draft})).json()
    assert found["requests"] == []
    assert found["decisions"][0]["reason"] == "condition_failed"
    assert (await http.get("/automation/f")).json()["conditions"] is None


async def test_a_preview_of_an_event_that_is_not_there_is_404(http: httpx.AsyncClient) -> None:
    await http.post("/automation", json=flow() | {"uid": "f"})
    assert (await http.post("/automation/f/preview", json={"eventId": "evt_nope"})).status_code == 404


async def test_a_simulation_says_who_would_have_received_what(http: httpx.AsyncClient) -> None:
    body = flow(triggers=[{"type": "call"}]) | {"uid": "f", "eligibility": {"type": "once"}}
    await http.post("/automation", json=body)
    for number in range(6):
        answer = await http.post("/automation/f/trigger", json={"user": f"u{number % 2}"})
        assert answer.status_code == 202, answer.text
    found = (await http.post("/automation/f/simulate", json={"days": 1})).json()
    assert (found["events"], found["people"], found["requests"]) == (6, 2, 2)
    assert found["outcomes"] == {"fired/entered": 2, "not_eligible/fired_before": 4}
    assert [sample["request"]["url"] for sample in found["samples"]] == ["https://chat.test/u0", "https://chat.test/u1"]
    draft = {"eligibility": {"type": "always"}}
    assert (await http.post("/automation/f/simulate", json={"days": 1, "draft": draft})).json()["requests"] == 6
    assert (await http.post("/automation/f/simulate", json={"days": 99})).status_code == 422


async def test_a_webhook_object_of_braze_becomes_a_send_in_its_dialect(http: httpx.AsyncClient) -> None:
    webhook = {
        "url": "https://api.test/{{${user_id}}}",
        "request_method": "post",
        "request_headers": {"X-Key": "1"},
        "body": '{"name": "{{${first_name} | default: \'you\'}}"}',
    }
    send = (await http.post("/automation/import/braze", json=webhook)).json()
    assert (send["dialect"], send["method"]) == ("braze", "POST")
    assert send["headers"] == {"X-Key": "1", "Content-Type": "application/json"}
    made = await http.post(
        "/automation", json={"name": "From Braze", "trigger": {"eventType": "order.paid"}, "send": send}
    )
    assert made.status_code == 201, made.text
    broken = webhook | {"body": "{{${first_name}"}
    assert "line 1, column" in (await http.post("/automation/import/braze", json=broken)).text
