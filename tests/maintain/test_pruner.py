"""Retention: what is old goes in small batches, and what is still owed stays."""

from posthorn.clock import DAY_MS
from posthorn.errors import StoreUnavailable
from posthorn.maintain.pruner import Pruner
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.factories import a_claim, a_unit, an_event
from posthorn.testing.memory import MemoryStore


class Store(MemoryStore):
    is_down = False
    takes_seconds = 0.0

    async def prune(self, *, before_ms: int, most: int) -> int:
        if self.is_down:
            raise StoreUnavailable("disk full")
        self._tables.clock.advance(self.takes_seconds)  # type: ignore[attr-defined]
        return await super().prune(before_ms=before_ms, most=most)


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store(self.clock)
        self.told: list[dict[str, object]] = []
        telemetry = Telemetry(strict=True)
        telemetry.subscribe(lambda _name, facts: self.told.append(dict(facts)), "prune.finished")
        self.pruner = Pruner(store=self.store, retention_days=30, clock=self.clock, telemetry=telemetry)

    async def events(self, count: int, *, age_days: int) -> None:
        at_ms = START_MS - age_days * DAY_MS
        await self.store.append([a_unit(an_event(received_ms=at_ms), endpoints=()) for _ in range(count)])


async def test_only_what_is_older_than_the_retention_goes() -> None:
    bench = Bench()
    await bench.events(3, age_days=31)
    await bench.events(2, age_days=29)
    assert await bench.pruner.run_once() == 600.0
    assert len(bench.store._tables.events) == 2
    assert [facts["rows"] for facts in bench.told] == [3]


async def test_a_pending_delivery_keeps_its_event_however_old() -> None:
    bench = Bench()
    await bench.store.append([a_unit(an_event(received_ms=START_MS - 90 * DAY_MS))])
    await bench.pruner.run_once()
    assert len(bench.store._tables.events) == 1


async def test_expired_claims_go_too() -> None:
    bench = Bench()
    await bench.store.append([a_unit(claims=(a_claim(key="a", expires_ms=START_MS + 1),))])
    await bench.store.append([a_unit(claims=(a_claim(key="b", expires_ms=START_MS + DAY_MS),))])
    bench.clock.advance(60)
    await bench.pruner.run_once()
    assert [key for _, key in bench.store._tables.claims] == ["b"]
    assert [facts["claims"] for facts in bench.told] == [1]


async def test_many_rows_go_in_batches_with_pauses_that_leave_the_store_to_others() -> None:
    bench = Bench()
    await bench.events(1200, age_days=31)
    bench.store.takes_seconds = 0.02
    pauses = [await bench.pruner.run_once() for _ in range(3)]
    assert pauses == [0.08, 0.08, 600.0]
    assert bench.store._tables.events == {}
    assert [(facts["rows"], facts["seconds"]) for facts in bench.told] == [(1200, 0.06)]


async def test_a_store_that_is_down_is_asked_again_before_the_next_round() -> None:
    bench = Bench()
    bench.store.is_down = True
    assert await bench.pruner.run_once() == 30.0
    assert bench.told == []
