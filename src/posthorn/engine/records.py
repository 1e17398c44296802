"""What flows through the house: requests, events, deliveries, attempts, decisions. Frozen, keyword-only.

`gc=False` keeps the cycle collector away from objects that only hold strings, bytes and integers:
at thousands of events a second its passes would cost more than the objects.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum

from msgspec import Struct

from posthorn.engine.people import Membership, Profile
from posthorn.engine.runs import Run, Timer


class RequestOutcome(StrEnum):
    """What became of a captured request."""

    ACCEPTED = "accepted"  #: verified and committed with its event
    DUPLICATE = "duplicate"  #: its dedupe key was seen before; the first answer was given again
    REJECTED = "rejected"  #: kept with the cause; no event came of it


class DeliveryState(StrEnum):
    """Where a delivery stands. Drawn in docs/design/states.md."""

    PENDING = "pending"  #: in the queue: due now, waiting for a retry, or in flight
    DELIVERED = "delivered"  #: a receiver answered 2xx
    EXHAUSTED = "exhausted"  #: the last attempt of the schedule failed
    CANCELLED = "cancelled"  #: its endpoint or automation is gone


class Trigger(StrEnum):
    """Why an attempt was made."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"


class DecisionOutcome(StrEnum):
    """What an automation made of an event."""

    FIRED = "fired"  #: matched, eligible, and its request is queued
    NOT_MATCHED = "not_matched"  #: a condition failed
    NOT_ELIGIBLE = "not_eligible"  #: fired before, and its eligibility says not again yet
    FAILED = "failed"  #: a template could not be rendered; nothing was sent


