"""The ports of the store: domain verbs, no SQL words. One conformance suite proves every adapter.

WorkStore carries the hot path, Cluster who shares it, Registry what people configure, Journal what happened. All raise
`errors.StoreUnavailable` when the store cannot answer or commit now; then nothing of the call was written.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from posthorn.engine.cluster import Node, NodeStanding, Stage
from posthorn.engine.journal import (
    AttemptQuery,
    AttemptRow,
    DecisionQuery,
    DeliveryQuery,
    DeliveryRow,
    EventQuery,
    Page,
    RequestQuery,
    TailPage,
    Thread,
)
from posthorn.engine.people import Profile, ProfilePage, ProfileQuery
from posthorn.engine.records import (
    Append,
    AppendResult,
    CapturedRequest,
    Claim,
    Decided,
    Decision,
    DecisionWork,
    Event,
    EventCount,
    LaneRead,
    Lease,
    NewDelivery,
    ReadyEndpoint,
    Recall,
    Recalled,
    Settlement,
    Taken,
)
from posthorn.engine.resources import Change, Kind, Resource, ResourceQuery
from posthorn.engine.runs import Run, RunPage, RunQuery, Timer

TAKE_BYTES = 8 * 1024 * 1024
"""How many bytes of payloads one `take` may bring into memory before it stops."""


class WorkStore(Protocol):
    """Append, lease, ready, take, settle.

    A write whose answer got lost (a broken connection, a commit that hangs) is repeated by the store under the same
    ids until it knows the outcome: what it then reports is what is in the store, written once.
    """

    async def append(self, units: Sequence[Append]) -> list[AppendResult]:
        """Commit the units, each whole or not at all, and return one result for each in order.

        When it returns, all of them are durable. Two units of one call that claim the same thing count in order.
        """
        ...

    async def lease(self, node: str, stage: Stage, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
        """Take over up to `most` shards of a stage that nobody holds at `now_ms`, each with its epoch raised by one.

        Shards that this node already holds are extended to `until_ms` and returned too, epoch unchanged; also those
        whose lease ran out without another node taking them over, because then nobody else worked on them.
        """
        ...

    async def release(self, node: str, stage: Stage, shards: Sequence[int] | None = None) -> None:
        """Give up these shards of this node at once, or all that it holds. Those of others are left alone."""
        ...

    async def ready(self, shards: Sequence[int], *, after_ms: int | None, now_ms: int) -> list[ReadyEndpoint]:
        """List the endpoints with deliveries due in (after_ms, now_ms]; `after_ms` None means all up to now.

        The cost follows the number of endpoints, not of rows.
        """
        ...

    async def take(self, reads: Sequence[LaneRead], *, now_ms: int) -> list[Taken]:
        """Read the head of several lanes, one answer for each read: due deliveries by due and then id.

        Fewer come when the payloads of the call reach TAKE_BYTES together: what was left out is taken by a later call.
        Deliveries whose events are gone do not come, except those of automations: a run may outlive its event.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Apply outcomes. False: the row changed meanwhile or the epoch no longer holds; nothing was written for it."""
        ...

    async def enqueue(self, delivery: NewDelivery) -> None:
        """Queue a delivery by hand (replay): a finished one begins its schedule anew, a pending one becomes due now.

        The attempts made so far keep counting; the next one's trigger is manual. Raises NotFound when the event is
        gone: whoever asked for it may have been forgotten a moment ago.
        """
        ...

    async def cancel(self, delivery: str, reason: str) -> bool:
        """Take a pending delivery off the queue. False when it is not pending."""
        ...

    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        """Read up to `room` events that wait to be decided and timers that are due, oldest first, without those held.

        What is due before `since_ms` is left out: the caller knows that it was decided.
        """
        ...

    async def recall(self, wanted: Recall) -> Recalled:
        """Return what is remembered; one question for each part that is asked for."""
        ...

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        """Commit decisions, counters, firings and deliveries of each event together. False as in `settle`.

        An epoch that was read as holding stays so until the commit: whoever takes the shard over afterwards sees it.
        """
        ...

    async def event_counts(self, profile: str) -> list[EventCount]:
        """Return the profile's counters, by type."""
        ...

    async def claimed(self, scope: str, key: str, *, now_ms: int) -> Claim | None:
        """Return an unexpired claim, to answer a repeated call before doing its work."""
        ...

    async def forget_claims(self, *, now_ms: int, most: int) -> int:
        """Delete up to `most` expired claims and return how many went."""
        ...

    async def prune(self, *, before_ms: int, most: int) -> int:
        """Delete up to `most` journal rows older than this, never those of a pending delivery; return how many went."""
        ...


class Cluster(Protocol):
    """The nodes that share the store."""

    async def announce(self, node: Node) -> list[Node]:
        """Record that a node lives, and return all nodes that are alive at its `seen_ms`, itself among them, by id.

        Nodes that were not seen for an hour are forgotten.
        """
        ...

    async def withdraw(self, node: str) -> None:
        """Record that a node is gone."""
        ...

    async def nodes(self, *, now_ms: int) -> list[NodeStanding]:
        """Describe the nodes that are alive, by id."""
        ...

    def alone(self, what: str) -> AbstractAsyncContextManager[None]:
        """Let one node at a time do something rare; the others wait. What it guards may outlive no connection."""
        ...


