"""Which events an automation listens to: those that let people in, and those that its runs wait for."""

from collections.abc import Iterator
from datetime import datetime

from posthorn.engine.flows import (
    Branch,
    OnAbsence,
    OnAnniversary,
    OnCall,
    OnCount,
    OnEvent,
    OnSchedule,
    Split,
    Step,
    Trigger,
    WaitForEvent,
)
from posthorn.engine.resources import Automation


def triggers_of(automation: Automation) -> tuple[Trigger, ...]:
    """List all triggers, the simplest form among them."""
    simple = automation.trigger
    first = (OnEvent(event_type=simple.event_type, source=simple.source),) if simple is not None else ()
    return first + (automation.flow.triggers if automation.flow is not None else ())


def steps_of(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Go through steps and those inside of them, in the order in which they are written."""
    for step in steps:
        yield step
        if isinstance(step, Branch):
            for way in step.ways:
                yield from steps_of(way.steps)
            yield from steps_of(step.otherwise)
        elif isinstance(step, Split):
            for share in step.shares:
                yield from steps_of(share.steps)
        elif isinstance(step, WaitForEvent):
            yield from steps_of(step.on_event)
            yield from steps_of(step.on_timeout)


def type_of(trigger: Trigger, automation: str) -> str | None:
    """Name the type of the events that a trigger of an automation listens to; None for changes of a person."""
    if isinstance(trigger, OnCall):
        return call_type(automation)
    if isinstance(trigger, OnSchedule | OnAnniversary):
        return entry_type(automation)
    return getattr(trigger, "event_type", None)


def entry_types(automation: Automation) -> frozenset[str]:
    """Name the event types that may let a person in."""
    triggers = triggers_of(automation)
    named = {trigger.event_type for trigger in triggers if isinstance(trigger, OnEvent | OnCount | OnAbsence)}
    called = {call_type(automation.id) for trigger in triggers if isinstance(trigger, OnCall)}
    timed = {entry_type(automation.id) for trigger in triggers if isinstance(trigger, OnSchedule | OnAnniversary)}
    return frozenset(named | called | timed)


def entry_type(automation: str) -> str:
    """Name the type of the events by which time lets people into an automation."""
    return f"$entry/{automation}"


def published_type(automation: str) -> str:
    """Name the type of the event that tells deciding that an automation's times are others now."""
    return f"$published/{automation}"


def changed_type(automation: str) -> str:
    """Name the type of the event that tells deciding to look at the runs of an automation: for some it is over."""
    return f"$changed/{automation}"


def is_timed(automation: Automation) -> bool:
    """Tell whether time lets people into an automation."""
    return any(isinstance(trigger, OnSchedule | OnAnniversary) for trigger in triggers_of(automation))


def is_personal(trigger: OnSchedule) -> bool:
    """Tell whether a schedule means the time on each person's own clock."""
    if trigger.time_zone is not None:
        return False
    return trigger.cron is not None or (trigger.at is not None and datetime.fromisoformat(trigger.at).tzinfo is None)


def call_type(automation: str) -> str:
    """Name the type of the events by which the API lets people into an automation."""
    return f"$call/{automation}"


def run_types(automation: Automation) -> frozenset[str]:
    """Name the event types that may move or end a run."""
    flow = automation.flow
    if flow is None:
        return frozenset()
    waited = {name for step in steps_of(flow.steps) if isinstance(step, WaitForEvent) for name in step.event_types}
    absent = {name for trigger in flow.triggers if isinstance(trigger, OnAbsence) for name in trigger.without}
    goal = {flow.goal.event_type} if flow.goal is not None else set()
    return frozenset(waited | absent | goal | set(flow.exit_on))
