"""The receiving side over the store in memory, driven as ASGI by hand."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

import msgspec

from posthorn.engine.directory import Directory
from posthorn.engine.hints import Hints
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.records import Append, AppendResult, CapturedRequest, Event
from posthorn.engine.resources import SealedSecret, Source
from posthorn.errors import StoreUnavailable, Unauthenticated
from posthorn.receive.braze.users import BrazeUsers
from posthorn.receive.cloudintake import CloudIntake
from posthorn.receive.events import Events
from posthorn.receive.http import Scope, header
from posthorn.receive.inbox import Inbox
from posthorn.receive.intake import Intake
from posthorn.receive.messages import Messages
from posthorn.receive.routing import Routing
from posthorn.receive.sources import CompiledSources
from posthorn.receive.tracking.tracking import Tracking
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.factories import WORKSPACE, a_source
from posthorn.testing.memory import MemoryStore
from posthorn.vault import KeyRing

API_KEY = b"Bearer a-key-of-the-default-workspace"


class MoodyStore(MemoryStore):
    """A store that can be down, or down from its second commit on."""

    commits_left: int | None = None

    async def append(self, units: Sequence[Append]) -> list[AppendResult]:
        if self.commits_left is not None:
            if self.commits_left <= 0:
                raise StoreUnavailable("disk full")
            self.commits_left -= 1
        return await super().append(units)


@dataclass(frozen=True)
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def problems(self) -> list[tuple[list[Any], str]]:
        return [(problem["loc"], problem["type"]) for problem in self.json["detail"]]


class Call:
    """One ASGI call. `parts` are the pieces of the body; None is a disconnect."""

    def __init__(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], parts: Sequence[bytes | None]
    ) -> None:
        path, _, query = target.partition("?")
        self.scope: Scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "http_version": "1.1",
            "client": ("192.0.2.7", 4711),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        }
        self._parts = list(parts)
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if not self._parts:
            await asyncio.Event().wait()
        part = self._parts.pop(0)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def answered(self) -> Answered:
        [start, *bodies] = self.sent
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        body = b"".join(message["body"] for message in bodies)
        assert not bodies[-1].get("more_body", False)
        if "content-length" in headers:
            assert int(headers["content-length"]) == len(body)
        return Answered(start["status"], headers, body)


class World:
    def __init__(self, *, body_deadline_seconds: float = 5.0, backlog: int = 20_000) -> None:
        self.clock = ManualClock()
        self.store = MoodyStore(self.clock)
        self.directory = Directory()
        self.key_ring = KeyRing([b"k" * 32])
        self.telemetry = Telemetry(strict=True)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.telemetry.subscribe(lambda name, facts: self.told.append((name, dict(facts))))
        self.to_deliver, self.to_decide = Hints(), Hints()
        self.intake = Intake(
            store=self.store,
            to_deliver=self.to_deliver,
            to_decide=self.to_decide,
            telemetry=self.telemetry,
            backlog=backlog,
        )
        self.inbox = Inbox(
            intake=self.intake,
            sources=CompiledSources(self.directory, self.key_ring),
            directory=self.directory,
            clock=self.clock,
            telemetry=self.telemetry,
            body_deadline_seconds=body_deadline_seconds,
        )
        shared: dict[str, Any] = {
            "intake": self.intake,
            "directory": self.directory,
            "authenticate": _authenticate,
            "clock": self.clock,
        }
        self.events = Events(**shared)
        self.messages = Messages(routing=Routing(self.directory), **shared)
        self.cloud = CloudIntake(**shared)
        self.users = BrazeUsers(**shared)
        own: dict[str, Any] = {"intake": self.intake, "directory": self.directory, "clock": self.clock}
        self.tracking = Tracking(moves_users=True, **own)
        self.public_tracking = Tracking(**own)

    async def put(self, *resources: Any) -> None:
        for resource in resources:
            await self.store.insert(resource)
        await self.directory.refresh(self.store)

    async def source(self, token: str = "token", *, secret: str | None = None, **overrides: Any) -> Source:
        identifier = f"src_{token}"
        secrets = ()
        if secret is not None:
            sealed = self.key_ring.seal(secret.encode(), context=identifier)
            secrets = (SealedSecret(sealed=sealed, created_ms=START_MS),)
        fields: dict[str, Any] = {
            "id": identifier,
            "secrets": secrets,
            "token_digest": sha256(token.encode()).hexdigest(),
        }
        source = a_source(**(fields | overrides))
        await self.put(source)
        return source

    async def capture(
        self,
        target: str = "/in/token",
        body: bytes = b"{}",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answered:
        call = Call(method, target, list((headers or {}).items()), [body])
        await self.inbox.handle(call.scope, call.receive, call.send)
        return call.answered

    async def post(self, body: bytes, *, app: str | None = None, query: str = "", **headers: str) -> Answered:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        target = f"/api/v1/app/{app}/msg" if app else "/api/v1/event"
        call = Call("POST", target + query, [("authorization", API_KEY.decode()), *named], [body])
        if app is None:
            await self.events.handle(call.scope, call.receive, call.send)
        else:
            await self.messages.handle(app, call.scope, call.receive, call.send)
        return call.answered

    async def call(
        self, handler: Any, target: str, body: object, headers: dict[str, str] | None = None, *, method: str = "POST"
    ) -> Answered:
        """Call a handler with the workspace's key, or with the headers given; anything but bytes goes out as JSON."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = {"authorization": API_KEY.decode()} | (headers or {})
        call = Call(method, target, list(named.items()), [data])
        await handler.handle(call.scope, call.receive, call.send)
        return call.answered

    def changes(self, event: Event) -> ProfileChange:
        """Return what an event changes in its person's profile."""
        assert event.context is not None
        changes = msgspec.json.decode(event.context, type=EventContext).changes
        assert changes is not None
        return changes

    def requests(self) -> list[CapturedRequest]:
        return [numbered.row for numbered in self.store._tables.requests.values()]

    def stored(self) -> list[Event]:
        return [numbered.row for numbered in self.store._tables.events.values()]


def _authenticate(scope: Scope) -> str:
    if header(scope["headers"], b"authorization") != API_KEY:
        raise Unauthenticated("no")
    return WORKSPACE
