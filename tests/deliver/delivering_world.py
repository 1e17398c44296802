"""A whole delivering side over the store in memory: everything real but the network, the disk and the time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from posthorn.clock import Clock
from posthorn.deliver.attempting import Attempter
from posthorn.deliver.dispatcher import Dispatcher
from posthorn.deliver.settling import Settler
from posthorn.deliver.targets import CompiledLanes
from posthorn.engine.directory import Directory
from posthorn.engine.fairqueue import FairQueue
from posthorn.engine.hints import Hints
from posthorn.engine.lanes import lane_shard
from posthorn.engine.ownership import Ownership
from posthorn.engine.records import LaneRead, ReadyEndpoint, Settlement, Taken
from posthorn.engine.resources import Endpoint, SealedSecret
from posthorn.errors import StoreUnavailable
from posthorn.signing import new_symmetric_secret
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.factories import a_message, a_unit, an_endpoint
from posthorn.testing.memory import MemoryStore
from posthorn.testing.transport import RecordingTransport
from posthorn.vault import KeyRing


class MoodyStore(MemoryStore):
    """A store that can be down for settling or for reading, and that counts."""

    settle_is_down = False
    reads_are_down = False
    poison: str | None = None  #: the delivery whose outcome the store chokes on
    settle_calls = 0

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.reads: list[LaneRead] = []

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        self.settle_calls += 1
        if self.settle_is_down:
            raise StoreUnavailable("disk full")
        if self.poison in {settlement.work.id for settlement in settlements}:
            raise ValueError("cannot bind")
        return await super().settle(settlements)

    async def take(self, reads: Sequence[LaneRead], *, now_ms: int) -> list[Taken]:
        if self.reads_are_down:
            raise StoreUnavailable("locked")
        self.reads += reads
        return await super().take(reads, now_ms=now_ms)

    async def ready(self, shards: Sequence[int], *, after_ms: int | None, now_ms: int) -> list[ReadyEndpoint]:
        if self.reads_are_down:
            raise StoreUnavailable("locked")
        return await super().ready(shards, after_ms=after_ms, now_ms=now_ms)


class Told:
    """What was emitted, to assert on and to wait for."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self._news = asyncio.Event()
        telemetry.subscribe(self._hear)

    def _hear(self, name: str, facts: Any) -> None:
        self.all.append((name, dict(facts)))
        self._news.set()

    def of(self, name: str) -> list[dict[str, Any]]:
        return [facts for told, facts in self.all if told == name]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._news.clear()
                await self._news.wait()


@dataclass
class World:
    """The parts. Endpoints are put straight into registry and directory."""

    clock: ManualClock = field(default_factory=ManualClock)
    transport: RecordingTransport = field(default_factory=RecordingTransport)
    slots: int = 100
    gone: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = MoodyStore(self.clock)
        self.key_ring = KeyRing([b"k" * 32])
        self.directory = Directory()
        self.hints = Hints()
        self.queue = FairQueue(self.slots)
        self.telemetry = Telemetry(strict=True)
        self.told = Told(self.telemetry)
        self.ownership = Ownership(store=self.store, node="node_a", clock=self.clock, telemetry=self.telemetry)
        self.settler = Settler(store=self.store, telemetry=self.telemetry, on_gone=self._tell_gone)
        self.lanes = CompiledLanes(self.directory, self.key_ring)
        self.attempter = Attempter(
            transport=self.transport,
            lanes=self.lanes,
            directory=self.directory,
            key_ring=self.key_ring,
            clock=self.clock,
            random=lambda: 0.5,
        )
        self.dispatcher = Dispatcher(
            store=self.store,
            ownership=self.ownership,
            attempter=self.attempter,
            settler=self.settler,
            hints=self.hints,
            queue=self.queue,
            clock=self.clock,
            telemetry=self.telemetry,
        )

    async def _tell_gone(self, endpoint: str, attempt: str) -> None:
        self.gone.append((endpoint, attempt))

    async def own(self) -> None:
        """Lease every shard, or renew the leases."""
        await self.ownership.renew(["node_a"])

    async def start(self) -> None:
        await self.own()
        await self.dispatcher.start()

    def sealed(self, owner: str, secret: str | None = None) -> SealedSecret:
        text = secret or new_symmetric_secret()
        return SealedSecret(sealed=self.key_ring.seal(text.encode(), context=owner), created_ms=START_MS)

    async def endpoint(self, identifier: str = "ep_1", **overrides: Any) -> Endpoint:
        fields = {"secrets": (self.sealed(identifier),), "url": f"https://{identifier.replace('_', '-')}.test/hook"}
        endpoint = an_endpoint(id=identifier, **(fields | overrides))
        await self.store.insert(endpoint)
        await self.directory.refresh(self.store)
        return endpoint

    async def change(self, endpoint: Endpoint) -> None:
        await self.store.replace(endpoint)
        await self.directory.refresh(self.store)

    async def owe(self, *endpoints: str, messages: int = 1, hint: bool = True) -> list[str]:
        """Append messages with a delivery to each endpoint; return the deliveries' ids."""
        units = [a_unit(a_message(received_ms=self.clock.now_ms()), endpoints=endpoints) for _ in range(messages)]
        await self.store.append(units)
        if hint:
            self.hints.add(((lane_shard(endpoint), endpoint) for endpoint in endpoints), due_ms=self.clock.now_ms())
        return [delivery.id for unit in units for delivery in unit.deliveries]

    def settled(self) -> int:
        """How many outcomes are durable."""
        return sum(sum(facts.values()) for facts in self.told.of("delivery.settled"))

    async def until_settled(self, count: int) -> None:
        await self.told.until(lambda: self.settled() >= count)
        await self.settler.drain()

    async def state(self, delivery: str) -> tuple[str, int]:
        row = self.store._tables.deliveries[delivery]
        return row.state.value, row.attempts

    def sent_to(self) -> list[str]:
        return [request.target.host for request in self.transport.requests]  # type: ignore[union-attr]
