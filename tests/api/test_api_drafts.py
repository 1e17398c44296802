"""/api/v1/automation/{id}/draft and /publish: an automation is worked on while what is published goes on."""

from typing import Any

import httpx
import pytest
from served import World

from posthorn.engine.resources import Automation, AutomationVersion

SEND = {"type": "send", "name": "s", "send": {"url": "https://chat.test/{{ profile.id }}", "body": "{}"}}
DRAFT: dict[str, Any] = {
    "name": "Thank",
    "flow": {"triggers": [{"type": "event", "eventType": "order.paid"}], "steps": [SEND]},
}
BROKEN: dict[str, Any] = DRAFT | {"eligibility": {"type": "once_per_key", "key": "a\n{{ event. }}"}}
DEAR = {"field": "event.data.total", "operator": "gt", "value": 10}


def listening(world: World) -> list[str | None]:
    return [automation.uid for automation in world.directory.automations_for(world.workspace, "order.paid")]


async def test_what_was_never_published_is_a_draft_and_lets_nobody_in(http: httpx.AsyncClient, world: World) -> None:
    kept = await http.put("/automation/thank/draft", json=DRAFT)
    assert (kept.status_code, kept.json()["basedOn"], kept.json()["problems"]) == (201, 0, [])
    automation = (await http.get("/automation/thank")).json()
    assert (automation["state"], automation["version"], automation["enabled"], automation["flow"]) == (
        "draft", 0, False, None,
    )  # fmt: skip
    assert [row["uid"] for row in (await http.get("/automation")).json()["data"]] == ["thank"]
    assert listening(world) == []
    switched = await http.patch("/automation/thank", json={"enabled": True})
    assert (switched.status_code, switched.json()["detail"][0]["loc"]) == (422, ["body", "enabled"])
    assert "publish" in switched.json()["detail"][0]["msg"]


async def test_publishing_makes_the_first_version_and_switches_it_on(http: httpx.AsyncClient, world: World) -> None:
    await http.put("/automation/thank/draft", json=DRAFT)
    published = await http.post("/automation/thank/publish")
    automation = published.json()
    assert (published.status_code, automation["state"], automation["version"]) == (200, "published", 1)
    assert listening(world) == ["thank"]
    assert (await http.get("/automation/thank/draft")).status_code == 404
    assert (await http.post("/automation/thank/publish")).status_code == 404


async def test_a_draft_changes_nothing_until_it_is_published(http: httpx.AsyncClient, world: World) -> None:
    await http.put("/automation/thank", json=DRAFT)
    kept = await http.put("/automation/thank/draft", json=DRAFT | {"name": "Thank the dear", "conditions": DEAR})
    assert (kept.status_code, kept.json()["basedOn"], kept.json()["conditions"]) == (200, 1, DEAR)
    before = (await http.get("/automation/thank")).json()
    assert (before["name"], before["version"], before["conditions"]) == ("Thank", 1, None)
    after = (await http.post("/automation/thank/publish")).json()
    assert (after["name"], after["version"], after["conditions"]) == ("Thank the dear", 2, DEAR)
    assert listening(world) == ["thank"]


async def test_publishing_leaves_a_paused_automation_paused(http: httpx.AsyncClient, world: World) -> None:
    await http.put("/automation/thank", json=DRAFT | {"enabled": False})
    assert (await http.get("/automation/thank")).json()["state"] == "paused"
    await http.put("/automation/thank/draft", json=DRAFT | {"conditions": DEAR})
    after = (await http.post("/automation/thank/publish")).json()
    assert (after["state"], after["version"]) == ("paused", 2)
    assert listening(world) == []


async def test_an_unfinished_draft_is_kept_and_refused_only_when_it_is_published(
    http: httpx.AsyncClient, world: World
) -> None:
    kept = (await http.put("/automation/thank/draft", json={"name": "Thank"})).json()
    assert [problem["loc"] for problem in kept["problems"]] == [["body", "trigger"]]
    kept = (await http.put("/automation/thank/draft", json=BROKEN)).json()
    assert [(problem["loc"], problem["type"]) for problem in kept["problems"]] == [
        (["body", "eligibility", "key"], "template_syntax")
    ]
    assert "line 2" in kept["problems"][0]["msg"]
    assert (await http.get("/automation/thank/draft")).json() == kept
    refused = await http.post("/automation/thank/publish")
    assert (refused.status_code, refused.json()["detail"]) == (422, kept["problems"])
    assert (await http.get("/automation/thank")).json()["state"] == "draft"
    assert (await http.get("/automation/thank/draft")).json() == kept
    assert listening(world) == []


