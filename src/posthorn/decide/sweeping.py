"""Time lets people in: schedules go through all people, anniversaries wait for each person's day.

An automation's schedule is a timer in a line of its own. When it is due it goes through the people in pages, with a
timer that remembers how far it came, and gives each a timer of their own for their local instant. Nothing is counted
in memory, and a crash repeats no page twice: timers have ids that make them the same ones again.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from posthorn import ids
from posthorn.calendars import (
    LeapDay,
    NoDate,
    TimeOfDay,
    Zone,
    next_anniversary,
    next_firing,
    parse_cron,
    read_date,
    zone,
)
from posthorn.clock import DAY_MS, HOUR_MS, SECOND_MS, iso_text
from posthorn.decide.case import Case
from posthorn.decide.rules import Rules
from posthorn.engine.flows import OnAnniversary, OnSchedule, Trigger
from posthorn.engine.listening import entry_type, is_personal, triggers_of
from posthorn.engine.people import Profile, ProfileQuery
from posthorn.engine.profiles import automation_profile
from posthorn.engine.records import Event, NewEvent
from posthorn.engine.resources import Automation
from posthorn.engine.runs import Timer, TimerKind, timer_of

_PAGE = 200
_MOST_CAUGHT_UP = 100  # times of a schedule: one for every minute is not caught up with whole
_EARLIEST_ZONE_MS = 14 * HOUR_MS  # Kiribati's clocks are so much ahead of UTC


class Sweep(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of a schedule's timer: which trigger, which firing, how far it came."""

    trigger: int
    due_ms: int = 0  #: the instant of the schedule; in local time where that is each person's own
    after: str | None = None  #: the last person who was told
    version: int = 1
    since_ms: int = 0  #: when the automation was published: what was due before has passed


class Entry(Struct, frozen=True, kw_only=True):
    """The data of a person's timer: for which trigger of an automation, as it was when the timer was set."""

    due_ms: int
    version: int
    trigger: int


