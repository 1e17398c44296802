"""Random histories of people, runs and timers, run against a store and against its model step by step."""

from collections.abc import Awaitable, Callable
from random import Random
from string import ascii_letters
from typing import Any

from posthorn import ids
from posthorn.engine import settlements
from posthorn.engine.cluster import Stage
from posthorn.engine.journal import DecisionQuery, EventQuery
from posthorn.engine.lanes import lane_shard
from posthorn.engine.people import Membership, Profile, ProfileQuery
from posthorn.engine.ports import Store
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import (
    Decided,
    DecisionWork,
    DeliveryWork,
    EligibilityKey,
    Event,
    Firing,
    LaneRead,
    NewDelivery,
    NewEvent,
    Recall,
    RenderedRequest,
    Settlement,
)
from posthorn.engine.runs import Run, RunQuery, RunState, Timer, TimerKind
from posthorn.engine.shards import SHARDS, shard_of
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.model import Diverged
from posthorn.testing.conformance.world import ALL_SHARDS, NODE, OTHER_NODE
from posthorn.testing.factories import (
    WORKSPACE,
    a_decision,
    a_delivery,
    a_failed_attempt,
    a_profile,
    a_rendered_request,
    a_run,
    a_timer,
    a_unit,
    an_attempt,
    an_event,
)

_USERS = ("ann", "bob", "cid", "Жанна")
_PROFILES = tuple(user_profile(WORKSPACE, user) for user in _USERS)
_AUTOMATIONS = ("auto_1", "auto_2")
_SEGMENTS = ("seg_1", "seg_2")
_TYPES = ("order.paid", "visit")
_TIMERS = tuple(f"timer_{number}" for number in range(6))
_RUNS = tuple(f"run_{number}" for number in range(12))
_LANE = "auto_1|http://a.test"
_YEAR_MS = 365 * 24 * 3_600_000
_EVERYTHING = 10_000
_CHANCE_LENGTH = 18  # Of the 27 characters of an id, these never reach its instant.
_KEYS = frozenset(
    EligibilityKey(automation=automation, profile=profile, key=key)
    for automation in _AUTOMATIONS
    for profile in _PROFILES
    for key in ("", "k")
)
_COUNTED = frozenset((profile, name) for profile in _PROFILES for name in _TYPES)


async def run_random_people(store: Store, model: Store, clock: ManualClock, *, seed: int, steps: int) -> int:
    """Do the same random things to both and compare every answer; raises Diverged at the first difference.

    Both start empty and take their time from this clock. Returns how many outcomes were applied.
    """
    history = _History(store, model, clock, Random(seed))  # noqa: S311 - a repeatable history, not a secret
    await history.take_over()
    for number in range(steps):
        await history.step()
        if number % 25 == 0:
            await history.compare()
    await history.compare()
    return history.applied


