"""The store under test, its clock, and the steps that the tests repeat."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from posthorn import ids
from posthorn.engine import settlements
from posthorn.engine.cluster import Stage
from posthorn.engine.lanes import lane_shard
from posthorn.engine.ports import Store
from posthorn.engine.records import (
    Append,
    AppendResult,
    Decided,
    DecisionWork,
    DeliveryWork,
    EligibilityKey,
    Event,
    Firing,
    LaneRead,
    Recall,
    Settlement,
)
from posthorn.engine.runs import Timer
from posthorn.engine.shards import SHARDS
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import ENDPOINT, a_failed_attempt, a_message, a_unit, an_attempt, an_event

ALL_SHARDS = range(SHARDS)
NODE = ids.first_id(ids.NODE, 0)
OTHER_NODE = ids.first_id(ids.NODE, ids.EPOCH_MS + 1000)
FAR_MS = 365 * 24 * 3_600_000


class World:
    """A store that one node owns from the start, and a clock that moves one second for each thing that is made.

    The epochs of one stage differ from those of the other, so that a write which is guarded by the wrong one shows.
    """

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.epochs: dict[Stage, dict[int, int]] = {}

    @property
    def now_ms(self) -> int:
        """The present."""
        return self.clock.now_ms()

    def later(self, seconds: float = 1) -> int:
        """Move the clock and return the new present."""
        self.clock.advance(seconds)
        return self.now_ms

    async def own(self, node: str = NODE) -> None:
        """Lease every shard of both stages for a year and remember the epochs."""
        self.epochs = {stage: await self._lease(node, stage) for stage in Stage}

    async def _lease(self, node: str, stage: Stage) -> dict[int, int]:
        until_ms = self.now_ms + FAR_MS
        leases = await self.store.lease(node, stage, now_ms=self.now_ms, until_ms=until_ms, most=SHARDS)
        return {lease.shard: lease.epoch for lease in leases}

    async def lose_to(self, node: str = OTHER_NODE, stages: Sequence[Stage] = tuple(Stage)) -> None:
        """Let another node take over every shard; the epochs that we remember are stale from now on."""
        for stage in stages:
            await self.store.release(NODE, stage)
            await self._lease(node, stage)

    def event(self, **overrides: Any) -> Event:
        """Make an event that is received a second later than the one before."""
        return an_event(**({"received_ms": self.later()} | overrides))

    def message(self, **overrides: Any) -> Event:
        """Make a message to an application, a second later."""
        return a_message(**({"received_ms": self.later()} | overrides))

    async def append(self, *units: Append) -> list[AppendResult]:
        """Commit units together."""
        return await self.store.append(units)

    async def publish(self, event: Event | None = None, *, endpoints: Sequence[str] = (ENDPOINT,)) -> Event:
        """Commit one event with a delivery for each endpoint."""
        event = self.event() if event is None else event
        await self.store.append([a_unit(event, endpoints=endpoints)])
        return event

    async def due(self, endpoint: str = ENDPOINT, *, room: int = 100, held: Sequence[str] = ()) -> list[DeliveryWork]:
        """Take what is due now at an endpoint."""
        read = LaneRead(shard=lane_shard(endpoint), endpoint=endpoint, room=room, held=frozenset(held))
        (taken,) = await self.store.take([read], now_ms=self.now_ms)
        return taken.works

    async def publish_and_take(self) -> DeliveryWork:
        """Commit one event for the default endpoint and take its delivery."""
        event = await self.publish()
        return next(work for work in await self.due() if work.event == event.id)

    async def undecided(self, *, room: int = 100, held: Sequence[str] = ()) -> list[DecisionWork]:
        """Take the events that wait to be decided, while there are no timers."""
        taken = await self.waiting(room=room, held=held)
        events = [work for work in taken if isinstance(work, DecisionWork)]
        assert len(events) == len(taken)  # noqa: S101 - a step of a suite
        return events

    async def waiting(self, *, room: int = 100, held: Sequence[str] = ()) -> list[DecisionWork | Timer]:
        """Take the events that wait to be decided and the timers that are due."""
        return await self.store.take_decisions(ALL_SHARDS, room=room, now_ms=self.now_ms, held=frozenset(held))

    async def firings(self, keys: Iterable[EligibilityKey]) -> Mapping[EligibilityKey, Firing]:
        """Recall firings alone."""
        return (await self.store.recall(Recall(firings=frozenset(keys)))).firings

    def decided(self, work: DecisionWork | Timer, **fields: Any) -> Decided:
        """Say what became of an event that waited to be decided, or of a timer."""
        made: dict[str, Any] = {"work": work, "epoch": self.epochs[Stage.DECIDE][work.shard]}
        return Decided(**(made | fields))

    def delivered(self, work: DeliveryWork, **overrides: Any) -> Settlement:
        """Say that the work was delivered just now."""
        attempt = an_attempt(work, **({"started_ms": self.now_ms} | overrides))
        return settlements.delivered(work, self.epochs[Stage.DELIVER][work.shard], attempt)

    def failed(self, work: DeliveryWork, *, retry_in_ms: int, **overrides: Any) -> Settlement:
        """Say that an attempt just failed and the next one is due later."""
        due_ms = self.now_ms + retry_in_ms
        attempt = a_failed_attempt(work, next_ms=due_ms, **({"started_ms": self.now_ms} | overrides))
        return settlements.retry_at(work, self.epochs[Stage.DELIVER][work.shard], attempt, due_ms)

    def exhausted(self, work: DeliveryWork, **overrides: Any) -> Settlement:
        """Say that the last attempt of the schedule just failed."""
        attempt = a_failed_attempt(work, **({"started_ms": self.now_ms} | overrides))
        return settlements.exhausted(work, self.epochs[Stage.DELIVER][work.shard], attempt)

    def deferred(self, work: DeliveryWork, *, by_ms: int) -> Settlement:
        """Put the work off without an attempt."""
        return settlements.deferred(work, self.epochs[Stage.DELIVER][work.shard], self.now_ms + by_ms)

    def cancelled(self, work: DeliveryWork, reason: str = "endpoint_gone") -> Settlement:
        """Say that there is nowhere left to send the work."""
        return settlements.cancelled(work, self.epochs[Stage.DELIVER][work.shard], reason)

    async def settle(self, *outcomes: Settlement) -> list[bool]:
        """Apply outcomes together."""
        return await self.store.settle(outcomes)


@pytest.fixture
async def world(store: Store, clock: ManualClock) -> World:
    """Own every shard of the store under test; those of one stage were owned by another node before."""
    world = World(store, clock)
    await store.lease(OTHER_NODE, Stage.DECIDE, now_ms=world.now_ms, until_ms=world.now_ms + 1, most=SHARDS)
    await store.release(OTHER_NODE, Stage.DECIDE)
    await world.own()
    return world
