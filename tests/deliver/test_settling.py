"""Outcomes on their way to the store: none is lost, and too many hold up new attempts."""

import asyncio

import pytest
from delivering_world import MoodyStore, Told

from posthorn.deliver import settling
from posthorn.deliver.settling import Settler
from posthorn.engine import settlements
from posthorn.engine.cluster import Stage
from posthorn.engine.lanes import lane_shard
from posthorn.engine.records import DeliveryWork, LaneRead, Payload, Settlement, Trigger
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.factories import ENDPOINT, a_unit, an_attempt, an_event


class Bench:
    def __init__(self) -> None:
        self.store = MoodyStore(ManualClock())
        self.telemetry = Telemetry(strict=True)
        self.told = Told(self.telemetry)
        self.gone: list[str] = []
        self.durable: list[str] = []
        self.settler = Settler(store=self.store, telemetry=self.telemetry, on_gone=self._on_gone)

    async def _on_gone(self, endpoint: str, attempt: str) -> None:
        if endpoint == "ep_bad":
            raise RuntimeError("no")
        self.gone.append(endpoint)

    async def works(self, count: int) -> tuple[list[DeliveryWork], int]:
        [lease, *_] = await self.store.lease(
            "node", Stage.DELIVER, now_ms=START_MS, until_ms=START_MS + 10_000, most=256
        )
        await self.store.append([a_unit(an_event()) for _ in range(count)])
        read = LaneRead(shard=lane_shard(ENDPOINT), endpoint=ENDPOINT, room=count)
        [taken] = await self.store.take([read], now_ms=START_MS)
        return taken.works, lease.epoch

    def settle(self, settlement: Settlement) -> None:
        self.settler.settle(settlement, lambda: self.durable.append(settlement.work.id))


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_outcomes_that_come_together_share_a_commit(bench: Bench) -> None:
    works, epoch = await bench.works(3)
    for work in works:
        bench.settle(settlements.delivered(work, epoch, an_attempt(work)))
    await bench.settler.drain()
    assert bench.store.settle_calls == 1
    assert bench.durable == [work.id for work in works]
    assert bench.told.of("delivery.settled") == [{"delivered": 3, "exhausted": 0, "cancelled": 0, "retried": 0}]


async def test_an_outcome_waits_until_the_store_takes_it(bench: Bench) -> None:
    [work], epoch = await bench.works(1)
    bench.store.settle_is_down = True
    bench.settle(settlements.delivered(work, epoch, an_attempt(work)))
    await bench.told.until(lambda: bool(bench.told.of("store.unavailable")))
    assert bench.durable == []
    bench.store.settle_is_down = False
    await bench.settler.drain()
    assert bench.durable == [work.id]


async def test_one_outcome_that_the_store_chokes_on_costs_no_other(bench: Bench) -> None:
    works, epoch = await bench.works(5)
    bench.store.poison = works[2].id
    for work in works:
        bench.settle(settlements.delivered(work, epoch, an_attempt(work)))
    await bench.settler.drain()
    assert sorted(bench.durable) == sorted(work.id for work in works)
    rows = bench.store._tables.deliveries
    assert [rows[work.id].state.value for work in works] == ["delivered"] * 2 + ["pending"] + ["delivered"] * 2
    assert bench.settler._unsettled == 0
    assert bench.told.of("error.unexpected")


async def test_too_many_unsettled_outcomes_leave_no_room_until_they_are_durable(bench: Bench) -> None:
    bench.store.settle_is_down = True
    works = [
        DeliveryWork(
            id=str(number), shard=0, endpoint="ep", due_ms=0, event="evt", attempts=0, step=0,
            trigger=Trigger.SCHEDULED, payload=Payload(type="t", body=b""),
        )
        for number in range(settling._MOST_UNSETTLED)
    ]  # fmt: skip
    for work in works[1:]:
        bench.settle(settlements.cancelled(work, 1, "gone"))
    assert bench.settler.has_room
    bench.settle(settlements.cancelled(works[0], 1, "gone"))
    assert not bench.settler.has_room
    bench.store.settle_is_down = False
    await bench.settler.drain()
    assert bench.settler.has_room
    assert len(bench.durable) == len(works)


async def test_a_drain_that_is_cancelled_while_the_store_is_down_ends(bench: Bench) -> None:
    [work], epoch = await bench.works(1)
    bench.store.settle_is_down = True
    bench.settle(settlements.delivered(work, epoch, an_attempt(work)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.03):
            await bench.settler.drain()
    bench.store.settle_is_down = False
    await bench.settler.drain()


async def test_a_drain_waits_for_notices_and_a_failing_one_is_reported(bench: Bench) -> None:
    [work], _ = await bench.works(1)
    bench.settler.endpoint_gone(an_attempt(work, endpoint="ep_bad"))
    bench.settler.endpoint_gone(an_attempt(work, endpoint="ep_good"))
    await bench.settler.drain()
    assert bench.gone == ["ep_good"]
    assert [facts["where"] for facts in bench.told.of("error.unexpected")] == ["endpoint gone"]