class _History:
    def __init__(self, store: Store, model: Store, clock: ManualClock, random: Random) -> None:
        self._store = store
        self._model = model
        self._clock = clock
        self._random = random
        self._epochs = {stage: dict.fromkeys(ALL_SHARDS, 0) for stage in Stage}
        self._works: list[DecisionWork | Timer] = []
        self._deliveries: list[str] = []
        self.applied = 0
        self._steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (5, self._append),
            (1, self.take_over),
            (5, self._take),
            (10, self._settle),
            (4, self._deliver),
            (1, self._cancel),
            (3, self._recall),
            (3, self._pages),
            (1, self._prune),
            (0, self._erase),
        ]

    @property
    def _now_ms(self) -> int:
        return self._clock.now_ms()

    async def step(self) -> None:
        """Let some time pass and do one thing; forget somebody once in a hundred."""
        self._clock.advance(self._random.choice((4, 40, 1000, 6000)) / 1000)
        weights = [weight for weight, _ in self._steps]
        ((_, act),) = self._random.choices(self._steps, weights)
        await (self._erase if self._random.random() < 0.01 else act)()

    async def _both(self, step: str, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        # A store may stamp what it writes a moment later than another thing of the same instant.
        self._clock.advance(0.002)
        found, expected = await ask(self._store), await ask(self._model)
        if found != expected:
            raise Diverged(step, found, expected)
        return expected

    def _id(self, prefix: str) -> str:
        """Make an id of this instant from the history's own chance, so that a seed tells the whole history."""
        start = ids.first_id(prefix, self._now_ms)[:-_CHANCE_LENGTH]
        return start + "".join(self._random.choices(ascii_letters, k=_CHANCE_LENGTH))

    async def take_over(self) -> None:
        """Let one of two nodes take over every shard from the other."""
        node, other = self._random.sample((NODE, OTHER_NODE), 2)
        for stage in Stage:
            await self._both("release", lambda store, stage=stage: store.release(other, stage))  # type: ignore[misc]

            async def ask(store: Store, stage: Stage = stage) -> dict[int, int]:
                until_ms = self._now_ms + _YEAR_MS
                leases = await store.lease(node, stage, now_ms=self._now_ms, until_ms=until_ms, most=SHARDS)
                return {lease.shard: lease.epoch for lease in leases}

            self._epochs[stage] |= await self._both("lease", ask)

    def _epoch(self, stage: Stage, shard: int) -> int:
        return self._epochs[stage][shard] - self._random.choice((0,) * 8 + (1,))

    async def _append(self) -> None:
        units = []
        for _ in range(self._random.randint(1, 3)):
            event = self._event()
            deliveries = (self._delivery(event),) if self._random.random() < 0.3 else ()
            profile = self._random.choice((user_profile(WORKSPACE, event.user or ""), None))
            units.append(a_unit(event, deliveries=deliveries, profile=profile))
        await self._both("append", lambda store: store.append(units))

    def _event(self) -> Event:
        at_ms = self._now_ms
        return an_event(
            id=self._id(ids.EVENT),
            type=self._random.choice(_TYPES),
            user=self._random.choice(_USERS),
            received_ms=at_ms,
            occurred_ms=at_ms - self._random.randrange(5000),
            payload=self._random.randbytes(self._random.randrange(20)),
            context=self._random.choice((None, b'{"depth":1}')),
        )

    def _delivery(self, event: Event) -> NewDelivery:
        tells = self._timer(self._random.choice(("told_1", "told_2", _TIMERS[0])))
        rendered: RenderedRequest = a_rendered_request(tells=self._random.choice((None, tells, tells)))
        identifier = self._id(ids.DELIVERY)
        self._deliveries.append(identifier)
        return a_delivery(event, id=identifier, endpoint=_LANE, due_ms=self._now_ms, rendered=rendered)

    def _timer(self, identifier: str) -> Timer:
        return a_timer(
            id=identifier,
            due_ms=self._now_ms + self._random.randrange(-2000, 9000),
            profile=self._random.choice(_PROFILES),
            kind=self._random.choice(list(TimerKind)),
            data=self._random.randbytes(3),
        )

    async def _take(self) -> None:
        shards = self._random.choice((ALL_SHARDS, [shard_of(profile) for profile in _PROFILES[:2]]))
        held = frozenset(work.id for work in self._some(self._works[-8:]))
        room = self._random.choice((1, 3, 100))
        since_ms = self._random.choice((None, None, self._now_ms - 3000))
        self._works += await self._both(
            "take",
            lambda store: store.take_decisions(shards, room=room, now_ms=self._now_ms, held=held, since_ms=since_ms),
        )

    def _some(self, rows: list[Any], most: int = 4) -> list[Any]:
        return self._random.sample(rows, min(len(rows), self._random.randint(0, most)))

    async def _settle(self) -> None:
        # What was taken long ago is settled again, and some things twice in one batch.
        works = self._some(self._works[-12:], 6) + self._some(self._works[-12:], 2) + self._some(self._works, 2)
        decided = [self._decided(work) for work in works]
        answers = await self._both("settle", lambda store: store.settle_decisions(decided))
        self.applied += sum(answers)

    def _decided(self, work: DecisionWork | Timer) -> Decided:
        epoch = self._epoch(Stage.DECIDE, work.shard)
        random = self._random
        if random.random() < 0.1:
            return Decided(work=work, epoch=epoch, moved_to=random.choice(_PROFILES))
        fields: dict[str, Any] = {}
        if isinstance(work, DecisionWork):
            fields["count"] = random.random() < 0.8
            decision = a_decision(work, id=self._id(ids.DECISION), decided_ms=self._now_ms)
            fields["decisions"] = tuple(self._some([decision]))
            fields["deliveries"] = (self._delivery(work.event),) if random.random() < 0.2 else ()
        if random.random() < 0.1:
            fields["absorbs"] = random.choice(_PROFILES)
        return Decided(
            work=work,
            epoch=epoch,
            firings=tuple((key, self._firing()) for key in self._some(sorted(_KEYS, key=repr), 2)),
            profiles=tuple(self._profile(user) for user in self._some(list(_USERS), 2)),
            memberships=tuple(self._membership(segment) for segment in self._some(list(_SEGMENTS), 2)),
            runs=tuple(self._run(run) for run in self._some(list(_RUNS), 2)),
            timers=tuple(self._timer(timer) for timer in self._some([*_TIMERS, work.id], 2) if timer[:3] != "evt"),
            unwanted=tuple(self._some(list(_TIMERS), 2)),
            events=tuple(self._new_event() for _ in range(random.choice((0, 0, 1)))),
            **fields,
        )

    def _firing(self) -> Firing:
        return Firing(times=self._random.randint(1, 5), last_ms=self._now_ms - self._random.randrange(9000))

    def _profile(self, user: str) -> Profile:
        merged = self._random.choice((None,) * 7 + (self._random.choice(_PROFILES),))
        attributes = {"n": self._random.randrange(100), "nested": {"a": [1.5, None, "\0"]}}
        return a_profile(user, updated_ms=self._now_ms, attributes=attributes, merged_into=merged)

    def _membership(self, segment: str) -> Membership:
        return Membership(
            segment=segment,
            profile=self._random.choice(_PROFILES),
            is_in=self._random.random() < 0.7,
            since_ms=self._now_ms,
        )

    def _run(self, identifier: str) -> Run:
        return a_run(
            id=identifier,
            automation=_AUTOMATIONS[int(identifier[4:]) % 2],
            profile=self._random.choice(_PROFILES),
            state=self._random.choice((RunState.ACTIVE, *RunState)),
            changed_ms=self._now_ms,
            wake_ms=self._random.choice((None, self._now_ms)),
            document=self._random.randbytes(4),
        )

    def _new_event(self) -> NewEvent:
        event = self._event()
        return NewEvent(event=event, profile=self._random.choice((None, user_profile(WORKSPACE, event.user or ""))))

    async def _deliver(self) -> None:
        read = LaneRead(shard=lane_shard(_LANE), endpoint=_LANE, room=self._random.choice((1, 5)))

        async def ask(store: Store) -> list[DeliveryWork]:
            (taken,) = await store.take([read], now_ms=self._now_ms)
            return taken.works

        outcomes = [self._outcome(work) for work in await self._both("take deliveries", ask)]
        await self._both("settle deliveries", lambda store: store.settle(outcomes))

    def _outcome(self, work: DeliveryWork) -> Settlement:
        epoch = self._epoch(Stage.DELIVER, work.shard)
        made: dict[str, Any] = {"id": self._id(ids.ATTEMPT), "started_ms": self._now_ms}
        due_ms = self._now_ms + self._random.randrange(1, 4000)
        match self._random.randrange(5):
            case 0:
                return settlements.delivered(work, epoch, an_attempt(work, **made))
            case 1:
                return settlements.exhausted(work, epoch, a_failed_attempt(work, **made))
            case 2:
                return settlements.cancelled(work, epoch, "endpoint_gone")
            case 3:
                return settlements.deferred(work, epoch, due_ms)
            case _:
                return settlements.retry_at(work, epoch, a_failed_attempt(work, next_ms=due_ms, **made), due_ms)

    async def _cancel(self) -> None:
        identifier = self._random.choice([*self._deliveries[-5:], "dlv_unknown"])
        await self._both("cancel", lambda store: store.cancel(identifier, "by_hand"))

    async def _recall(self) -> None:
        wanted = Recall(
            firings=frozenset(self._some(sorted(_KEYS, key=repr))),
            counts=frozenset(self._some(sorted(_COUNTED))),
            profiles=frozenset(self._some(list(_PROFILES))),
            active_runs=frozenset(self._some(list(_PROFILES))),
            runs=frozenset(self._some(list(_RUNS))),
            answers=frozenset(self._some(self._deliveries)),
        )
        await self._both("recall", lambda store: store.recall(wanted))

    async def _pages(self) -> None:
        chance = self._random
        people = ProfileQuery(
            workspace=WORKSPACE,
            segment=chance.choice((None, *_SEGMENTS)),
            after=chance.choice((None, "b", *_USERS)),
            backwards=chance.random() < 0.5,
            limit=chance.choice((1, 2, 9)),
        )
        runs = RunQuery(
            workspace=WORKSPACE,
            automation=chance.choice((None, *_AUTOMATIONS)),
            profile=chance.choice((None, None, *_PROFILES)),
            state=chance.choice((None, None, *RunState)),
            after=chance.choice((None, *_RUNS)),
            backwards=chance.random() < 0.5,
            limit=chance.choice((1, 2, 9)),
        )
        await self._both("profiles", lambda store: store.profiles(people))
        await self._both("runs", lambda store: store.runs(runs))
        await self._both("counts of runs", lambda store: store.run_counts(WORKSPACE, "auto_1"))

    async def _prune(self) -> None:
        before_ms = self._now_ms - self._random.choice((60_000, 600_000))

        async def ask(store: Store) -> None:
            while await store.prune(before_ms=before_ms, most=20):
                pass

        await self._both("prune", ask)

    async def _erase(self) -> None:
        key = self._random.choice(_PROFILES)

        async def ask(store: Store) -> None:
            while gone := await store.erase(key, most=7):
                assert gone <= 7  # noqa: S101 - a step of a suite

        await self._both("erase", ask)

    async def compare(self) -> None:
        """Compare everything that is remembered, and all that will ever be due."""
        everything = Recall(
            firings=_KEYS,
            counts=_COUNTED,
            profiles=frozenset(_PROFILES),
            runs=frozenset(_RUNS),
            active_runs=frozenset(_PROFILES),
            answers=frozenset(self._deliveries),
        )
        events = EventQuery(workspace=WORKSPACE, with_payload=True, limit=_EVERYTHING)
        decisions = DecisionQuery(workspace=WORKSPACE, limit=_EVERYTHING)
        far_ms = self._now_ms + _YEAR_MS
        await self._both("everything", lambda store: store.recall(everything))
        await self._both("events", lambda store: store.events(events))
        await self._both("decisions", lambda store: store.decisions(decisions))
        await self._both(
            "all that waits",
            lambda store: store.take_decisions(ALL_SHARDS, room=_EVERYTHING, now_ms=far_ms, held=frozenset()),
        )
        for profile in _PROFILES:
            await self._both("counters", lambda store, profile=profile: store.event_counts(profile))  # type: ignore[misc]
