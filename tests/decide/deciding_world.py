"""The deciding side, by itself over the store in memory."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from posthorn.decide.deciding import Decider
from posthorn.decide.decision_loop import DecisionLoop
from posthorn.decide.footprints import track_of
from posthorn.decide.rendering import OpenedSecrets
from posthorn.engine.cluster import Stage
from posthorn.engine.directory import Directory
from posthorn.engine.flows import Flow, SendStep
from posthorn.engine.hints import Hints
from posthorn.engine.listening import changed_type, published_type
from posthorn.engine.ownership import Ownership
from posthorn.engine.people import Profile
from posthorn.engine.profiles import automation_profile, profile_of, user_profile
from posthorn.engine.records import (
    Append,
    Decided,
    Decision,
    DeliveryState,
    Event,
    LaneRead,
    OutgoingRequest,
    Recall,
    Recalled,
    Settlement,
)
from posthorn.engine.resources import Automation, AutomationVersion, Segment
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import WORKSPACE, a_secret, an_attempt, an_automation, an_event
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

    async def recall(self, wanted: Recall) -> Recalled:
        if self.is_down:
            raise StoreUnavailable("locked")
        return await super().recall(wanted)


class World:
    def __init__(self, store: Any = None, clock: ManualClock | None = None) -> None:
        self.clock = ManualClock() if clock is None else clock
        self.store = MoodyStore(self.clock) if store is None else store
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
            decider=Decider(
                directory=self.directory,
                secrets=OpenedSecrets(self.directory, self.key_ring),
                key_ring=self.key_ring,
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

    async def flow(self, identifier: str = "auto_1", **parts: Any) -> Automation:
        """Publish an automation with a flow, given as JSON is; a request's URL may be given for the whole step."""
        fields = {
            name: parts.pop(name) for name in ("conditions", "eligibility", "version", "enabled") if name in parts
        }
        flow = msgspec.convert(parts, Flow)
        automation = an_automation(id=identifier, trigger=None, send=None, flow=flow, **fields)
        await self.put(automation)
        return automation

    async def change(self, resource: Any) -> None:
        await self.store.replace(resource)
        await self.directory.refresh(self.store)

    async def keep_version(self, automation: Automation) -> None:
        """Keep a version for the runs in it, as publishing the next one does."""
        number = str(automation.version)
        fields = {"workspace": automation.workspace, "parent": automation.id, "created_ms": 0, "updated_ms": 0}
        await self.put(AutomationVersion(id=f"autov_{automation.id}", uid=number, automation=automation, **fields))

    async def publish(self, automation: Automation) -> None:
        """Tell deciding that an automation's times are others now, and let it set its timers."""
        event = an_event(type=published_type(automation.id), received_ms=self.clock.now_ms(), user=None)
        profile = automation_profile(automation.workspace, automation.id)
        await self.store.append([Append(event=event, profile=profile)])
        await self.decide_all()

    async def look_at_runs(self, automation: str) -> None:
        """Tell deciding that an automation changed in a way that concerns its runs."""
        event = an_event(type=changed_type(automation), received_ms=self.clock.now_ms(), user=None)
        await self.store.append([Append(event=event, profile=automation_profile(WORKSPACE, automation))])
        await self.decide_all()
        await self.pass_time(2)

    async def publish_segment(self, segment: str) -> None:
        """Tell deciding that a segment is new, and let it look at everybody."""
        event = an_event(type=published_type(segment), received_ms=self.clock.now_ms(), user=None)
        await self.store.append([Append(event=event, profile=automation_profile(WORKSPACE, segment))])
        await self.decide_all()

    async def segment(self, name: str, conditions: Any) -> None:
        fields = {"workspace": WORKSPACE, "created_ms": 0, "updated_ms": 0}
        await self.put(Segment(id=f"seg_{name}", uid=name, name=name, conditions=conditions, **fields))

    async def deliver(
        self,
        *,
        status: int,
        body: bytes = b"",
        only: str = "",
        state: DeliveryState = DeliveryState.DELIVERED,
        **fields: Any,
    ) -> None:
        """Deliver what is queued (to a URL with `only` in it), as the owner of the lanes would."""
        now_ms = self.clock.now_ms()
        leases = await self.store.lease("node_a", Stage.DELIVER, now_ms=now_ms, until_ms=now_ms + 1000, most=256)
        epochs = {lease.shard: lease.epoch for lease in leases}
        for lane in await self.store.ready(list(epochs), after_ms=None, now_ms=now_ms):
            read = LaneRead(shard=lane.shard, endpoint=lane.endpoint, room=100)
            [taken] = await self.store.take([read], now_ms=now_ms)
            for work in taken.works:
                if work.rendered is not None and only.encode() in work.rendered.shown:
                    attempt = an_attempt(work, state=state, response_status=status, response_body=body, **fields)
                    settled = Settlement(work=work, epoch=epochs[work.shard], attempt=attempt)
                    assert await self.store.settle([settled]) == [True]

    async def count(self, user: str, event_type: str) -> int:
        counts = await self.store.event_counts(user_profile(WORKSPACE, user))
        return sum(count.count for count in counts if count.type == event_type)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, keeping the leases, and decide what became due."""
        self.clock.advance(seconds)
        await self.own()
        await self.decide_all()

    def runs(self) -> list[tuple[str, str]]:
        """List the runs by their keys and states."""
        return sorted((run.key, run.state.value) for run in self.store._tables.runs.values())

    def footprints(self) -> list[str]:
        """List what the only run did."""
        [run] = self.store._tables.runs.values()
        return [footprint.what for footprint in track_of(run).path]

    def urls(self) -> list[str]:
        """List where the requests go, in the order in which they were queued."""
        return [request.url for request in self.requests()]

    def person(self, user: str = "u1") -> Profile:
        return self.store._tables.profiles[user_profile(WORKSPACE, user)]

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
