"""Random histories: equal stores agree, and a store with any of these faults is found out."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from posthorn.engine.records import (
    Append,
    AppendResult,
    DeliveryWork,
    NewDelivery,
    ReadyEndpoint,
    Settlement,
)
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.model import Diverged, run_random_history
from posthorn.testing.memory import MemoryStore


class IgnoresEpochs(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        epochs = self._tables.shards
        return await super().settle([replace(one, epoch=epochs[one.work.shard].epoch) for one in settlements])


class LosesAttempts(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        results = await super().settle(settlements)
        self._tables.attempts.clear()
        return results


class IgnoresWhatIsHeld(MemoryStore):
    def take(self, lane: ReadyEndpoint, *, room: int, now_ms: int, held: set[str]) -> list[DeliveryWork]:
        return super().take(lane, room=room, now_ms=now_ms, held=set())


class TakesInTheOrderOfIds(MemoryStore):
    def take(self, lane: ReadyEndpoint, *, room: int, now_ms: int, held: set[str]) -> list[DeliveryWork]:
        return sorted(super().take(lane, room=room, now_ms=now_ms, held=held), key=lambda work: work.id)


class RestartsPendingSchedules(MemoryStore):
    async def enqueue(self, delivery: NewDelivery) -> None:
        await super().enqueue(delivery)
        row = self._tables.deliveries[delivery.id]
        self._tables.deliveries[delivery.id] = replace(row, step=0)


class ForgetsClaims(MemoryStore):
    async def append(self, units: Sequence[Append]) -> list[AppendResult]:
        self._tables.claims.clear()
        return await super().append(units)


class CancelsTwice(MemoryStore):
    async def cancel(self, delivery: str, reason: str) -> bool:
        await super().cancel(delivery, reason)
        return delivery in self._tables.deliveries


@pytest.mark.parametrize("seed", range(5))
async def test_two_equal_stores_agree_over_a_random_history(seed: int) -> None:
    clock = ManualClock()
    store, model = MemoryStore(clock), MemoryStore(clock)
    await run_random_history(store, model, seed=seed, steps=400)
    assert len(store._tables.deliveries) > 50
    assert len(store._tables.attempts) > 20
    assert len({row.state for row in store._tables.deliveries.values()}) == 4


@pytest.mark.parametrize(
    "faulty",
    [
        IgnoresEpochs,
        LosesAttempts,
        IgnoresWhatIsHeld,
        TakesInTheOrderOfIds,
        RestartsPendingSchedules,
        ForgetsClaims,
        CancelsTwice,
    ],
)
async def test_a_faulty_store_is_found_out(faulty: type[MemoryStore]) -> None:
    clock = ManualClock()
    with pytest.raises(Diverged):
        await run_random_history(faulty(clock), MemoryStore(clock), seed=1, steps=400)
