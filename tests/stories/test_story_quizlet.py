"""Story 1: seven study modes, one rule, and Braze hears of each pair of person and mode exactly once."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from story_instants import at
from story_node import API_KEY
from story_pages import Page
from story_process import StoryProcess
from story_world import Begin, eventually
from vendor_street import Double, Street, vendor

from posthorn.testing.vendors import VENDORS

PAGE = Page("quizlet-study-modes")
MODES = ("learn", "test", "match", "write", "spell", "flashcards", "gravity")
Pair = tuple[str, str]


def random_events(seed: int, *, events: int, users: int) -> list[dict[str, Any]]:
    random = Random(seed)
    return [
        {
            "id": f"click-{number}",
            "type": "study_mode_selected",
            "user": f"u-{random.randrange(users)}",
            "data": {"mode": random.choice(MODES)},
        }
        for number in range(events)
    ]


def pair_of(event: dict[str, Any]) -> Pair:
    return event["user"], event["data"]["mode"]


def told(braze: Double) -> dict[Pair, set[bytes]]:
    """Return the pairs that Braze was told of, each with the different requests that told of it."""
    found: dict[Pair, set[bytes]] = defaultdict(set)
    for received, body in zip(braze.received, braze.bodies, strict=True):
        [event] = body["events"]
        assert event["name"] == "study_mode_selected"
        found[event["external_id"], event["properties"]["mode"]].add(received.body)
    return found


async def test_the_page_holds(begin: Begin) -> None:
    world = await begin(at("2026-11-22T10:00+00:00"))
    braze = await world.vendor(vendor("braze"), BRAZE_KEY="api_key")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    await world.follow(PAGE, "Try it first")
    assert braze.received == []
    await world.follow(PAGE, "Let it happen")
    await world.follow(PAGE, "Let it happen")
    await world.quiet()
    await world.follow(PAGE, "Why")
    await world.follow(Page("README"), "Before you change a rule")
    await world.happen("study_mode_selected", "u-17", {"mode": "match"})
    await world.quiet()
    assert [body["events"][0]["properties"] for body in braze.bodies] == [{"mode": "learn"}, {"mode": "match"}]


async def test_random_clicks_of_many_people_give_each_pair_once_and_nothing_twice(begin: Begin) -> None:
    world = await begin(at("2026-11-22T10:00+00:00"))
    braze = await world.vendor(vendor("braze"), BRAZE_KEY="api_key")
    await world.follow(PAGE, "Prepare")
    await world.follow(PAGE, "The automation")
    events = random_events(1, events=1_000, users=60)
    for first in range(0, len(events), 100):
        assert (await world.http.post("/event", json=events[first : first + 100])).is_success
    await world.quiet()
    pairs = {pair_of(event) for event in events}
    assert set(told(braze)) == pairs
    assert len(braze.received) == len(pairs)


class Killed:
    """Ten thousand clicks at a process that is killed several times, at moments that a seed chooses."""

    BATCH = 250

    def __init__(self, process: StoryProcess, braze: Double, *, seed: int, kills: int) -> None:
        self.events = random_events(seed, events=10_000, users=500)
        self.pairs = {pair_of(event) for event in self.events}
        self._moments = sorted(Random(seed).sample(range(100, len(self.pairs) - 100), kills))
        self._process = process
        self._braze = braze
        self._is_up = asyncio.Event()
        self._is_up.set()

    async def run(self) -> None:
        """Send everything, while the power goes again and again: intake, deciding and requests are under way."""
        sending = asyncio.create_task(self._send_all())
        for moment in self._moments:
            await self._told_of(moment)
            self._is_up.clear()
            await self._process.kill()
            await self._process.start()
            self._is_up.set()
        await sending

    async def _told_of(self, count: int) -> None:
        async def requests() -> int:
            return len(self._braze.received)

        await eventually(requests, lambda number: number >= count)

    async def _send_all(self) -> None:
        pairs: set[Pair] = set()
        for first in range(0, len(self.events), self.BATCH):
            batch = self.events[first : first + self.BATCH]
            await self._send(batch)
            pairs |= {pair_of(event) for event in batch}
            await self._told_of(len(pairs) * 3 // 4)  # so that every kill finds something of everything under way

    async def _send(self, batch: list[dict[str, Any]]) -> None:
        """Send until there is an answer. Events that had come in before are known by their ids."""
        while True:
            await self._is_up.wait()
            try:
                async with client(self._process) as http:
                    response = await http.post("/event", json=batch)
            except httpx.TransportError:
                continue
            assert response.is_success, response.text
            return


def client(process: StoryProcess) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {API_KEY}"}
    return httpx.AsyncClient(base_url=f"{process.url}/api/v1", headers=headers, trust_env=False, timeout=60)


async def configure(process: StoryProcess) -> None:
    """Type what the page says, with the key that the double of Braze wants."""
    async with client(process) as http:
        for typed in (*PAGE.section("Prepare"), *PAGE.section("The automation")):
            body = json.loads(typed.body or "null")
            if typed.path == "/secret":
                body["value"] = VENDORS["braze"].credentials["api_key"]
            assert (await http.request(typed.method, typed.path, json=body)).is_success


async def rows(http: httpx.AsyncClient, path: str, **query: str) -> list[Any]:
    found: list[Any] = []
    iterator: dict[str, str] = {}
    while True:
        page = (await http.get(path, params={"limit": "250", **query, **iterator})).json()
        found += page["data"]
        if page["done"]:
            return found
        iterator = {"iterator": page["iterator"]}


@pytest.fixture
async def killed(dsn: str | None, tmp_path: Path) -> AsyncIterator[tuple[Killed, StoryProcess, Double]]:
    street = Street(tmp_path)
    braze = await street.open(vendor("braze"), now_ms=at("2026-11-22T10:00+00:00"))
    process = StoryProcess(tmp_path / "data", dsn=dsn, ports=street.ports, ca_file=street.ca_file)
    await process.start()
    # Where nodes share a store, a dead one's leases run for some seconds more: fewer kills are as good there.
    yield Killed(process, braze, seed=20_261_122, kills=6 if dsn is None else 2), process, braze
    await process.kill()
    await street.close()
    assert street.problems == {}


async def test_ten_thousand_clicks_give_each_pair_once_however_often_the_server_is_killed(
    killed: tuple[Killed, StoryProcess, Double],
) -> None:
    load, process, braze = killed
    await configure(process)
    await load.run()
    pairs = load.pairs

    async with client(process) as http:

        async def outcomes() -> Counter[str]:
            return Counter(decision["reason"] for decision in await rows(http, "/decision"))

        # Each event leaves one decision, and the first of each pair fires: both are exact.
        expected = Counter(entered=len(pairs), fired_before=len(load.events) - len(pairs))
        assert await eventually(outcomes, lambda found: found.total() >= len(load.events)) == expected

        async def pending() -> list[Any]:
            return await rows(http, "/delivery", state="pending")

        assert await eventually(pending, lambda found: not found) == []
        assert len(await rows(http, "/delivery", state="delivered")) == len(pairs)
        clicks = Counter(event["user"] for event in load.events)
        for user in ("u-0", "u-250", "u-499"):
            profile = (await http.get(f"/profile/{user}")).json()
            assert profile["counters"]["study_mode_selected"]["count"] == clicks[user]

    # A request that was under way when the power went is made again with the same bytes, and no pair has two of them.
    found = told(braze)
    assert set(found) == pairs
    assert {pair: len(bodies) for pair, bodies in found.items() if len(bodies) > 1} == {}
