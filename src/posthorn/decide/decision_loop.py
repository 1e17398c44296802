"""The deciding loop: take events that wait, decide them in order, commit what follows."""

from posthorn.clock import Clock
from posthorn.decide.compiling import CompiledAutomation, CompiledAutomations
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
        works = self._store.take_decisions(list(epochs), room=_MOST_PER_COMMIT, now_ms=self._clock.now_ms(), held=set())
        if not works:
            return 0
        firings: dict[EligibilityKey, Firing | None] = {}
        batch = [self._decided(work, epochs[work.shard], firings) for work in works]
        applied = await self._store.settle_decisions(batch)
        self._report([decided for decided, done in zip(batch, applied, strict=True) if done])
        return len(batch)

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
        automations: list[CompiledAutomation],
        facts: dict[str, object],
        firings: dict[EligibilityKey, Firing | None],
    ) -> None:
        """Look up the firings that this event's automations may ask for and the batch does not know yet."""
        keys = (self._decider.key_of(work, compiled, facts) for compiled in automations)
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
