"""Random histories and takeovers: a right store comes through them, and one with any of these faults is found out."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.records import Append, AppendResult, Decided, LaneRead, Lease, NewDelivery, Settlement, Taken
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.model import Diverged, run_random_history
from posthorn.testing.conformance.people_model import run_random_people
from posthorn.testing.conformance.takeovers import run_takeovers
from posthorn.testing.memory import MemoryStore


class IgnoresEpochs(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        shards = self._tables.shards
        current = [shards[Stage.DELIVER, one.work.shard].epoch for one in settlements]
        return await super().settle(
            [replace(one, epoch=epoch) for one, epoch in zip(settlements, current, strict=True)]
        )


class LosesAttempts(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        results = await super().settle(settlements)
        self._tables.attempts.clear()
        return results


class GuardsByTheWrongStage(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        shards = self._tables.shards
        kept = {key: owned for key, owned in shards.items() if key[0] is Stage.DELIVER}
        shards |= {(Stage.DELIVER, shard): shards[Stage.DECIDE, shard] for _, shard in kept}
        results = await super().settle(settlements)
        shards |= kept
        return results


class ReleasesEverything(MemoryStore):
    async def release(self, node: str, stage: Stage, shards: Sequence[int] | None = None) -> None:
        await super().release(node, stage)


class Taking(MemoryStore):
    """Asks as `asked` says, and answers as `answered` says."""

    def asked(self, reads: Sequence[LaneRead]) -> Sequence[LaneRead]:
        return reads

    def answered(self, taken: list[Taken]) -> list[Taken]:
        return taken

    async def take(self, reads: Sequence[LaneRead], *, now_ms: int) -> list[Taken]:
        return self.answered(await super().take(self.asked(reads), now_ms=now_ms))


class IgnoresWhatIsHeld(Taking):
    def asked(self, reads: Sequence[LaneRead]) -> Sequence[LaneRead]:
        return [replace(read, held=frozenset()) for read in reads]


class SharesWhatIsHeld(Taking):
    def asked(self, reads: Sequence[LaneRead]) -> Sequence[LaneRead]:
        held = frozenset(identifier for read in reads for identifier in read.held)
        return [replace(read, held=held) for read in reads]


class AlwaysBeginsAtTheFront(Taking):
    def asked(self, reads: Sequence[LaneRead]) -> Sequence[LaneRead]:
        return [replace(read, after=None) for read in reads]


class TakesInTheOrderOfIds(Taking):
    def answered(self, taken: list[Taken]) -> list[Taken]:
        return [replace(one, works=sorted(one.works, key=lambda work: work.id)) for one in taken]


class TakesADeliveryOnce(Taking):
    def answered(self, taken: list[Taken]) -> list[Taken]:
        seen: set[str] = set()
        answers: list[Taken] = []
        for one in taken:
            answers.append(replace(one, works=[work for work in one.works if work.id not in seen]))
            seen.update(work.id for work in one.works)
        return answers


class SeesNoMore(Taking):
    def answered(self, taken: list[Taken]) -> list[Taken]:
        return [replace(one, more=False) for one in taken]


class SeesMoreEverywhere(Taking):
    def answered(self, taken: list[Taken]) -> list[Taken]:
        return [replace(one, more=True) for one in taken]


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
        GuardsByTheWrongStage,
        ReleasesEverything,
        LosesAttempts,
        IgnoresWhatIsHeld,
        SharesWhatIsHeld,
        AlwaysBeginsAtTheFront,
        TakesInTheOrderOfIds,
        TakesADeliveryOnce,
        SeesNoMore,
        SeesMoreEverywhere,
        RestartsPendingSchedules,
        ForgetsClaims,
        CancelsTwice,
    ],
)
async def test_a_faulty_store_is_found_out(faulty: type[MemoryStore]) -> None:
    clock = ManualClock()
    with pytest.raises(Diverged):
        await run_random_history(faulty(clock), MemoryStore(clock), seed=1, steps=400)


class DecidesUnderAnyEpoch(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        shards = self._tables.shards
        current = [shards[Stage.DECIDE, one.work.shard].epoch for one in decided]
        return await super().settle_decisions(
            [replace(one, epoch=epoch) for one, epoch in zip(decided, current, strict=True)]
        )


class TakesOverUnderTheOldEpoch(MemoryStore):
    async def lease(self, node: str, stage: Stage, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
        shards = self._tables.shards
        before = {key: owned.epoch for key, owned in shards.items()}
        leases = await super().lease(node, stage, now_ms=now_ms, until_ms=until_ms, most=most)
        shards |= {key: replace(owned, epoch=max(before[key], 1)) for key, owned in shards.items()}
        return [replace(lease, epoch=max(before[stage, lease.shard], 1)) for lease in leases]


class CountsTheEventsOfABatchOnce(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        counted = {(one.work.profile, one.work.event.type): one for one in decided}.values()
        return await super().settle_decisions([replace(one, count=one in counted) for one in decided])


class KeepsTheFirstFiring(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        known = dict(self._tables.firings)
        results = await super().settle_decisions(decided)
        self._tables.firings |= known
        return results


class DeliversRefusedDecisions(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        self._tables.commit(deliveries=[delivery for one in decided for delivery in one.deliveries])
        return results


@pytest.mark.parametrize("seed", range(20))
async def test_takeovers_in_the_midst_of_deciding_cost_nothing(seed: int) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    assert await run_takeovers([store, store], clock, seed=seed) > 0


@pytest.mark.parametrize(
    "faulty",
    [
        DecidesUnderAnyEpoch,
        TakesOverUnderTheOldEpoch,
        CountsTheEventsOfABatchOnce,
        KeepsTheFirstFiring,
        DeliversRefusedDecisions,
    ],
)
async def test_a_store_that_is_not_exact_over_takeovers_is_found_out(faulty: type[MemoryStore]) -> None:
    async def run_ten() -> None:
        for seed in range(10):
            clock = ManualClock()
            await run_takeovers([faulty(clock)] * 2, clock, seed=seed)

    with pytest.raises(AssertionError):
        await run_ten()


class LeavesTimersOfMergedPeople(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        return await super().settle_decisions([replace(one, moved_to=None) for one in decided])


class QueuesTimersOnce(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        known = dict(self._tables.timers)
        results = await super().settle_decisions(decided)
        self._tables.timers |= {place: timer for place, timer in known.items() if place in self._tables.timers}
        return results


class NeverAbsorbs(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        return await super().settle_decisions([replace(one, absorbs=None) for one in decided])


class KeepsTheFirstProfile(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        known = dict(self._tables.profiles)
        results = await super().settle_decisions(decided)
        self._tables.profiles |= known
        return results


class EmitsNothing(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        return await super().settle_decisions([replace(one, events=()) for one in decided])


class ForgetsRunsThatEnd(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        self._tables.runs = {place: run for place, run in self._tables.runs.items() if run.state == "active"}
        return results


class TellsNothing(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        known = dict(self._tables.timers)
        results = await super().settle(settlements)
        self._tables.timers = known
        return results


class ErasesTimersOfAll(MemoryStore):
    async def erase(self, key: str, *, most: int) -> int:
        self._tables.timers.clear()
        return await super().erase(key, most=most)


@pytest.mark.parametrize("seed", range(5))
async def test_two_equal_stores_agree_over_a_random_history_of_people(seed: int) -> None:
    clock = ManualClock()
    store, model = MemoryStore(clock), MemoryStore(clock)
    assert await run_random_people(store, model, clock, seed=seed, steps=800) > 80
    assert store._tables.profiles
    assert store._tables.runs
    assert store._tables.attempts


@pytest.mark.parametrize(
    "faulty",
    [
        DecidesUnderAnyEpoch,
        LeavesTimersOfMergedPeople,
        QueuesTimersOnce,
        NeverAbsorbs,
        KeepsTheFirstProfile,
        KeepsTheFirstFiring,
        EmitsNothing,
        ForgetsRunsThatEnd,
        TellsNothing,
        ErasesTimersOfAll,
    ],
)
async def test_a_store_that_is_wrong_about_people_is_found_out(faulty: type[MemoryStore]) -> None:
    clock = ManualClock()
    with pytest.raises(Diverged):
        await run_random_people(faulty(clock), MemoryStore(clock), clock, seed=2, steps=400)
