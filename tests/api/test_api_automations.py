"""/api/v1/automation, /secret and /api-key over HTTP."""

from typing import Any

import httpx
import pytest
from served import World

SEND = {"url": "https://example.com/hook", "body": '{"text": {{ event.data.text }}}'}
AUTOMATION: dict[str, Any] = {"name": "Greet", "trigger": {"eventType": "user.new"}, "send": SEND}
CONDITIONS = {"all": [{"field": "event.data.total", "operator": "gt", "value": 10}]}


def automation(**changes: Any) -> dict[str, Any]:
    return AUTOMATION | changes


async def test_an_automation_lives(http: httpx.AsyncClient, world: World) -> None:
    answer = await http.post("/automation", json=automation(uid="greet", conditions=CONDITIONS))
    assert answer.status_code == 201
    made = answer.json()
    assert (made["version"], made["enabled"], made["conditions"]) == (1, True, CONDITIONS)
    assert made["eligibility"] == {"type": "always"}
    assert made["send"]["method"] == "POST"
    assert (await http.get("/automation/greet")).json() == made
    assert [each.id for each in world.directory.automations_for(world.workspace, "user.new")] == [made["id"]]

    changed = (await http.patch("/automation/greet", json={"enabled": False, "conditions": None})).json()
    assert (changed["version"], changed["enabled"], changed["conditions"]) == (2, False, None)
    replaced = await http.put("/automation/greet", json=AUTOMATION)
    assert (replaced.status_code, replaced.json()["version"], replaced.json()["enabled"]) == (200, 2, True)
    assert (await http.put("/automation/second", json=AUTOMATION)).status_code == 201
    assert [row["uid"] for row in (await http.get("/automation")).json()["data"]] == ["greet", "second"]
    assert (await http.delete("/automation/greet")).status_code == 204
    assert (await http.get("/automation/greet")).status_code == 404


async def test_conditions_nested_beyond_reason_are_refused(http: httpx.AsyncClient) -> None:
    deep = b'{"not":' * 50_000 + b"{}" + b"}" * 50_000
    body = (
        b'{"name": "x", "trigger": {"eventType": "a"}, "send": {"url": "https://a.example"}, "conditions": %b}' % deep
    )
    answer = await http.post("/automation", content=body)
    assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "json_invalid")


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"trigger": {}}, ["body", "trigger", "eventType"]),
        ({"trigger": {"eventType": "a", "source": "nowhere"}}, ["body", "trigger", "source"]),
        ({"conditions": {"field": "event.data.n", "operator": "is", "value": 1}}, ["body", "conditions", "operator"]),
        (
            {"conditions": {"all": [{"field": "event.data.n", "operator": "eq"}]}},
            ["body", "conditions", "all", 0, "value"],
        ),
        ({"conditions": []}, ["body", "conditions"]),
        ({"eligibility": {"type": "sometimes"}}, ["body", "eligibility", "type"]),
        ({"eligibility": {"type": "once_per_key", "key": "{{"}}, ["body", "eligibility", "key"]),
        ({"eligibility": {"type": "once_per_key", "key": "{{ secrets.a }}"}}, ["body", "eligibility", "key"]),
        ({"send": {}}, ["body", "send", "url"]),
        ({"send": {"url": "http://10.1.2.3/"}}, ["body", "send", "url"]),
        ({"send": SEND | {"method": "CONNECT"}}, ["body", "send", "method"]),
        ({"send": SEND | {"headers": {"webhook-id": "x"}}}, ["body", "send", "headers", "webhook-id"]),
        ({"send": SEND | {"headers": {"x": "a\nb"}}}, ["body", "send", "headers", "x"]),
        ({"send": SEND | {"headers": {"x": "1", "X": "2"}}}, ["body", "send", "headers", "X"]),
        ({"send": SEND | {"more": 1}}, ["body", "send", "more"]),
        ({"retryScheduleSeconds": []}, ["body", "retryScheduleSeconds"]),
    ],
)
async def test_a_wrong_automation_is_refused_at_its_place(
    http: httpx.AsyncClient, changes: dict[str, Any], loc: list[Any]
) -> None:
    answer = await http.post("/automation", json=automation(**changes))
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == loc
    assert (await http.get("/automation")).json()["data"] == []


