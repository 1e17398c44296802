"""One event or timer, and all that follows from it. No store, no socket: what is not known yet is asked for."""

from collections.abc import Sequence
from typing import Any

import msgspec

from posthorn import ids
from posthorn.clock import HOUR_MS, SECOND_MS, iso_text
from posthorn.decide import run_looks, verdicts
from posthorn.decide.caps import Caps
from posthorn.decide.case import Case, Happening, person_facts
from posthorn.decide.compiling import BrokenAutomation, CompiledAutomation
from posthorn.decide.entering import Entrance
from posthorn.decide.facts import facts_of, hops_of, local_facts
from posthorn.decide.memory import Draw, Memory
from posthorn.decide.merging import absorb, living, merge
from posthorn.decide.moving import Mover
from posthorn.decide.people import apply_change
from posthorn.decide.rendering import SecretValues
from posthorn.decide.rules import CompiledSegment, EventRules, Rules
from posthorn.decide.sending import Sender
from posthorn.decide.stepping import Stepper
from posthorn.decide.sweeping import Sweeper
from posthorn.engine.directory import Directory
from posthorn.engine.flows import OnAttribute, OnSegment, Trigger
from posthorn.engine.listening import changed_type, published_type
from posthorn.engine.people import EventContext, Membership, Profile
from posthorn.engine.profiles import shared_profile, user_of, workspace_of
from posthorn.engine.records import DecisionWork, Event, NewEvent
from posthorn.engine.runs import Timer, TimerKind, timer_of
from posthorn.vault import KeyRing

_context = msgspec.json.Decoder(EventContext)
_MOST_REACTIONS = 10  # rounds of automations that change what other automations react to
_LATER_MS = HOUR_MS  # when a schedule that could not be kept is tried again
_NOTHING = EventContext()
_PUBLISHED = published_type("")
_CHANGED = changed_type("")


class Moved:
    """The work belongs to another profile, whose owner decides it."""

    __slots__ = ("profile",)

    def __init__(self, profile: str) -> None:
        self.profile = profile


