"""Going through the events of the last days once more, with an automation on trial and the time between them."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count

import msgspec
from msgspec import Struct

from posthorn import ids
from posthorn.clock import iso_text
from posthorn.decide.bygone import Window, anew, happened_to, increments_in, people_of
from posthorn.decide.case import Case
from posthorn.decide.compiling import ONLY_STEP
from posthorn.decide.foreseeing import foreseen
from posthorn.decide.hindsight import Hindsight
from posthorn.decide.recollection import Past
from posthorn.decide.rehearsal import NOT_FETCHED, decided, rehearsing, shown_request, work_of
from posthorn.decide.rewinding import RewoundMemory
from posthorn.decide.sending import RequestEnd
from posthorn.engine.directory import Directory
from posthorn.engine.flows import OnAttribute
from posthorn.engine.listening import is_timed, published_type, triggers_of
from posthorn.engine.profiles import automation_profile
from posthorn.engine.records import (
    Attempt,
    DecisionWork,
    DeliveryState,
    Event,
    NewDelivery,
    OutgoingRequest,
    Recall,
    RenderedRequest,
    Trigger,
)
from posthorn.engine.resources import Automation
from posthorn.engine.runs import Timer
from posthorn.engine.shards import shard_of

_MOST_SAMPLES = 100
_AHEAD = 250  # so many events are looked ahead for what they will need to know
_SUCCESS = range(200, 300)
_PERSON_NOTE = (
    "attributes are as they are now, so what set them in these days changes nothing again: "
    "the trigger by attribute sees fewer changes than there were"
)


class Answer(Struct, frozen=True, kw_only=True):
    """What a request is answered by, where a run waits for that."""

    status: int = 200
    body: bytes = b""


class Limits(Struct, frozen=True, kw_only=True):
    """When a simulation ends early."""

    works: int = 250_000  #: events and timers
    waiting: int = 200_000  #: timers at a time
    people: int = 20_000  #: that schedules and dates go through
    firings: int = 2_000  #: people of whom it is looked up in the journal when it fired for them before
    is_late: Callable[[], bool] = lambda: False


class Sample(Struct, frozen=True, kw_only=True):
    """One request that would have been sent."""

    user: str | None
    event: str
    at_ms: int
    request: OutgoingRequest


class Simulated(Struct, frozen=True, kw_only=True):
    """What an automation would have made of many events."""

    since_ms: int
    until_ms: int
    events: int
    people: int  #: who would have received anything
    requests: int
    outcomes: Mapping[str, int]  #: "outcome/reason": how many decisions
    samples: tuple[Sample, ...]  #: the first requests
    is_cut: bool  #: not all was looked at; the notes say what was not
    notes: tuple[str, ...]  #: where this is not what would really have happened


class Simulation:
    """One way through a window. Nothing that happens here is stored or sent."""

    def __init__(
        self, directory: Directory, automation: Automation, past: Past, *, answers: Mapping[str, Answer], limits: Limits
    ) -> None:
        """Make one; `directory` holds the automation alone, as for `rehearsing`; `answers` are given by step."""
        self._decider = rehearsing(directory)
        self._automation = automation
        self._past = past
        self._answers = answers
        self._limits = limits
        self._queue: list[tuple[int, str, int, DecisionWork | Timer]] = []
        self._waiting: dict[str, Timer] = {}
        self._numbers = count()
        self._now_ms = 0
        self._works = 0
        self._events = 0
        self._outcomes: Counter[str] = Counter()
        self._people: set[str] = set()
        self._samples: list[Sample] = []
        self._requests = 0
        self._notes: dict[str, None] = {}
        self._cuts: dict[str, None] = {}

    def go_through(self, window: Window) -> Simulated:
        """Let the events of a window happen, and time pass until its end."""
        self._until_ms = window.until_ms
        self._cuts.update(dict.fromkeys(window.notes))
        self._memory = self._begin(window)
        events = list(anew(window.events, self._automation.id, self._memory))
        if self._let_happen(events, window.heads):
            self._let_pass(window.until_ms)
        return self._result(window)

    def _begin(self, window: Window) -> RewoundMemory:
        """Learn who the people of the window are, and what was counted of them before."""
        happened: Counter[tuple[str, str]] = Counter()
        hindsight = Hindsight(window.since_ms, happened, increments_in(window.events))
        memory = RewoundMemory(
            self._past, hindsight, most_people=self._limits.people, most_firings=self._limits.firings
        )
        memory.ask_ahead(Recall(profiles=people_of(window.events)))
        happened.update(happened_to(window.events, memory))
        self._now_ms = window.since_ms
        if is_timed(self._automation):
            self._put(_publishing(self._automation, window.since_ms))
        if any(isinstance(trigger, OnAttribute) for trigger in triggers_of(self._automation)):
            self._notes[_PERSON_NOTE] = None
        return memory

    def _let_happen(self, events: list[Event], heads: Mapping[str, bytes]) -> bool:
        """Let events happen, and what waited until each of them be over before. False: it ended early."""
        for first in range(0, len(events), _AHEAD):
            works = [work_of(event, heads.get(event.request or "")) for event in events[first : first + _AHEAD]]
            self._memory.ask_ahead(foreseen(works, self._decider.rules))
            for work in works:
                if not self._let_pass(work.due_ms):
                    return False
                self._events += 1
                self._take(work)
        return True

    def _let_pass(self, until_ms: int) -> bool:
        """Do what is due until an instant. False: it ended early."""
        for timer in self._memory.entering():
            self._put(timer)
        while self._queue and self._queue[0][0] <= until_ms and self._may_go_on():
            due_ms, _, _, work = heapq.heappop(self._queue)
            if isinstance(work, Timer) and self._waiting.get(work.id) is not work:
                continue  # it was moved, or taken off
            self._waiting.pop(work.id, None)
            self._now_ms = max(self._now_ms, due_ms)
            self._take(work)
            for timer in self._memory.entering():
                self._put(timer)
        return self._may_go_on()

    def _may_go_on(self) -> bool:
        if self._works >= self._limits.works:
            self._cuts[f"it ended after {self._works:,} steps, at {iso_text(self._now_ms)}"] = None
        elif self._limits.is_late():
            self._cuts[f"it took too long and ended at {iso_text(self._now_ms)}; ask for fewer days"] = None
        else:
            return True
        return False

    def _take(self, work: DecisionWork | Timer) -> None:
        """Decide a piece of work, and queue what follows from it."""
        self._works += 1
        self._now_ms = max(self._now_ms, work.due_ms)
        case = decided(self._decider, work, self._memory, self._now_ms)
        following = case.decided(0)
        self._outcomes.update(f"{decision.outcome}/{decision.reason}" for decision in following.decisions)
        for identifier in following.unwanted:
            self._waiting.pop(identifier, None)
        for timer in following.timers:
            self._put(timer)
        for new in following.events:
            if new.profile is not None:
                work = msgspec.structs.replace(work_of(new.event), profile=new.profile, shard=shard_of(new.profile))
                self._put(work)
        for delivery in following.deliveries:
            if delivery.rendered is not None:
                self._send(case, delivery, delivery.rendered)

    def _put(self, work: DecisionWork | Timer) -> None:
        """Queue a piece of work; a timer that waits already is moved. What is due after the end is not waited for."""
        if isinstance(work, Timer):
            self._waiting.pop(work.id, None)
            if work.due_ms > self._until_ms:
                return
            if len(self._waiting) >= self._limits.waiting:
                self._cuts[f"more than {self._limits.waiting:,} timers waited, and others were dropped"] = None
                return
            self._waiting[work.id] = work
        heapq.heappush(self._queue, (work.due_ms, work.id, next(self._numbers), work))

    def _send(self, case: Case, delivery: NewDelivery, rendered: RenderedRequest) -> None:
        """Count a request as sent, and answer it where a run waits for that."""
        user = case.person.user if case.person is not None else None
        self._requests += 1
        self._people.add(user or "")
        if len(self._samples) < _MOST_SAMPLES:
            request = shown_request(rendered)
            self._samples.append(Sample(user=user, event=delivery.event, at_ms=case.now_ms, request=request))
        if rendered.tells is not None:
            step = msgspec.json.decode(rendered.tells.data, type=RequestEnd).step or ONLY_STEP
            answer = self._answers.get(step, Answer())
            self._notes[f"requests of the step {step} were answered at once, with the status {answer.status}"] = None
            self._memory.put_answer(_attempt(case, delivery, answer))
            self._put(rendered.tells)

    def _result(self, window: Window) -> Simulated:
        """Say what came of it."""
        if self._memory.is_cut:
            listed = f"schedules and dates went through the first {self._limits.people:,} people by user id"
            self._cuts[f"{listed}, and there are more"] = None
        if self._memory.is_forgetful:
            known = f"of more than {self._limits.firings:,} people it was not looked up when it fired for them before"
            self._cuts[f"{known} these days"] = None
        if self._memory.wanted_content:
            self._notes[NOT_FETCHED] = None
        return Simulated(
            since_ms=window.since_ms,
            until_ms=window.until_ms,
            events=self._events,
            people=len(self._people),
            requests=self._requests,
            outcomes=dict(self._outcomes),
            samples=tuple(self._samples),
            is_cut=bool(self._cuts),
            notes=(*self._cuts, *self._notes),
        )


def _publishing(automation: Automation, at_ms: int) -> DecisionWork:
    """Publish an automation at the beginning, so that its schedules and dates are planned."""
    profile = automation_profile(automation.workspace, automation.id)
    event = Event(
        id=ids.new_id(ids.EVENT, at_ms),
        workspace=automation.workspace,
        type=published_type(automation.id),
        occurred_ms=at_ms,
        received_ms=at_ms,
    )
    return DecisionWork(id=event.id, shard=shard_of(profile), profile=profile, due_ms=at_ms, event=event)


def _attempt(case: Case, delivery: NewDelivery, answer: Answer) -> Attempt:
    """Make the attempt that would have brought an answer."""
    return Attempt(
        id=ids.new_id(ids.ATTEMPT, case.now_ms),
        workspace=case.workspace,
        application=None,
        delivery=delivery.id,
        event=delivery.event,
        endpoint=delivery.endpoint,
        number=1,
        trigger=Trigger.SCHEDULED,
        state=DeliveryState.DELIVERED if answer.status in _SUCCESS else DeliveryState.EXHAUSTED,
        started_ms=case.now_ms,
        next_ms=None,
        method="",
        url="",
        request_headers=b"[]",
        response_status=answer.status,
        response_headers=None,
        response_body=answer.body,
        error=None,
        detail=None,
        dns_us=0,
        connect_us=0,
        tls_us=0,
        wait_us=0,
        total_us=0,
    )
