"""/api/v1/automation/{id}/preview and /simulate: the truth about real people, with nothing stored and nothing sent."""

from typing import Any

import httpx
import msgspec
import pytest
from deciding_node import DecidingNode
from served import World

from posthorn.clock import DAY_MS, SECOND_MS
from posthorn.engine.journal import DecisionQuery, EventQuery
from posthorn.engine.people import ProfileChange
from posthorn.engine.records import Append, Event
from posthorn.testing.factories import a_request

SEND = {"type": "send", "name": "tell", "send": {"url": "https://chat.test/{{ profile.id }}", "body": "{}"}}
CREDIT = {
    "type": "send",
    "name": "credit",
    "send": {"url": "https://air.test/{{ profile.attributes.phone }}", "body": "{{ counts.flight.count }}"},
}
FIFTH: dict[str, Any] = {
    "name": "Fifth flight",
    "conditions": {"field": "profile.attributes.phone", "operator": "exists", "value": True},
    "eligibility": {"type": "once"},
    "flow": {"triggers": [{"type": "count", "eventType": "flight", "count": 5}], "steps": [CREDIT]},
}
ASK: dict[str, Any] = {
    "name": "Ask",
    "flow": {
        "triggers": [{"type": "event", "eventType": "flight"}],
        "steps": [
            {
                "type": "send_all",
                "name": "both",
                "sends": [
                    {"type": "send", "name": "ask", "send": {"url": "https://a.test/"}, "waitForAnswer": True},
                    {"type": "send", "name": "say", "send": {"url": "https://b.test/"}},
                ],
            },
            {
                "type": "send",
                "name": "tell",
                "send": {"url": "https://c.test/{{ steps.ask.status }}/{{ steps.ask.body | default: 'none' }}"},
            },
        ],
    },
}


async def kept(world: World) -> list[Any]:
    """All that a rehearsal could leave behind."""
    events = await world.store.events(EventQuery(workspace=world.workspace, limit=250))
    decisions = await world.store.decisions(DecisionQuery(workspace=world.workspace, limit=250))
    lanes = await world.store.ready(range(256), after_ms=None, now_ms=world.clock.now_ms())
    return [world.store.figures()["commits"], events.rows, decisions.rows, lanes]


