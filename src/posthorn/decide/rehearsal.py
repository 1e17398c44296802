"""Trying an automation without sending: over one event (preview), or over the events of the last days (simulation).

The decider is the real one. Only what it may look at is of its own: one automation, a memory that begins empty or with
what is known of one person, a clock that follows the events, and masks in place of all secrets.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct

from posthorn.decide.case import Case
from posthorn.decide.deciding import Decider, Moved
from posthorn.decide.footprints import Footprint, track_of
from posthorn.decide.memory import Memory
from posthorn.engine.directory import Directory
from posthorn.engine.marks import MASK
from posthorn.engine.people import ProfilePage, ProfileQuery
from posthorn.engine.profiles import shared_profile, user_profile
from posthorn.engine.records import Decision, DecisionWork, Event, OutgoingRequest, Recall, Recalled
from posthorn.engine.runs import Timer, TimerKind
from posthorn.engine.shards import shard_of
from posthorn.templating import FAILED, ContentKey, ContentResponse, Masked
from posthorn.vault import KeyRing

_NO_KEY = KeyRing([bytes(32)])  # it seals masks that nobody opens
_MOST_MOVES = 50
_MOST_SAMPLES = 100
_MOST_TIMERS = 200_000


class Rehearsed(Struct, frozen=True, kw_only=True):
    """What an automation makes of one event: its decisions, what would be sent, and the way of its runs."""

    decisions: tuple[Decision, ...]
    requests: tuple[OutgoingRequest, ...]
    path: tuple[Footprint, ...]


class Sample(Struct, frozen=True, kw_only=True):
    """One request that would have been sent."""

    user: str | None
    event: str
    at_ms: int
    request: OutgoingRequest


class Simulated(Struct, frozen=True, kw_only=True):
    """What an automation would have made of many events."""

    events: int
    people: int  #: who would have received anything
    requests: int
    outcomes: Mapping[str, int]  #: "outcome/reason": how many decisions
    samples: tuple[Sample, ...]  #: the first requests
    is_cut: bool  #: there were more events than are looked at


class _Masks:
    """In place of all secrets."""

    def values(self, workspace: str, names: frozenset[str]) -> dict[str, str]:  # noqa: ARG002 - the port's
        """Return a mask for each."""
        return dict.fromkeys(names - {"*"}, Masked(MASK))


class Rehearsal:
    """One automation on trial. Nothing that happens here is stored or sent."""

    def __init__(self, directory: Directory) -> None:
        """Make one; `directory` holds the automation on trial alone, beside segments, sources and the workspace."""
        self._decider = Decider(directory=directory, secrets=_Masks(), key_ring=_NO_KEY)

    def preview(self, event: Event, recalled: Recalled, now_ms: int) -> Rehearsed:
        """Decide one event for what is known of its person. What is not known counts as never happened."""
        memory = _TrialMemory()
        memory.learn(Recall(), recalled)
        case = _decided(self._decider, _work(event), memory, now_ms)
        return Rehearsed(
            decisions=tuple(case.decisions),
            requests=tuple(_requests(case)),
            path=tuple(footprint for run in case.runs for footprint in track_of(run).path),
        )

    def simulate(self, events: Iterable[Event], *, most: int) -> Simulated:
        """Decide events in their order, with the waits between them. Counters and firings begin at nothing."""
        simulation = _Simulation(self._decider)
        seen = 0
        for event in events:
            if seen == most:
                return simulation.result(seen, is_cut=True)
            seen += 1
            simulation.happen(event)
        return simulation.result(seen, is_cut=False)


class _Everything(AbstractSet[Any]):
    """Holds whatever is looked for."""

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __or__(self, _: AbstractSet[Any]) -> "_Everything":
        return self


_ALL = _Everything()
_KNOWN = Recall(firings=_ALL, counts=_ALL, profiles=_ALL, active_runs=_ALL, runs=_ALL, answers=_ALL)


class _Failures(dict[ContentKey, ContentResponse]):
    """Answers every request of a template with a failure: on trial nobody is called."""

    def get(self, key: ContentKey, default: Any = None, /) -> Any:  # noqa: ARG002 - dict's
        """Return the failure."""
        return FAILED


class _TrialMemory(Memory):
    """Takes what it was not told of for absent. So nothing is missed, and nothing is decided, and counted, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = _KNOWN

    def page(self, query: ProfileQuery) -> ProfilePage:  # noqa: ARG002 - the same for all
        """Return nobody."""
        return ProfilePage(profiles=(), more=False)

    def contents(self, workspace: str) -> dict[ContentKey, ContentResponse]:  # noqa: ARG002 - the same for all
        """Return failures."""
        return _Failures()


class _Simulation:
    """A run through many events: what is remembered between them, what waits, and what came of it."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._memory = _TrialMemory()
        self._timers: list[tuple[int, int, Timer]] = []
        self._numbers = count()
        self._outcomes: Counter[str] = Counter()
        self._people: set[str] = set()
        self._samples: list[Sample] = []
        self._requests = 0

    def happen(self, event: Event) -> None:
        """Let what waited until this event be over, and then the event happen."""
        while self._timers and self._timers[0][0] <= event.received_ms:
            due_ms, _, timer = heapq.heappop(self._timers)
            self._take(timer, due_ms)
        self._take(_work(event), event.received_ms)

    def result(self, events: int, *, is_cut: bool) -> Simulated:
        """Say what came of it."""
        return Simulated(
            events=events,
            people=len(self._people),
            requests=self._requests,
            outcomes=dict(self._outcomes),
            samples=tuple(self._samples),
            is_cut=is_cut,
        )

    def _take(self, work: DecisionWork | Timer, now_ms: int) -> None:
        case = _decided(self._decider, work, self._memory, now_ms)
        self._outcomes.update(f"{decision.outcome}/{decision.reason}" for decision in case.decisions)
        for request in _requests(case):
            self._add_request(case, work, request)
        for timer in case.timers:
            if timer.kind in (TimerKind.RUN, TimerKind.SEGMENTS) and len(self._timers) < _MOST_TIMERS:
                heapq.heappush(self._timers, (timer.due_ms, next(self._numbers), timer))
        for new in case.events:
            self._take(_work(new.event), now_ms)

    def _add_request(self, case: Case, work: DecisionWork | Timer, request: OutgoingRequest) -> None:
        user = case.person.user if case.person is not None else None
        self._requests += 1
        self._people.add(user or "")
        if len(self._samples) < _MOST_SAMPLES:
            self._samples.append(Sample(user=user, event=_name(work), at_ms=case.now_ms, request=request))


def _decided(decider: Decider, work: DecisionWork | Timer, memory: Memory, now_ms: int) -> Case:
    for _ in range(_MOST_MOVES):
        case = decider.decide(work, memory, now_ms)
        if not isinstance(case, Moved):
            return case
        work = msgspec.structs.replace(work, profile=case.profile, shard=shard_of(case.profile))
    return decider.failure(work, memory, now_ms, "its person was merged over and over")


def _requests(case: Case) -> Iterator[OutgoingRequest]:
    for delivery in case.deliveries:
        if delivery.rendered is not None:
            yield msgspec.json.decode(delivery.rendered.shown, type=OutgoingRequest)


def _work(event: Event) -> DecisionWork:
    profile = user_profile(event.workspace, event.user) if event.user else shared_profile(event.workspace)
    return DecisionWork(id=event.id, shard=shard_of(profile), profile=profile, due_ms=event.received_ms, event=event)


def _name(work: DecisionWork | Timer) -> str:
    return work.event.id if isinstance(work, DecisionWork) else work.about
