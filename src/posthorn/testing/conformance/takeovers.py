"""Takeovers: nodes that win shards from each other while they decide lose no count and no firing, and double none."""
# ruff: noqa: S101, D103 - a suite asserts, and a test's name is its sentence.

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random

import pytest

from posthorn import ids
from posthorn.engine.cluster import Stage
from posthorn.engine.journal import DecisionQuery, DeliveryQuery
from posthorn.engine.ports import Store
from posthorn.engine.records import (
    Decided,
    Decision,
    DecisionOutcome,
    DecisionWork,
    EligibilityKey,
    Event,
    EventCount,
    Firing,
    Recall,
)
from posthorn.engine.shards import SHARDS
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.queue import LANE
from posthorn.testing.factories import WORKSPACE, a_decision, a_delivery, a_unit, an_event

_EVERYTHING = 10_000
_EVENTS = 150
_TURNS = 80
_PROFILES = [f"{WORKSPACE}/user/{number}" for number in range(3)]
_TYPES = ("order.paid", "visit")
_EACH = "auto_each"  # fires for every event, once more for each type
_ONCE = "auto_once"  # fires once for a profile and never again
_LEASE_MS = 200


async def run_takeovers(stores: Sequence[Store], clock: ManualClock, *, seed: int) -> int:
    """Let one node for each of the stores decide the same events while they take the shards from each other.

    The stores are ways into one and the same, which starts empty; one may be named several times. A node goes on with
    the epochs that it knows until it asks again, however long ago it lost them. Returns how many outcomes were refused.
    Raises AssertionError when an event, a count or a firing was lost or doubled.
    """
    shared = _Shared(clock, Random(seed))  # noqa: S311 - a repeatable history, not a secret
    nodes = [_Node(store, shared, ids.first_id(ids.NODE, clock.now_ms() + 1000 * n)) for n, store in enumerate(stores)]
    await asyncio.gather(_publish(stores[0], shared), *(node.run() for node in nodes))
    await nodes[-1].finish()
    await _check(stores[0], shared)
    return shared.refused


class _Shared:
    """The time, the chance, and what happened so far."""

    def __init__(self, clock: ManualClock, random: Random) -> None:
        self.clock = clock
        self.random = random
        self.events: list[tuple[str, Event]] = []  # profile and event
        self.settled: list[Decided] = []
        self.refused = 0

    @property
    def now_ms(self) -> int:
        """The present."""
        return self.clock.now_ms()

    async def pause(self) -> None:
        """Let the others do something, and some time pass."""
        for _ in range(self.random.choice((0, 1, 2, 6))):
            self.clock.advance(self.random.randrange(30) / 1000)
            await asyncio.sleep(0)


async def _publish(store: Store, shared: _Shared) -> None:
    while len(shared.events) < _EVENTS:
        made = [(shared.random.choice(_PROFILES), _event(shared)) for _ in range(shared.random.randint(1, 4))]
        await store.append([a_unit(event, endpoints=(), profile=profile) for profile, event in made])
        shared.events += made
        await shared.pause()


def _event(shared: _Shared) -> Event:
    occurred_ms = shared.now_ms - shared.random.randrange(5000)
    return an_event(type=shared.random.choice(_TYPES), received_ms=shared.now_ms, occurred_ms=occurred_ms)