class Decider:
    """Decides events and timers, one after the other, over a memory that a batch shares."""

    def __init__(
        self, *, directory: Directory, secrets: SecretValues, key_ring: KeyRing, draw: Draw = ids.new_id
    ) -> None:
        self.directory = directory
        self._draw = draw
        self.rules = Rules(directory)
        sender = Sender(secrets=secrets, key_ring=key_ring)
        caps = Caps(directory)
        stepper = Stepper(sender=sender, caps=caps)
        self._entrance = Entrance(rules=self.rules, sender=sender, stepper=stepper, caps=caps)
        self._sweeper = Sweeper(self.rules)
        self._mover = Mover(rules=self.rules, stepper=stepper, entrance=self._entrance)

    def remember(self) -> Memory:
        """Begin the memory of a batch."""
        return Memory(self._draw)

    def decide(self, work: DecisionWork | Timer, memory: Memory, now_ms: int) -> Case | Moved:
        """Decide one piece of work. Raises Missing when something has to be recalled first."""
        return self._wake(work, memory, now_ms) if isinstance(work, Timer) else self._decide(work, memory, now_ms)

    def failure(self, work: DecisionWork | Timer, memory: Memory, now_ms: int, problem: str) -> Case:
        """Close work that cannot be decided. It is counted and on record, and the queue goes on."""
        if isinstance(work, Timer):
            case = Case(work=work, workspace=workspace_of(work.profile), memory=memory, now_ms=now_ms, person=None)
            if work.kind in (TimerKind.RUN, TimerKind.ANSWER):
                self._mover.give_up(case, work.about, problem)
            elif work.kind in (TimerKind.SCHEDULE, TimerKind.ANNIVERSARY, TimerKind.RUNS):
                case.put_timer(msgspec.structs.replace(work, due_ms=now_ms + _LATER_MS))
            return case
        event = work.event
        case = Case(work=work, workspace=event.workspace, memory=memory, now_ms=now_ms, person=None)
        case.count = event.user is not None
        for compiled in self.rules.for_event(event.workspace, event.type).entering:
            verdicts.record(case, compiled.automation, event.id, verdicts.broken(problem))
        return case

    def _decide(self, work: DecisionWork, memory: Memory, now_ms: int) -> Case | Moved:
        event = work.event
        rules = self.rules.for_event(event.workspace, event.type)
        context = _context.decode(event.context) if event.context is not None else _NOTHING
        person: Profile | None = None
        if event.user is not None:
            person = living(memory, work.profile)
            if person is not None and person.merged_into is not None:
                return Moved(person.merged_into)
        elif rules.remembers and work.profile != shared_profile(event.workspace):
            return Moved(shared_profile(event.workspace))  # it came in before the rule that remembers was known
        case = Case(work=work, workspace=event.workspace, memory=memory, now_ms=now_ms, person=person)
        if event.type.startswith(_PUBLISHED):
            self._publish(case, event.type.removeprefix(_PUBLISHED))
            return case
        if event.type.startswith(_CHANGED):
            run_looks.begin(case, event.type.removeprefix(_CHANGED))
            return case
        if event.user is not None and not self._take_person(case, event, context):
            return case
        facts = facts_of(work, self.directory.source(event.source))
        self._count(case, event, rules, facts)
        self._look_around(case, facts, local=rules.local)
        happening = Happening(
            id=event.id,
            type=event.type,
            at_ms=event.occurred_ms,
            received_ms=event.received_ms,
            facts=facts,
            depth=max(context.depth, hops_of(facts)),
            through=context.through,
        )
        for run in context.cancels:
            self._mover.cancel(case, run)
        if rules.moving and case.person is not None:
            self._mover.happen(case, happening, rules.moving)
        self._update_segments(case, facts, rules.segments)
        self._entrance.try_all(case, rules.entering, None, happening)
        self._react(case, happening)
        return case

    def _publish(self, case: Case, name: str) -> None:
        """Heed that an automation or a segment is new or other than before."""
        automation = self.directory.automation(name)
        segment = self.directory.segment_by_id(name)
        if automation is not None and automation.workspace == case.workspace:
            self._sweeper.publish(case, automation)
        elif segment is not None and segment.workspace == case.workspace:
            self._sweeper.publish_segment(case, name)

    def _take_person(self, case: Case, event: Event, context: EventContext) -> bool:
        """Apply what the event changes in its person's profile. False: nothing else is to be decided."""
        changes = context.changes
        known = case.person
        if known is None and changes is not None and changes.existing_only:
            return False
        person = known or Profile(
            key=case.work.profile,
            workspace=event.workspace,
            user=user_of(case.work.profile) or "",  # the event may name one who was merged into this one
            created_ms=case.now_ms,
            updated_ms=case.now_ms,
        )
        if changes is not None and changes.merge_into is not None:
            return merge(case, event, person, changes.merge_into)
        if context.absorbs is not None:
            absorb(case, person, context.absorbs, self._sweeper)
            return True
        if changes is not None:
            changed = apply_change(person, changes, now_ms=case.now_ms)
            case.react(changed.attributes)
            person = changed.profile
        if person is not known:
            case.put_person(person)
            if known is None:
                self._sweeper.catch_up(case, {None})
            elif person.time_zone != known.time_zone:
                self._sweeper.remember_days(case, None)
                before = self.rules.zone_of(case.workspace, known)
                self._sweeper.catch_up(case, {None, *person.segments}, before)
        return True

    def _count(self, case: Case, event: Event, rules: EventRules, facts: dict[str, Any]) -> None:
        """Count the event, and put it into the windows that it falls into."""
        if event.user is None:
            return
        case.add_count(event.type, event.occurred_ms)
        case.look_up_counts(facts, rules.counts)
        person = case.person
        if person is None or not rules.windows:
            return
        windows = dict(person.windows)
        for window in rules.windows:
            times = window.with_event(windows.get(window.key, ()), facts, event.occurred_ms)
            if times is not None:
                windows[window.key] = list(times)
        if windows != person.windows:
            case.put_person(msgspec.structs.replace(person, windows=windows))

    def _look_around(self, case: Case, facts: dict[str, Any], *, local: bool) -> None:
        """Add what conditions and templates see beside the event."""
        facts["now"] = iso_text(case.now_ms)
        person = case.person
        if person is not None:
            facts["profile"] = person_facts(person)
            facts["segments"] = self.rules.segment_facts(person.segments)
            facts["windows"] = person.windows
            case.shown = person
        if local:
            facts["local"] = local_facts(case.now_ms, self.rules.zone_of(case.workspace, person))

    def _update_segments(self, case: Case, facts: dict[str, Any], looking: Sequence[CompiledSegment]) -> None:
        """Let the person enter and leave segments: those that look at the event, or all when the person changed."""
        segments = self.rules.segments(case.workspace) if case.is_person_changed else looking
        person = case.person
        if person is None or not segments or person is case.weighed:
            return
        if person is not case.shown:
            facts["profile"] = person_facts(person)
            case.shown = person
        member = dict(person.segments)
        case.look_up_counts(facts, {name for one in segments for name in one.conditions.needs.counts})
        for one in segments:
            if one.conditions.needs.local and "local" not in facts:
                facts["local"] = local_facts(case.now_ms, self.rules.zone_of(case.workspace, person))
            self._update_segment(case, one, facts, member)
        if member != person.segments:
            case.put_person(msgspec.structs.replace(person, segments=member))
        elif case.is_person_changed:
            case.weighed = person

    def _update_segment(self, case: Case, one: CompiledSegment, facts: dict[str, Any], member: dict[str, int]) -> None:
        name = one.segment.id
        change_ms = one.conditions.next_change_ms(facts, case.now_ms)
        if change_ms is not None:
            case.put_timer(_segment_timer(case, name, max(change_ms, case.now_ms + SECOND_MS)))
        is_in = one.conditions.matches(facts)
        if is_in == (name in member):
            return
        if is_in:
            member[name] = case.now_ms
            self._sweeper.catch_up(case, {name})
        since_ms = case.now_ms if is_in else member.pop(name)
        case.put_membership(Membership(segment=name, profile=case.work.profile, is_in=is_in, since_ms=since_ms))
        facts["segments"] = self.rules.segment_facts(member)

    def _react(self, case: Case, happening: Happening) -> None:
        """Let automations react to what changed in the person, until nothing changes any more."""
        for _ in range(_MOST_REACTIONS):
            if case.is_person_changed:
                self._update_segments(case, happening.facts, ())
            attributes, case.changed_attributes = case.changed_attributes, set()
            moves, case.segment_moves = case.segment_moves, []
            if not attributes and not moves:
                return
            self._react_to_attributes(case, happening, attributes)
            self._react_to_moves(case, happening, moves)

    def _react_to_attributes(self, case: Case, happening: Happening, attributes: set[str]) -> None:
        if not attributes or case.person is None:
            return
        self._sweeper.remember_days(case, attributes)
        for compiled in self.rules.reacting(case.workspace, "$attribute"):
            for trigger in getattr(compiled, "triggers", ()):
                if isinstance(trigger, OnAttribute) and _is_changed_to(trigger, attributes, case.person):
                    self._let_in(case, compiled, trigger, happening)
                    break

    def _react_to_moves(self, case: Case, happening: Happening, moves: list[tuple[str, bool]]) -> None:
        if not moves:
            return
        for compiled in self.rules.reacting(case.workspace, "$segment"):
            for trigger in getattr(compiled, "triggers", ()):
                if isinstance(trigger, OnSegment) and self._is_moved(case, trigger, moves):
                    self._let_in(case, compiled, trigger, happening)
                    break

    def _let_in(
        self, case: Case, compiled: CompiledAutomation | BrokenAutomation, trigger: Trigger, happening: Happening
    ) -> None:
        """Let a person in by a change; once for one event, or an automation that makes its own change goes round."""
        name = compiled.automation.id
        if name in case.reacted:
            verdicts.record(case, compiled.automation, happening.id, verdicts.CIRCLE)
            return
        case.reacted.add(name)
        self._entrance.try_all(case, [compiled], {name: trigger}, happening)

    def _is_moved(self, case: Case, trigger: OnSegment, moves: list[tuple[str, bool]]) -> bool:
        segment = self.directory.segment(case.workspace, trigger.segment)
        return segment is not None and (segment.id, trigger.moves == "enters") in moves

    def _wake(self, timer: Timer, memory: Memory, now_ms: int) -> Case | Moved:
        workspace = workspace_of(timer.profile)
        person = living(memory, timer.profile) if user_of(timer.profile) is not None else None
        if person is not None and person.merged_into is not None:
            return Moved(person.merged_into)
        case = Case(work=timer, workspace=workspace, memory=memory, now_ms=now_ms, person=person)
        match timer.kind:
            case TimerKind.RUN | TimerKind.ANSWER | TimerKind.LOOK:
                self._mover.move(case, timer)
                self._follow_up(case, "profile.changed", {"run": timer.about}, ())
            case TimerKind.RECEIPT:
                self._mover.receive(case, timer)
            case TimerKind.RUNS:
                run_looks.look_at_page(case, timer)
            case TimerKind.SCHEDULE:
                self._sweeper.sweep(case, timer)
            case TimerKind.ENTER if person is not None:
                self._sweeper.enter(case, timer)
            case TimerKind.ANNIVERSARY:
                self._sweeper.come_round(case, timer)
            case TimerKind.SEGMENTS:
                looking = [one for one in self.rules.segments(case.workspace) if one.segment.id == timer.about]
                self._follow_up(case, "segment.changed", {"segment": timer.about}, looking)
        return case

    def _follow_up(self, case: Case, event_type: str, data: dict[str, str], looking: Sequence[CompiledSegment]) -> None:
        """Let automations react to what time or a step changed in a person: attributes, or who is in a segment."""
        person = case.person
        if person is None or not (looking or case.is_person_changed):
            return
        event = Event(
            id=case.new_id(ids.EVENT),
            workspace=case.workspace,
            type=event_type,
            occurred_ms=case.now_ms,
            received_ms=case.now_ms,
            user=person.user,
            payload=msgspec.json.encode(data),
        )
        facts: dict[str, Any] = {
            "event": {"id": event.id, "type": event.type, "time": iso_text(case.now_ms)},
            "user": {"id": person.user},
        }
        self._look_around(case, facts, local=False)
        self._update_segments(case, facts, looking)
        if not case.segment_moves and not case.changed_attributes:
            return
        # An event, so that what automations make of it has something to hang on.
        case.events.append(NewEvent(event=event, profile=person.key))
        happening = Happening(id=event.id, type=event.type, at_ms=case.now_ms, received_ms=case.now_ms, facts=facts)
        self._react(case, happening)


def _segment_timer(case: Case, segment: str, due_ms: int) -> Timer:
    profile = case.work.profile
    return timer_of(
        profile,
        TimerKind.SEGMENTS,
        segment,
        identifier=f"{profile}/{segment}",
        due_ms=due_ms,
    )


def _is_changed_to(trigger: OnAttribute, attributes: set[str], person: Profile) -> bool:
    name = trigger.attribute
    if name not in attributes and name.partition(".")[0] not in attributes:
        return False
    if trigger.to is None:
        return True
    value: Any = person.attributes
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return any(value == one and type(value) is type(one) for one in trigger.to)
