"""What a story happens in: a node, the vendors, and somebody who types what the tutorial says."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from story_clock import StoryClock
from story_node import API_KEY, StoryNode
from story_pages import Page, Typed, missing
from vendor_street import Double, Street

from posthorn.testing.vendors import Vendor

Answered = TypeVar("Answered")
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.02


async def eventually(ask: Callable[[], Awaitable[Answered]], holds: Callable[[Answered], bool]) -> Answered:
    """Ask until the answer is as wished. Raises AssertionError with the last answer."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while True:
        answered = await ask()
        if holds(answered):
            return answered
        assert asyncio.get_running_loop().time() < deadline, f"it stays {answered!r}"
        await asyncio.sleep(_LOOK_SECONDS)


class StoryWorld:
    """A node, a street of vendors, and the API."""

    def __init__(self, folder: Path, *, start_ms: int, dsn: str | None) -> None:
        self.clock = StoryClock(start_ms)
        self.street = Street(folder)
        self.secrets: dict[str, str] = {}  #: what is typed in place of the values that a page makes up
        self._ports: dict[str, int] = {}
        self._kept: dict[str, str] = {}
        self.node = StoryNode(
            data=folder / "data", dsn=dsn, clock=self.clock, ports=self._ports, ca_file=self.street.ca_file
        )

    async def start(self) -> None:
        await self.node.start()
        headers = {"authorization": f"Bearer {API_KEY}"}
        self.http = httpx.AsyncClient(base_url=f"{self.node.url}/api/v1", headers=headers, trust_env=False, timeout=30)

    async def stop_node(self) -> None:
        await self.http.aclose()
        await self.node.stop()

    async def stop(self) -> None:
        await self.stop_node()
        await self.street.close()

    async def leaks(self) -> list[str]:
        """Return what the journal and the runs show of stored secrets, as they are or in a URL."""
        rows = await self.rows("/attempt", with_content="true")
        rows += [row for path in ("/delivery", "/decision") for row in await self.rows(path)]
        for automation in await self.rows("/automation"):
            for run in await self.rows(f"/automation/{automation['id']}/run"):
                rows.append(await self.get(f"/run/{run['id']}"))
        shown = json.dumps(rows, ensure_ascii=False)
        return [name for name, value in self.secrets.items() if value in shown or quote(value, safe="") in shown]

    async def vendor(self, vendor: Vendor, **secrets: str) -> Double:
        """Open a vendor; `secrets` names which of its credentials the page stores under which name."""
        double = await self.street.open(vendor, now_ms=self.clock.now_ms())
        self._ports[vendor.host] = double.port
        self.secrets |= {name: vendor.credentials[credential] for name, credential in secrets.items()}
        return double

    async def follow(self, page: Page, heading: str) -> list[httpx.Response]:
        """Type what a page says under a heading, and check that each answer is what it shows."""
        return [await self.type(typed) for typed in page.section(heading)]

    async def type(self, typed: Typed) -> httpx.Response:
        if not typed.shown:
            return await self._asked(typed)

        async def shows() -> tuple[httpx.Response, list[str]]:
            response = await self._asked(typed)
            return response, missing(typed.shown, response.text)

        # What a page shows is there a moment after it was caused; who types is slower than this test.
        response, _ = await eventually(shows, lambda answered: not answered[1] or typed.method != "GET")
        assert missing(typed.shown, response.text) == [], response.text
        return response

    async def _asked(self, typed: Typed) -> httpx.Response:
        path, body = typed.path, typed.body
        for name, value in self._kept.items():
            path = path.replace(f"${name}", value)
        if path == "/secret" and body is not None:
            named = json.loads(body)
            body = json.dumps(named | {"value": self.secrets.get(named["name"], named["value"])})
        headers = {"content-type": "application/json"} if body is not None else {}
        response = await self.http.request(typed.method, path, content=body, headers=headers)
        assert response.is_success, f"{typed.method} {path}: {response.status_code} {response.text}"
        if typed.kept_as is not None:
            name, field = typed.kept_as
            self._kept[name] = response.json()[field]
        return response

    async def get(self, path: str, **query: str) -> Any:
        response = await self.http.get(path, params=query)
        assert response.is_success, response.text
        return response.json()

    async def rows(self, path: str, **query: str) -> list[Any]:
        """Return all rows of a list, over all of its pages."""
        rows: list[Any] = []
        page = await self.get(path, limit="250", **query)
        rows += page["data"]
        while not page["done"]:
            page = await self.get(path, limit="250", iterator=page["iterator"], **query)
            rows += page["data"]
        return rows

    async def happen(self, event_type: str, user: str, data: object = None, **fields: Any) -> str:
        """Tell of an event, and wait until it is decided."""
        event = {"type": event_type, "user": user, "data": data if data is not None else {}, **fields}
        response = await self.http.post("/event", json=event)
        assert response.is_success, response.text
        identifier: str = response.json()["id"]
        await self.quiet(deliveries=False)
        return identifier

    async def person(self, user: str, **change: Any) -> None:
        """Change what is known of a person, and wait until it is."""
        response = await self.http.patch(f"/profile/{user}", json=change)
        assert response.is_success, response.text
        await self.quiet(deliveries=False)

    async def pass_time(self, seconds: float) -> None:
        """Let hours pass at once, and what is due then be done."""
        self.clock.leap(seconds)
        await self.node.renew()
        await self.quiet()

    async def pass_until(self, at_ms: int) -> None:
        """Let time pass up to an instant."""
        await self.pass_time((at_ms - self.clock.now_ms()) / 1000)

    async def quiet(self, *, deliveries: bool = True) -> None:
        """Wait until nothing that is due waits to be decided, and none to be delivered."""

        async def waiting() -> list[Any]:
            undecided = await self.node.undecided()
            if undecided or not deliveries:
                return list(undecided)
            # Answers to what was delivered meanwhile may wait for their runs, so that is looked at once more.
            return [*await self.node.undelivered(), *await self.node.undecided()]

        await eventually(waiting, lambda found: not found)

    async def received(self, double: Double, count: int) -> None:
        """Wait until a vendor has received so many requests."""

        async def so_far() -> int:
            return len(double.received)

        await eventually(so_far, lambda number: number >= count)


Begin = Callable[[int], Awaitable[StoryWorld]]
"""Begins a story at an instant, ms."""
