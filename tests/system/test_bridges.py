"""Bridges and real brokers: each message one event, acknowledged when it is committed and not before."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import pytest
from loopback_brokers import NAME, PASSWORD, QUEUES, SERVERS, Cable, Message, Queue, RedisQueue, Server, missing

from posthorn.engine.brokers import NO_CREDENTIALS, BrokerCredentials, BrokerSettings, NatsBroker, RedisBroker
from posthorn.engine.brokers import address_of as address
from posthorn.engine.directory import Directory
from posthorn.engine.hints import Hints
from posthorn.engine.records import Append, AppendResult, CapturedRequest, Event, RequestOutcome
from posthorn.engine.resources import DedupeRule, Source
from posthorn.errors import StoreUnavailable
from posthorn.receive.bridges.bridges import Bridges
from posthorn.receive.bridges.jetstream import JetStreamClient
from posthorn.receive.bridges.link import Link, Refused
from posthorn.receive.bridges.opening import client_of
from posthorn.receive.bridges.port import BrokerClient
from posthorn.receive.bridges.redis_streams import RedisStreamClient
from posthorn.receive.intake import Intake
from posthorn.telemetry import Telemetry
from posthorn.testing.factories import a_source
from posthorn.testing.memory import MemoryStore
from posthorn.vault import KeyRing

MESSAGES = 1_000
PATIENCE_SECONDS = 60
KEY_RING = KeyRing([b"k" * 32])


class MoodyStore(MemoryStore):
    """A store that can be down, and tells of every commit that it makes or refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.down_after: int | None = None
        self.refused = 0
        self._happened = asyncio.Condition()

    async def append(self, units: Sequence[Append]) -> list[AppendResult]:
        if self.down_after is not None and len(self.events()) >= self.down_after:
            self.refused += 1
            await self._tell()
            raise StoreUnavailable("disk full")
        results = await super().append(units)
        await self._tell()
        return results

    def events(self) -> list[Event]:
        return [numbered.row for numbered in self._tables.events.values()]

    def requests(self) -> list[CapturedRequest]:
        return [numbered.row for numbered in self._tables.requests.values()]

    def ids(self) -> list[int]:
        return sorted(msgspec.json.decode(event.payload or b"")["id"] for event in self.events())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._happened:
            await self._happened.wait_for(condition)

    async def _tell(self) -> None:
        async with self._happened:
            self._happened.notify_all()


class CountingIntake(Intake):
    """An intake that knows how much came through it."""

    def __init__(self, store: MoodyStore) -> None:
        super().__init__(store=store, to_deliver=Hints(), to_decide=Hints(), telemetry=Telemetry())
        self.units = 0

    async def accept_all(self, units: Sequence[Append]) -> list[AppendResult]:
        self.units += len(units)
        return await super().accept_all(units)


@dataclass
class World:
    store: MoodyStore = field(default_factory=MoodyStore)
    directory: Directory = field(default_factory=Directory)

    async def put(self, source: Source) -> None:
        await self.store.insert(source)
        await self.directory.refresh(self.store)

    @asynccontextmanager
    async def node(self, name: str, **overrides: Any) -> AsyncIterator[Bridges]:
        bridges = Bridges(
            **{
                "intake": CountingIntake(self.store),
                "directory": self.directory,
                "key_ring": KEY_RING,
                "permits": loopback,
                "clock": self.store._tables.clock,
                "telemetry": Telemetry(),
                "name_of_node": name,
                "connect": partial(self.impatient, name),
                **overrides,
            }
        )
        await bridges.start()
        try:
            yield bridges
        finally:
            await bridges.stop()

    def impatient(self, node: str, source: Source) -> BrokerClient:
        """Connect as the product does, but take over from the dead at once."""
        settings = source.broker
        link = Link(
            source=source.id,
            node=node,
            settings=settings,
            address=address(settings),
            credentials=opened(source),
            permits=loopback,
        )
        client: BrokerClient
        match settings:
            case NatsBroker():
                client = JetStreamClient(settings, link, ack_wait_seconds=1)
            case RedisBroker():
                client = RedisStreamClient(settings, link, idle_ms=0)
            case _:
                client = client_of(source, key_ring=KEY_RING, permits=loopback, node=node)
        return client


def opened(source: Source) -> BrokerCredentials:
    if source.broker_sealed is None:
        return NO_CREDENTIALS
    return msgspec.json.decode(KEY_RING.open(source.broker_sealed, context=source.id), type=BrokerCredentials)


async def loopback(host: str, port: int) -> tuple[str, ...] | Refused:
    return ("127.0.0.1",) if host in {"127.0.0.1", NAME, "other.test"} else Refused(f"{host}:{port} is not ours")