async def test_a_draft_of_a_version_that_is_gone_is_not_published(http: httpx.AsyncClient) -> None:
    await http.put("/automation/thank", json=DRAFT)
    await http.put("/automation/thank/draft", json=DRAFT | {"conditions": DEAR})
    await http.patch("/automation/thank", json={"eligibility": {"type": "once"}})
    refused = await http.post("/automation/thank/publish")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "version 2" in refused.json()["detail"]
    await http.put("/automation/thank/draft", json=DRAFT | {"conditions": DEAR})
    assert (await http.post("/automation/thank/publish")).json()["version"] == 3


async def test_a_dropped_draft_is_forgotten_and_the_automation_stays(http: httpx.AsyncClient) -> None:
    await http.put("/automation/thank", json=DRAFT)
    await http.put("/automation/thank/draft", json=DRAFT | {"conditions": DEAR})
    assert (await http.delete("/automation/thank/draft")).status_code == 204
    assert (await http.get("/automation/thank/draft")).status_code == 404
    assert (await http.delete("/automation/thank/draft")).status_code == 404
    assert (await http.get("/automation/thank")).json()["version"] == 1


async def test_editing_the_automation_keeps_its_draft(http: httpx.AsyncClient) -> None:
    await http.put("/automation/thank", json=DRAFT)
    kept = (await http.put("/automation/thank/draft", json=DRAFT | {"conditions": DEAR})).json()
    await http.put("/automation/thank", json=DRAFT | {"name": "Say thank you"})
    await http.post("/automation/thank/secret/rotate")
    assert (await http.get("/automation/thank/draft")).json() == kept


async def test_a_kept_draft_is_tried_like_what_is_published(http: httpx.AsyncClient) -> None:
    trial = {"user": "ann", "type": "order.paid", "data": {"total": 3}}
    await http.put("/automation/thank/draft", json=DRAFT)
    assert len((await http.post("/automation/thank/preview", json=trial)).json()["requests"]) == 1  # its only form
    await http.post("/automation/thank/publish")
    await http.put("/automation/thank/draft", json=DRAFT | {"conditions": DEAR})
    assert len((await http.post("/automation/thank/preview", json=trial)).json()["requests"]) == 1
    found = (await http.post("/automation/thank/preview", json=trial | {"draft": True})).json()
    assert [decision["reason"] for decision in found["decisions"]] == ["condition_failed"]
    assert (await http.post("/automation/thank/simulate", json={"days": 1, "draft": True})).status_code == 200
    await http.delete("/automation/thank/draft")
    assert (await http.post("/automation/thank/preview", json=trial | {"draft": True})).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("new", {}, 422),
        ("new", {"flow": {"steps": [{"type": "sned", "name": "s"}]}, "name": "x"}, 422),
        ("new", {"name": "x", "enabled": True}, 422),
        ("not a uid", {"name": "x"}, 422),
        ("auto_2cYzKz5XbBJ5vBbVvFyVvVvVvVv", {"name": "x"}, 404),
    ],
)
async def test_a_draft_of_the_wrong_shape_is_refused(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    assert (await http.put(f"/automation/{path}/draft", json=body)).status_code == status
    assert (await http.get("/automation")).json()["data"] == []


async def test_an_automation_remembers_when_it_was_published_paused_and_resumed(
    http: httpx.AsyncClient, world: World
) -> None:
    await http.put("/automation/thank/draft", json=DRAFT)
    await http.post("/automation/thank/publish")
    await http.patch("/automation/thank", json={"enabled": False})
    await http.patch("/automation/thank", json={"name": "Thanks"})
    await http.put("/automation/thank", json=DRAFT | {"conditions": DEAR})
    await http.put("/automation/thank", json=DRAFT | {"conditions": DEAR, "name": "Thank you"})
    [automation] = world.directory.every(Automation)
    assert [(turn.version, turn.enabled) for turn in automation.turns] == [
        (0, False), (1, True), (1, False), (2, True),
    ]  # fmt: skip
    times = [turn.at_ms for turn in automation.turns]
    assert times == sorted(set(times))
    [kept] = world.directory.every(AutomationVersion)
    assert kept.automation.turns == ()