class _Node:
    def __init__(self, store: Store, shared: _Shared, name: str) -> None:
        self._store = store
        self._shared = shared
        self._name = name
        self._epochs: dict[int, int] = {}

    async def run(self) -> None:
        """Win shards, lose shards and decide, in any order."""
        acts = (self._lease, self._release, self._decide)
        for _ in range(_TURNS):
            (act,) = self._shared.random.choices(acts, (2, 1, 5))
            await act()
            await self._shared.pause()

    async def finish(self) -> None:
        """Take over everything and decide what is left."""
        self._shared.clock.advance(_LEASE_MS / 1000)
        await self._lease(most=SHARDS)
        assert len(self._epochs) == SHARDS
        for _ in range(_EVENTS):
            if not await self._decide():
                return
        raise AssertionError("the events that wait to be decided do not become fewer")

    async def _lease(self, most: int | None = None) -> None:
        now_ms = self._shared.now_ms
        most = self._shared.random.choice((0, 100, SHARDS)) if most is None else most
        leases = await self._store.lease(
            self._name, Stage.DECIDE, now_ms=now_ms, until_ms=now_ms + _LEASE_MS, most=most
        )
        self._epochs = {lease.shard: lease.epoch for lease in leases}

    async def _release(self) -> None:
        """Give up shards, yet remember the epochs: a write that is under way meanwhile is no different."""
        half = self._shared.random.sample(range(SHARDS), SHARDS // 2)
        await self._store.release(self._name, Stage.DECIDE, self._shared.random.choice((None, half)))

    async def _decide(self) -> int:
        shared, epochs, room = self._shared, dict(self._epochs), self._shared.random.randint(1, 8)
        taken = await self._store.take_decisions(list(epochs), room=room, now_ms=shared.now_ms, held=frozenset())
        # Some are left for later, so that two nodes at the same profile decide different events of it.
        events = [work for work in taken if isinstance(work, DecisionWork)]
        works = [work for work in events if shared.random.random() < 0.5] or events
        await shared.pause()
        fired = await _firings(self._store, [key for work in works for key in _keys_of(work)])
        for _ in range(3):
            await shared.pause()
        decided = [_decide_one(work, epochs[work.shard], fired, shared.now_ms) for work in works]
        answers = await self._store.settle_decisions(decided)
        shared.settled += [one for one, is_applied in zip(decided, answers, strict=True) if is_applied]
        shared.refused += answers.count(False)
        return len(taken)


def _keys_of(work: DecisionWork) -> tuple[EligibilityKey, EligibilityKey]:
    each = EligibilityKey(automation=_EACH, profile=work.profile, key=work.event.type)
    return each, EligibilityKey(automation=_ONCE, profile=work.profile, key="")


def _decide_one(work: DecisionWork, epoch: int, fired: dict[EligibilityKey, Firing], now_ms: int) -> Decided:
    """Decide as a node does: on what was remembered, and on what it decided before in the same batch."""
    each, once = _keys_of(work)
    before = fired.get(each, Firing(times=0, last_ms=0))
    firings = [(each, Firing(times=before.times + 1, last_ms=now_ms))]
    outcome = DecisionOutcome.NOT_ELIGIBLE
    if once not in fired:
        outcome = DecisionOutcome.FIRED
        firings.append((once, Firing(times=1, last_ms=now_ms)))
    fired.update(firings)
    delivery = a_delivery(work.event, endpoint=LANE, due_ms=now_ms)
    return Decided(
        work=work,
        epoch=epoch,
        decisions=(
            a_decision(work, automation=_EACH, decided_ms=now_ms, delivery=delivery.id),
            a_decision(work, automation=_ONCE, decided_ms=now_ms, outcome=outcome),
        ),
        deliveries=(delivery,),
        firings=tuple(firings),
        count=True,
    )


async def _check(store: Store, shared: _Shared) -> None:
    once_each = {event.id: 1 for _, event in shared.events}
    assert Counter(one.work.id for one in shared.settled) == once_each
    for profile in _PROFILES:
        assert await store.event_counts(profile) == _counts_of(shared, profile)
    assert await _firings(store, _firings_of(shared)) == _firings_of(shared)
    by_automation = {automation: (await _decisions(store, automation=automation)) for automation in (_EACH, _ONCE)}
    for decisions in by_automation.values():
        assert Counter(decision.event for decision in decisions) == once_each
    fired = [decision.profile for decision in by_automation[_ONCE] if decision.outcome is DecisionOutcome.FIRED]
    assert sorted(fired) == sorted({profile for profile, _ in shared.events})
    deliveries = (await store.deliveries(DeliveryQuery(workspace=WORKSPACE, limit=_EVERYTHING))).rows
    assert Counter(delivery.event for delivery in deliveries) == once_each


def _counts_of(shared: _Shared, profile: str) -> list[EventCount]:
    occurred: dict[str, list[int]] = {}
    for of, event in shared.events:
        if of == profile:
            occurred.setdefault(event.type, []).append(event.occurred_ms)
    return [
        EventCount(profile=profile, type=name, count=len(at_ms), first_ms=min(at_ms), last_ms=max(at_ms))
        for name, at_ms in sorted(occurred.items())
    ]


def _firings_of(shared: _Shared) -> Mapping[EligibilityKey, Firing]:
    """Tell what should be remembered: one firing more for each outcome that was applied."""
    made: dict[EligibilityKey, list[Firing]] = {}
    for one in shared.settled:
        for key, firing in one.firings:
            made.setdefault(key, []).append(firing)
    # The answers need not have come in the order of the commits, so the last one is known by its number.
    last_ms = {key: max(firings, key=lambda firing: firing.times).last_ms for key, firings in made.items()}
    return {key: Firing(times=len(firings), last_ms=last_ms[key]) for key, firings in made.items()}


async def _firings(store: Store, keys: Iterable[EligibilityKey]) -> dict[EligibilityKey, Firing]:
    return dict((await store.recall(Recall(firings=frozenset(keys)))).firings)


async def _decisions(store: Store, *, automation: str) -> list[Decision]:
    query = DecisionQuery(workspace=WORKSPACE, automation=automation, limit=_EVERYTHING)
    return (await store.decisions(query)).rows


@pytest.mark.parametrize("seed", range(3))
async def test_nodes_that_take_shards_from_each_other_lose_and_double_nothing(
    store: Store, clock: ManualClock, seed: int
) -> None:
    await run_takeovers([store, store], clock, seed=seed)


async def test_five_nodes_that_take_shards_from_each_other_lose_and_double_nothing(
    store: Store, clock: ManualClock
) -> None:
    await run_takeovers([store] * 5, clock, seed=7)
