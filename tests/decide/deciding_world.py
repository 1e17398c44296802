"""The deciding side over the store in memory."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from posthorn.decide.deciding import Decider
from posthorn.decide.decision_loop import DecisionLoop
from posthorn.decide.rendering import OpenedSecrets
from posthorn.engine.cluster import Stage
from posthorn.engine.directory import Directory
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.engine.profiles import profile_of
from posthorn.engine.records import Append, Decided, Decision, EligibilityKey, Event, Firing, OutgoingRequest
from posthorn.engine.resources import Automation, SendStep
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import a_secret, an_automation, an_event
from posthorn.testing.memory import MemoryStore
from posthorn.vault import KeyRing


class MoodyStore(MemoryStore):
    """A store that can be down, or choke on one event."""

    is_down = False
    poison: str | None = None
    settled = 0

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        if self.is_down:
            raise StoreUnavailable("disk full")
        if any(one.work.id == self.poison and one.deliveries for one in decided):
            raise ValueError("cannot bind")
        applied = await super().settle_decisions(decided)
        self.settled += sum(applied)
        return applied

    async def firings(self, keys: Sequence[EligibilityKey]) -> Mapping[EligibilityKey, Firing]:
        if self.is_down:
            raise StoreUnavailable("locked")
        return await super().firings(keys)


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MoodyStore(self.clock)
        self.directory = Directory()
        self.key_ring = KeyRing([b"k" * 32])
        self.telemetry = Telemetry(strict=True)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._news = asyncio.Event()
        self.telemetry.subscribe(self._hear)
        self.to_decide, self.to_deliver = Hints(), Hints()
        self.ownership = Ownership(
            store=self.store, node="node_a", clock=self.clock, telemetry=self.telemetry, stage=Stage.DECIDE
        )
        self.loop = DecisionLoop(
            store=self.store,
            ownership=self.ownership,
            directory=self.directory,
            decider=Decider(
                secrets=OpenedSecrets(self.directory, self.key_ring), key_ring=self.key_ring, now_ms=self.clock.now_ms
            ),
            hints=self.to_decide,
            to_deliver=self.to_deliver,
            clock=self.clock,
            telemetry=self.telemetry,
        )

    def _hear(self, name: str, facts: Any) -> None:
        self.told.append((name, dict(facts)))
        self._news.set()

    async def put(self, *resources: Any) -> None:
        for resource in resources:
            await self.store.insert(resource)
        await self.directory.refresh(self.store)

    async def automation(
        self, identifier: str = "auto_1", *, send: dict[str, Any] | None = None, **fields: Any
    ) -> Automation:
        step = SendStep(**({"url": "https://example.test/"} | (send or {})))
        automation = an_automation(id=identifier, send=step, **fields)
        await self.put(automation)
        return automation

    async def secret(self, name: str, value: str) -> None:
        secret = a_secret(uid=name)
        sealed = self.key_ring.seal(value.encode(), context=secret.id)
        await self.put(msgspec.structs.replace(secret, sealed=sealed))

    async def happen(self, data: object = None, *, user: str | None = "u1", **fields: Any) -> Event:
        self.clock.advance(0.004)
        raw = fields.pop("payload", None) or msgspec.json.encode(data if data is not None else {})
        event = an_event(user=user, payload=raw, received_ms=self.clock.now_ms(), **fields)
        profile = profile_of(self.directory, event.workspace, event.type, user, event.id)
        await self.store.append([Append(event=event, profile=profile)])
        return event

    async def own(self) -> None:
        """Lease every shard, or renew the leases."""
        await self.ownership.renew(["node_a"])

    async def decide_all(self) -> None:
        if not self.ownership.epochs:
            await self.own()
        while await self.loop._decide_batch():
            pass

    def decisions(self, event: Event | None = None) -> list[Decision]:
        rows = [numbered.row for numbered in self.store._tables.decisions.values()]
        return [row for row in rows if event is None or row.event == event.id]

    def outcomes(self) -> list[tuple[str, str]]:
        return [(decision.outcome.value, decision.reason) for decision in self.decisions()]

    def requests(self) -> list[OutgoingRequest]:
        rows = self.store._tables.deliveries.values()
        return [msgspec.json.decode(row.rendered.shown, type=OutgoingRequest) for row in rows if row.rendered]

    async def counts(self, user: str = "u1") -> list[int]:
        workspace = an_event().workspace
        return [count.count for count in await self.store.event_counts(f"{workspace}/user/{user}")]

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._news.clear()
                await self._news.wait()
