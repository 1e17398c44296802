"""One piece of work under decision: what is known about its person, and what follows from it."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from posthorn.clock import iso_text
from posthorn.decide.memory import Memory, Misses
from posthorn.engine.people import Membership, Profile
from posthorn.engine.records import (
    Decided,
    Decision,
    DecisionWork,
    EligibilityKey,
    EventCount,
    Firing,
    NewDelivery,
    NewEvent,
)
from posthorn.engine.runs import Run, Timer

_MOST_KEPT_BYTES = 64 * 1024
_KEPT = ("event", "user", "source")


class Happening(Struct, frozen=True, kw_only=True):
    """An event as far as automations see it, also long after it came in."""

    id: str
    type: str
    at_ms: int  #: when it occurred
    received_ms: int
    facts: dict[str, Any]  #: `event`, `user`, `source` as conditions and templates see them
    depth: int = 0  #: through how many emitting automations it came
    through: tuple[str, ...] = ()  #: which ones

    def kept(self) -> "Happening":
        """Return what a run keeps of it: the event itself. What is known of the person is looked up when it matters.

        Data over 64 KiB are left out, and `event.isCut` says so: a run's document is written at each of its moves.
        """
        facts = {name: self.facts[name] for name in _KEPT if name in self.facts}
        if len(msgspec.json.encode(facts)) > _MOST_KEPT_BYTES:
            event = {name: value for name, value in facts["event"].items() if name not in ("data", "headers")}
            facts["event"] = event | {"isCut": True}
        return replace(self, facts=facts)


class Case:
    """Collects what one event or timer changes. What is changed here is seen by the rest of the batch."""

    def __init__(
        self, *, work: DecisionWork | Timer, workspace: str, memory: Memory, now_ms: int, person: Profile | None
    ) -> None:
        self.work = work
        self.workspace = workspace
        self.memory = memory
        self.now_ms = now_ms
        self.person = person  #: None for what has no user
        self.decisions: list[Decision] = []
        self.deliveries: list[NewDelivery] = []
        self.events: list[NewEvent] = []
        self.count = False
        self.absorbs: str | None = None
        self.changed_attributes: set[str] = set()  #: that automations may still have to react to
        self.segment_moves: list[tuple[str, bool]] = []  #: the same, segment and whether it was entered
        self.reacted: set[str] = set()  #: automations that reacted to a change in this case already
        self.shown = person  #: the profile as the facts have it
        self.weighed: Profile | None = None  #: the profile for which all segments were looked at
        self._draws = 0
        self._is_person_changed = False
        self._firings: dict[EligibilityKey, Firing] = {}
        self._memberships: dict[str, Membership] = {}
        self._runs: dict[str, Run] = {}
        self._timers: dict[str, Timer] = {}
        self._unwanted: dict[str, None] = {}
        self._tombstone: Profile | None = None

    def has_decided(self, automation: str) -> bool:
        """Tell whether a decision of an automation is on record in this case."""
        return any(decision.automation == automation for decision in self.decisions)

    def new_id(self, prefix: str) -> str:
        """Draw an id. The same work draws the same ids when it is decided anew, so that what it asks for stays."""
        self._draws += 1
        return self.memory.drawn(self.work.id, self._draws, prefix, self.now_ms)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs that begin, move or end."""
        return tuple(self._runs.values())

    @property
    def timers(self) -> tuple[Timer, ...]:
        """The timers to queue."""
        return tuple(self._timers.values())

    @property
    def is_person_changed(self) -> bool:
        """Whether the profile is other than it was read."""
        return self._is_person_changed

    def put_person(self, person: Profile) -> None:
        """Change the profile."""
        if person is not self.person:
            self.person = person
            self._is_person_changed = True
            self.memory.put_profile(person)

    def react(self, attributes: Iterable[str]) -> None:
        """Say that attributes of the person are other than before."""
        self.changed_attributes.update(attributes)

    def put_tombstone(self, profile: Profile) -> None:
        """End a profile that was merged into another one."""
        self._tombstone = profile
        self.memory.put_profile(profile)

    def put_firing(self, key: EligibilityKey, firing: Firing) -> None:
        """Remember that an automation fired."""
        self.memory.put_firing(key, firing)
        if self.absorbs is not None:  # the store adds what it absorbs to what is put
            theirs = self.memory.firing(replace(key, profile=self.absorbs))
            firing = replace(firing, times=firing.times - theirs.times) if theirs is not None else firing
        self._firings[key] = firing

    def put_membership(self, membership: Membership) -> None:
        """Let the person enter or leave a segment."""
        self._memberships[membership.segment] = membership
        self.segment_moves.append((membership.segment, membership.is_in))

    def put_run(self, run: Run) -> None:
        """Begin, move or end a run."""
        self._runs[run.id] = run
        self.memory.put_run(run)

    def put_timer(self, timer: Timer) -> None:
        """Queue a timer; one with the same id is moved."""
        self._unwanted.pop(timer.id, None)
        self._timers[timer.id] = timer

    def drop_timer(self, identifier: str) -> None:
        """Take a timer off the queue."""
        self._timers.pop(identifier, None)
        self._unwanted[identifier] = None

    def absorb(self, profile: str) -> None:
        """Take over the counters and firings of a profile that has ended."""
        self.absorbs = profile
        self.memory.absorb(profile, self.work.profile)

    def look_up_counts(self, facts: dict[str, Any], names: Iterable[str]) -> None:
        """Add counters of the person to the facts, those that are there already left alone."""
        if not names or self.person is None:
            return
        counts = facts.setdefault("counts", {})
        misses = Misses()
        for name in names:
            with misses:
                found = self.memory.count(self.work.profile, name) if name not in counts else None
                if found is not None:
                    counts[name] = count_facts(found)
        misses.settle()

    def add_count(self, event_type: str, at_ms: int) -> None:
        """Count the event."""
        self.count = True
        self.memory.add_count(self.work.profile, event_type, at_ms)

    def decided(self, epoch: int) -> Decided:
        """Return all that follows, to be committed together."""
        profiles = (self.person,) if self._is_person_changed and self.person is not None else ()
        return Decided(
            work=self.work,
            epoch=epoch,
            decisions=tuple(self.decisions),
            deliveries=tuple(self.deliveries),
            firings=tuple(self._firings.items()),
            count=self.count,
            profiles=profiles + ((self._tombstone,) if self._tombstone is not None else ()),
            memberships=tuple(self._memberships.values()),
            runs=tuple(self._runs.values()),
            timers=tuple(self._timers.values()),
            unwanted=tuple(self._unwanted),
            events=tuple(self.events),
            absorbs=self.absorbs,
        )


def person_facts(person: Profile) -> dict[str, Any]:
    """Render a profile as conditions and templates see it."""
    facts: dict[str, Any] = {
        "id": person.user,
        "attributes": person.attributes,
        "subscriptions": person.subscriptions,
        "createdTime": iso_text(person.created_ms),
    }
    if person.time_zone is not None:
        facts["timeZone"] = person.time_zone
    if person.locale is not None:
        facts["locale"] = person.locale
    if person.devices:
        facts["devices"] = [
            {name: value for name, value in _device(device).items() if value is not None} for device in person.devices
        ]
    return facts


def _device(device: Any) -> dict[str, Any]:
    return {
        "id": device.id,
        "platform": device.platform,
        "model": device.model,
        "os": device.os,
        "browser": device.browser,
        "appVersion": device.app_version,
    }


def count_facts(count: EventCount) -> dict[str, Any]:
    """Render a counter as conditions and templates see it."""
    return {"count": count.count, "firstTime": iso_text(count.first_ms), "lastTime": iso_text(count.last_ms)}
