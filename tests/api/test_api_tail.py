"""/api/v1/tail: the journal as it grows."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from served import World, build_world, receive, work_off

from posthorn.api.tail import follow
from posthorn.engine.records import RequestOutcome


async def opening(lines: AsyncIterator[str]) -> int:
    """Read the first line, and return where the tail begins."""
    async with asyncio.timeout(10):
        mark = json.loads(await anext(lines))
    assert mark["kind"] == "cursor"
    cursor: int = mark["cursor"]
    return cursor


async def next_row(lines: AsyncIterator[str]) -> dict[str, Any]:
    async with asyncio.timeout(10):
        async for line in lines:
            row: dict[str, Any] = json.loads(line)
            if row["kind"] != "cursor":
                return row
    raise AssertionError("the tail ended")


async def test_new_rows_arrive_in_the_order_in_which_they_became_durable(http: httpx.AsyncClient, world: World) -> None:
    await receive(world, b'{"before": true}')
    async with http.stream("GET", "/tail") as answer:
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        lines = answer.aiter_lines()
        await opening(lines)
        request = await receive(world, b'{"n": 1}')
        rows = [await next_row(lines), await next_row(lines)]
        assert [(row["kind"], row["id"]) for row in rows] == [("request", request.id), ("event", request.event)]
        app = (await http.post("/app", json={"name": "x"})).json()["id"]
        await http.post(f"/app/{app}/endpoint", json={"url": "https://example.com"})
        await world.publish(world.workspace, app, "a", b"{}")
        [attempt] = await work_off(world, succeed=True)
        rows = [await next_row(lines), await next_row(lines)]
        assert [row["kind"] for row in rows] == ["event", "attempt"]
        assert rows[1]["id"] == attempt


async def test_a_tail_goes_on_from_a_cursor_without_losing_a_row(http: httpx.AsyncClient, world: World) -> None:
    async with http.stream("GET", "/tail") as answer:
        lines = answer.aiter_lines()
        await opening(lines)
        made = [(await receive(world, b"{}")).id for _ in range(3)]
        first = await next_row(lines)
    assert first["id"] == made[0]
    async with http.stream("GET", f"/tail?after={first['cursor']}") as answer:
        lines = answer.aiter_lines()
        seen = []
        while made[-1] not in seen:
            seen.append((await next_row(lines))["id"])
    assert set(made[1:]) <= set(seen)


async def test_a_tail_that_breaks_before_its_first_row_is_taken_up_where_it_began(
    http: httpx.AsyncClient, world: World
) -> None:
    await receive(world, b'{"before": true}')
    async with http.stream("GET", "/tail") as answer:
        cursor = await opening(answer.aiter_lines())
    missed = await receive(world, b"{}")
    async with http.stream("GET", f"/tail?after={cursor}") as answer:
        lines = answer.aiter_lines()
        assert await opening(lines) == cursor
        rows = [await next_row(lines), await next_row(lines)]
    assert [row["id"] for row in rows] == [missed.id, missed.event]


async def test_the_last_row_of_a_page_moves_the_cursor_past_all_of_it(http: httpx.AsyncClient, world: World) -> None:
    async with http.stream("GET", "/tail") as answer:
        lines = answer.aiter_lines()
        await opening(lines)
        await receive(world, b"{}")
        await next_row(lines)
        last = await next_row(lines)
    later = await receive(world, b"{}")
    async with http.stream("GET", f"/tail?after={last['cursor']}") as answer:
        assert (await next_row(answer.aiter_lines()))["id"] == later.id


async def test_a_closing_server_ends_its_tails(http: httpx.AsyncClient, world: World) -> None:
    async with http.stream("GET", "/tail") as answer:
        world.closing.set()
        async with asyncio.timeout(10):
            [line] = [line async for line in answer.aiter_lines()]
    assert json.loads(line)["kind"] == "cursor"


async def test_a_silent_tail_gives_a_sign_of_life_that_says_where_it_stands() -> None:
    world = await build_world()
    closing = asyncio.Event()
    lines = follow(world.services.history, world.workspace, 0, closing=closing, clock=world.clock)
    assert await anext(lines) == b'{"kind":"cursor","cursor":0}\n'
    # What another workspace commits is not shown, and moves the cursor on.
    await receive(world, b"{}", workspace="ws_other", outcome=RequestOutcome.REJECTED, event=None)
    world.clock.advance(16)
    async with asyncio.timeout(10):
        mark = json.loads(await anext(lines))
    assert mark == {"kind": "cursor", "cursor": (await world.services.history.tail(world.workspace, None)).cursor}
    assert mark["cursor"] > 0
    closing.set()
    assert [line async for line in lines] == []


async def test_a_wrong_cursor_is_a_validation_error_and_no_broken_stream(http: httpx.AsyncClient) -> None:
    answer = await http.get("/tail?after=soon")
    assert answer.json()["detail"][0]["loc"] == ["query", "after"]
