"""The API behind a real server on loopback, over the store in memory."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

import httpx
import uvicorn

from posthorn import ids
from posthorn.api import ApiServices, build_app
from posthorn.decide.rendering import OpenedSecrets
from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.cluster import Stage
from posthorn.engine.directory import Directory
from posthorn.engine.lanes import lane_shard
from posthorn.engine.records import (
    Append,
    AppendResult,
    CapturedRequest,
    Decided,
    Event,
    LaneRead,
    NewDelivery,
    RequestOutcome,
)
from posthorn.engine.settlements import delivered, exhausted, retry_at
from posthorn.manage.access import ApiKeys
from posthorn.manage.appending import Appender
from posthorn.manage.applications import Applications
from posthorn.manage.automations import Automations
from posthorn.manage.connectors import Connectors
from posthorn.manage.endpoints import Endpoints
from posthorn.manage.event_types import EventTypes
from posthorn.manage.examples import Examples
from posthorn.manage.health import Health
from posthorn.manage.history import History
from posthorn.manage.idempotency import Idempotency
from posthorn.manage.nodes import Nodes
from posthorn.manage.people import People
from posthorn.manage.rehearsals import Rehearsals
from posthorn.manage.replay import Replay
from posthorn.manage.runs import Runs
from posthorn.manage.secrets import Secrets
from posthorn.manage.segments import Segments
from posthorn.manage.sources import Sources
from posthorn.manage.statistics import Statistics
from posthorn.manage.why import Whys
from posthorn.manage.workspaces import Workspaces
from posthorn.receive.routing import Routing
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import a_decision, a_failed_attempt, an_attempt
from posthorn.testing.memory import MemoryStore
from posthorn.testing.transport import RecordingTransport
from posthorn.vault import KeyRing

POLICY = AddressPolicy(allow=(IPv4Network("127.0.0.0/8"),))
INBOX_URL = "http://inbox.test:8601"
KEY_RING = KeyRing([b"k" * 32])
SOURCE = "src_1"
RETENTION_DAYS = 30
LANE = "auto_1/example.com"


class TickingClock(ManualClock):
    """A manual clock that moves 8 ms at every look, so that ids sort in the order in which they were made."""

    def now_ms(self) -> int:
        self.advance(0.008)
        return super().now_ms()


@dataclass
class World:
    """Everything behind the API, for tests that look or reach behind it."""

    clock: TickingClock
    store: MemoryStore
    directory: Directory
    telemetry: Telemetry
    services: ApiServices
    workspace: str
    token: str
    url: str = ""
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(
        self,
        workspace: str,
        application: str,
        event_type: str,
        payload: bytes,
        only_endpoint: str | None = None,
        **more: Any,
    ) -> Event:
        """Append a message as the hot path does."""
        now_ms = self.clock.now_ms()
        event = Event(
            id=ids.new_id(ids.MESSAGE, now_ms),
            workspace=workspace,
            type=event_type,
            occurred_ms=now_ms,
            received_ms=now_ms,
            application=application,
            payload=payload,
            **more,
        )
        routing = Routing(self.directory)
        if only_endpoint is None:
            deliveries = routing.deliveries(application, event_type, event.channels, event=event.id, now_ms=now_ms)
        else:
            deliveries = (routing.one(only_endpoint, event=event.id, now_ms=now_ms),)
        await self.store.append([Append(event=event, deliveries=deliveries)])
        return event

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """Open a plain HTTP client with the owner's key, or another."""
        headers = {"authorization": f"Bearer {token or self.token}"}
        return httpx.AsyncClient(base_url=f"{self.url}/api/v1", headers=headers, trust_env=False)


async def build_world(store: MemoryStore | None = None, directory: Directory | None = None) -> World:
    """Put the use cases together over a store in memory."""
    clock = TickingClock()
    store = store or MemoryStore(clock)
    directory = directory or Directory()
    await directory.load(store)
    api_keys = ApiKeys(store, directory, clock, b"pepper")
    workspace = await api_keys.ensure_workspace("default")
    _, token = await api_keys.create(workspace.id, "owner")
    telemetry = Telemetry(strict=True)
    holder: list[World] = []

    async def publish(*args: Any) -> Event:
        return await holder[0].publish(*args)

    async def accept(unit: Append) -> AppendResult:
        [result] = await store.append([unit])
        return result

    appender = Appender(accept, clock)
    transport = RecordingTransport()
    automations = Automations(store, directory, clock, KEY_RING, POLICY, appender)
    services = ApiServices(
        api_keys=api_keys,
        applications=Applications(store, directory, clock),
        endpoints=Endpoints(store, directory, clock, KEY_RING, POLICY),
        event_types=EventTypes(store, directory, clock),
        sources=Sources(store, directory, clock, KEY_RING, INBOX_URL),
        automations=automations,
        secrets=Secrets(store, directory, clock, KEY_RING),
        people=People(store, directory, appender),
        segments=Segments(store, directory, clock, appender),
        runs=Runs(store, directory, appender),
        rehearsals=Rehearsals(store, directory, automations, clock),
        connectors=Connectors(transport=transport, secrets=OpenedSecrets(directory, KEY_RING), clock=clock),
        workspaces=Workspaces(store, directory, clock),
        history=History(store),
        replay=Replay(store, store, directory, clock),
        statistics=Statistics(store, clock),
        examples=Examples(directory, publish),
        whys=Whys(store, store, directory, clock, retention_days=RETENTION_DAYS),
        idempotency=Idempotency(store, clock, KEY_RING),
        health=Health(store),
        nodes=Nodes(store, clock),
        telemetry=telemetry,
    )
    holder.append(
        World(
            clock=clock,
            store=store,
            directory=directory,
            telemetry=telemetry,
            services=services,
            workspace=workspace.id,
            token=token,
        )
    )
    return holder[0]


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[World]:
    """Serve a world on a free port. The socket listens before the server runs, so that no client comes too early."""
    app = build_app(world.services, closing=world.closing)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False, timeout_keep_alive=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    world.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield world
    finally:
        world.closing.set()
        server.should_exit = True
        await task


