"""Frequency caps: at most so many messages to a person in a time. Exact, because one owner counts them."""

from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from posthorn.calendars import WindowKind, window_start_ms
from posthorn.clock import DAY_MS, SECOND_MS
from posthorn.decide.running import Walk
from posthorn.engine.resources import Cap, Workspace

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

    def refuses(self, walk: Walk) -> str | None:
        """Return why a message may not go to a run's person now, None when it may."""
        flow, person = walk.compiled.automation.flow, walk.case.person
        if person is None or (flow is not None and flow.ignores_caps):
            return None
        for cap in self._that_apply(walk):
            since_ms = _since_ms(cap, walk)
            sent = [at_ms for at_ms in person.messages.get(_name(cap), ()) if at_ms >= since_ms]
            if len(sent) >= cap.most:
                return f"the person got {len(sent)} such messages already, and the cap is {cap.most} {_span(cap)}"
        return None

    def count(self, walk: Walk) -> None:
        """Count a message of a run."""
        person = walk.case.person
        names = {_name(cap): cap.most for cap in self._that_apply(walk)}
        if person is None or not names:
            return
        now_ms = walk.case.now_ms
        messages = dict(person.messages)
        for name, most in names.items():
            recent = [at_ms for at_ms in messages.get(name, ()) if at_ms > now_ms - _LONGEST_MS]
            messages[name] = [*recent, now_ms][-max(most, 1) :]
        walk.case.put_person(replace(person, messages=messages))

    def _that_apply(self, walk: Walk) -> Iterable[Cap]:
        workspace = self._workspaces.workspace(walk.case.workspace)
        if workspace is None or not workspace.caps:
            return ()
        flow = walk.compiled.automation.flow
        channel = flow.channel if flow is not None else None
        tags = flow.tags if flow is not None else ()
        return [
            cap
            for cap in workspace.caps
            if (cap.channel is None or cap.channel == channel) and (cap.tag is None or cap.tag in tags)
        ]


def _since_ms(cap: Cap, walk: Walk) -> int:
    now_ms = walk.case.now_ms
    if cap.period is not None:
        return window_start_ms(WindowKind(cap.period), now_ms, walk.zone)
    return now_ms - (cap.seconds or 0) * SECOND_MS + 1


def _name(cap: Cap) -> str:
    return f"{cap.channel or '*'}/{cap.tag or '*'}/{cap.period or cap.seconds}"


def _span(cap: Cap) -> str:
    return f"a {cap.period}" if cap.period is not None else f"in {cap.seconds} s"
