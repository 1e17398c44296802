"""What there is to do about an event type in a workspace: which automations, which windows, which counters."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from msgspec import Struct

from posthorn.calendars import Zone, zone_if_known
from posthorn.conditions import CompiledConditions, Window, compile_conditions, compile_window, decode_conditions
from posthorn.conditions.needs import Needs
from posthorn.decide.compiling import BrokenAutomation, CompiledAutomation, CompiledAutomations
from posthorn.engine.directory import Directory
from posthorn.engine.flows import Always, OncePerKey
from posthorn.engine.listening import entry_types, run_types
from posthorn.engine.people import Profile
from posthorn.engine.resources import Automation, AutomationVersion, Resource, Segment
from posthorn.errors import PosthornError

R = TypeVar("R", bound=Resource)
_MOST_KEPT = 10_000
_NO_BLOCKS: dict[str, str] = {}


class CompiledSegment(Struct, frozen=True, kw_only=True):
    """A segment with its conditions compiled."""

    segment: Segment
    conditions: CompiledConditions


class EventRules(Struct, frozen=True, kw_only=True):
    """What an event of one type may set off."""

    entering: tuple[CompiledAutomation | BrokenAutomation, ...]  #: may let the person in
    moving: frozenset[str]  #: ids of automations whose runs it may move or end
    windows: tuple[Window, ...]  #: that it may fall into
    counts: frozenset[str]  #: event types whose counters conditions and templates look at
    local: bool  #: whether conditions look at the person's own clock
    segments: tuple[CompiledSegment, ...]  #: whose memberships it may change by having happened
    remembers: bool  #: whether an automation that it may enter keeps whom it fired for
    keyless: tuple[Automation, ...]  #: those that do, without a key of their own


class Rules:
    """Looks up what is configured, compiled, and keeps it until something changes."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._compiled = CompiledAutomations()
        self._version = -1
        self._events: dict[tuple[str, str], EventRules] = {}
        self._segments: dict[str, tuple[CompiledSegment, ...]] = {}
        self._windows: dict[str, tuple[Window, ...]] = {}

    def for_event(self, workspace: str, event_type: str) -> EventRules:
        """Return what an event of a type may set off."""
        self._heed_changes()
        known = self._events.get((workspace, event_type))
        if known is None:
            known = self._events[workspace, event_type] = self._event_rules(workspace, event_type)
        return known

    def reacting(self, workspace: str, change: Any) -> list[CompiledAutomation | BrokenAutomation]:
        """Return the automations that react to a change of attributes, or of segments."""
        return [self._compile(one) for one in _in_order(self._directory.automations_on(workspace, change))]

    def segments(self, workspace: str) -> tuple[CompiledSegment, ...]:
        """Return the segments of a workspace that compile."""
        self._heed_changes()
        known = self._segments.get(workspace)
        if known is None:
            known = self._segments[workspace] = tuple(
                _compiled_segments(_in_order(self._directory.segments(workspace)))
            )
        return known

    def version(self, automation: str, number: int) -> CompiledAutomation | BrokenAutomation | None:
        """Return a version of an automation, the newest when that one is not kept, None when it is deleted."""
        current = self._directory.automation(automation)
        if current is None:
            return None
        if current.version != number:
            kept = self._directory.automation_version(current.workspace, automation, number)
            if isinstance(kept, AutomationVersion):
                return self._compile(kept.automation)
        return self._compile(current)

    def current(self, automation: str) -> Automation | None:
        """Return an automation as it is now."""
        return self._directory.automation(automation)

    def zone_of(self, workspace: str, person: Profile | None) -> Zone:
        """Return the time zone of a person, of the workspace where that is unknown, or UTC."""
        for name in (person.time_zone if person is not None else None, self._workspace_zone(workspace), "UTC"):
            found = zone_if_known(name) if name else None
            if found is not None:
                return found
        raise LookupError("UTC")  # the package of time zones is broken

    def _compile(self, automation: Automation) -> CompiledAutomation | BrokenAutomation:
        workspace = self._directory.workspace(automation.workspace)
        return self._compiled.compile(automation, workspace.content_blocks if workspace is not None else _NO_BLOCKS)

    def _needs_of(self, automation: Automation) -> Needs:
        compiled = self._compile(automation)
        return compiled.needs if isinstance(compiled, CompiledAutomation) else Needs()

    def segment_facts(self, member: Mapping[str, int]) -> dict[str, bool]:
        """Name the segments that somebody is in, by id and by uid."""
        found = [self._directory.segment_by_id(name) for name in member]
        uids = [segment.uid for segment in found if segment is not None and segment.uid is not None]
        return dict.fromkeys((*member, *uids), True)

    def _workspace_zone(self, workspace: str) -> str | None:
        found = self._directory.workspace(workspace)
        return found.time_zone if found is not None else None

    def _heed_changes(self) -> None:
        if self._version != self._directory.version or len(self._events) > _MOST_KEPT:
            self._version = self._directory.version
            self._events.clear()
            self._segments.clear()
            self._windows.clear()

    def _event_rules(self, workspace: str, event_type: str) -> EventRules:
        listening = _in_order(self._directory.listening(workspace, event_type))
        entering = [one for one in listening if one.enabled and event_type in entry_types(one)]
        compiled = [self._compile(one) for one in entering]
        return EventRules(
            entering=tuple(compiled),
            moving=frozenset(one.id for one in listening if event_type in run_types(one))
            | self._directory.versions_for(workspace, event_type),
            windows=tuple(window for window in self._all_windows(workspace) if window.need.event == event_type),
            counts=frozenset().union(*(one.needs.counts for one in compiled if isinstance(one, CompiledAutomation))),
            local=any(one.needs.local for one in compiled if isinstance(one, CompiledAutomation)),
            segments=tuple(one for one in self.segments(workspace) if _looks_at(one, event_type)),
            remembers=any(not isinstance(one.eligibility, Always) for one in entering),
            keyless=tuple(one for one in entering if not isinstance(one.eligibility, Always | OncePerKey)),
        )

    def _all_windows(self, workspace: str) -> tuple[Window, ...]:
        known = self._windows.get(workspace)
        if known is None:
            needs = [one.conditions.needs for one in self.segments(workspace)]
            automations = [one for one in self._directory.every(Automation) if one.workspace == workspace]
            kept = [one for one in self._directory.every(AutomationVersion) if one.workspace == workspace]
            needs += [self._needs_of(automation) for automation in (*automations, *(one.automation for one in kept))]
            wanted = {need.key: need for each in needs for need in each.windows}
            known = self._windows[workspace] = tuple(compile_window(need) for need in wanted.values())
        return known


def _in_order(found: Iterable[R]) -> list[R]:
    """Sort by id: which message a cap leaves out must not depend on which node decides, and since when it runs."""
    return sorted(found, key=lambda one: one.id)


def _compiled_segments(segments: Iterable[Segment]) -> Iterator[CompiledSegment]:
    for segment in segments:
        try:
            yield CompiledSegment(segment=segment, conditions=compile_conditions(decode_conditions(segment.conditions)))
        except PosthornError:
            continue  # checked when it was saved; what does not compile any more has no members


def _looks_at(one: CompiledSegment, event_type: str) -> bool:
    needs = one.conditions.needs
    return event_type in needs.counts or any(window.event == event_type for window in needs.windows)