class Sweeper:
    """Begins and carries on what time does."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def publish(self, case: Case, automation: Automation) -> None:
        """Set the timers of an automation whose times are others now."""
        for number, trigger in enumerate(triggers_of(automation)):
            if isinstance(trigger, OnSchedule):
                early_ms = _EARLIEST_ZONE_MS if is_personal(trigger) else 0  # for some it may be to come
                begun = Sweep(trigger=number, version=automation.version, since_ms=case.now_ms)
                self._plan(case, automation, trigger, begun, case.now_ms - early_ms)
            elif isinstance(trigger, OnAnniversary):
                sweep = Sweep(trigger=number, version=automation.version)
                case.put_timer(_sweep_timer(automation, sweep, case.now_ms))

    def sweep(self, case: Case, timer: Timer) -> None:
        """Go through the next people."""
        sweep = msgspec.json.decode(timer.data, type=Sweep)
        if timer.about.startswith(f"{ids.SEGMENT}_"):
            self._sweep_segment(case, timer, sweep)
            return
        automation = self._rules.current(timer.about)
        if automation is None or automation.version != sweep.version or not automation.enabled:
            return  # publishing it again begins anew
        trigger = triggers_of(automation)[sweep.trigger]
        query = ProfileQuery(workspace=case.workspace, segment=_segment_of(trigger), after=sweep.after, limit=_PAGE)
        page = case.memory.page(query)
        for person in page.profiles:
            self._tell(case, automation, trigger, sweep, person)
        if page.more:
            further = msgspec.structs.replace(sweep, after=page.profiles[-1].user)
            case.put_timer(_sweep_timer(automation, further, case.now_ms))
        elif isinstance(trigger, OnSchedule):
            self._plan(case, automation, trigger, sweep, sweep.due_ms)

    def publish_segment(self, case: Case, segment: str) -> None:
        """Look at everybody: a segment is new, or its conditions are others now."""
        case.put_timer(_segment_sweep(case, segment, Sweep(trigger=0)))

    def _sweep_segment(self, case: Case, timer: Timer, sweep: Sweep) -> None:
        page = case.memory.page(ProfileQuery(workspace=case.workspace, after=sweep.after, limit=_PAGE))
        for person in page.profiles:
            case.put_timer(
                timer_of(
                    person.key,
                    TimerKind.SEGMENTS,
                    timer.about,
                    identifier=f"{person.key}/{timer.about}",
                    due_ms=case.now_ms,
                )
            )
        if page.more:
            further = msgspec.structs.replace(sweep, after=page.profiles[-1].user)
            case.put_timer(_segment_sweep(case, timer.about, further))

    def enter(self, case: Case, timer: Timer) -> None:
        """Let a person in, by an event that is decided like any other; not who has left the segment meanwhile."""
        entry = msgspec.json.decode(timer.data, type=Entry)
        automation, person = self._rules.current(timer.about), case.person
        if automation is None or automation.version != entry.version or not automation.enabled or person is None:
            return
        segment = _segment_of(triggers_of(automation)[entry.trigger])
        if segment is None or segment in person.segments:
            _bring_in(case, automation, entry.due_ms)

    def come_round(self, case: Case, timer: Timer) -> None:
        """Let a person in on their day, and set the timer for the next year."""
        automation, person = self._rules.current(timer.about), case.person
        entry = msgspec.json.decode(timer.data, type=Entry)
        if automation is None or person is None or entry.trigger >= len(triggers_of(automation)):
            return
        trigger = triggers_of(automation)[entry.trigger]
        if not isinstance(trigger, OnAnniversary):
            return
        if automation.enabled and self._anniversary_ms(trigger, person, entry.due_ms - 1) == entry.due_ms:
            _bring_in(case, automation, entry.due_ms)
        self._remember_day(case, automation, entry.trigger, person, entry.due_ms)

    def remember_days(self, case: Case, changed: AbstractSet[str] | None) -> None:
        """Set the timers of a person whose dates changed; of all dates when their zone did (`changed` None)."""
        if case.person is None or changed == set():
            return
        for compiled in self._rules.reacting(case.workspace, "$attribute"):
            for number, trigger in enumerate(triggers_of(compiled.automation)):
                if not isinstance(trigger, OnAnniversary):
                    continue
                if changed is None or trigger.attribute.partition(".")[0] in changed:
                    self._remember_day(case, compiled.automation, number, case.person, case.now_ms)

    def catch_up(self, case: Case, segments: AbstractSet[str | None], before: Zone | None = None) -> None:
        """Set the timers of a person whom sweeps that went through already did not meet, or met in another zone.

        Sweeps ring early, for the easternmost clocks. Who is new since then (None among the `segments`), came into the
        segment of a schedule or lived by another clock `before` is told of what their own clock has still to come.
        """
        person = case.person
        if person is None:
            return
        for compiled in self._rules.reacting(case.workspace, "$clock"):
            for number, trigger in enumerate(triggers_of(compiled.automation)):
                if isinstance(trigger, OnSchedule) and is_personal(trigger) and trigger.segment in segments:
                    clocks = (self._rules.zone_of(case.workspace, person), *((before,) if before is not None else ()))
                    shown_ms = max(clock.wall_ms(case.now_ms) for clock in clocks)
                    for due_ms in _swept(trigger, shown_ms, case.now_ms):
                        sweep = Sweep(trigger=number, due_ms=due_ms, version=compiled.automation.version)
                        self._tell(case, compiled.automation, trigger, sweep, person)

    def forget_days(self, case: Case, profile: str) -> None:
        """Take the timers of a profile that has ended off the queue."""
        for compiled in self._rules.reacting(case.workspace, "$attribute"):
            for number, trigger in enumerate(triggers_of(compiled.automation)):
                if isinstance(trigger, OnAnniversary):
                    case.drop_timer(_day_of(profile, compiled.automation, number))

    def _remember_day(self, case: Case, automation: Automation, number: int, person: Profile, after_ms: int) -> None:
        """Set the timer for a person's next anniversary; an attribute that is no date takes it off."""
        trigger = triggers_of(automation)[number]
        identifier = _day_of(person.key, automation, number)
        due_ms = self._anniversary_ms(trigger, person, after_ms) if isinstance(trigger, OnAnniversary) else None
        if due_ms is None:
            case.drop_timer(identifier)
            return
        case.put_timer(
            timer_of(
                person.key,
                TimerKind.ANNIVERSARY,
                automation.id,
                identifier=identifier,
                due_ms=due_ms,
                data=msgspec.json.encode(Entry(due_ms=due_ms, version=automation.version, trigger=number)),
            )
        )

    def _anniversary_ms(self, trigger: OnAnniversary, person: Profile, after_ms: int) -> int | None:
        where = self._rules.zone_of(person.workspace, person)
        value: Any = person.attributes
        for step in trigger.attribute.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        found = read_date(value, where) if value is not None else NoDate(reason="absent")
        if isinstance(found, NoDate):
            return None
        at = TimeOfDay.parse(trigger.at)
        leap = LeapDay(trigger.leap_day)
        return next_anniversary(
            found.date, after_ms, where, at.hour, at.minute, lead_days=trigger.lead_days, leap_day=leap
        )

    def _tell(self, case: Case, automation: Automation, trigger: Trigger, sweep: Sweep, person: Profile) -> None:
        if isinstance(trigger, OnAnniversary):
            self._remember_day(case, automation, sweep.trigger, person, case.now_ms)
            return
        due_ms = sweep.due_ms
        if isinstance(trigger, OnSchedule) and is_personal(trigger):
            # The instant of the schedule was reckoned as if clocks showed UTC: the same time on the person's clock.
            due_ms = self._rules.zone_of(case.workspace, person).instant_ms(sweep.due_ms)
        if due_ms < max(sweep.since_ms, case.now_ms - DAY_MS):
            return  # it had passed before, or is a day late: nobody wants the morning's greeting of yesterday
        case.put_timer(
            timer_of(
                person.key,
                TimerKind.ENTER,
                automation.id,
                identifier=f"{person.key}/{automation.id}/{sweep.trigger}/{sweep.due_ms}",
                due_ms=max(due_ms, case.now_ms),
                data=msgspec.json.encode(Entry(due_ms=due_ms, version=automation.version, trigger=sweep.trigger)),
            )
        )

    def _plan(self, case: Case, automation: Automation, trigger: OnSchedule, sweep: Sweep, after_ms: int) -> None:
        """Set the timer for the next time of a schedule; it rings early enough for the easternmost clocks."""
        by_own_clock = is_personal(trigger)
        where = zone("UTC") if by_own_clock else zone(trigger.time_zone, self._rules.zone_of(case.workspace, None).name)
        due_ms = _next_ms(trigger, after_ms, where)
        if due_ms is None:
            return
        following = msgspec.structs.replace(sweep, due_ms=due_ms, after=None)
        case.put_timer(_sweep_timer(automation, following, due_ms - (_EARLIEST_ZONE_MS if by_own_clock else 0)))


