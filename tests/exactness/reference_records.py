"""What the reference model keeps: people with all that ever happened to them, and runs."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Counted = tuple[str, str, int]  #: automation, key, when it was entered
DEEPEST = 10  #: through how many automations an emitted event may come


@dataclass(kw_only=True)
class Happened:
    """An event."""

    id: str
    type: str
    data: Json | None
    occurred_ms: int
    received_ms: int
    user: str
    changes: Json = field(default_factory=dict)
    absorbs: str | None = None
    cancels: tuple[str, ...] = ()  #: ids of runs
    depth: int = 0


@dataclass(kw_only=True)
class Person:
    """Somebody, with all that ever happened to them. Nobody has no name, and only firings."""

    user: str
    attributes: Json = field(default_factory=dict)
    subscriptions: dict[str, str] = field(default_factory=dict)
    zone: str | None = None
    merged_into: str | None = None
    events: list[Happened] = field(default_factory=list)
    messages: list[tuple[int, str | None, tuple[str, ...]]] = field(default_factory=list)  #: when, channel, tags
    firings: list[tuple[str, str, int]] = field(default_factory=list)  #: automation, key, when it was received
    given_back: set[tuple[str, str]] = field(default_factory=set)  #: automation, key: by which they once got nothing
    segments: set[str] = field(default_factory=set)
    runs: "list[Going]" = field(default_factory=list)


@dataclass(kw_only=True)
class Going:
    """A run."""

    automation: str
    version: int
    key: str
    user: str  #: "" for an event without a user
    entered_ms: int
    event: Happened
    order: int
    state: str = "active"
    waits: tuple[str, str] | None = None  #: for what, at which step
    due_ms: int | None = None
    is_held: bool = False  #: what it waited for is there, and its automation is paused
    is_goal_reached: bool = False
    pending: dict[str, str] = field(default_factory=dict)  #: deliveries whose answers it waits for, and their sends
    answers: Json = field(default_factory=dict)
    counted: "Counted | None" = None  #: which firing its requests count for, where that is by receipt
    is_sent: bool = False  #: a request of it was queued
    is_held_out: bool = False
    owes: bool = False  #: a new version ended it, and it learns of that when it is looked at
    id: str | None = None  #: the real one's, once it is known


@dataclass(kw_only=True)
class Told:
    """What is not for the model to say: it is told by the real thing, and only checks whether it may be so."""

    moves: dict[str, bool] = field(default_factory=dict)  #: segments that time moved
    merged_into: str | None = None  #: whom a merge ended in: a node may not know yet that this one was merged, too
    names: list[str] = field(default_factory=list)  #: the ids of the runs that begin, which chance may go by
    ended: frozenset[str] = frozenset()  #: the ids of those that learn that a new version ended them


@dataclass(kw_only=True)
class Outcome:
    """What follows from one piece of work."""

    decisions: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    asked: list[tuple[int, Going, str]] = field(default_factory=list)  #: which of them a run waits for, and its send
    counted: list[tuple[int, Counted]] = field(default_factory=list)  #: which of them count for eligibility
    events: list[Happened] = field(default_factory=list)  #: without ids
    new_runs: list[Going] = field(default_factory=list)
    moved_to: str | None = None


@dataclass(kw_only=True)
class Now:
    """The piece of work under way."""

    at_ms: int
    person: Person
    event: Happened
    told: Told
    outcome: Outcome
    is_touched: bool = False  #: whether anything of the profile is other than before: then all segments are looked at
    changed: set[str] = field(default_factory=set)
    reacted: set[str] = field(default_factory=set)
    moved: list[tuple[str, bool]] = field(default_factory=list)


def counts_of(person: Person) -> dict[str, int]:
    """Count a person's events by type."""
    counts: dict[str, int] = {}
    for event in person.events:
        counts[event.type] = counts.get(event.type, 0) + 1
    return counts


def absorb(person: Person, other: Person) -> None:
    """Let a person take over all that ever happened to another one; where both know something, theirs holds."""
    person.events += other.events
    person.messages = sorted(person.messages + other.messages, key=lambda one: one[0])
    person.firings += other.firings
    person.given_back |= other.given_back
    person.attributes = {**other.attributes, **person.attributes}
    person.subscriptions = {**other.subscriptions, **person.subscriptions}
    person.zone = person.zone or other.zone
    for run in other.runs:
        run.user = person.user
    person.runs += other.runs
    other.events, other.messages, other.firings, other.runs = [], [], [], []
    other.given_back = set()