async def tried(world: World, http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Rehearse, and see that nothing is left of it."""
    before = await kept(world)
    answer = await http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert await kept(world) == before
    return dict(answer.json())


async def flown(world: World, user: str, flights: int, phone: str | None = None) -> list[str]:
    node = DecidingNode(world)
    if phone is not None:
        await node.happen("identify", user, change=ProfileChange(set={"phone": phone}))
    return [await node.happen("flight", user) for _ in range(flights)]


def urls(found: dict[str, Any]) -> list[str]:
    return [sample["request"]["url"] for sample in found["samples"]]


@pytest.mark.parametrize("is_published", [False, True])
async def test_a_draft_is_tried_on_real_people_before_and_after_it_is_published(
    world: World, http: httpx.AsyncClient, is_published: bool
) -> None:
    assert (await http.put("/automation/fifth/draft", json=FIFTH)).status_code == 201
    if is_published:
        assert (await http.post("/automation/fifth/publish")).status_code == 200
        assert (await http.patch("/automation/fifth", json={"enabled": False})).status_code == 200
    await flown(world, "ann", 4, phone="1")
    await flown(world, "bob", 4)
    found = await tried(world, http, "/automation/fifth/preview", {"user": "ann", "type": "flight"})
    assert [(request["url"], request["body"]) for request in found["requests"]] == [("https://air.test/1", "5")]
    found = await tried(world, http, "/automation/fifth/preview", {"user": "bob", "type": "flight"})
    assert [decision["reason"] for decision in found["decisions"]] == ["condition_failed"]
    await DecidingNode(world).happen("flight", "ann")
    found = await tried(world, http, "/automation/fifth/simulate", {"days": 1})
    assert (urls(found), found["requests"], found["isCut"]) == (["https://air.test/1"], 1, False)
    assert found["since"] < found["samples"][0]["at"] < found["until"]


async def test_counters_of_a_simulation_begin_with_what_was_before_it(world: World, http: httpx.AsyncClient) -> None:
    await flown(world, "ann", 4, phone="1")
    await flown(world, "bob", 5, phone="2")
    world.clock.advance(2 * DAY_MS / SECOND_MS)
    await flown(world, "ann", 1)
    await flown(world, "bob", 1)
    await http.put("/automation/fifth/draft", json=FIFTH)
    assert urls(await tried(world, http, "/automation/fifth/simulate", {"days": 1})) == ["https://air.test/1"]
    assert len(urls(await tried(world, http, "/automation/fifth/simulate", {"days": 3}))) == 2


async def test_a_preview_of_an_event_that_was_counted_counts_it_once_and_says_that_it_fired(
    world: World, http: httpx.AsyncClient
) -> None:
    await http.put("/automation/fifth", json=FIFTH)
    events = await flown(world, "ann", 5, phone="1")
    found = await tried(world, http, "/automation/fifth/preview", {"eventId": events[-1]})
    assert [decision["reason"] for decision in found["decisions"]] == ["fired_before"]
    always = {"eventId": events[-1], "draft": {"eligibility": {"type": "always"}}}
    found = await tried(world, http, "/automation/fifth/preview", always)
    assert [request["body"] for request in found["requests"]] == ["5"]


async def test_a_preview_shows_what_an_event_does_to_the_runs_of_its_person(
    world: World, http: httpx.AsyncClient
) -> None:
    wait = {"type": "wait", "name": "wait", "seconds": 60}
    flow = {"triggers": [{"type": "event", "eventType": "flight"}], "steps": [wait, SEND], "exitOn": ["paid"]}
    await http.put("/automation/f", json={"name": "F", "flow": flow})
    await flown(world, "ann", 1)
    found = await tried(world, http, "/automation/f/preview", {"user": "ann", "type": "paid"})
    assert [(step["what"], step["detail"]) for step in found["path"]] == [("exited", "paid ended it")]
    found = await tried(world, http, "/automation/f/preview", {"user": "bob", "type": "paid"})
    assert found["path"] == []


async def test_a_preview_sees_the_person_that_an_id_was_merged_into(world: World, http: httpx.AsyncClient) -> None:
    await http.put("/automation/fifth/draft", json=FIFTH)
    await flown(world, "ann", 3, phone="1")
    await flown(world, "anonymous", 1)
    await DecidingNode(world).happen("alias", "anonymous", change=ProfileChange(merge_into="ann"))
    found = await tried(world, http, "/automation/fifth/preview", {"user": "anonymous", "type": "flight"})
    assert [(request["url"], request["body"]) for request in found["requests"]] == [("https://air.test/1", "5")]


async def test_rehearsals_say_that_they_fetch_no_content(world: World, http: httpx.AsyncClient) -> None:
    body = "{% connected_content https://prices.test/ :save price %}{{ price.now | default: 'unknown' }}"
    send = {"url": "https://chat.test/", "body": body, "dialect": "braze"}
    await http.put("/automation/f", json={"name": "F", "trigger": {"eventType": "flight"}, "send": send})
    await flown(world, "ann", 1)
    found = await tried(world, http, "/automation/f/preview", {"user": "ann"})
    assert [request["body"] for request in found["requests"]] == ['"unknown"']
    assert "connected_content" in found["notes"][0]
    found = await tried(world, http, "/automation/f/simulate", {})
    assert "connected_content" in found["notes"][0]


async def test_a_simulation_answers_what_runs_wait_for_as_it_is_told(world: World, http: httpx.AsyncClient) -> None:
    await http.put("/automation/ask/draft", json=ASK)
    await flown(world, "ann", 1)
    found = await tried(world, http, "/automation/ask/simulate", {})
    assert urls(found)[2:] == ["https://c.test/200/none"]
    assert "status 200" in found["notes"][0]
    answers = {"ask": {"status": 503, "body": "busy"}}
    found = await tried(world, http, "/automation/ask/simulate", {"answers": answers})
    assert urls(found)[2:] == ["https://c.test/503/busy"]
    for wrong, place in (({"say": {}}, "body.answers.say"), ({"ask": {"status": 99}}, "status")):
        refused = await http.post("/automation/ask/simulate", json={"answers": wrong})
        assert refused.status_code == 422
        assert place in ".".join(map(str, refused.json()["detail"][0]["loc"]))
    assert "these do: ask" in (await http.post("/automation/ask/simulate", json={"answers": {"say": {}}})).text


async def test_rehearsals_see_the_headers_of_captured_requests(world: World, http: httpx.AsyncClient) -> None:
    conditions = {"field": "event.headers.x-kind", "operator": "eq", "value": "new"}
    automation = {"name": "F", "trigger": {"eventType": "flight"}, "send": {"url": "https://chat.test/"}}
    await http.put("/automation/f", json=automation | {"conditions": conditions})
    now_ms = world.clock.now_ms()
    request = a_request(workspace=world.workspace, received_ms=now_ms, head=b"X-Kind: new\r\n", body=b"{}")
    fields = {"id": "evt_captured", "type": "flight", "user": "ann", "request": request.id}
    event = msgspec.convert(
        fields | {"workspace": world.workspace, "occurred_ms": now_ms, "received_ms": now_ms}, Event
    )
    await world.store.append([Append(request=request, event=event, profile=f"{world.workspace}/user/ann")])
    found = await tried(world, http, "/automation/f/preview", {"eventId": event.id})
    assert [decision["reason"] for decision in found["decisions"]] == ["matched"]
    assert (await tried(world, http, "/automation/f/simulate", {}))["requests"] == 1


@pytest.mark.parametrize(
    "sends",
    [
        {"trigger": {"eventType": "flight"}, "send": {"url": "https://chat.test/{{ user.id }}"}},
        {"flow": {"triggers": [{"type": "event", "eventType": "flight"}], "steps": [SEND]}},
    ],
)
async def test_requests_of_a_simulation_are_received_where_eligibility_counts_that(
    world: World, http: httpx.AsyncClient, sends: dict[str, Any]
) -> None:
    rule = {"type": "once", "countsFrom": "receipt"}
    assert (await http.put("/automation/r/draft", json={"name": "R", "eligibility": rule} | sends)).status_code == 201
    await flown(world, "ann", 3)
    await flown(world, "bob", 3)
    found = await tried(world, http, "/automation/r/simulate", {"days": 1})
    assert (sorted(urls(found)), found["outcomes"]["not_eligible/fired_before"]) == (
        ["https://chat.test/ann", "https://chat.test/bob"],
        4,
    )
