"""Content blocks over the API: pieces of the workspace that templates of the Braze dialect include."""

from typing import Any

import httpx
import msgspec
import pytest
from deciding_node import DecidingNode
from served import World

from posthorn.engine.records import OutgoingRequest

BLOCKS = {"greeting": "Hi {{${first_name} | default: 'you'}}", "signed": "{{content_blocks.${greeting}}}, yours"}


def including(block: str, **parts: Any) -> dict[str, Any]:
    send = {"url": "https://chat.test/x", "dialect": "braze", "body": '{"text": "{{content_blocks.${' + block + '}}}"}'}
    return {"name": "Greet", "trigger": {"eventType": "signed_up"}, "send": send} | parts


def flowing(block: str) -> dict[str, Any]:
    send = including(block)["send"]
    steps = [{"type": "wait", "name": "later", "seconds": 60}, {"type": "send", "name": "tell", "send": send}]
    flow = {"triggers": [{"type": "event", "eventType": "signed_up"}], "steps": steps, "inFlight": "stay"}
    return {"name": "Greet later", "flow": flow}


async def set_blocks(http: httpx.AsyncClient, blocks: dict[str, str | None] | None) -> httpx.Response:
    return await http.patch("/workspace", json={"contentBlocks": blocks})


def sent_texts(world: World) -> list[str | None]:
    """Return the bodies that were queued, the oldest first."""
    rows = [row for _, row in sorted(world.store._tables.deliveries.items())]
    return [msgspec.json.decode(row.rendered.shown, type=OutgoingRequest).body for row in rows if row.rendered]


async def test_blocks_that_are_named_are_set_and_null_removes_one(http: httpx.AsyncClient) -> None:
    assert (await http.get("/workspace")).json()["contentBlocks"] == {}
    made = await set_blocks(http, dict(BLOCKS))
    assert (made.status_code, made.json()["contentBlocks"]) == (200, BLOCKS)
    changed = await set_blocks(http, {"signed": None, "other": "x"})
    assert changed.json()["contentBlocks"] == {"greeting": BLOCKS["greeting"], "other": "x"}
    renamed = await http.patch("/workspace", json={"name": "Shop"})
    assert renamed.json()["contentBlocks"] == changed.json()["contentBlocks"]
    assert (await set_blocks(http, None)).json()["contentBlocks"] == {}
    assert (await http.get("/workspace")).json()["contentBlocks"] == {}


async def test_a_changed_block_takes_effect_in_the_next_decision(http: httpx.AsyncClient, world: World) -> None:
    node = DecidingNode(world)
    await set_blocks(http, dict(BLOCKS))
    made = await http.post("/automation", json=including("signed"))
    assert made.status_code == 201, made.text
    await node.happen("signed_up", "ann")
    assert (await set_blocks(http, {"greeting": "Hello"})).status_code == 200
    await node.happen("signed_up", "ann")
    assert sent_texts(world) == ['{"text": "Hi you, yours"}', '{"text": "Hello, yours"}']
    assert (await http.get(f"/automation/{made.json()['id']}")).json()["version"] == 1


async def test_a_run_that_waits_goes_on_with_the_block_as_it_is_then(http: httpx.AsyncClient, world: World) -> None:
    node = DecidingNode(world)
    await set_blocks(http, dict(BLOCKS))
    assert (await http.post("/automation", json=flowing("greeting") | {"uid": "f"})).status_code == 201
    await node.happen("signed_up", "ann")
    assert (await set_blocks(http, {"greeting": "Hello"})).status_code == 200
    assert (await http.patch("/automation/f", json=flowing("signed"))).json()["version"] == 2
    world.clock.advance(61)
    await node.decide()
    assert sent_texts(world) == ['{"text": "Hello"}']


async def test_a_preview_shows_the_block_as_it_is(http: httpx.AsyncClient) -> None:
    await set_blocks(http, dict(BLOCKS))
    await http.post("/automation", json=including("signed") | {"uid": "greet"})
    shown = (await http.post("/automation/greet/preview", json={"user": "ann"})).json()
    assert [request["body"] for request in shown["requests"]] == ['{"text": "Hi you, yours"}']


