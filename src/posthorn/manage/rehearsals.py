"""Trying automations before they are let loose: for one person and event, or over the last days."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from posthorn import ids
from posthorn.clock import DAY_MS, Clock
from posthorn.decide.rehearsal import Rehearsed, preview, work_of
from posthorn.decide.simulation import Answer, Limits, Simulated, Simulation
from posthorn.engine.directory import Directory
from posthorn.engine.flows import OnCall, Send, SendAll
from posthorn.engine.listening import call_type, entry_types, steps_of, triggers_of
from posthorn.engine.records import DecisionWork, Event
from posthorn.engine.resources import Automation, AutomationVersion, Resource, Segment, Source, Workspace
from posthorn.errors import Invalid, NotFound
from posthorn.manage.asking import KnownPast, StoredPast
from posthorn.manage.automations import AutomationFields, Automations
from posthorn.manage.bygone_days import MOST_EVENTS, window_of

MOST_DAYS = 31
_MOST_SECONDS = 20.0
_AT_ONCE = 2  # each has its events and people in memory


class Trial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What to try: an event of the journal by its id, or one that is made up; for a person."""

    event_id: str | None = None
    user: str | None = None
    type: str | None = None
    data: Raw | UnsetType = UNSET
    draft: AutomationFields | bool | None = None  #: changes that are not saved, or true: the draft that is


class AssumedAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How a request is answered in a simulation. A body that is no text is sent as JSON."""

    status: Annotated[int, Meta(ge=100, le=599)] = 200
    body: Any = None


class SimulationOf(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How far back to go, with which draft, and what steps that wait for an answer get."""

    days: int = 7
    draft: AutomationFields | bool | None = None
    answers: dict[str, AssumedAnswer] = {}


class Rehearsals:
    """Previews and simulates. Nothing is stored, nothing is sent, and no secret is read."""

    def __init__(self, store: KnownPast, directory: Directory, automations: Automations, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._automations = automations
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def preview(self, workspace: str, identifier: str, trial: Trial) -> Rehearsed:
        """Say what an automation would make of an event for a person as they are now. Raises NotFound, Invalid."""
        automation = await self._automations.rehearsed(workspace, identifier, trial.draft)
        work = await self._journaled(workspace, trial.event_id) if trial.event_id is not None else None
        is_counted = work is not None and trial.user in (None, work.event.user)
        if work is None:
            work = self._made_up(workspace, automation, trial)
        elif trial.user is not None:
            work = work_of(msgspec.structs.replace(work.event, user=trial.user), work.head)
        past = StoredPast(self._store, asyncio.get_running_loop())
        return await asyncio.to_thread(
            preview, self._alone(automation), work, past, self._clock.now_ms(), is_counted=is_counted
        )

    async def simulate(self, workspace: str, identifier: str, asked: SimulationOf) -> Simulated:
        """Say what an automation would have made of the events of the last days. Raises NotFound, Invalid."""
        if not 1 <= asked.days <= MOST_DAYS:
            raise Invalid.at("days", msg=f"1 to {MOST_DAYS} days")
        automation = await self._automations.rehearsed(workspace, identifier, asked.draft)
        answers = _answers(automation, asked.answers)
        async with self._turns:
            return await self._simulate(automation, asked.days, answers)

    async def _simulate(self, automation: Automation, days: int, answers: Mapping[str, Answer]) -> Simulated:
        until_s = self._clock.monotonic() + _MOST_SECONDS
        now_ms = self._clock.now_ms()
        since_ms = now_ms - days * DAY_MS
        window = await window_of(
            self._store, automation.workspace, since_ms=since_ms, until_ms=now_ms, most=MOST_EVENTS
        )
        is_over = threading.Event()
        simulation = Simulation(
            self._alone(automation),
            automation,
            StoredPast(self._store, asyncio.get_running_loop()),
            answers=answers,
            limits=Limits(is_late=lambda: is_over.is_set() or self._clock.monotonic() > until_s),
        )
        try:
            # In a thread: tens of thousands of renderings must not keep everybody else waiting.
            return await asyncio.to_thread(simulation.go_through, window)
        finally:
            is_over.set()  # a thread cannot be cancelled: it ends by itself when nobody waits for it any more

    def _alone(self, automation: Automation) -> Directory:
        alone = Directory()
        alone.fill(self._surroundings(automation))
        return alone

    def _surroundings(self, automation: Automation) -> Iterator[Resource]:
        yield msgspec.structs.replace(automation, enabled=True)
        for version in self._directory.every(AutomationVersion):
            if version.parent == automation.id:
                yield version
        for kind in (Workspace, Segment, Source):
            for resource in self._directory.every(kind):
                if resource.workspace == automation.workspace:
                    yield resource

    async def _journaled(self, workspace: str, identifier: str) -> DecisionWork:
        event = await self._store.event(workspace, identifier)
        if event is None:
            raise NotFound("there is no event with this id")
        request = await self._store.request(workspace, event.request) if event.request is not None else None
        return work_of(event, request.head if request is not None else None)

    def _made_up(self, workspace: str, automation: Automation, trial: Trial) -> DecisionWork:
        now_ms = self._clock.now_ms()
        event = Event(
            id=ids.new_id(ids.EVENT, now_ms),
            workspace=workspace,
            type=trial.type or _first_type(automation),
            occurred_ms=now_ms,
            received_ms=now_ms,
            user=trial.user,
            payload=bytes(trial.data) if isinstance(trial.data, Raw) else b"{}",
        )
        return work_of(event)


def _answers(automation: Automation, assumed: Mapping[str, AssumedAnswer]) -> dict[str, Answer]:
    """Read the answers that a caller chose. Raises Invalid for a step that waits for none."""
    waiting = sorted(_waiting_steps(automation))
    for name in assumed:
        if name not in waiting:
            those = f"; these do: {', '.join(waiting)}" if waiting else ", and none of this automation does"
            raise Invalid.at("answers", name, msg=f"no step {name!r} has waitForAnswer{those}")
    return {name: Answer(status=answer.status, body=_body(answer.body)) for name, answer in assumed.items()}


def _waiting_steps(automation: Automation) -> Iterator[str]:
    for step in steps_of(automation.flow.steps if automation.flow is not None else ()):
        for send in step.sends if isinstance(step, SendAll) else (step,):
            if isinstance(send, Send) and send.wait_for_answer:
                yield send.name


def _body(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)


def _first_type(automation: Automation) -> str:
    if any(isinstance(trigger, OnCall) for trigger in triggers_of(automation)):
        return call_type(automation.id)
    return min(entry_types(automation), default="preview")
