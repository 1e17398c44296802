"""The deciding loop: take events that wait, decide them in order, commit what follows."""

import asyncio

from posthorn.clock import Clock
from posthorn.decide.compiling import BrokenAutomation, CompiledAutomation, CompiledAutomations
from posthorn.decide.deciding import Decider
from posthorn.decide.facts import facts_of
from posthorn.decide.rendering import RenderFailed
from posthorn.engine.directory import Directory
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.engine.ports import WorkStore
from posthorn.engine.records import Decided, DecisionWork, EligibilityKey, Firing
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

_MOST_PER_COMMIT = 256
_POLL_SECONDS = 0.1
_STORE_PAUSE_SECONDS = 0.5
_WORKS_PER_TURN = 16


class DecisionLoop(Service):
    """Decides events of the shards that this node owns, one batch after the other.

    A batch is read, decided and committed before the next is read: that, and ownership, is why a counter or an
    eligibility can never be wrong, whatever crashes.
    """

    def __init__(
        self,
        *,
        store: WorkStore,
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
                await self._hints.wait(_POLL_SECONDS)

    async def _decide_batch(self) -> int:
        epochs = self._ownership.epochs
        if not epochs:
            return 0
        self._hints.collect()
        works = self._store.take_decisions(list(epochs), room=self._room, now_ms=self._clock.now_ms(), held=set())
        if not works:
            return 0
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
        self._report([decided for decided, done in zip(batch, applied, strict=True) if done])
        return len(batch)

    async def _decided_all(self, works: list[DecisionWork], epochs: dict[int, int]) -> list[Decided]:
        firings: dict[EligibilityKey, Firing | None] = {}
        batch: list[Decided] = []
        for number, work in enumerate(works, 1):
            batch.append(self._decided(work, epochs[work.shard], firings))
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

    def _decided(self, work: DecisionWork, epoch: int, firings: dict[EligibilityKey, Firing | None]) -> Decided:
        event = work.event
        automations = self._compiled.compile_all(self._directory.automations_for(event.workspace, event.type))
        if not automations:
            return Decided(work=work, epoch=epoch, count=event.user is not None)
        facts = facts_of(work, self._directory.source(event.source))
        self._recall(work, automations, facts, firings)
        rulings = self._decider.decide(work, automations, facts, firings)
        return Decided(
            work=work,
            epoch=epoch,
            count=event.user is not None,
            decisions=tuple(ruling.decision for ruling in rulings),
            deliveries=tuple(ruling.delivery for ruling in rulings if ruling.delivery is not None),
            firings=tuple(ruling.firing for ruling in rulings if ruling.firing is not None),
        )

    def _recall(
        self,
        work: DecisionWork,
        automations: list[CompiledAutomation | BrokenAutomation],
        facts: dict[str, object],
        firings: dict[EligibilityKey, Firing | None],
    ) -> None:
        """Look up the firings that this event's automations may ask for and the batch does not know yet."""
        keys = (
            self._decider.key_of(work, compiled, facts)
            for compiled in automations
            if isinstance(compiled, CompiledAutomation)
        )
        unknown = [key for key in keys if key is not None and not isinstance(key, RenderFailed) and key not in firings]
        if unknown:
            found = self._store.firings(unknown)
            firings.update({key: found.get(key) for key in unknown})

    def _report(self, batch: list[Decided]) -> None:
        lanes = {(delivery.shard, delivery.endpoint) for decided in batch for delivery in decided.deliveries}
        if lanes:
            self._to_deliver.add(lanes)
        for decided in batch:
            for decision in decided.decisions:
                self._telemetry.emit("decision.made", outcome=decision.outcome)
