"""Questions to the journal, and the rows that answer them.

Pages are cut by id: `after` is the last id of the page before, exclusive. Ranges of time are [since_ms, before_ms).
"""

from typing import Generic, TypeVar

from msgspec import Struct

from posthorn.engine.records import (
    Attempt,
    CapturedRequest,
    Decision,
    DecisionOutcome,
    DeliveryState,
    Event,
    RequestOutcome,
)

Row = TypeVar("Row")


class Page(Struct, Generic[Row], frozen=True, kw_only=True):
    """Rows in the asked order; `done` says that nothing follows."""

    rows: list[Row]
    done: bool


class JournalQuery(Struct, frozen=True, kw_only=True):
    """What all questions share. `backwards` asks for the page before `after`, still in the same order."""

    workspace: str
    after: str | None = None
    backwards: bool = False
    ascending: bool = False
    limit: int = 50
    since_ms: int | None = None
    before_ms: int | None = None


class RequestQuery(JournalQuery, frozen=True, kw_only=True):
    """Captured requests, by source and outcome."""

    source: str | None = None
    outcome: RequestOutcome | None = None


class EventQuery(JournalQuery, frozen=True, kw_only=True):
    """Events, by type, application, source, user, channel."""

    types: tuple[str, ...] = ()
    application: str | None = None
    source: str | None = None
    user: str | None = None
    channel: str | None = None
    with_payload: bool = False


class DeliveryQuery(JournalQuery, frozen=True, kw_only=True):
    """Deliveries, by event, endpoint, state."""

    event: str | None = None
    endpoint: str | None = None
    state: DeliveryState | None = None


class AttemptQuery(JournalQuery, frozen=True, kw_only=True):
    """Attempts, by what they belong to and how they went. `status_class` is the status's first digit, 0 for none."""

    event: str | None = None
    endpoint: str | None = None
    delivery: str | None = None
    application: str | None = None
    succeeded: bool | None = None
    state: DeliveryState | None = None
    status_class: int | None = None
    types: tuple[str, ...] = ()
    channel: str | None = None
    with_content: bool = True
    with_event: bool = False


class DecisionQuery(JournalQuery, frozen=True, kw_only=True):
    """Decisions, by event, automation, profile, outcome."""

    event: str | None = None
    automation: str | None = None
    profile: str | None = None
    outcome: DecisionOutcome | None = None


class DeliveryRow(Struct, frozen=True, kw_only=True):
    """A delivery as it stands. `next_ms` is set while it is pending."""

    id: str
    workspace: str
    event: str
    endpoint: str
    application: str | None
    state: DeliveryState
    attempts: int
    next_ms: int | None
    reason: str | None = None  #: why it was cancelled


class AttemptRow(Struct, frozen=True, kw_only=True):
    """An attempt, with its event when the question asked for it."""

    attempt: Attempt
    event: Event | None = None


class Thread(Struct, frozen=True, kw_only=True):
    """Everything that hangs together with one event: where it came from and what became of it."""

    requests: list[CapturedRequest]
    event: Event | None
    decisions: list[Decision]
    deliveries: list[DeliveryRow]
    attempts: list[Attempt]


class TailPage(Struct, frozen=True, kw_only=True):
    """New journal rows in the order in which they became durable, and where to go on from."""

    rows: list[CapturedRequest | Event | Decision | Attempt]
    cursor: int
