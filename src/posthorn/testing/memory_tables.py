"""What the store in memory holds. Commits go through `Tables.commit`, which numbers their rows."""

from asyncio import Lock
from collections.abc import Iterable
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from posthorn.clock import Clock
from posthorn.engine.cluster import Node, Stage
from posthorn.engine.journal import DeliveryRow
from posthorn.engine.people import Profile
from posthorn.engine.records import (
    Attempt,
    CapturedRequest,
    Claim,
    Decision,
    DeliveryState,
    EligibilityKey,
    Event,
    EventCount,
    Firing,
    NewDelivery,
    RenderedRequest,
    Trigger,
)
from posthorn.engine.resources import Change, Kind, Resource
from posthorn.engine.runs import Run, Timer
from posthorn.engine.shards import SHARDS
from posthorn.errors import NotFound

Row = TypeVar("Row")
JournalRow: TypeAlias = CapturedRequest | Event | Decision | Attempt


class Numbered(Struct, Generic[Row], frozen=True):
    """A journal row and its place in the order of commits."""

    number: int
    row: Row


class StoredDelivery(Struct, frozen=True, kw_only=True):
    """A delivery over its whole life, queue and journal in one. `due_ms` counts while it is pending."""

    id: str
    workspace: str
    application: str | None
    shard: int
    endpoint: str
    event: str
    due_ms: int
    rendered: RenderedRequest | None = None
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    step: int = 0
    trigger: Trigger = Trigger.SCHEDULED
    reason: str | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it stands in the queue."""
        return self.state is DeliveryState.PENDING

    @property
    def has_ended(self) -> bool:
        """Whether it ended in an attempt."""
        return self.state in (DeliveryState.DELIVERED, DeliveryState.EXHAUSTED)

    def as_row(self) -> DeliveryRow:
        """Show it as the journal does."""
        return DeliveryRow(
            id=self.id,
            workspace=self.workspace,
            event=self.event,
            endpoint=self.endpoint,
            application=self.application,
            state=self.state,
            attempts=self.attempts,
            next_ms=self.due_ms if self.is_pending else None,
            reason=self.reason,
        )


class Undecided(Struct, frozen=True, kw_only=True):
    """An event in the queue of decision work, known there by the event's own id."""

    event: str
    shard: int
    profile: str
    due_ms: int

    @property
    def id(self) -> str:
        """The id of the work."""
        return self.event


class Ownership(Struct, frozen=True, kw_only=True):
    """Who owns a shard. Nobody owns it when `node` is None or the time is over."""

    node: str | None = None
    epoch: int = 0
    until_ms: int = 0


class Tables:
    """The rows, as plain dictionaries: they keep the order of insertion, which is the order of commits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.number = 0
        self.commits = 0
        self.requests: dict[str, Numbered[CapturedRequest]] = {}
        self.events: dict[str, Numbered[Event]] = {}
        self.decisions: dict[str, Numbered[Decision]] = {}
        self.attempts: dict[str, Numbered[Attempt]] = {}
        self.deliveries: dict[str, StoredDelivery] = {}
        self.undecided: dict[str, Undecided] = {}
        self.timers: dict[str, Timer] = {}
        self.profiles: dict[str, Profile] = {}
        self.members: dict[tuple[str, str], int] = {}  # segment and profile: since, ms
        self.runs: dict[str, Run] = {}
        self.shards = {(stage, shard): Ownership() for stage in Stage for shard in range(SHARDS)}
        self.nodes: dict[str, Node] = {}
        self.alone: dict[str, Lock] = {}
        self.claims: dict[tuple[str, str], Claim] = {}
        self.firings: dict[EligibilityKey, Firing] = {}
        self.counts: dict[tuple[str, str], EventCount] = {}
        self.resources: dict[Kind, dict[str, Resource]] = {kind: {} for kind in Kind}
        self.changes: list[Change] = []
        self.meta: dict[str, str] = {}

    def commit(
        self,
        *,
        requests: Iterable[CapturedRequest] = (),
        events: Iterable[Event] = (),
        decisions: Iterable[Decision] = (),
        attempts: Iterable[Attempt] = (),
        deliveries: Iterable[NewDelivery] = (),
    ) -> None:
        """Write the rows of one commit, numbered in the order request, event, decision, attempt."""
        self.commits += 1
        for request in requests:
            self.requests[request.id] = self._numbered(request)
        for event in events:
            self.events[event.id] = self._numbered(event)
        for decision in decisions:
            self.decisions[decision.id] = self._numbered(decision)
        for attempt in attempts:
            self.attempts[attempt.id] = self._numbered(attempt)
        for delivery in deliveries:
            self.deliveries[delivery.id] = self.new_delivery(delivery)

    def _numbered(self, row: Row) -> Numbered[Row]:
        self.number += 1
        return Numbered(self.number, row)

    def new_delivery(self, delivery: NewDelivery, *, workspace: str | None = None) -> StoredDelivery:
        """Make a delivery's row, in its event's workspace and application.

        Raises NotFound without the event, unless the workspace is told: what a run sends needs no event.
        """
        event = self.event(delivery.event)
        if event is None and workspace is None:
            raise NotFound(f"the event {delivery.event} is not kept any more, so there is nothing to deliver")
        return StoredDelivery(
            id=delivery.id,
            workspace=event.workspace if event is not None else workspace or "",
            application=event.application if event is not None else None,
            shard=delivery.shard,
            endpoint=delivery.endpoint,
            event=delivery.event,
            due_ms=delivery.due_ms,
            rendered=delivery.rendered,
        )

    def holds(self, stage: Stage, shard: int, epoch: int) -> bool:
        """Whether a write of this epoch to this shard of the stage still counts."""
        return self.shards[stage, shard].epoch == epoch

    def event(self, identifier: str) -> Event | None:
        """Find an event as it was appended."""
        numbered = self.events.get(identifier)
        return numbered.row if numbered is not None else None

    def tell(self, delivery: StoredDelivery) -> None:
        """Queue what a delivery tells once it has ended for good, unless that waits already."""
        tells = delivery.rendered.tells if delivery.rendered is not None else None
        if tells is not None and not delivery.is_pending:
            self.timers.setdefault(tells.id, replace(tells, due_ms=self.clock.now_ms()))

    def payload_of(self, event: Event) -> bytes | None:
        """Find an event's bytes where they are kept: on itself or in its request."""
        if event.payload is not None or event.request is None:
            return event.payload
        numbered = self.requests.get(event.request)
        return numbered.row.body if numbered is not None else None

    def with_payload(self, event: Event) -> Event:
        """Show an event with its bytes filled in."""
        return replace(event, payload=self.payload_of(event))


class TableReader:
    """What every part of the store in memory has."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