@pytest.mark.parametrize(
    ("blocks", "name", "message"),
    [
        ({"a b": "x"}, "a b", "1 to 100 of the characters"),
        ({"": "x"}, "", "1 to 100 of the characters"),
        ({"x" * 101: "x"}, "x" * 101, "1 to 100 of the characters"),
        ({"a": "é" * 25_601}, "a", "51,202 bytes; a content block has 51,200 at most"),
        ({"a": "one\n  {{ ${first_name} | nope }}"}, "a", "line 2, column 22: unknown filter"),
        ({"a": "{% if true %}"}, "a", "line 1, column 1: "),
        ({"a": "x {{content_blocks.${b}}}"}, "a", "line 1, column 3: unknown content block 'b'"),
        ({"a": "{{content_blocks.${a}}}"}, "a", "would include itself: a → a"),
        ({"a": "{% catalog_items x 1 %}"}, "a", "the tag 'catalog_items' is not available"),
        ({"a": "{{secrets.${TOKEN}}}"}, "a", "there is no secret named TOKEN; create it first"),
    ],
)
async def test_a_wrong_block_is_refused_at_its_place(
    http: httpx.AsyncClient, blocks: dict[str, str | None], name: str, message: str
) -> None:
    refused = await set_blocks(http, blocks)
    assert refused.status_code == 422, refused.text
    [problem] = refused.json()["detail"]
    assert problem["loc"] == ["body", "contentBlocks", name]
    assert message in problem["msg"]
    assert (await http.get("/workspace")).json()["contentBlocks"] == {}


async def test_blocks_that_include_each_other_in_a_circle_are_refused(http: httpx.AsyncClient) -> None:
    refused = await set_blocks(http, {"a": "{{content_blocks.${b}}}", "b": "\n{{content_blocks.${a}}}"})
    found = {problem["loc"][-1]: problem["msg"] for problem in refused.json()["detail"]}
    assert "would include itself: a → b → a" in found["a"]
    assert "would include itself: b → a → b" in found["b"]


async def test_a_third_level_of_blocks_is_refused_wherever_it_comes_about(http: httpx.AsyncClient) -> None:
    await set_blocks(http, {"c": "x", "b": "{{content_blocks.${c}}}", "a": "y"})
    refused = await set_blocks(http, {"a": "{{content_blocks.${b}}}"})
    [problem] = refused.json()["detail"]
    assert (problem["loc"][-1], "nest 2 deep at most: a → b → c" in problem["msg"]) == ("a", True)
    await set_blocks(http, {"a": "{{content_blocks.${c}}}"})
    from_below = await set_blocks(http, {"c": "{{content_blocks.${d}}}", "d": "x"})
    assert {problem["loc"][-1] for problem in from_below.json()["detail"]} == {"a", "b"}


async def test_too_many_blocks_and_too_much_text_are_refused(http: httpx.AsyncClient) -> None:
    many = await set_blocks(http, {f"b{number}": "x" for number in range(201)})
    assert (many.status_code, "200 at most" in many.text) == (422, True)
    large = await set_blocks(http, {f"b{number}": "x" * 51_200 for number in range(21)})
    assert (large.status_code, "1,048,576 at most" in large.text) == (422, True)


async def test_a_block_that_an_automation_or_a_block_includes_is_not_removed(http: httpx.AsyncClient) -> None:
    await set_blocks(http, dict(BLOCKS))
    assert (await http.post("/automation", json=including("signed", enabled=False) | {"uid": "greet"})).is_success
    refused = await set_blocks(http, {"signed": None})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    cause = "the automation 'Greet' would no longer work: send.body: line 1, column 11: unknown content block 'signed'"
    assert cause in refused.json()["detail"]
    assert (await set_blocks(http, None)).status_code == 409
    within = await set_blocks(http, {"greeting": None})
    assert [problem["loc"] for problem in within.json()["detail"]] == [["body", "contentBlocks", "signed"]]
    assert (await http.get("/workspace")).json()["contentBlocks"] == BLOCKS
    await http.delete("/automation/greet")
    assert (await set_blocks(http, None)).status_code == 200


async def test_a_text_that_is_wrong_only_where_it_is_included_is_refused(http: httpx.AsyncClient) -> None:
    await set_blocks(http, {"trace": "x"})
    headed = including("trace")["send"] | {"headers": {"X-Trace": "{{content_blocks.${trace}}}"}, "body": "{}"}
    assert (await http.post("/automation", json=including("trace", send=headed))).status_code == 201
    refused = await set_blocks(http, {"trace": "x\ny"})
    assert (refused.status_code, "send.headers.X-Trace" in refused.text) == (409, True)


async def test_a_version_that_is_kept_for_its_runs_keeps_its_block(http: httpx.AsyncClient) -> None:
    await set_blocks(http, {"old": "x", "new": "y"})
    await http.post("/automation", json=flowing("old") | {"uid": "f"})
    assert (await http.patch("/automation/f", json=flowing("new"))).json()["version"] == 2
    refused = await set_blocks(http, {"old": None})
    assert (refused.status_code, "version 1 of the automation 'Greet later'" in refused.json()["detail"]) == (409, True)
    assert (await set_blocks(http, {"old": ""})).status_code == 200


async def test_an_automation_with_an_unknown_block_is_refused(http: httpx.AsyncClient) -> None:
    refused = await http.post("/automation", json=including("nowhere"))
    [problem] = refused.json()["detail"]
    assert (problem["loc"], "unknown content block 'nowhere'" in problem["msg"]) == (["body", "send", "body"], True)