def broker_source(queue: Queue, broker: BrokerSettings, *, password: str = PASSWORD, **overrides: Any) -> Source:
    identifier = f"src_{queue.name}"
    credentials = BrokerCredentials(username=queue.server.user or None, password=password)
    fields: dict[str, Any] = {
        "id": identifier,
        "broker": broker,
        "broker_sealed": KEY_RING.seal(msgspec.json.encode(credentials), context=identifier),
        "dedupe": DedupeRule(header=queue.header) if queue.kind == "redis" else None,
        "event_type": "order.{{ request.headers.kind }}",
    }
    return a_source(**(fields | overrides))


def numbered(first: int, last: int) -> list[Message]:
    return [(f"m-{number}", msgspec.json.encode({"id": number})) for number in range(first, last)]


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Server]]:
    kind = request.param
    if (lacking := missing(kind)) is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(lacking)
        pytest.skip(lacking)
    server = SERVERS[kind](tmp_path_factory.mktemp(kind))
    try:
        server.start()
        yield kind, server
    finally:
        server.stop()


@pytest.fixture
async def queue(server: tuple[str, Server], request: pytest.FixtureRequest) -> Queue:
    kind, process = server
    queue = QUEUES[kind](process, f"q{abs(hash(request.node.name)):x}")
    await queue.make()
    return queue


@pytest.fixture
def world() -> World:
    return World()


