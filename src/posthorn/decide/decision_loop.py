"""The deciding loop: take events that wait, decide them in order, commit what follows."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from posthorn.clock import Clock
from posthorn.decide.compiling import BrokenAutomation, CompiledAutomation, CompiledAutomations
from posthorn.decide.deciding import Decider
from posthorn.decide.eligibility import is_in_line
from posthorn.decide.facts import facts_of
from posthorn.decide.front import Front
from posthorn.decide.rendering import RenderFailed
from posthorn.engine.cluster import SHARED
from posthorn.engine.directory import Directory
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.engine.ports import Registry, WorkStore
from posthorn.engine.profiles import shared_profile
from posthorn.engine.records import Decided, DecisionWork, EligibilityKey, Firing
from posthorn.engine.resources import Automation
from posthorn.engine.shards import shard_of
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

_MOST_PER_COMMIT = 256
_STORE_PAUSE_SECONDS = 0.5
_WORKS_PER_TURN = 16


class DecidingStore(WorkStore, Registry, Protocol):
    """What waits to be decided, and by which rules."""


class _Case(Struct, frozen=True, kw_only=True):
    """An event, the automations that it triggers, and what their conditions and templates may look at."""

    work: DecisionWork
    automations: Sequence[CompiledAutomation | BrokenAutomation]
    out_of_line: Sequence[Automation]  #: they remember what this node cannot know exactly
    facts: dict[str, Any]


class DecisionLoop(Service):
    """Decides events of the shards that this node owns, one batch after the other.

    A batch is read, decided and committed before the next is read: that, and ownership, is why a counter or an
    eligibility can never be wrong, whatever crashes.
    """

    def __init__(
        self,
        *,
        store: DecidingStore,
        ownership: Ownership,
        directory: Directory,
        decider: Decider,
        hints: Hints,
        to_deliver: Hints,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(name="decision loop", telemetry=telemetry, clock=clock)
        self._store = store
        self._ownership = ownership
        self._directory = directory
        self._decider = decider
        self._hints = hints
        self._to_deliver = to_deliver
        self._compiled = CompiledAutomations()
        self._room = _MOST_PER_COMMIT
        self._front = Front()
        self._busy: set[int] = set()

    def busy_shards(self) -> set[int]:
        """Return the shards of events that are being decided."""
        return self._busy

    def wake(self) -> None:
        """Let the loop notice that it should stop."""
        self._hints.wake()

    async def run(self) -> None:
        """Decide batches while there are any, then wait for the next hint or poll."""
        while not self.stopping:
            try:
                decided = await self._decide_batch()
            except StoreUnavailable as error:
                self._telemetry.emit("store.unavailable", cause=str(error))
                await self.pause(_STORE_PAUSE_SECONDS)
                continue
            if not decided:
                await self._hints.wait(self._ownership.tempo.poll_seconds)

    async def _decide_batch(self) -> int:
        """Return how many events were decided, or would be when tried one by one."""
        for due_ms in self._hints.collect().values():  # all that wait are asked for: only since when matters
            self._front.heed(due_ms)
        epochs = self._ownership.epochs
        if not epochs:
            return 0
        works = await self._take(list(epochs))
        if not works:
            return 0
        self._busy = {work.shard for work in works} | _shards_of_nobody(works)
        try:
            await self._learn_rules()
            return await self._decide_works(works, epochs)
        finally:
            self._busy = set()

    async def _take(self, shards: list[int]) -> list[DecisionWork]:
        now_ms = self._clock.now_ms()
        since_ms = self._front.since_ms(
            now=self._clock.monotonic(), now_ms=now_ms, generation=self._ownership.generation
        )
        works = await self._store.take_decisions(
            shards, room=self._room, now_ms=now_ms, held=frozenset(), since_ms=since_ms
        )
        self._front.was_read(self._ownership.tempo, now=self._clock.monotonic())
        if not works:
            self._front.reach(now_ms)
        return works

    async def _decide_works(self, works: list[DecisionWork], epochs: dict[int, int]) -> int:
        try:
            batch = await self._decided_all(works, epochs)
            applied = await self._store.settle_decisions(batch)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, one event must not stop the queue
            self._telemetry.emit("error.unexpected", where=self.name, exception=error)
            if len(works) > 1:
                self._room = 1  # one event of these is poison: go on one by one, and it will show
                return len(works)
            batch = [self._given_up(works[0], epochs[works[0].shard], error)]
            applied = await self._store.settle_decisions(batch)
        self._room = min(2 * self._room, _MOST_PER_COMMIT)
        if all(applied):
            self._front.reach(works[-1].due_ms)
        self._report([decided for decided, done in zip(batch, applied, strict=True) if done])
        return sum(applied)  # when all of them were refused, another node has the shards: the next poll is soon enough

    async def _learn_rules(self) -> None:
        """Learn what was configured at other nodes before these events came in there: it holds for them."""
        if self._ownership.tempo is SHARED:
            await self._directory.refresh(self._store)

    async def _decided_all(self, works: list[DecisionWork], epochs: dict[int, int]) -> list[Decided]:
        cases = [self._case(work) for work in works]
        firings = await self._recall(cases)
        batch: list[Decided] = []
        for number, case in enumerate(cases, 1):
            batch.append(self._decided(case, epochs[case.work.shard], firings))
            if number % _WORKS_PER_TURN == 0:
                await asyncio.sleep(0)  # hundreds of renderings in a row would keep callers waiting
        return batch

    def _given_up(self, work: DecisionWork, epoch: int, error: Exception) -> Decided:
        """Close an event that cannot be decided. It is counted and on record, and the queue goes on."""
        event = work.event
        rulings = [
            self._decider.internal_failure(work, automation, type(error).__name__)
            for automation in self._directory.automations_for(event.workspace, event.type)
        ]
        decisions = tuple(ruling.decision for ruling in rulings)
        return Decided(work=work, epoch=epoch, count=event.user is not None, decisions=decisions)

    def _case(self, work: DecisionWork) -> _Case:
        event = work.event
        listening = list(self._directory.automations_for(event.workspace, event.type))
        out_of_line = [automation for automation in listening if not self._may_recall(automation, work)]
        automations = self._compiled.compile_all(one for one in listening if one not in out_of_line)
        facts = facts_of(work, self._directory.source(event.source)) if automations else {}
        return _Case(work=work, automations=automations, out_of_line=out_of_line, facts=facts)

    def _may_recall(self, automation: Automation, work: DecisionWork) -> bool:
        """Tell whether nobody else can change what an automation remembers of an event while it is decided.

        An event that came in before a rule was known may wait in another line than the events that share the rule's
        memory. The node that has that line too, and keeps it while it is busy, may decide; another would fire twice.
        """
        if is_in_line(automation, work):
            return True
        return shard_of(shared_profile(work.event.workspace)) in self._ownership.epochs

    async def _recall(self, cases: list[_Case]) -> dict[EligibilityKey, Firing | None]:
        """Look up, in one question, the firings that the automations of these events may ask for."""
        keys = {
            key
            for case in cases
            for compiled in case.automations
            if isinstance(compiled, CompiledAutomation)
            and (key := self._decider.key_of(case.work, compiled, case.facts)) is not None
            and not isinstance(key, RenderFailed)
        }
        if not keys:
            return {}
        found = await self._store.firings(list(keys))
        return {key: found.get(key) for key in keys}

    def _decided(self, case: _Case, epoch: int, firings: dict[EligibilityKey, Firing | None]) -> Decided:
        work = case.work
        count = work.event.user is not None
        if not case.automations and not case.out_of_line:
            return Decided(work=work, epoch=epoch, count=count)
        rulings = self._decider.decide(work, case.automations, case.facts, firings)
        rulings += [self._decider.out_of_line(work, automation) for automation in case.out_of_line]
        return Decided(
            work=work,
            epoch=epoch,
            count=count,
            decisions=tuple(ruling.decision for ruling in rulings),
            deliveries=tuple(ruling.delivery for ruling in rulings if ruling.delivery is not None),
            firings=tuple(ruling.firing for ruling in rulings if ruling.firing is not None),
        )

    def _report(self, batch: list[Decided]) -> None:
        lanes = {(delivery.shard, delivery.endpoint) for decided in batch for delivery in decided.deliveries}
        if lanes:
            due_ms = min(delivery.due_ms for decided in batch for delivery in decided.deliveries)
            self._to_deliver.add(lanes, due_ms=due_ms)
        for decided in batch:
            for decision in decided.decisions:
                self._telemetry.emit("decision.made", outcome=decision.outcome)


def _shards_of_nobody(works: Sequence[DecisionWork]) -> set[int]:
    """Return the shards of what rules remember of events without a user: to keep, while such events are decided."""
    return {shard_of(shared_profile(workspace)) for workspace in {w.event.workspace for w in works if not w.event.user}}
