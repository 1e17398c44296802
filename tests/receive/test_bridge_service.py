"""Bridges over a broker in memory: what is started and stopped, and when something is acknowledged."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec
import pytest
from receiving_world import World

from posthorn.engine.brokers import BrokerCredentials, BrokerSettings, RedisBroker, address_of
from posthorn.engine.records import Append, AppendResult
from posthorn.engine.resources import Source
from posthorn.errors import Overloaded, StoreUnavailable
from posthorn.receive.bridges.bridges import Bridges
from posthorn.receive.bridges.link import Link, Refused, Server
from posthorn.receive.bridges.opening import client_of, missing_library
from posthorn.receive.bridges.port import BrokerMessage, BrokerUnavailable
from posthorn.receive.intake import Intake
from posthorn.telemetry import Telemetry
from posthorn.testing.factories import a_source
from posthorn.vault import VaultError

REDIS = RedisBroker(url="redis://redis.test", stream="orders")


class MemoryBroker:
    """Keeps messages until they are acknowledged; whoever connects gets those again that are not."""

    protocol: ClassVar[str] = "MEMORY"

    def __init__(self, *bodies: bytes) -> None:
        self.held = {f"m-{number}": body for number, body in enumerate(bodies)}
        self.given: set[str] = set()
        self.opened: list[str] = []
        self.closed = 0
        self.broken = 0
        self.may_acknowledge = True
        self.changed = asyncio.Condition()

    def connect(self, source: Source) -> "MemoryBroker":
        self.opened.append(source.id)
        self.given.clear()
        return self

    async def open(self) -> None:
        await self.tell()
        if self.broken:
            self.broken -= 1
            raise BrokerUnavailable("nobody answers")

    async def receive(self, most: int) -> list[BrokerMessage]:
        fresh = [key for key in self.held if key not in self.given][:most]
        if not fresh:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05), self.changed:
                    await self.changed.wait()
            return []
        self.given.update(fresh)
        return [
            BrokerMessage(
                place=key, subject="s", headers=(), body=self.held[key], key=key, occurred_ms=None, receipt=key
            )
            for key in fresh
        ]

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        if not self.may_acknowledge:
            self.may_acknowledge = True
            raise BrokerUnavailable("the connection broke")
        for message in messages:
            del self.held[message.receipt]
        await self.tell()

    async def close(self) -> None:
        self.closed += 1
        await self.tell()

    async def tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)


class FullIntake(Intake):
    """An intake that is overloaded for its first calls."""

    refusals = 2

    async def accept_all(self, units: Sequence[Append]) -> list[AppendResult]:
        if self.refusals:
            self.refusals -= 1
            raise Overloaded("too much")
        return await super().accept_all(units)


class HalvingIntake(Intake):
    """An intake whose store goes down between two commits of its first call."""

    calls = 0

    async def accept_all(self, units: Sequence[Append]) -> list[AppendResult]:
        self.calls += 1
        if self.calls == 1:
            await super().accept_all(units[: len(units) // 2])
            raise StoreUnavailable("disk full")
        return await super().accept_all(units)


@pytest.fixture
def world() -> World:
    return World()


@asynccontextmanager
async def bridging(world: World, broker: MemoryBroker, intake: Intake | None = None) -> AsyncIterator[Bridges]:
    bridges = Bridges(
        intake=intake or world.intake,
        directory=world.directory,
        key_ring=world.key_ring,
        permits=nowhere,
        clock=world.clock,
        telemetry=Telemetry(),
        name_of_node="node",
        connect=broker.connect,
    )
    await bridges.start()
    try:
        yield bridges
    finally:
        await bridges.stop()


async def nowhere(host: str, port: int) -> tuple[str, ...] | Refused:
    return Refused(f"{host}:{port} is closed")


def a_broker_source(identifier: str = "src_b", settings: BrokerSettings = REDIS, **overrides: object) -> Source:
    return a_source(id=identifier, broker=settings, **overrides)


async def test_only_enabled_sources_with_a_broker_are_consumed(world: World) -> None:
    broker = MemoryBroker(b"{}")
    await world.put(a_source(id="src_http"), a_broker_source("src_off", enabled=False), a_broker_source("src_on"))
    async with bridging(world, broker) as bridges:
        await broker.until(lambda: not broker.held)
        assert bridges.state("src_off") is None
        state = bridges.state("src_on")
        assert state is not None
        assert state.status == "consuming"
    assert set(broker.opened) == {"src_on"}
    assert [event.source for event in world.stored()] == ["src_on"]
    assert bridges.state("src_on") is None


async def test_a_source_that_is_made_later_is_consumed_and_a_changed_one_anew(world: World) -> None:
    broker = MemoryBroker()
    async with bridging(world, broker):
        await world.put(a_broker_source())
        await broker.until(lambda: len(broker.opened) == 1)
        await world.store.replace(a_broker_source(event_type="order.paid"))
        await world.directory.refresh(world.store)
        await broker.until(lambda: len(broker.opened) == 2)
        broker.held["m-1"] = b"{}"
        await broker.until(lambda: not broker.held)
    assert [event.type for event in world.stored()] == ["order.paid"]
    assert broker.closed == 2


async def test_nothing_is_acknowledged_while_the_store_is_down_and_the_batch_is_kept(world: World) -> None:
    broker = MemoryBroker(*[b'{"n": %d}' % number for number in range(700)])
    world.store.commits_left = 0
    await world.put(a_broker_source())
    async with bridging(world, broker) as bridges:
        async with asyncio.timeout(10):
            while (state := bridges.state("src_b")) is None or state.status != "store_unavailable":  # noqa: ASYNC110 - a state is asked for
                await asyncio.sleep(0.01)
        assert len(broker.held) == 700
        assert len(broker.given) == 500
        world.store.commits_left = None
        await broker.until(lambda: not broker.held)
    assert len(world.stored()) == 700
    assert broker.opened == ["src_b"]


async def test_a_batch_that_was_half_committed_is_repeated_without_doubles(world: World) -> None:
    broker = MemoryBroker(b"x" * 50, *[b'{"n": %d}' % number for number in range(20)])
    await world.put(a_broker_source(body_limit_bytes=40))
    intake = HalvingIntake(
        store=world.store, to_deliver=world.to_deliver, to_decide=world.to_decide, telemetry=Telemetry()
    )
    async with bridging(world, broker, intake):
        await broker.until(lambda: not broker.held)
    assert intake.calls == 2
    assert sorted(event.payload or b"" for event in world.stored()) == sorted(b'{"n": %d}' % n for n in range(20))
    assert [request.cause for request in world.requests()] == ["body_too_large"] * 2


async def test_what_is_stored_and_could_not_be_acknowledged_comes_again_and_makes_no_second_event(world: World) -> None:
    broker = MemoryBroker(b"{}", b"[]")
    broker.may_acknowledge = False
    await world.put(a_broker_source())
    async with bridging(world, broker):
        await broker.until(lambda: not broker.held)
    assert len(world.stored()) == 2
    assert len(broker.opened) == 2


async def test_an_overloaded_intake_is_asked_again_and_nothing_is_lost(world: World) -> None:
    broker = MemoryBroker(b"{}")
    intake = FullIntake(
        store=world.store, to_deliver=world.to_deliver, to_decide=world.to_decide, telemetry=Telemetry()
    )
    await world.put(a_broker_source())
    async with bridging(world, broker, intake):
        await broker.until(lambda: not broker.held)
    assert (intake.refusals, len(world.stored())) == (0, 1)


async def test_a_broker_that_does_not_answer_is_tried_again(world: World) -> None:
    broker = MemoryBroker(b"{}")
    broker.broken = 2
    await world.put(a_broker_source())
    async with bridging(world, broker):
        await broker.until(lambda: not broker.held)
    assert len(broker.opened) == 3
    assert broker.closed == 3


async def test_a_broker_sources_token_lets_nobody_in(world: World) -> None:
    await world.put(a_broker_source(token_digest="broker:src_b"))
    assert (await world.capture("/in/token")).status == 404
    assert (await world.capture("/in/broker:src_b")).status == 404


def link(**overrides: object) -> Link:
    fields: dict[str, object] = {
        "source": "src_b",
        "node": "node",
        "settings": REDIS,
        "address": address_of(REDIS),
        "credentials": BrokerCredentials(username="user", password="s3cret"),
        "permits": nowhere,
    }
    return Link(**(fields | overrides))  # type: ignore[arg-type]


def test_an_error_that_quotes_a_credential_is_masked() -> None:
    told = link().masked(OSError("cannot log user in with s3cret"))
    assert "s3cret" not in told
    assert told.startswith("OSError: cannot log")
    assert "s3cret" not in repr(link())
    assert "s3cret" not in repr(BrokerCredentials(password="s3cret"))


async def test_every_address_of_every_server_is_tried_in_turn() -> None:
    tried: list[str] = []

    async def two(host: str, port: int) -> tuple[str, ...] | Refused:
        return ("192.0.2.1", "192.0.2.2")

    async def connect(server: Server) -> str:
        tried.append(server.address)
        if server.address.endswith("1"):
            raise BrokerUnavailable("refused")
        return server.address

    assert await link(permits=two).reach(connect) == "192.0.2.2"
    assert tried == ["192.0.2.1", "192.0.2.2"]


async def test_a_refused_host_is_not_connected_to_and_the_reason_is_told() -> None:
    async def connect(server: Server) -> str:
        raise AssertionError(server.address)

    with pytest.raises(BrokerUnavailable, match=r"redis\.test:6379 is closed"):
        await link().reach(connect)


def test_credentials_that_do_not_open_are_a_failure_of_their_own(world: World) -> None:
    source = a_broker_source(broker_sealed=world.key_ring.seal(b"{}", context="src_other"))
    with pytest.raises(VaultError):
        client_of(source, key_ring=world.key_ring, permits=nowhere, node="node")


def test_every_kind_has_its_library_here() -> None:
    settings = [
        REDIS,
        *msgspec.json.decode(
            b"""[{"type": "kafka", "url": "kafka://k", "topics": ["t"]},
            {"type": "rabbitmq", "url": "amqp://r", "queue": "q"},
            {"type": "nats", "url": "nats://n", "stream": "s"}]""",
            type=list[BrokerSettings],
        ),
    ]
    assert [missing_library(broker) for broker in settings] == [None] * 4
