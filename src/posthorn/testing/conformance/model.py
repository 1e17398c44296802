"""Random histories of the delivery queue, run against a store and against its model step by step."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from string import ascii_letters
from typing import Any

from posthorn import ids
from posthorn.engine import settlements
from posthorn.engine.cluster import Stage
from posthorn.engine.journal import AttemptQuery, DeliveryQuery
from posthorn.engine.lanes import automation_lane, lane_shard
from posthorn.engine.ports import Store
from posthorn.engine.records import Append, DeliveryWork, Event, LaneRead, Settlement, Taken
from posthorn.engine.shards import SHARDS
from posthorn.testing.clock import START_MS
from posthorn.testing.conformance.world import ALL_SHARDS, NODE, OTHER_NODE
from posthorn.testing.factories import (
    AUTOMATION,
    WORKSPACE,
    a_claim,
    a_delivery,
    a_failed_attempt,
    a_rendered_request,
    an_attempt,
    an_event,
)

_LANES = (
    "ep_a",
    "ep_b",
    automation_lane(AUTOMATION, "https://c.test/"),
    automation_lane(AUTOMATION, "https://d.test/"),
)
_LEASE_MS = 15_000
_EVERYTHING = 100_000
_FAR_MS = START_MS + 10**12
_CHANCE_LENGTH = 18  # Of the 27 characters of an id, these never reach its instant.


class Diverged(AssertionError):
    """The store and its model answered differently."""

    def __init__(self, step: str, found: object, expected: object) -> None:
        super().__init__(f"{step}: the store answered\n  {found!r}\nand the model\n  {expected!r}")


async def run_random_history(store: Store, model: Store, *, seed: int, steps: int) -> None:
    """Do the same random things to both and compare every answer; raises Diverged at the first difference.

    Both start empty and stand at the same time. Replays, retries and deferrals always move a row to a due that it
    never had, because that is what guards it; the claims of the history do not expire.
    """
    history = _History(store, model, Random(seed))  # noqa: S311 - a repeatable history, not a secret
    await history.lease()
    for number in range(steps):
        await history.step()
        if number % 20 == 0:
            await history.compare_journals()
    await history.compare_journals()


class _History:
    def __init__(self, store: Store, model: Store, random: Random) -> None:
        self._store = store
        self._model = model
        self._random = random
        self._now_ms = START_MS
        self._epochs = dict.fromkeys(range(SHARDS), 0)  # of the stage that delivers
        self._events: list[Event] = []
        self._deliveries: list[tuple[str, str]] = []
        self._taken: list[DeliveryWork] = []
        self._dues: set[int] = set()
        self._claims = 0
        self._steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self._append),
            (3, self.lease),
            (2, self._release),
            (3, self._ready),
            (6, self._take),
            (6, self._settle),
            (2, self._enqueue),
            (1, self._cancel),
        ]

    async def step(self) -> None:
        """Let some time pass and do one thing."""
        self._now_ms += self._random.choice((0, 1, 40, 1000, 6000))
        weights = [weight for weight, _ in self._steps]
        ((_, act),) = self._random.choices(self._steps, weights)
        await act()

    async def _both(self, step: str, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        found, expected = await ask(self._store), await ask(self._model)
        if found != expected:
            raise Diverged(step, found, expected)
        return expected

    def _id(self, prefix: str) -> str:
        """Make an id of this instant from the history's own chance, so that a seed tells the whole history."""
        start = ids.first_id(prefix, self._now_ms)[:-_CHANCE_LENGTH]
        return start + "".join(self._random.choices(ascii_letters, k=_CHANCE_LENGTH))

    def _fresh_due(self, within_ms: int) -> int:
        due_ms = self._now_ms + self._random.randrange(within_ms)
        while due_ms in self._dues:
            due_ms += 1
        self._dues.add(due_ms)
        return due_ms

    async def _append(self) -> None:
        units = [self._unit() for _ in range(self._random.randint(1, 4))]
        results = await self._both("append", lambda store: store.append(units))
        for unit, result in zip(units, results, strict=True):
            if unit.event is not None and type(result).__name__ == "Appended":
                self._events.append(unit.event)
                self._deliveries += [(delivery.id, delivery.endpoint) for delivery in unit.deliveries]

    def _unit(self) -> Append:
        payload = self._random.randbytes(self._random.randrange(40))
        event = an_event(id=self._id(ids.EVENT), received_ms=self._now_ms, payload=payload)
        deliveries = tuple(
            a_delivery(
                event,
                id=self._id(ids.DELIVERY),
                endpoint=lane,
                due_ms=self._fresh_due(5000),
                rendered=a_rendered_request(shown=lane.encode()) if lane.startswith("auto") else None,
            )
            for lane in self._random.sample(_LANES, self._random.randint(0, len(_LANES)))
        )
        self._claims += self._random.randint(0, 1)
        claim = a_claim(key=str(self._claims), event=event.id, answer_body=event.id.encode(), expires_ms=_FAR_MS)
        return Append(event=event, deliveries=deliveries, claims=(claim,))

    async def lease(self) -> None:
        """Let one of two nodes take over whatever is free of a stage."""
        await self._lease(self._random.choice((NODE, OTHER_NODE)), self._stage())

    async def _lease(self, node: str, stage: Stage) -> None:
        """Lease, and remember the epochs that the work will carry."""
        until_ms, most = self._now_ms + _LEASE_MS, self._random.choice((SHARDS, SHARDS, 0))

        async def ask(store: Store) -> list[tuple[int, int, int]]:
            leases = await store.lease(node, stage, now_ms=self._now_ms, until_ms=until_ms, most=most)
            return sorted((lease.shard, lease.epoch, lease.until_ms) for lease in leases)

        leases = await self._both("lease", ask)
        if stage is Stage.DELIVER:
            self._epochs |= {shard: epoch for shard, epoch, _ in leases}

    def _stage(self) -> Stage:
        return self._random.choice((Stage.DELIVER, Stage.DELIVER, Stage.DECIDE))

    async def _release(self) -> None:
        node, stage = self._random.choice((NODE, OTHER_NODE)), self._stage()
        shards = self._random.choice((None, self._random.sample(ALL_SHARDS, 128)))
        await self._both("release", lambda store: store.release(node, stage, shards))
        await self._lease(self._random.choice((NODE, OTHER_NODE)), stage)

    async def _ready(self) -> None:
        after_ms = self._random.choice((None, self._now_ms - 2000, self._now_ms))
        shards = self._random.choice((ALL_SHARDS, [lane_shard(lane) for lane in _LANES[:2]]))

        async def ask(store: Store) -> list[tuple[int, str, int]]:
            ready = await store.ready(shards, after_ms=after_ms, now_ms=self._now_ms)
            return sorted((lane.shard, lane.endpoint, lane.due_ms) for lane in ready)

        await self._both("ready", ask)

    async def _take(self) -> None:
        """Read several lanes at once, some of them twice."""
        lanes = self._random.choices(_LANES, k=self._random.randint(0, 5))
        works = await self._take_lanes([self._read(lane) for lane in lanes])
        self._taken += {work.id: work for work in works}.values()

    def _read(self, endpoint: str) -> LaneRead:
        known = [(work.due_ms, work.id) for work in self._taken[-6:] if work.endpoint == endpoint]
        return LaneRead(
            shard=lane_shard(endpoint),
            endpoint=endpoint,
            room=self._random.randint(1, 6),
            held=frozenset(work.id for work in self._some(self._taken)),
            after=self._random.choice([None, None, *known]),
        )

    async def _take_lanes(self, reads: list[LaneRead]) -> list[DeliveryWork]:
        found = await self._store.take(reads, now_ms=self._now_ms)
        expected = await self._model.take(reads, now_ms=self._now_ms)
        if not _is_same_taking(reads, found, expected):
            raise Diverged("take", found, expected)
        return [work for taken in expected for work in taken.works]

    def _some(self, works: Sequence[DeliveryWork]) -> list[DeliveryWork]:
        return self._random.sample(works, min(len(works), self._random.randint(0, 4)))

    async def _settle(self) -> None:
        # Work that was taken long ago is settled again, so that outcomes of changed rows come up too.
        works = self._some(self._taken[-12:]) + self._some(self._taken[-12:]) + self._some(self._taken)
        outcomes = {work.id: self._outcome(work) for work in works}
        await self._both("settle", lambda store: store.settle(list(outcomes.values())))

    def _outcome(self, work: DeliveryWork) -> Settlement:
        epoch = self._epochs[work.shard] - self._random.choice((0, 0, 0, 0, 1))
        made: dict[str, Any] = {"id": self._id(ids.ATTEMPT), "started_ms": self._now_ms}
        match self._random.randrange(6):
            case 0 | 1:
                return settlements.delivered(work, epoch, an_attempt(work, **made))
            case 2 | 3:
                due_ms = self._fresh_due(8000)
                attempt = a_failed_attempt(work, next_ms=due_ms, **made)
                return settlements.retry_at(work, epoch, attempt, due_ms)
            case 4:
                return settlements.deferred(work, epoch, self._fresh_due(8000))
            case _ if work.attempts:
                return settlements.exhausted(work, epoch, a_failed_attempt(work, **made))
            case _:
                return settlements.cancelled(work, epoch, "endpoint_gone")

    async def _enqueue(self) -> None:
        if not self._deliveries:
            return
        identifier, lane = self._random.choice(self._deliveries[-self._random.choice((20, 400)) :])
        row = await self._model.delivery(WORKSPACE, identifier)
        event = next(event for event in self._events if row is not None and event.id == row.event)
        delivery = a_delivery(event, id=identifier, endpoint=lane, due_ms=self._fresh_due(10))
        await self._both("enqueue", lambda store: store.enqueue(delivery))

    async def _cancel(self) -> None:
        known = [identifier for identifier, _ in self._deliveries]
        identifier = self._random.choice([*known, self._id(ids.DELIVERY)])
        await self._both("cancel", lambda store: store.cancel(identifier, "by_hand"))

    async def compare_journals(self) -> None:
        """Compare every delivery and attempt, and all that will ever be due."""
        deliveries = DeliveryQuery(workspace=WORKSPACE, limit=_EVERYTHING)
        attempts = AttemptQuery(workspace=WORKSPACE, limit=_EVERYTHING)
        await self._both("deliveries", lambda store: store.deliveries(deliveries))
        await self._both("attempts", lambda store: store.attempts(attempts))
        now_ms, self._now_ms = self._now_ms, _FAR_MS
        reads = [LaneRead(shard=lane_shard(lane), endpoint=lane, room=_EVERYTHING) for lane in _LANES]
        await self._take_lanes(reads)
        self._now_ms = now_ms


def _is_same_taking(reads: Sequence[LaneRead], found: Sequence[Taken], expected: Sequence[Taken]) -> bool:
    """Compare answers; that of a read which is full may say that more is left though the model knows that none is."""
    if [taken.works for taken in found] != [taken.works for taken in expected]:
        return False
    return all(
        mine.more == theirs.more or (mine.more and len(mine.works) == read.room)
        for read, mine, theirs in zip(reads, found, expected, strict=True)
    )