class Registry(Protocol):
    """What people configure. Every write is recorded as a change that other nodes can follow."""

    async def insert(self, resource: Resource) -> None:
        """Store a new resource; raises Conflict when its id or uid is taken under the same parent."""
        ...

    async def replace(self, resource: Resource) -> None:
        """Overwrite a resource; raises NotFound when it is gone, Conflict when its new uid is taken."""
        ...

    async def delete(self, kind: Kind, workspace: str, identifier: str) -> bool:
        """Remove a resource by its id. False when there was none."""
        ...

    async def get(self, kind: Kind, workspace: str, identifier: str, *, parent: str = "") -> Resource | None:
        """Find one by id or uid."""
        ...

    async def page(self, query: ResourceQuery) -> list[Resource]:
        """List resources in id order after (or before) a given id."""
        ...

    async def all(self, kind: Kind) -> list[Resource]:
        """Every resource of a kind, for the start."""
        ...

    async def changes(self, after: int) -> list[Change]:
        """What was written since change number `after`, oldest first."""
        ...

    async def last_change(self) -> int:
        """The number of the newest change, 0 when there is none."""
        ...

    async def meta(self, key: str) -> str | None:
        """A value that the installation remembers about itself."""
        ...

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a value about the installation."""
        ...


class Journal(Protocol):
    """Everything that happened, for reading."""

    async def request(self, workspace: str, identifier: str) -> CapturedRequest | None:
        """One captured request, whole."""
        ...

    async def requests(self, query: RequestQuery) -> Page[CapturedRequest]:
        """Captured requests without their bodies."""
        ...

    async def event(self, workspace: str, identifier: str, *, application: str | None = None) -> Event | None:
        """One event with its payload, by id, or by uid within its application."""
        ...

    async def events(self, query: EventQuery) -> Page[Event]:
        """Events; payloads only when the query asks for them."""
        ...

    async def delivery(self, workspace: str, identifier: str) -> DeliveryRow | None:
        """One delivery with its present state."""
        ...

    async def deliveries(self, query: DeliveryQuery) -> Page[DeliveryRow]:
        """Deliveries by event, endpoint or state."""
        ...

    async def attempt(self, workspace: str, identifier: str) -> AttemptRow | None:
        """One attempt, whole."""
        ...

    async def attempts(self, query: AttemptQuery) -> Page[AttemptRow]:
        """Attempts by event, endpoint, delivery, status."""
        ...

    async def decisions(self, query: DecisionQuery) -> Page[Decision]:
        """Decisions by event, automation or outcome."""
        ...

    async def is_undecided(self, workspace: str, event: str) -> bool:
        """Whether an event waits to be decided. Asked before its decisions are read, False says that they are all."""
        ...

    async def thread(self, workspace: str, identifier: str) -> Thread | None:
        """Everything that hangs together with one request, event, delivery, attempt or decision id."""
        ...

    async def tail(self, workspace: str, *, after: int | None, limit: int) -> TailPage:
        """What was committed after a cursor, in commit order; `after` None returns no rows and the present cursor."""
        ...

    async def forget_payload(self, workspace: str, event: str) -> bool:
        """Erase an event's payload, keeping the record of it."""
        ...

    async def forget_response(self, workspace: str, attempt: str) -> bool:
        """Erase an attempt's response body, keeping the record of it."""
        ...


class People(Protocol):
    """Profiles and runs, for reading; and what a person may ask to be forgotten."""

    async def profile(self, key: str) -> Profile | None:
        """One profile. One that was merged away is returned as it is, with `merged_into`."""
        ...

    async def profiles(self, query: ProfileQuery) -> ProfilePage:
        """Profiles by user id."""
        ...

    async def run(self, workspace: str, identifier: str) -> Run | None:
        """One run, whole."""
        ...

    async def runs(self, query: RunQuery) -> RunPage:
        """Runs of an automation or of a profile, newest first."""
        ...

    async def run_counts(self, workspace: str, automation: str) -> dict[str, int]:
        """How many runs of an automation there are, by state."""
        ...

    async def erase(self, key: str, *, most: int) -> int:
        """Forget a person: profile, counters, firings, memberships, runs, timers, and all of the journal.

        Deletes up to `most` rows and returns how many; 0 when nothing is left. The captured requests, events (payload
        and all), decisions, deliveries, what was rendered and attempts of the person go, queued deliveries too.
        """
        ...


class Store(WorkStore, Cluster, Registry, Journal, People, Protocol):
    """All ports over one open store."""

    def figures(self) -> dict[str, int]:
        """Count what the store did since it was opened: `commits` and `statements`."""
        ...

    async def close(self) -> None:
        """Finish queued writes and let go of the store."""
        ...