async def settled(queue: Queue) -> None:
    """Wait until the broker owes nothing: its answer to an acknowledgement tells nobody but itself."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await queue.held():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)


async def test_each_message_becomes_one_event_though_connection_store_and_consumer_fail(
    queue: Queue, world: World
) -> None:
    await queue.publish(numbered(0, MESSAGES))
    world.store.down_after = 200
    async with Cable(queue.server.port) as cable:
        await world.put(broker_source(queue, queue.settings(cable.port)))
        async with world.node("first"):
            await world.store.until(lambda: world.store.refused > 0)
            stored = len(world.store.events())
            assert MESSAGES > stored >= 200
            assert await queue.held() >= MESSAGES - stored
            refused = world.store.refused
            assert cable.cut() > 0
            await world.store.until(lambda: world.store.refused > refused)
            assert await queue.held() >= MESSAGES - stored
        assert len(world.store.events()) == stored
        world.store.down_after = None
        async with world.node("second"):
            await world.store.until(lambda: len(world.store.events()) >= MESSAGES // 2)
            cable.cut()
            await world.store.until(lambda: len(world.store.events()) >= MESSAGES)
            await settled(queue)
    assert world.store.ids() == list(range(MESSAGES))
    assert {event.type for event in world.store.events()} == {"order.paid"}
    assert world.store.requests() == []


async def test_a_message_id_that_was_seen_before_makes_no_second_event(queue: Queue, world: World) -> None:
    await queue.publish(numbered(0, 10))
    await world.put(broker_source(queue, queue.settings()))
    async with world.node("one"):
        await world.store.until(lambda: len(world.store.events()) >= 10)
        await queue.publish([*numbered(0, 10), *numbered(10, 11)])
        await world.store.until(lambda: 10 in world.store.ids())
        await settled(queue)
    assert world.store.ids() == list(range(11))


async def test_nodes_share_the_messages(queue: Queue, world: World) -> None:
    source = broker_source(queue, queue.settings(), dedupe=None)
    await world.put(source)
    first, second = CountingIntake(world.store), CountingIntake(world.store)
    async with (
        world.node("one", connect=None, intake=first) as one,
        world.node("two", connect=None, intake=second) as two,
    ):
        await until_status(one, source.id, "consuming")
        await until_status(two, source.id, "consuming")
        for start in range(0, MESSAGES, 50):
            await queue.publish(numbered(start, start + 50))
        await world.store.until(lambda: len(world.store.events()) >= MESSAGES)
        await settled(queue)
    assert world.store.ids() == list(range(MESSAGES))
    assert first.units > 0
    assert second.units > 0


async def until_status(node: Bridges, source: str, status: str | None) -> str | None:
    """Wait for a state of a bridge, which the API asks for in the same way, and return its detail."""

    def present() -> str | None:
        state = node.state(source)
        return state.status if state is not None else None

    async with asyncio.timeout(PATIENCE_SECONDS):
        while present() != status:  # noqa: ASYNC110 - a state is asked for
            await asyncio.sleep(0.02)
    state = node.state(source)
    return state.detail if state is not None else None


async def test_what_no_event_can_be_made_of_is_kept_with_the_cause_and_acknowledged(queue: Queue, world: World) -> None:
    source = broker_source(queue, queue.settings(), body_limit_bytes=100, event_type="order.{{ body.kind }}")
    await world.put(source)
    large = msgspec.json.encode({"id": 1, "kind": "x" * 200})
    await queue.publish(
        [("a", large), ("b", b"no json"), ("c", b'{"id": 3, "kind": "paid"}'), ("d", b'{"id": 4, "kind": "!"}')]
    )
    async with world.node("one"):
        await world.store.until(lambda: len(world.store.events()) + len(world.store.requests()) >= 4)
        await settled(queue)
    assert [(event.type, event.payload) for event in world.store.events()] == [
        ("order.paid", b'{"id": 3, "kind": "paid"}'),
        ("order._", b'{"id": 4, "kind": "!"}'),
    ]
    kept = sorted((request.cause, request.body, request.outcome) for request in world.store.requests())
    assert kept == [
        ("body_too_large", large, RequestOutcome.REJECTED),
        ("event_type_failed", b"no json", RequestOutcome.REJECTED),
    ]


async def test_a_wrong_password_is_told_without_being_shown_and_a_right_one_mends_it(
    queue: Queue, world: World
) -> None:
    wrong = broker_source(queue, queue.settings(), password="wr0ng-secret")
    await world.put(wrong)
    await queue.publish(numbered(0, 1))
    async with world.node("one") as node:
        detail = await until_status(node, wrong.id, "broker_unavailable")
        assert detail
        assert "wr0ng-secret" not in detail
        assert await queue.held() == 1
        await world.store.replace(broker_source(queue, queue.settings()))
        await world.directory.refresh(world.store)
        await world.store.until(lambda: world.store.ids() == [0])


async def test_a_certificate_is_checked_for_the_name_in_the_url(queue: Queue, world: World) -> None:
    good = queue.settings(tls=True)
    bad = msgspec.structs.replace(good, url=good.url.replace(NAME, "other.test"))
    untrusted = msgspec.structs.replace(good, ca=None)
    for broker in (bad, untrusted):
        world = World()
        source = broker_source(queue, broker)
        await world.put(source)
        async with world.node("one") as node:
            assert "ertificate" in str(await until_status(node, source.id, "broker_unavailable"))
    await world.store.replace(broker_source(queue, good))
    await world.directory.refresh(world.store)
    async with world.node("one") as node:
        await until_status(node, source.id, "consuming")


async def test_an_address_that_is_not_permitted_is_never_dialled(queue: Queue, world: World) -> None:
    dialled = Counter[str]()

    async def nothing(host: str, port: int) -> tuple[str, ...] | Refused:
        dialled[host] += 1
        return Refused("this address is closed")

    async with Cable(queue.server.port) as cable:
        source = broker_source(queue, queue.settings(cable.port))
        await world.put(source)
        async with world.node("one", connect=None, permits=nothing) as node:
            assert await until_status(node, source.id, "broker_unavailable") == "this address is closed"
        assert cable.cut() == 0
    assert dialled


async def test_an_address_that_does_not_answer_is_passed_over(queue: Queue, world: World) -> None:
    async def two(host: str, port: int) -> tuple[str, ...] | Refused:
        return ("127.0.0.2", "127.0.0.1")

    await queue.publish(numbered(0, 10))
    source = broker_source(queue, queue.settings())
    await world.put(source)
    async with world.node("one", connect=None, permits=two) as node:
        await world.store.until(lambda: len(world.store.events()) >= 10)
        await settled(queue)
        state = node.state(source.id)
        assert state is not None
        assert state.status == "consuming"


async def test_a_disabled_or_deleted_source_is_consumed_no_more(queue: Queue, world: World) -> None:
    source = broker_source(queue, queue.settings())
    await world.put(source)
    async with world.node("one") as node:
        await until_status(node, source.id, "consuming")
        await world.store.replace(msgspec.structs.replace(source, enabled=False))
        await world.directory.refresh(world.store)
        await until_status(node, source.id, None)
        await queue.publish(numbered(0, 3))
        assert await queue.held() == 3
        assert world.store.events() == []


@pytest.mark.parametrize("server", ["redis"], indirect=True)
async def test_a_redis_consumer_that_leaves_with_nothing_pending_leaves_no_trace(queue: Queue, world: World) -> None:
    assert isinstance(queue, RedisQueue)
    await queue.publish(numbered(0, 3))
    await world.put(broker_source(queue, queue.settings()))
    async with world.node("gone"):
        await world.store.until(lambda: len(world.store.events()) >= 3)
        await settled(queue)
    async with queue.client() as client:
        assert await client.xinfo_consumers(queue.name, "shared") == []