def _swept(trigger: OnSchedule, after_ms: int, now_ms: int) -> Iterator[int]:
    """Go through the times of a schedule after a wall time, as far as their sweeps have begun."""
    due_ms = _next_ms(trigger, after_ms, zone("UTC"))
    for _ in range(_MOST_CAUGHT_UP):
        if due_ms is None or due_ms > now_ms + _EARLIEST_ZONE_MS:
            return
        yield due_ms
        due_ms = _next_ms(trigger, due_ms, zone("UTC"))


def _next_ms(trigger: OnSchedule, after_ms: int, where: Zone) -> int | None:
    if trigger.cron is not None:
        return next_firing(parse_cron(trigger.cron), after_ms, where)
    at = datetime.fromisoformat(trigger.at or "")
    if at.tzinfo is None:
        at_ms = where.instant_ms(int(at.replace(tzinfo=UTC).timestamp() * SECOND_MS))
    else:
        at_ms = int(at.timestamp() * SECOND_MS)
    return at_ms if at_ms > after_ms else None  # so that its own sweep does not plan it again


def _day_of(profile: str, automation: Automation, number: int) -> str:
    return f"{profile}/{automation.id}/anniversary/{number}"


def _segment_sweep(case: Case, segment: str, sweep: Sweep) -> Timer:
    profile = automation_profile(case.workspace, segment)
    return timer_of(
        profile,
        TimerKind.SCHEDULE,
        segment,
        identifier=f"{profile}/sweep",
        due_ms=case.now_ms,
        data=msgspec.json.encode(sweep),
    )


def _segment_of(trigger: Trigger) -> str | None:
    return trigger.segment if isinstance(trigger, OnSchedule) else None


def _sweep_timer(automation: Automation, sweep: Sweep, due_ms: int) -> Timer:
    profile = automation_profile(automation.workspace, automation.id)
    return timer_of(
        profile,
        TimerKind.SCHEDULE,
        automation.id,
        identifier=f"{profile}/{sweep.trigger}",
        due_ms=due_ms,
        data=msgspec.json.encode(sweep),
    )


def _bring_in(case: Case, automation: Automation, due_ms: int) -> None:
    person = case.person
    if person is None:
        return
    event = Event(
        id=case.new_id(ids.EVENT),
        workspace=case.workspace,
        type=entry_type(automation.id),
        occurred_ms=due_ms,
        received_ms=case.now_ms,
        user=person.user,
        payload=msgspec.json.encode({"dueTime": iso_text(due_ms)}),
    )
    case.events.append(NewEvent(event=event, profile=person.key))
