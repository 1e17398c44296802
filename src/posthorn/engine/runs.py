"""Runs of automations, and the timers that wake them. All that waits is a row: nothing waits in memory."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct

from posthorn.engine.shards import shard_of


class RunState(StrEnum):
    """Where a run stands. Drawn in docs/design/states.md."""

    ACTIVE = "active"  #: waits for a time, an event or an answer
    COMPLETED = "completed"  #: came to the end
    EXITED = "exited"  #: an exit event, an exit step, or a condition ended it early
    CANCELLED = "cancelled"  #: a person, or a new version of the automation, ended it
    FAILED = "failed"  #: a step could not be done, and nothing else can follow


class Run(Struct, frozen=True, kw_only=True, gc=False):
    """One profile's (and key's) way through one automation version."""

    id: str
    workspace: str
    automation: str
    version: int
    profile: str
    key: str  #: "" when the automation has no key
    state: RunState
    entered_ms: int
    changed_ms: int
    wake_ms: int | None  #: when it goes on by itself
    document: bytes  #: JSON: the entering event, the path so far, what it waits for; `decide` reads and writes it


class _Entering(Struct):
    id: str


class _Document(Struct):
    happening: _Entering


_documents = msgspec.json.Decoder(_Document)


def entering_event(document: bytes) -> str | None:
    """Return the event that let a run in: all that the run sends is a delivery of it, also when it is gone.

    It is the one thing in a run's document that stores read: None when the document does not tell.
    """
    try:
        return _documents.decode(document).happening.id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class TimerKind(StrEnum):
    """What is to be done when a timer is due."""

    RUN = "run"  #: a run's wait is over; `about` is the run
    ANSWER = "answer"  #: a delivery that a run waits for has ended; `about` is the run, `data` names the delivery
    RECEIPT = "receipt"  #: a delivery that eligibility counts has ended; `about` is the automation
    ENTER = "enter"  #: a person is to enter an automation; `about` is the automation
    ANNIVERSARY = "anniversary"  #: a date of a person has come; `about` is the automation
    SEGMENTS = "segments"  #: whether the person is in a segment may change by time alone; `about` is the segment
    SCHEDULE = "schedule"  #: an automation's schedule is due, or goes on; `about` is the automation
    RUNS = "runs"  #: an automation changed, and its runs are to be looked at; `about` is the automation
    LOOK = "look"  #: a run is to be looked at, because its automation changed; `about` is the run


class Timer(Struct, frozen=True, kw_only=True, gc=False):
    """Something to do at an instant, for a profile, by the owner of its shard. Its id makes it the same timer again."""

    id: str
    shard: int
    due_ms: int
    profile: str
    kind: TimerKind
    about: str
    data: bytes = b""


def timer_of(profile: str, kind: TimerKind, about: str, *, identifier: str, due_ms: int, data: bytes = b"") -> Timer:
    """Make a timer in the line of a profile: the owner of its shard works it off."""
    return Timer(
        id=identifier, shard=shard_of(profile), due_ms=due_ms, profile=profile, kind=kind, about=about, data=data
    )


class RunQuery(Struct, frozen=True, kw_only=True):
    """A page of runs, newest first by id, unless `backwards`. `after` is exclusive, a run's id."""

    workspace: str
    automation: str | None = None
    profile: str | None = None
    state: RunState | None = None
    after: str | None = None
    backwards: bool = False
    limit: int = 50


class RunPage(Struct, frozen=True, kw_only=True):
    """Runs in the order that was asked for, and whether there are more."""

    runs: Sequence[Run]
    more: bool
