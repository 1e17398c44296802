"""The suites: no test of theirs hides another, each is taken over by a port, and each promise finds who breaks it."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.people import ProfilePage, ProfileQuery
from posthorn.engine.records import Append, AppendResult, Decided, DecisionWork, Event, Recall, Recalled, Settlement
from posthorn.engine.runs import RunPage, RunQuery, Timer
from posthorn.engine.shards import SHARDS
from posthorn.testing import conformance
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance import people_erased, people_pages, profiles, timers
from posthorn.testing.conformance.world import OTHER_NODE, World
from posthorn.testing.memory import MemoryStore

GATHERING = {"work", "journal", "registry", "people"}
SINGLE = sorted(
    {module.name for module in iter_modules(conformance.__path__)} - GATHERING - {"world", "model", "people_model"}
)

Promise = Callable[..., Awaitable[None]]


def _tests_of(name: str) -> list[str]:
    module = import_module(f"{conformance.__name__}.{name}")
    return [test for test in vars(module) if test.startswith("test_")]


def test_no_two_tests_of_the_suites_share_a_name() -> None:
    counts = Counter(test for name in SINGLE for test in _tests_of(name))
    assert [test for test, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", SINGLE)
def test_every_suite_is_gathered_by_one_of_the_ports(name: str) -> None:
    tests = _tests_of(name)
    assert tests
    gathered = {test for port in GATHERING for test in _tests_of(port)}
    assert set(tests) <= gathered


class Deciding(MemoryStore):
    """Settles outcomes as `meant` understands them, each by itself."""

    def meant(self, one: Decided) -> Decided:
        return one

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        return [(await super(Deciding, self).settle_decisions([self.meant(one)]))[0] for one in decided]


class TakesTimersBehindEvents(MemoryStore):
    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        found = await super().take_decisions(shards, room=10**9, now_ms=now_ms, held=held, since_ms=since_ms)
        return sorted(found, key=lambda one: isinstance(one, Timer))[:room]


class TakesTimersOfEveryShard(MemoryStore):
    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        found = await super().take_decisions(range(SHARDS), room=room, now_ms=now_ms, held=held, since_ms=since_ms)
        return [one for one in found if isinstance(one, Timer) or one.shard in shards]


class TakesTimersBeforeTheyAreDue(MemoryStore):
    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        return await super().take_decisions(shards, room=room, now_ms=10**15, held=held, since_ms=since_ms)


class TakesHeldTimers(MemoryStore):
    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        kept = frozenset(identifier for identifier in held if identifier not in self._tables.timers)
        return await super().take_decisions(shards, room=room, now_ms=now_ms, held=kept, since_ms=since_ms)


class SettlesTimersUnderAnyEpoch(Deciding):
    def meant(self, one: Decided) -> Decided:
        epoch = self._tables.shards[Stage.DECIDE, one.work.shard].epoch
        return replace(one, epoch=epoch) if isinstance(one.work, Timer) else one


class SettlesTimersAtAnyDue(Deciding):
    def meant(self, one: Decided) -> Decided:
        row = self._tables.timers.get(one.work.id)
        return replace(one, work=row) if row is not None else one


class CountsTimers(Deciding):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        for one in decided:
            if one.count and isinstance(one.work, Timer):
                self._count(one.work.profile, Event(id="", workspace="", type="", occurred_ms=0, received_ms=0))
        return results


class KeepsSettledTimers(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        self._tables.timers |= {one.work.id: one.work for one in decided if isinstance(one.work, Timer)}
        return results


class LeavesKnownTimersWhereTheyAre(Deciding):
    def meant(self, one: Decided) -> Decided:
        known = self._tables.timers.keys() - {one.work.id}
        return replace(one, timers=tuple(timer for timer in one.timers if timer.id not in known))


class CannotQueueATimerAgain(Deciding):
    def meant(self, one: Decided) -> Decided:
        return replace(one, timers=tuple(timer for timer in one.timers if timer.id != one.work.id))


class KeepsUnwantedTimers(Deciding):
    def meant(self, one: Decided) -> Decided:
        return replace(one, unwanted=())


class TakesUnwantedTimersOffLast(Deciding):
    def meant(self, one: Decided) -> Decided:
        return replace(one, timers=tuple(timer for timer in one.timers if timer.id not in one.unwanted))


class JudgesABatchByItsBeginning(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        for one in decided:
            if isinstance(one.work, Timer):
                await super().settle_decisions([one])
        return [(await super(JudgesABatchByItsBeginning, self).settle_decisions([one]))[0] for one in decided]


class QueuesOfRefusedOutcomes(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        self._tables.timers |= {timer.id: timer for one in decided for timer in one.timers}
        return results


class ForgetsTheNewShard(Deciding):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        for table in (self._tables.timers, self._tables.undecided):
            for one in decided:
                if one.moved_to is not None and one.work.id in table:
                    table[one.work.id] = replace(table[one.work.id], shard=one.work.shard)  # type: ignore[assignment]
        return results


class LosesWhatMoves(Deciding):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        for one in decided:
            if one.moved_to is not None:
                self._tables.timers.pop(one.work.id, None)
        return results


class CountsWhatMoves(Deciding):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        for one in decided:
            if one.moved_to is not None and isinstance(one.work, DecisionWork):
                self._count(one.work.profile, one.work.event)
        return results


class MovesToTheEndOfTheQueue(Deciding):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        for table in (self._tables.timers, self._tables.undecided):
            for one in decided:
                if one.moved_to is not None and one.work.id in table:
                    due_ms = self._tables.clock.now_ms()
                    table[one.work.id] = replace(table[one.work.id], due_ms=due_ms)  # type: ignore[assignment]
        return results


class TellsNothing(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        before = dict(self._tables.timers)
        results = await super().settle(settlements)
        self._tables.timers = before
        return results


class TellsAtEveryAttempt(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        for one in settlements:
            if one.work.rendered is not None and one.work.rendered.tells is not None:
                self._tables.timers[one.work.rendered.tells.id] = one.work.rendered.tells
        return await super().settle(settlements)


class CancelsInSilence(MemoryStore):
    async def cancel(self, delivery: str, reason: str) -> bool:
        before = dict(self._tables.timers)
        results = await super().cancel(delivery, reason)
        self._tables.timers = before
        return results


class TellsAtTheTimersOwnDue(MemoryStore):
    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        results = await super().settle(settlements)
        told = [one.work.rendered.tells for one in settlements if one.work.rendered is not None]
        self._tables.timers |= {timer.id: timer for timer in told if timer is not None}
        return results


class LagsByEventsAlone(MemoryStore):
    async def nodes(self, *, now_ms: int) -> list[Any]:
        timers, self._tables.timers = self._tables.timers, {}
        found = await super().nodes(now_ms=now_ms)
        self._tables.timers = timers
        return found


class MergesProfiles(Deciding):
    def meant(self, one: Decided) -> Decided:
        known = self._tables.profiles
        merged = [
            replace(made, attributes=known[made.key].attributes | made.attributes) if made.key in known else made
            for made in one.profiles
        ]
        return replace(one, profiles=tuple(merged))


class KeepsTheFirstProfileOfABatch(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        made = [profile for one in decided for profile in one.profiles]
        self._tables.profiles |= {profile.key: profile for profile in reversed(made)}
        return results


class LosesFields(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        tables = self._tables
        tables.profiles = {key: replace(one, devices=()) for key, one in tables.profiles.items()}
        tables.runs = {key: replace(one, document=b"") for key, one in tables.runs.items()}
        return results


class NobodyLeavesASegment(Deciding):
    def meant(self, one: Decided) -> Decided:
        return replace(one, memberships=tuple(member for member in one.memberships if member.is_in))


class LetsLeaveLast(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        for member in [member for one in decided for member in one.memberships if not member.is_in]:
            self._tables.members.pop((member.segment, member.profile), None)
        return results


class KeepsTheFirstRun(Deciding):
    def meant(self, one: Decided) -> Decided:
        return replace(one, runs=tuple(run for run in one.runs if run.id not in self._tables.runs))


class RecallsEndedRunsToo(MemoryStore):
    async def recall(self, wanted: Recall) -> Recalled:
        theirs = frozenset(run.id for run in self._tables.runs.values() if run.profile in wanted.active_runs)
        return await super().recall(replace(wanted, runs=wanted.runs | theirs))


class RecallsEverything(MemoryStore):
    async def recall(self, wanted: Recall) -> Recalled:
        return replace(await super().recall(wanted), profiles=dict(self._tables.profiles))


class RecallsByTypeAlone(MemoryStore):
    async def recall(self, wanted: Recall) -> Recalled:
        types = {name for _, name in wanted.counts}
        counts = {place: count for place, count in self._tables.counts.items() if place[1] in types}
        bob = {(timers.BOB, name): count for (_, name), count in counts.items()}
        return replace(await super().recall(wanted), counts=counts | bob)


class AnswersWithTheFirstAttempt(MemoryStore):
    async def recall(self, wanted: Recall) -> Recalled:
        rows = [numbered.row for numbered in reversed(self._tables.attempts.values())]
        answers = {row.delivery: row for row in rows if row.delivery in wanted.answers}
        return replace(await super().recall(wanted), answers=answers)


class EmitsInSilence(Deciding):
    def meant(self, one: Decided) -> Decided:
        return replace(one, events=tuple(replace(new, profile=None) for new in one.events))


class EmitsOfRefusedOutcomes(MemoryStore):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions(decided)
        self._tables.commit(events=[new.event for one in decided for new in one.events])
        return results


class PutsAndForgetsWhatIsAbsorbed(Deciding):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        results = await super().settle_decisions([replace(one, absorbs=None) for one in decided])
        for one in decided:
            for place in [place for place in self._tables.counts if place[0] == one.absorbs]:
                del self._tables.counts[place]
        return results


class AbsorbsFirst(Deciding):
    def meant(self, one: Decided) -> Decided:
        if one.absorbs is not None:
            self._absorb(one.absorbs, one.work.profile)
        return replace(one, absorbs=None)


class AbsorbsAndKeeps(Deciding):
    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        before = dict(self._tables.counts)
        results = await super().settle_decisions(decided)
        old = {one.absorbs for one in decided}
        self._tables.counts |= {place: count for place, count in before.items() if place[0] in old}
        return results


class LosesContexts(MemoryStore):
    async def append(self, units: Sequence[Append]) -> list[AppendResult]:
        return await super().append(
            [replace(unit, event=replace(unit.event, context=None)) if unit.event else unit for unit in units]
        )


class KeepsContexts(MemoryStore):
    async def forget_payload(self, workspace: str, event: str) -> bool:
        context = self._tables.events[event].row.context
        known = await super().forget_payload(workspace, event)
        numbered = self._tables.events[event]
        self._tables.events[event] = type(numbered)(numbered.number, replace(numbered.row, context=context))
        return known


class PrunesActiveRuns(MemoryStore):
    async def prune(self, *, before_ms: int, most: int) -> int:
        for run in [run for run in self._tables.runs.values() if run.changed_ms < before_ms]:
            del self._tables.runs[run.id]
        return await super().prune(before_ms=before_ms, most=most)


class NeverPrunesRuns(MemoryStore):
    async def prune(self, *, before_ms: int, most: int) -> int:
        runs = dict(self._tables.runs)
        gone = await super().prune(before_ms=before_ms, most=most)
        gone -= len(runs) - len(self._tables.runs)
        self._tables.runs = runs
        return gone


class PrunesEventsThatWait(MemoryStore):
    async def prune(self, *, before_ms: int, most: int) -> int:
        waiting = dict(self._tables.undecided)
        self._tables.undecided.clear()
        gone = await super().prune(before_ms=before_ms, most=most)
        self._tables.undecided |= {place: row for place, row in waiting.items() if place in self._tables.events}
        return gone


class Asked(MemoryStore):
    """Reads pages as `people` and `runs_asked` understand the questions."""

    def people(self, query: ProfileQuery) -> ProfileQuery:
        return query

    def runs_asked(self, query: RunQuery) -> RunQuery:
        return query

    async def profiles(self, query: ProfileQuery) -> ProfilePage:
        return await super().profiles(self.people(query))

    async def runs(self, query: RunQuery) -> RunPage:
        return await super().runs(self.runs_asked(query))


class ListsEverybody(Asked):
    def people(self, query: ProfileQuery) -> ProfileQuery:
        return replace(query, segment=None)


class ListsRunsOfAllStates(Asked):
    def runs_asked(self, query: RunQuery) -> RunQuery:
        return replace(query, state=None)


class ListsRunsOfAllAutomations(Asked):
    def runs_asked(self, query: RunQuery) -> RunQuery:
        return replace(query, automation=None)


class AlwaysListsForwards(Asked):
    def people(self, query: ProfileQuery) -> ProfileQuery:
        return replace(query, backwards=False)

    def runs_asked(self, query: RunQuery) -> RunQuery:
        return replace(query, backwards=False)


class ShowsRunsToAll(MemoryStore):
    async def run(self, workspace: str, identifier: str) -> Any:
        return self._tables.runs.get(identifier)


class CountsRunsOfAll(MemoryStore):
    async def run_counts(self, workspace: str, automation: str) -> dict[str, int]:
        return dict(Counter(run.state.value for run in self._tables.runs.values()))


class ShowsMergedPeople(MemoryStore):
    async def profiles(self, query: ProfileQuery) -> ProfilePage:
        known = self._tables.profiles
        self._tables.profiles = {key: replace(one, merged_into=None) for key, one in known.items()}
        page = await super().profiles(query)
        self._tables.profiles = known
        return page


class ErasesAllAtOnce(MemoryStore):
    async def erase(self, key: str, *, most: int) -> int:
        return await super().erase(key, most=10**9)


class ErasesProfilesOnly(MemoryStore):
    async def erase(self, key: str, *, most: int) -> int:
        return 1 if self._tables.profiles.pop(key, None) is not None else 0


class ErasesTheUserOfEveryWorkspace(MemoryStore):
    async def erase(self, key: str, *, most: int) -> int:
        user = key.rpartition("/")[2]
        named = [one.row.id for one in self._tables.events.values() if one.row.user == user]
        for event in named:
            del self._tables.events[event]
        return await super().erase(key, most=most) or len(named)


class ErasesNobodyMerged(MemoryStore):
    async def erase(self, key: str, *, most: int) -> int:
        self._tables.profiles.pop(key, None)
        others, self._tables.profiles = self._tables.profiles, {}
        gone = await super().erase(key, most=most)
        self._tables.profiles = others
        return gone


BROKEN: list[tuple[type[MemoryStore], Promise]] = [
    (TakesTimersBehindEvents, timers.test_timers_and_events_are_taken_together_by_due_and_then_id),
    (TakesHeldTimers, timers.test_timers_and_events_are_taken_together_by_due_and_then_id),
    (TakesTimersOfEveryShard, timers.test_timers_of_other_shards_are_not_taken),
    (TakesTimersBeforeTheyAreDue, timers.test_a_timer_that_was_queued_comes_back_whole_when_it_is_due),
    (SettlesTimersUnderAnyEpoch, timers.test_a_timer_of_an_older_epoch_touches_nothing),
    (SettlesTimersUnderAnyEpoch, timers.test_a_timer_under_the_epoch_of_the_other_stage_touches_nothing),
    (SettlesTimersUnderAnyEpoch, timers.test_nothing_is_moved_under_an_older_epoch),
    (SettlesTimersAtAnyDue, timers.test_a_timer_that_moved_meanwhile_is_not_settled_at_its_old_due),
    (CountsTimers, timers.test_a_timer_is_nothing_to_count),
    (KeepsSettledTimers, timers.test_a_settled_timer_is_gone_and_its_outcome_is_committed),
    (LeavesKnownTimersWhereTheyAre, timers.test_a_timer_with_a_known_id_moves_to_another_profile_too),
    (CannotQueueATimerAgain, timers.test_a_timer_can_queue_itself_again),
    (KeepsUnwantedTimers, timers.test_an_unwanted_timer_is_taken_off_and_one_that_is_gone_does_no_harm),
    (KeepsUnwantedTimers, timers.test_of_a_timer_queued_and_taken_off_in_one_batch_the_last_word_counts),
    (TakesUnwantedTimersOffLast, timers.test_an_outcome_that_takes_a_timer_off_and_queues_it_queues_it),
    (JudgesABatchByItsBeginning, timers.test_in_a_batch_a_timer_that_was_taken_off_before_is_not_settled),
    (KeepsSettledTimers, timers.test_in_a_batch_a_timer_that_was_settled_can_be_queued_again),
    (QueuesOfRefusedOutcomes, timers.test_a_refused_outcome_neither_queues_nor_takes_off_a_timer),
    (ForgetsTheNewShard, timers.test_what_is_moved_to_another_profile_keeps_its_place_and_changes_nothing_else),
    (CountsWhatMoves, timers.test_what_is_moved_to_another_profile_keeps_its_place_and_changes_nothing_else),
    (MovesToTheEndOfTheQueue, timers.test_what_is_moved_to_another_profile_keeps_its_place_and_changes_nothing_else),
    (LosesWhatMoves, timers.test_what_was_moved_is_settled_by_the_owner_of_its_new_shard),
    (TellsNothing, timers.test_deliveries_without_anything_to_tell_end_as_ever_beside_those_that_have),
    (TellsAtEveryAttempt, timers.test_a_delivery_that_is_tried_again_tells_nothing_yet),
    (TellsAtEveryAttempt, timers.test_a_refused_settlement_tells_nothing),
    (CancelsInSilence, timers.test_a_delivery_cancelled_by_hand_tells_too),
    (TellsAtTheTimersOwnDue, timers.test_what_waits_already_is_not_told_again),
    (LagsByEventsAlone, timers.test_a_node_lags_by_the_oldest_timer_that_is_due),
    (MergesProfiles, profiles.test_a_profile_takes_the_place_of_what_it_was),
    (LosesFields, profiles.test_a_profile_comes_back_whole),
    (KeepsTheFirstProfileOfABatch, profiles.test_of_two_profiles_in_one_batch_the_later_one_stays),
    (NobodyLeavesASegment, profiles.test_memberships_are_entered_and_left),
    (LetsLeaveLast, profiles.test_of_memberships_in_one_batch_the_last_word_counts),
    (LosesFields, profiles.test_runs_come_back_whole_and_the_later_one_stays),
    (KeepsTheFirstRun, profiles.test_runs_come_back_whole_and_the_later_one_stays),
    (RecallsEndedRunsToo, profiles.test_runs_are_recalled_by_id_and_the_active_ones_by_their_profile),
    (RecallsEverything, profiles.test_what_is_not_asked_for_is_not_recalled_and_nothing_asks_nothing),
    (RecallsByTypeAlone, profiles.test_counters_are_recalled_by_profile_and_type),
    (AnswersWithTheFirstAttempt, profiles.test_answers_are_the_last_attempts_by_number),
    (EmitsInSilence, profiles.test_an_emitted_event_is_kept_and_waits_to_be_decided),
    (EmitsOfRefusedOutcomes, profiles.test_an_outcome_of_an_older_epoch_changes_nothing_of_people),
    (EmitsInSilence, profiles.test_everything_of_one_outcome_is_committed_together),
    (EmitsOfRefusedOutcomes, profiles.test_events_stand_before_the_decisions_that_emitted_them),
    (PutsAndForgetsWhatIsAbsorbed, profiles.test_a_merged_profiles_counters_and_firings_are_added),
    (AbsorbsAndKeeps, profiles.test_a_merged_profiles_counters_and_firings_are_added),
    (AbsorbsFirst, profiles.test_what_is_absorbed_is_added_to_what_the_same_outcome_and_those_before_it_put),
    (LosesContexts, profiles.test_what_comes_with_an_event_is_kept_with_it),
    (KeepsContexts, profiles.test_forgetting_a_payload_forgets_what_came_with_the_event),
    (PrunesActiveRuns, profiles.test_retention_takes_runs_that_ended_and_no_active_one),
    (NeverPrunesRuns, profiles.test_retention_takes_runs_that_ended_and_no_active_one),
    (PrunesEventsThatWait, profiles.test_an_emitted_event_that_waits_is_not_pruned),
    (ShowsRunsToAll, people_pages.test_a_run_is_found_in_its_own_workspace),
    (CountsRunsOfAll, people_pages.test_an_automations_runs_are_counted_by_state),
    (ListsEverybody, people_pages.test_people_are_listed_in_their_own_workspace_and_segment),
    (AlwaysListsForwards, people_pages.test_a_page_of_people_goes_on_behind_a_user_id_that_need_not_exist),
    (ShowsMergedPeople, people_pages.test_a_page_of_people_goes_on_behind_a_user_id_that_need_not_exist),
    (ErasesProfilesOnly, people_erased.test_an_event_that_waits_to_be_decided_is_forgotten_and_its_decision_refused),
    (ErasesTheUserOfEveryWorkspace, people_erased.test_what_is_of_others_stays_as_it_was),
    (ErasesNobodyMerged, people_erased.test_whoever_was_merged_into_a_person_is_forgotten_too),
    (ErasesProfilesOnly, people_erased.test_a_person_of_whom_there_are_only_events_is_forgotten),
]


async def _world_of(store: MemoryStore) -> World:
    world = World(store, store._tables.clock)  # type: ignore[arg-type]  # it was made with a clock for tests
    await store.lease(OTHER_NODE, Stage.DECIDE, now_ms=world.now_ms, until_ms=world.now_ms + 1, most=SHARDS)
    await store.release(OTHER_NODE, Stage.DECIDE)
    await world.own()
    return world


async def _try(promise: Promise, store: MemoryStore, **arguments: Any) -> None:
    world = await _world_of(store)
    if "people" in promise.__annotations__:
        world = await people_pages.people.__wrapped__(world)  # type: ignore[attr-defined]
    elif "runs" in promise.__annotations__:
        arguments["runs"] = await people_pages.runs.__wrapped__(world)  # type: ignore[attr-defined]
    await promise(world, **arguments)


@pytest.mark.parametrize(
    ("broken", "promise"), BROKEN, ids=lambda value: value.__name__ if isinstance(value, type) else None
)
async def test_a_store_that_breaks_a_promise_is_found_out_by_it(broken: type[MemoryStore], promise: Promise) -> None:
    await _try(promise, MemoryStore(ManualClock()))
    with pytest.raises((AssertionError, KeyError, ValueError, StopIteration, RuntimeError)):
        await _try(promise, broken(ManualClock()))


@pytest.mark.parametrize("broken", [AlwaysListsForwards, ListsEverybody, ShowsMergedPeople])
async def test_pages_of_people_find_out_whoever_cuts_them_wrong(broken: type[MemoryStore]) -> None:
    promise = people_pages.test_pages_of_people_meet_with_no_gap_and_no_repeat
    with pytest.raises(AssertionError):
        await _try(promise, broken(ManualClock()), limit=3, backwards=True)


@pytest.mark.parametrize(
    ("broken", "number"), [(AlwaysListsForwards, 0), (ListsRunsOfAllAutomations, 1), (ListsRunsOfAllStates, 3)]
)
async def test_pages_of_runs_find_out_whoever_cuts_them_wrong(broken: type[MemoryStore], number: int) -> None:
    promise = people_pages.test_pages_of_runs_meet_with_no_gap_and_no_repeat
    with pytest.raises(AssertionError):
        await _try(promise, broken(ManualClock()), wanted=people_pages.QUERIES[number], backwards=True)


@pytest.mark.parametrize("broken", [ErasesAllAtOnce, ErasesProfilesOnly])
async def test_whoever_forgets_too_much_at_once_or_too_little_is_found_out(broken: type[MemoryStore]) -> None:
    with pytest.raises(AssertionError):
        await _try(
            people_erased.test_everything_of_a_person_is_forgotten_in_bounded_pieces, broken(ManualClock()), most=3
        )
