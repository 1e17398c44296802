"""Drafts and previews name the variables of templates that nobody fills in."""

from typing import Any

import httpx
import pytest

ON = {"type": "event", "eventType": "order.paid"}


def sending(body: str, **fields: Any) -> dict[str, Any]:
    return {"url": "https://chat.test/x", "body": body} | fields


def flowing(*steps: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"name": "F", "flow": {"triggers": [ON], "steps": list(steps)} | parts}


def simple(body: str, **fields: Any) -> dict[str, Any]:
    return {"name": "S", "trigger": {"eventType": "order.paid"}, "send": sending(body, **fields)}


async def named(http: httpx.AsyncClient, draft: dict[str, Any]) -> list[str]:
    kept = await http.put("/automation/x/draft", json=draft)
    assert (kept.is_success, kept.json()["problems"]) == (True, [])
    return [warning["name"] for warning in kept.json()["warnings"]]


async def test_a_draft_names_them_with_their_place(http: httpx.AsyncClient) -> None:
    body = '{"a": {{ event.data.total }},\n "b": {{ evnt.data.total }}, "c": {{ user.nmae | default: 1 }}}'
    draft = simple(body, headers={"X-Step": "{{ steps.nope.body }}"})
    kept = (await http.put("/automation/x/draft", json=draft)).json()
    found = [(one["loc"], one["line"], one["column"], one["name"], one["fails"]) for one in kept["warnings"]]
    assert found == [
        (["body", "send", "headers", "X-Step"], 1, 4, "steps.nope.body", True),
        (["body", "send", "body"], 2, 10, "evnt.data.total", True),
        (["body", "send", "body"], 2, 38, "user.nmae", False),
    ]
    assert [one["msg"] for one in kept["warnings"]][1:] == [
        "line 2, column 10: nothing fills in evnt.data.total: rendering fails",
        "line 2, column 38: nothing fills in user.nmae: it prints nothing, or its default",
    ]
    assert (await http.get("/automation/x/draft")).json()["warnings"] == kept["warnings"]
    assert (await http.post("/automation/x/publish")).status_code == 200  # a warning is no refusal


async def test_a_preview_names_those_of_what_it_tries(http: httpx.AsyncClient) -> None:
    await http.post("/automation", json=simple('{"n": {{ evnt.id | default: 1 }}}') | {"uid": "x"})
    found = (await http.post("/automation/x/preview", json={"user": "ann"})).json()
    assert (len(found["requests"]), [warning["name"] for warning in found["warnings"]]) == (1, ["evnt.id"])
    changed = {"send": sending("{{ profile.attributes.any.thing | json }}")}
    found = (await http.post("/automation/x/preview", json={"user": "ann", "draft": changed})).json()
    assert found["warnings"] == []


EVERYTHING = (
    "{{ event.id }}{{ event.type }}{{ event.time }}{{ event.uid }}{{ event.user }}{{ event.data.x[0].y }}"
    "{{ event.headers.host }}{{ user.id }}{{ source.id }}{{ source.name }}{{ source.uid }}{{ profile.id }}"
    "{{ profile.attributes.a.b }}{{ profile.subscriptions.email }}{{ profile.timeZone }}{{ profile.locale }}"
    "{{ profile.devices[0].model }}{{ profile.createdTime }}{{ counts['order.paid'].count }}{{ segments.vip }}"
    "{{ local.weekday }}{{ now | date: '%s' }}{{ automation.name }}{{ delivery.id }}"
    "{% assign mine = 1 %}{{ mine }}{% for one in event.data.list %}{{ one.x }}{{ forloop.index }}{% endfor %}"
)

OF_STEPS = "{{ run.id }}{{ run.key }}{{ run.trigger }}{{ step.name }}"


async def test_every_fact_of_the_page_of_facts_is_known(http: httpx.AsyncClient) -> None:
    assert await named(http, simple(EVERYTHING)) == []
    assert await named(http, simple(OF_STEPS)) == ["run.id", "run.key", "run.trigger", "step.name"]
    step = {"type": "send", "name": "s", "send": sending(EVERYTHING + OF_STEPS)}
    assert await named(http, flowing(step)) == []


async def test_what_steps_bring_is_known_and_what_they_do_not_is_named(http: httpx.AsyncClient) -> None:
    asked = {"type": "send", "name": "asked", "waitForAnswer": True, "send": sending("{}")}
    told = {"type": "send", "name": "told", "send": sending("{}")}
    heard = {"type": "wait_for_event", "name": "heard", "eventTypes": ["a"], "seconds": 60}
    body = (
        "{{ steps.asked.body.x }}{{ steps.asked.status }}{{ steps.heard.event.data.x }}"
        "{{ steps.told.status }}{{ steps.asked.headers.x }}{{ steps.heard.status }}{{ run.kay }}"
    )
    last = {"type": "send", "name": "last", "send": sending(body)}
    expected = ["steps.told.status", "steps.asked.headers.x", "steps.heard.status", "run.kay"]
    assert await named(http, flowing(asked, told, heard, last)) == expected


async def test_keys_see_less_than_requests_and_steps_that_send_nothing_have_no_delivery(
    http: httpx.AsyncClient,
) -> None:
    key = {"type": "once_per_key", "key": "{{ event.data.plan }}{{ run.id }}{{ automation.id }}"}
    emit = {"type": "emit_event", "name": "e", "eventType": "b", "data": '{"n": {{ run.id }}, "d": {{ delivery.id }}}'}
    update = {"type": "update_profile", "name": "u", "changes": {"set": {"a": "{{ steps.e.x }}"}}}
    draft = flowing(emit, update) | {"eligibility": key}
    assert sorted(await named(http, draft)) == ["automation.id", "delivery.id", "run.id", "steps.e.x"]


async def test_a_connectors_inputs_are_looked_at_too(http: httpx.AsyncClient) -> None:
    await http.post("/secret", json={"name": "BOT", "value": "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"})
    inputs = {"chat_id": "{{ profile.attributes.telegram }}", "text": "Hi {{ prfile.id }}{{ delivery.id }}"}
    call = {"connector": "telegram", "credentials": {"token": "BOT"}, "inputs": inputs}
    assert await named(http, flowing({"type": "send", "name": "s", "connector": call})) == ["prfile.id"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{${first_name}}}{{${language}}}{{custom_attribute.${x}}}{{event_properties.${x}}}{{context.${x}}}", []),
        ("{{campaign.${name}}}{{campaign.${dispatch_id}}}{{canvas.${api_id}}}{{subscribed_state.${g}}}", []),
        ("{{most_recently_used_device.${model}}}{{targeted_device.${idfa}}}", ["targeted_device.${idfa}"]),
        ("{{card.${name}}}{{ card.id }}", ["card.${name}", "card.id"]),
        ("{{app.${name}}}{{canvas.${variant_name}}}", ["app.${name}", "canvas.${variant_name}"]),
        ("{% assign a = 1 %}{{a}}{{b}}", ["b"]),
    ],
)
async def test_names_of_the_braze_dialect_are_known_where_something_holds_them(
    http: httpx.AsyncClient, text: str, expected: list[str]
) -> None:
    assert await named(http, simple(text, dialect="braze", headers={"Content-Type": "text/plain"})) == expected