async def test_every_mistake_in_templates_is_told_at_once_with_line_and_column(http: httpx.AsyncClient) -> None:
    send = {"url": "https://example.com/{{ event.data.", "headers": {"x": "{% if %}"}, "body": '{\n  "a": {{ }\n}'}
    answer = await http.post("/automation", json=automation(send=send))
    problems = {tuple(each["loc"]): each for each in answer.json()["detail"]}
    assert set(problems) == {("body", "send", "url"), ("body", "send", "headers", "x"), ("body", "send", "body")}
    assert {each["type"] for each in problems.values()} == {"template_syntax"}
    assert "line 2" in problems["body", "send", "body"]["msg"]


async def test_templates_may_only_read_secrets_that_are_there(http: httpx.AsyncClient) -> None:
    send = {"url": "https://example.com/", "headers": {"authorization": "Bearer {{ secrets.api_token }}"}}
    refused = await http.post("/automation", json=automation(send=send))
    [problem] = refused.json()["detail"]
    assert (problem["loc"], problem["type"]) == (["body", "send", "headers", "authorization"], "unknown_secret")
    assert "api_token" in problem["msg"]
    await http.post("/secret", json={"name": "api_token", "value": "t0p"})
    assert (await http.post("/automation", json=automation(send=send))).status_code == 201


async def test_an_automation_whose_secret_is_gone_can_be_switched_off_but_not_on(http: httpx.AsyncClient) -> None:
    await http.post("/secret", json={"name": "api_token", "value": "t0p"})
    send = {"url": "https://example.com/", "headers": {"authorization": "Bearer {{ secrets.api_token }}"}}
    made = (await http.post("/automation", json=automation(send=send))).json()
    await http.delete("/secret/api_token")
    off = await http.patch(f"/automation/{made['id']}", json={"enabled": False})
    assert (off.status_code, off.json()["enabled"], off.json()["version"]) == (200, False, 1)
    on = await http.patch(f"/automation/{made['id']}", json={"enabled": True})
    assert on.json()["detail"][0]["type"] == "unknown_secret"


async def test_a_trigger_names_its_source_by_uid_and_keeps_its_id(http: httpx.AsyncClient) -> None:
    source = (await http.post("/source", json={"name": "x", "uid": "gh"})).json()
    made = (await http.post("/automation", json=automation(trigger={"eventType": "a", "source": "gh"}))).json()
    assert made["trigger"]["source"] == source["id"]


async def test_a_secrets_value_goes_in_and_never_comes_out(http: httpx.AsyncClient, world: World) -> None:
    made = await http.post("/secret", json={"name": "token", "value": "t0p-secret"})
    assert made.status_code == 201
    replaced = await http.put("/secret/token", json={"value": "n3w-secret"})
    listed = await http.get("/secret")
    got = await http.get("/secret/token")
    for answer in (made, replaced, listed, got):
        assert "secret" not in answer.text.replace('"sec_', "")
    assert [row["name"] for row in listed.json()["data"]] == ["token"]
    stored = world.directory.secret(world.workspace, "token")
    assert stored is not None
    assert "n3w-secret" not in repr(stored)
    assert (await http.post("/secret", json={"name": "token", "value": "x"})).status_code == 409
    assert (await http.post("/secret", json={"name": "no-hyphen", "value": "x"})).status_code == 422
    assert (await http.delete("/secret/token")).status_code == 204
    assert (await http.put("/secret/token", json={"value": "x"})).status_code == 201
    assert (await http.put("/secret/no-hyphen", json={"value": "x"})).status_code == 422


async def test_an_api_key_is_shown_once_works_at_once_and_ends_at_once(http: httpx.AsyncClient, world: World) -> None:
    made = (await http.post("/api-key", json={"name": "ci"})).json()
    assert made["token"].startswith("phk_")
    assert made["token"].endswith(made["ending"])
    async with world.client(made["token"]) as ci:
        listed = (await ci.get("/api-key")).json()["data"]
        assert [row["name"] for row in listed] == ["owner", "ci"]
        assert all("token" not in row for row in listed)
        assert (await http.delete(f"/api-key/{made['id']}")).status_code == 204
        assert (await ci.get("/app")).status_code == 401


async def test_a_short_key_of_the_callers_own_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api-key", json={"name": "ci", "token": "short"})
    assert answer.json()["detail"][0]["loc"] == ["body", "token"]
    assert "short" not in answer.json()["detail"][0]["msg"]