class CapturedRequest(Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP request at an inbox address, byte for byte."""

    id: str
    workspace: str
    source: str
    received_ms: int
    method: str
    target: bytes  #: the request target exactly as on the request line
    http_version: str
    head: bytes  #: header lines in wire order and case, `name: value` each ended by CRLF
    body: bytes
    peer: str
    duration_us: int  #: from the first byte of the head to the last of the body
    outcome: RequestOutcome
    cause: str | None = None  #: stable code of the rejection
    detail: str | None = None  #: the rejection in one sentence
    answer_status: int
    event: str | None = None  #: the event it became, or the first event that it repeats


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """A typed fact. A message is an event sent to an application."""

    id: str
    workspace: str
    type: str
    occurred_ms: int
    received_ms: int
    user: str | None = None
    uid: str | None = None  #: the caller's own id for it
    source: str | None = None
    request: str | None = None  #: the captured request whose body is the payload
    application: str | None = None
    channels: tuple[str, ...] = ()
    content_type: str | None = None  #: None means application/json
    content_encoding: str | None = None
    payload: bytes | None = None  #: None when the captured request keeps it: bytes are stored once
    context: bytes | None = None  #: JSON of an `engine.people.EventContext`


class NewDelivery(Struct, frozen=True, kw_only=True, gc=False):
    """A delivery to queue. `endpoint` is the lane: an endpoint's id, or an automation's id with its target host."""

    id: str
    shard: int
    endpoint: str
    due_ms: int
    event: str
    rendered: "RenderedRequest | None" = None


class RenderedRequest(Struct, frozen=True, kw_only=True, gc=False):
    """The request that an automation rendered. `shown` has secrets masked; `sealed` is the real one, encrypted."""

    shown: bytes  #: JSON of an OutgoingRequest
    sealed: str | None = None  #: None when no secret is in it, and `shown` is the real one
    tells: "Timer | None" = None  #: what to queue, due at once, when the delivery has ended for good


class OutgoingRequest(Struct, frozen=True, kw_only=True):
    """A request as a template rendered it. `body` None sends the event's payload unchanged."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str | None
    connector: str | None = None  #: "name/action" of the catalogue: it says what the answer means
    account: dict[str, str] | None = None
    """The connector's credentials, for what each attempt computes anew and for what must be hidden. Only in what is
    sealed."""
    paced_by: dict[str, str] | None = None
    """Inputs that a rate of the connector counts by, as "input.<name>". Only in what is sealed."""


class Claim(Struct, frozen=True, kw_only=True, gc=False):
    """Something that may be accepted only once: an Idempotency-Key, an event id, a source's dedupe key.

    The first to commit a (scope, key) wins and leaves its answer; whoever comes later with the same fingerprint
    gets that answer again, and with another fingerprint is told so.
    """

    scope: str
    key: str
    fingerprint: bytes
    answer_status: int
    answer_body: bytes
    event: str | None
    expires_ms: int


class Append(Struct, frozen=True, kw_only=True, gc=False):
    """One unit of intake: all of it is committed, or nothing."""

    request: CapturedRequest | None = None
    event: Event | None = None
    deliveries: tuple[NewDelivery, ...] = ()
    claims: tuple[Claim, ...] = ()
    profile: str | None = None  #: whose decision work this is; None means that nothing is to be decided


class Appended(Struct, frozen=True, gc=False):
    """The unit is durable."""


class AlreadyClaimed(Struct, frozen=True, kw_only=True, gc=False):
    """A claim of the unit was taken before; only its captured request was kept, as a duplicate."""

    scope: str
    same_request: bool
    answer_status: int
    answer_body: bytes
    event: str | None


AppendResult = Appended | AlreadyClaimed


class Payload(Struct, frozen=True, kw_only=True, gc=False):
    """An event's bytes and how they are labelled."""

    type: str
    body: bytes
    content_type: str | None = None
    content_encoding: str | None = None


GONE_PAYLOAD = Payload(type="", body=b"")
"""In place of the payload of an event that is gone, for what an automation rendered: it has all that is sent."""


class DeliveryWork(Struct, frozen=True, kw_only=True, gc=False):
    """A due delivery, taken by the owner of its shard. Taking is a read: nothing is marked."""

    id: str
    shard: int
    endpoint: str
    due_ms: int
    event: str
    attempts: int  #: attempts made so far
    step: int  #: position in the retry schedule
    trigger: Trigger
    payload: Payload
    rendered: RenderedRequest | None = None


class LaneRead(Struct, frozen=True, kw_only=True, gc=False):
    """A wish to read the head of one endpoint's queue."""

    shard: int
    endpoint: str
    room: int  #: how many deliveries at most
    held: AbstractSet[str] = frozenset()  #: deliveries to leave out
    after: tuple[int, str] | None = None
    """The (due_ms, id) of the last one taken, to go on behind it without reading again what is held.

    Rows that were committed late may lie before it: whoever uses it begins anew, without it, now and then.
    """
    since_ms: int | None = None
    """Without `after`: what is due before is left out, because the reader knows that it is held or ended.

    Rows that ended leave traces which a store may be unable to remove for as long as somebody looks at an old state.
    """


class Taken(Struct, frozen=True, kw_only=True):
    """What one `LaneRead` brought. `more` says that due deliveries may be left behind these."""

    works: list[DeliveryWork]
    more: bool


class Attempt(Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP try of a delivery."""

    id: str
    workspace: str
    application: str | None
    delivery: str
    event: str
    endpoint: str
    number: int
    trigger: Trigger
    state: DeliveryState  #: the delivery's state after this attempt
    started_ms: int
    next_ms: int | None  #: when the next attempt is due
    method: str
    url: str
    request_headers: bytes  #: JSON list of [name, value], secrets masked
    response_status: int | None
    response_headers: bytes | None  #: JSON list of [name, value]
    response_body: bytes | None  #: the first 16 KiB
    error: str | None  #: stable code; None when a response came
    detail: str | None
    dns_us: int
    connect_us: int
    tls_us: int
    wait_us: int
    total_us: int


class Settlement(Struct, frozen=True, kw_only=True, gc=False):
    """The outcome of taken delivery work, applied only if the row is unchanged and the epoch still holds.

    Made by the constructors in `engine.settlements`; `next_due_ms` None takes the row off the queue.
    """

    work: DeliveryWork
    epoch: int
    attempt: Attempt | None = None
    next_due_ms: int | None = None
    next_step: int = 0
    cancelled: str | None = None  #: why it ended without an attempt


class DecisionWork(Struct, frozen=True, kw_only=True, gc=False):
    """An event that waits to be decided for its profile."""

    id: str
    shard: int
    profile: str
    due_ms: int
    event: Event  #: its payload is filled in from wherever it is stored
    head: bytes | None = None  #: the captured request's header lines


class EligibilityKey(Struct, frozen=True, kw_only=True, gc=False):
    """Whose firing is remembered: one automation, one profile, one key ("" when the rule has none)."""

    automation: str
    profile: str
    key: str


class Firing(Struct, frozen=True, kw_only=True, gc=False):
    """How often and when last an automation fired for an eligibility key."""

    times: int
    last_ms: int


class Decision(Struct, frozen=True, kw_only=True, gc=False):
    """Why an automation did or did not fire for an event."""

    id: str
    workspace: str
    automation: str
    version: int
    event: str
    profile: str
    decided_ms: int
    outcome: DecisionOutcome
    reason: str  #: stable code
    detail: str  #: one sentence for people
    data: bytes  #: JSON: the failing condition, the earlier firing, the template's line and column
    delivery: str | None = None


class Recall(Struct, frozen=True, kw_only=True, gc=False):
    """What deciding a batch needs to know. Every part may be empty, and then costs nothing."""

    firings: AbstractSet[EligibilityKey] = frozenset()
    counts: AbstractSet[tuple[str, str]] = frozenset()  #: (profile, event type)
    profiles: AbstractSet[str] = frozenset()
    active_runs: AbstractSet[str] = frozenset()  #: profiles whose active runs are wanted
    runs: AbstractSet[str] = frozenset()  #: ids
    answers: AbstractSet[str] = frozenset()  #: deliveries whose last attempt is wanted


class Recalled(Struct, frozen=True, kw_only=True, gc=False):
    """What was found; what is not there is absent."""

    firings: Mapping[EligibilityKey, Firing] = {}
    counts: "Mapping[tuple[str, str], EventCount]" = {}
    profiles: Mapping[str, Profile] = {}
    runs: Mapping[str, Run] = {}  #: by id: those named, and the active ones of the profiles named
    answers: Mapping[str, Attempt] = {}  #: by delivery


class NewEvent(Struct, frozen=True, kw_only=True, gc=False):
    """An event that a decision brings about. `profile` None means that nothing is to be decided about it."""

    event: Event
    profile: str | None


class Decided(Struct, frozen=True, kw_only=True, gc=False):
    """All that one event or timer changes, committed together or not at all.

    What is put (firings, profiles, runs) replaces what was there; of several in a batch the last one counts.
    """

    work: "DecisionWork | Timer"
    epoch: int
    decisions: tuple[Decision, ...] = ()
    deliveries: tuple[NewDelivery, ...] = ()
    firings: tuple[tuple[EligibilityKey, Firing], ...] = ()
    count: bool = False  #: add one to the profile's counter of this event type
    profiles: tuple[Profile, ...] = ()
    memberships: tuple[Membership, ...] = ()
    runs: tuple[Run, ...] = ()
    timers: tuple[Timer, ...] = ()  #: to queue; one with an id that waits already takes its place
    unwanted: tuple[str, ...] = ()  #: ids of timers to take off the queue, where they are still there
    events: tuple[NewEvent, ...] = ()
    absorbs: str | None = None
    """A profile whose counters and firings are added to those of this work's profile: it was merged into it."""
    moved_to: str | None = None
    """The profile that this work waits for from now on, at its place by due; nothing else is changed then."""


class EventCount(Struct, frozen=True, kw_only=True, gc=False):
    """How often a profile had an event of a type, exactly."""

    profile: str
    type: str
    count: int
    first_ms: int
    last_ms: int


class Lease(Struct, frozen=True, kw_only=True, gc=False):
    """A node's timed ownership of a shard. A write with an older epoch touches nothing."""

    shard: int
    epoch: int
    until_ms: int


class ReadyEndpoint(Struct, frozen=True, kw_only=True, gc=False):
    """An endpoint with at least one due delivery."""

    shard: int
    endpoint: str
    due_ms: int  #: the oldest due
