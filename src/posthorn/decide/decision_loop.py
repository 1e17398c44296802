"""The deciding loop: take events that wait and timers that are due, decide them in order, commit what follows."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from posthorn.clock import Clock
from posthorn.decide.deciding import Decider, Moved
from posthorn.decide.foreseeing import foreseen
from posthorn.decide.front import Front
from posthorn.decide.memory import Content, Memory, Missing, Wanted
from posthorn.engine.cluster import SHARED
from posthorn.engine.hints import Hints
from posthorn.engine.ownership import Ownership
from posthorn.engine.ports import People, Registry, WorkStore
from posthorn.engine.records import Decided, DecisionWork, Recall
from posthorn.engine.runs import RunQuery, Timer
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry
from posthorn.templating import FAILED, ContentRequest, ContentResponse

_MOST_PER_COMMIT = 256
_STORE_PAUSE_SECONDS = 0.5
_WORKS_PER_TURN = 16
_MOST_QUESTIONS = 100
_MOST_FETCHES = 16  # at a time

Work = DecisionWork | Timer


Fetch = Callable[[str, ContentRequest], Awaitable[ContentResponse]]
"""Answers a request that a template of a workspace makes while it is rendered. Never raises."""


class DecidingStore(WorkStore, Registry, People, Protocol):
    """What waits to be decided, by which rules, and for whom."""


class DecisionLoop(Service):
    """Decides events and timers of the shards that this node owns, one batch after the other.

    A batch is read, decided and committed before the next is read: that, and ownership, is why a counter or an
    eligibility can never be wrong, whatever crashes.
    """

    def __init__(
        self,
        *,
        store: DecidingStore,
        ownership: Ownership,
        decider: Decider,
        hints: Hints,
        to_deliver: Hints,
        clock: Clock,
        telemetry: Telemetry,
        fetch: Fetch | None = None,
    ) -> None:
        super().__init__(name="decision loop", telemetry=telemetry, clock=clock)
        self._store = store
        self._ownership = ownership
        self._decider = decider
        self._hints = hints
        self._to_deliver = to_deliver
        self._fetch = fetch or _nobody
        self._fetching = asyncio.Semaphore(_MOST_FETCHES)
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
        """Return how many were decided, or would be when tried one by one."""
        for due_ms in self._hints.collect().values():  # all that wait are asked for: only since when matters
            self._front.heed(due_ms)
        epochs = self._ownership.epochs
        if not epochs:
            return 0
        works = await self._take(list(epochs))
        if not works:
            return 0
        self._busy = {work.shard for work in works}
        try:
            await self._learn_rules()
            return await self._decide_works(works, epochs)
        finally:
            self._busy = set()

    async def _take(self, shards: list[int]) -> list[Work]:
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

    async def _decide_works(self, works: list[Work], epochs: dict[int, int]) -> int:
        try:
            batch = await self._decided_all(works, epochs)
            applied = await self._store.settle_decisions(batch)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, one event must not stop the queue
            self._telemetry.emit("error.unexpected", where=self.name, exception=error)
            if len(works) > 1:
                self._room = 1  # one of these is poison: go on one by one, and it will show
                return len(works)
            memory, now_ms = self._decider.remember(), self._clock.now_ms()
            if isinstance(works[0], Timer):
                run = Recall(runs=frozenset({works[0].about}))
                memory.learn(run, await self._store.recall(run))
            given_up = self._decider.failure(works[0], memory, now_ms, type(error).__name__)
            batch = [given_up.decided(epochs[works[0].shard])]
            applied = await self._store.settle_decisions(batch)
        self._room = min(2 * self._room, _MOST_PER_COMMIT)
        if all(applied):
            self._front.reach(works[-1].due_ms)
        for decided in batch:
            self._heed(decided)
        self._report([decided for decided, done in zip(batch, applied, strict=True) if done])
        return sum(applied)  # when all of them were refused, another node has the shards: the next poll is soon enough

    def _heed(self, decided: Decided) -> None:
        """Look where a decision put new work, which may lie before what was reached."""
        dues = [timer.due_ms for timer in decided.timers] + [new.event.received_ms for new in decided.events]
        if decided.moved_to is not None:
            dues.append(decided.work.due_ms)
        if dues:
            self._front.heed(min(dues))

    async def _learn_rules(self) -> None:
        """Learn what was configured at other nodes before these events came in there: it holds for them."""
        if self._ownership.tempo is SHARED:
            await self._decider.directory.refresh(self._store)

    async def _decided_all(self, works: list[Work], epochs: dict[int, int]) -> list[Decided]:
        """Decide a batch; when something was not recalled, ask for it and decide the whole batch anew."""
        memory = self._decider.remember()
        wanted = asked = Wanted(recall=foreseen(works, self._decider.rules))
        for _ in range(_MOST_QUESTIONS):
            await self._tell(memory, wanted)
            batch, wanted = await self._try_all(works, epochs, memory)
            if wanted == Wanted():
                return batch
            if asked | wanted == asked:
                break  # it was told already: to ask again would change nothing
            asked |= wanted
        raise RuntimeError("deciding a batch asks for ever more")

    async def _tell(self, memory: Memory, wanted: Wanted) -> None:
        """Ask the store, and whoever templates ask, for what is wanted."""
        if wanted.recall != Recall():
            memory.learn(wanted.recall, await self._store.recall(wanted.recall))
        for query in wanted.pages:
            if isinstance(query, RunQuery):
                memory.learn_run_page(query, await self._store.runs(query))
            else:
                memory.learn_page(query, await self._store.profiles(query))
        answers = await asyncio.gather(*[self._fetch_one(one) for one in wanted.contents])
        for one, answer in zip(wanted.contents, answers, strict=True):
            memory.contents(one.work)[one.request.key()] = answer

    async def _fetch_one(self, content: Content) -> ContentResponse:
        async with self._fetching:
            return await self._fetch(content.workspace, content.request)

    async def _try_all(self, works: list[Work], epochs: dict[int, int], memory: Memory) -> tuple[list[Decided], Wanted]:
        """Decide in order. After a miss the rest is only looked through for what else is missing."""
        batch: list[Decided] = []
        missing = Wanted()
        for number, work in enumerate(works, 1):
            try:
                batch.append(self._decided(work, epochs[work.shard], memory))
            except Missing as miss:
                missing |= miss.wanted
            if number % _WORKS_PER_TURN == 0:
                await asyncio.sleep(0)  # hundreds of renderings in a row would keep callers waiting
        memory.begin()
        return batch, missing

    def _decided(self, work: Work, epoch: int, memory: Memory) -> Decided:
        case = self._decider.decide(work, memory, memory.instant(work.id, self._clock.now_ms()))
        if isinstance(case, Moved):
            return Decided(work=work, epoch=epoch, moved_to=case.profile)
        return case.decided(epoch)

    def _report(self, batch: list[Decided]) -> None:
        lanes = {(delivery.shard, delivery.endpoint) for decided in batch for delivery in decided.deliveries}
        if lanes:
            due_ms = min(delivery.due_ms for decided in batch for delivery in decided.deliveries)
            self._to_deliver.add(lanes, due_ms=due_ms)
        for decided in batch:
            for decision in decided.decisions:
                self._telemetry.emit("decision.made", outcome=decision.outcome)


async def _nobody(_workspace: str, _request: ContentRequest) -> ContentResponse:
    """Answer nothing, where nobody fetches."""
    return FAILED
