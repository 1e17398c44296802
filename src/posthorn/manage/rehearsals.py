"""Trying automations before they are let loose: for one person and event, or over the last days."""

import asyncio
from collections.abc import Iterator
from typing import Protocol

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from posthorn import ids
from posthorn.clock import DAY_MS, Clock
from posthorn.decide.rehearsal import Rehearsal, Rehearsed, Simulated
from posthorn.engine.directory import Directory
from posthorn.engine.flows import OnCall
from posthorn.engine.journal import EventQuery
from posthorn.engine.listening import call_type, entry_types, triggers_of
from posthorn.engine.people import Profile
from posthorn.engine.ports import Journal, People
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Event, EventCount, Recalled
from posthorn.engine.resources import Automation, Resource, Segment, Source, Workspace
from posthorn.errors import Invalid, NotFound
from posthorn.manage.automations import AutomationFields, Automations

MOST_DAYS = 31
MOST_EVENTS = 50_000
_PAGE = 250


class KnownPast(Journal, People, Protocol):
    """What happened, and to whom."""

    async def event_counts(self, profile: str) -> list[EventCount]:
        """Return the profile's counters, by type."""
        ...


class Trial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What to try: an event of the journal by its id, or one that is made up; for a person."""

    event_id: str | None = None
    user: str | None = None
    type: str | None = None
    data: Raw | UnsetType = UNSET
    draft: AutomationFields | bool | None = None  #: changes that are not saved, or true: the draft that is


class SimulationOf(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How far back to go, and with which draft."""

    days: int = 7
    draft: AutomationFields | bool | None = None


class Rehearsals:
    """Previews and simulates. Nothing is stored, nothing is sent, and no secret is read."""

    def __init__(self, store: KnownPast, directory: Directory, automations: Automations, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._automations = automations
        self._clock = clock

    async def preview(self, workspace: str, identifier: str, trial: Trial) -> Rehearsed:
        """Say what an automation would make of an event for a person as they are now. Raises NotFound, Invalid."""
        automation = await self._automations.rehearsed(workspace, identifier, trial.draft)
        event = await self._event(workspace, automation, trial)
        recalled = await self._known(event)
        return self._rehearsal(automation).preview(event, recalled, self._clock.now_ms())

    async def simulate(self, workspace: str, identifier: str, asked: SimulationOf) -> Simulated:
        """Say what an automation would have made of the events of the last days. Raises NotFound, Invalid."""
        if not 1 <= asked.days <= MOST_DAYS:
            raise Invalid.at("days", msg=f"1 to {MOST_DAYS} days")
        automation = await self._automations.rehearsed(workspace, identifier, asked.draft)
        events = await self._events(workspace, self._clock.now_ms() - asked.days * DAY_MS)
        rehearsal = self._rehearsal(automation)
        # In a thread: tens of thousands of renderings must not keep everybody else waiting.
        return await asyncio.to_thread(rehearsal.simulate, events, most=MOST_EVENTS)

    def _rehearsal(self, automation: Automation) -> Rehearsal:
        alone = Directory()
        alone.fill(self._surroundings(automation))
        return Rehearsal(alone)

    def _surroundings(self, automation: Automation) -> Iterator[Resource]:
        yield msgspec.structs.replace(automation, enabled=True)
        for kind in (Workspace, Segment, Source):
            for resource in self._directory.every(kind):
                if resource.workspace == automation.workspace:
                    yield resource

    async def _event(self, workspace: str, automation: Automation, trial: Trial) -> Event:
        if trial.event_id is not None:
            found = await self._store.event(workspace, trial.event_id)
            if found is None:
                raise NotFound("there is no event with this id")
            return found if trial.user is None else msgspec.structs.replace(found, user=trial.user)
        now_ms = self._clock.now_ms()
        return Event(
            id=ids.new_id(ids.EVENT, now_ms),
            workspace=workspace,
            type=trial.type or _first_type(automation),
            occurred_ms=now_ms,
            received_ms=now_ms,
            user=trial.user,
            payload=bytes(trial.data) if isinstance(trial.data, Raw) else b"{}",
        )

    async def _known(self, event: Event) -> Recalled:
        """Read what is known of the event's person. A made-up event counts on top of what was counted."""
        if event.user is None:
            return Recalled()
        key = user_profile(event.workspace, event.user)
        profile = await self._store.profile(key)
        counts = await self._store.event_counts(key)
        profiles: dict[str, Profile] = {key: profile} if profile is not None else {}
        return Recalled(profiles=profiles, counts={(key, count.type): count for count in counts})

    async def _events(self, workspace: str, since_ms: int) -> list[Event]:
        """Read the events of a time, the oldest first. Every event may matter: people are in segments by any."""
        events: list[Event] = []
        query = EventQuery(workspace=workspace, since_ms=since_ms, ascending=True, limit=_PAGE, with_payload=True)
        while len(events) <= MOST_EVENTS:
            page = await self._store.events(query)
            events += [event for event in page.rows if event.application is None]
            if page.done or not page.rows:
                break
            query = msgspec.structs.replace(query, after=page.rows[-1].id)
        return sorted(events, key=lambda event: (event.received_ms, event.id))


def _first_type(automation: Automation) -> str:
    if any(isinstance(trigger, OnCall) for trigger in triggers_of(automation)):
        return call_type(automation.id)
    return min(entry_types(automation), default="preview")