async def _own(world: World, stage: Stage, now_ms: int) -> dict[int, int]:
    leases = await world.store.lease("node", stage, now_ms=now_ms, until_ms=now_ms + 3_600_000, most=256)
    return {lease.shard: lease.epoch for lease in leases}


async def work_off(world: World, *, succeed: bool, retry: bool = False) -> list[str]:
    """Try every due delivery once, as the owner of all shards would; return the ids of the attempts."""
    now_ms = world.clock.now_ms()
    epochs = await _own(world, Stage.DELIVER, now_ms)
    made: list[str] = []
    for lane in await world.store.ready(list(epochs), after_ms=None, now_ms=now_ms):
        endpoint = world.directory.endpoint(lane.endpoint)
        read = LaneRead(shard=lane.shard, endpoint=lane.endpoint, room=100)
        (taken,) = await world.store.take([read], now_ms=now_ms)
        for work in taken.works:
            shared = {
                "workspace": world.workspace,
                "application": endpoint.parent if endpoint else None,
                "started_ms": world.clock.now_ms(),
            }
            if succeed:
                attempt = an_attempt(work, **shared)
                settlement = delivered(work, epochs[work.shard], attempt)
            elif retry:
                due_ms = now_ms + 300_000
                attempt = a_failed_attempt(work, next_ms=due_ms, **shared)
                settlement = retry_at(work, epochs[work.shard], attempt, due_ms)
            else:
                attempt = a_failed_attempt(work, **shared)
                settlement = exhausted(work, epochs[work.shard], attempt)
            assert await world.store.settle([settlement]) == [True]
            made.append(attempt.id)
    return made


async def receive(world: World, body: bytes, **changes: Any) -> CapturedRequest:
    """Commit an accepted request with its event, as an inbox does."""
    now_ms = world.clock.now_ms()
    event = Event(
        id=ids.new_id(ids.EVENT, now_ms),
        workspace=world.workspace,
        type="github.push",
        occurred_ms=now_ms,
        received_ms=now_ms,
        user="u1",
        source=SOURCE,
        request=ids.new_id(ids.REQUEST, now_ms),
    )
    fields: dict[str, Any] = {
        "id": event.request,
        "workspace": world.workspace,
        "source": SOURCE,
        "received_ms": now_ms,
        "method": "POST",
        "target": b"/in/token?x=%ff",
        "http_version": "1.1",
        "head": b"X-One: 1\r\nx-one:  two \r\n",
        "body": body,
        "peer": "127.0.0.1",
        "duration_us": 12,
        "outcome": RequestOutcome.ACCEPTED,
        "answer_status": 202,
        "event": event.id,
    }
    request = CapturedRequest(**(fields | changes))
    profile = f"{world.workspace}/user/u1"
    unit = Append(request=request, event=event, profile=profile) if request.event else Append(request=request)
    await world.store.append([unit])
    return request


async def decide(world: World) -> None:
    """Let the automation `auto_1` fire for every event that waits."""
    now_ms = world.clock.now_ms()
    epochs = await _own(world, Stage.DECIDE, now_ms)
    for work in await world.store.take_decisions(list(epochs), room=10, now_ms=now_ms, held=frozenset()):
        delivery = NewDelivery(
            id=ids.new_id(ids.DELIVERY, now_ms),
            shard=lane_shard(LANE),
            endpoint=LANE,
            due_ms=now_ms,
            event=work.event.id,
        )
        decision = a_decision(
            work, workspace=world.workspace, automation="auto_1", decided_ms=now_ms, delivery=delivery.id
        )
        decided = Decided(work=work, epoch=epochs[work.shard], decisions=(decision,), deliveries=(delivery,))
        assert await world.store.settle_decisions([decided]) == [True]
