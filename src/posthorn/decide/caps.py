"""Frequency caps: at most so many messages to a person in a time. Exact, because one owner counts them."""

from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from posthorn.calendars import WindowKind, Zone, window_start_ms
from posthorn.clock import DAY_MS, SECOND_MS
from posthorn.decide.case import Case
from posthorn.engine.resources import Automation, Cap, Workspace

_LONGEST_MS = 32 * DAY_MS


class Workspaces(Protocol):
    """Finds workspaces."""

    def workspace(self, identifier: str) -> Workspace | None:
        """Find a workspace."""
        ...


class Caps:
    """Checks and counts messages against the caps of their workspace."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    def refuses(self, case: Case, automation: Automation, zone: Zone) -> str | None:
        """Return why a message of an automation may not go to a case's person now, None when it may."""
        flow, person = automation.flow, case.person
        if person is None or (flow is not None and flow.ignores_caps):
            return None
        for cap in self._that_apply(case, automation):
            since_ms = _since_ms(cap, case.now_ms, zone)
            sent = [at_ms for at_ms in person.messages.get(_name(cap), ()) if at_ms >= since_ms]
            if len(sent) >= cap.most:
                return f"the person got {len(sent)} such messages already, and the cap is {cap.most} {_span(cap)}"
        return None

    def count(self, case: Case, automation: Automation, messages: int = 1) -> None:
        """Count messages of an automation to a case's person."""
        caps = list(self._that_apply(case, automation))
        person = case.person
        if person is None or not caps or not messages:
            return
        sent = {name: times for name, times in person.messages.items() if name in self._names(case.workspace)}
        for name in {_name(cap) for cap in caps}:
            most = max(cap.most for cap in caps if _name(cap) == name)
            recent = [at_ms for at_ms in sent.get(name, ()) if at_ms > case.now_ms - _LONGEST_MS]
            sent[name] = [*recent, *[case.now_ms] * messages][-most:]
        case.put_person(replace(person, messages=sent))

    def _names(self, identifier: str) -> set[str]:
        workspace = self._workspaces.workspace(identifier)
        return {_name(cap) for cap in workspace.caps} if workspace is not None else set()

    def _that_apply(self, case: Case, automation: Automation) -> Iterable[Cap]:
        workspace = self._workspaces.workspace(case.workspace)
        if workspace is None or not workspace.caps:
            return ()
        flow = automation.flow
        channel = flow.channel if flow is not None else None
        tags = flow.tags if flow is not None else ()
        return [
            cap
            for cap in workspace.caps
            if (cap.channel is None or cap.channel == channel) and (cap.tag is None or cap.tag in tags)
        ]


def _since_ms(cap: Cap, now_ms: int, zone: Zone) -> int:
    if cap.period is not None:
        return window_start_ms(WindowKind(cap.period), now_ms, zone)
    return now_ms - (cap.seconds or 0) * SECOND_MS + 1


def _name(cap: Cap) -> str:
    return f"{cap.channel or '*'}/{cap.tag or '*'}/{cap.period or cap.seconds}"


def _span(cap: Cap) -> str:
    return f"a {cap.period}" if cap.period is not None else f"in {cap.seconds} s"
