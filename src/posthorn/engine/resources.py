"""What people configure. Stored whole as JSON documents, held whole in memory by the directory.

Every resource has `id`, `workspace`, `parent` ("" or the id of what contains it), `uid` (the caller's own id, unique
under its parent), `created_ms` and `updated_ms`. Sealed texts are made and opened by `posthorn.vault`; the context
that they are bound to is the resource's id.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from posthorn.engine.brokers import BrokerSettings
from posthorn.engine.flows import (
    Always,
    Eligibility,
    EventTrigger,
    Flow,
    Pausing,
    SendStep,
)
from posthorn.signing import NoVerification, Verification


class Kind(StrEnum):
    """The kinds of resources; also the names of their tables."""

    WORKSPACE = "workspace"
    API_KEY = "api_key"
    SOURCE = "source"
    APPLICATION = "application"
    ENDPOINT = "endpoint"
    EVENT_TYPE = "event_type"
    AUTOMATION = "automation"
    AUTOMATION_VERSION = "automation_version"
    SEGMENT = "segment"
    SECRET = "secret"  # noqa: S105 - a kind, not a credential


class Resource(Struct, frozen=True, kw_only=True):
    """What all resources share."""

    id: str
    workspace: str
    parent: str = ""
    uid: str | None = None
    created_ms: int
    updated_ms: int


class Cap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """At most so many messages to one person in a time, of a channel or with a tag; of any when neither is named."""

    most: Annotated[int, Meta(ge=1, le=1000)]
    seconds: Annotated[int, Meta(ge=60, le=31 * 86_400)] | None = None  #: any so many seconds on end
    period: Literal["day", "week", "month"] | None = None  #: or calendar time in the person's zone: one of the two
    channel: str | None = None
    tag: str | None = None


class Workspace(Resource, frozen=True, kw_only=True):
    """The tenant boundary. Its `workspace` is its own id."""

    name: str
    time_zone: str = "UTC"  #: of people whose own is not known
    caps: tuple[Cap, ...] = ()
    content_blocks: dict[str, str] = {}  #: by name: pieces that templates of the Braze dialect include


class ApiKey(Resource, frozen=True, kw_only=True):
    """A credential for the API. Only its keyed digest is kept."""

    name: str
    digest: str  #: hex HMAC-SHA-256 of the key
    ending: str  #: its last four characters, to tell keys apart


class SealedSecret(Struct, frozen=True, kw_only=True):
    """One secret of a source or endpoint; during rotation the older ones stay valid until they expire."""

    sealed: str
    created_ms: int
    expires_ms: int | None = None


class DedupeRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Where a source finds the key that makes two requests the same one. Exactly one of the two is set."""

    header: str | None = None
    field: str | None = None  #: dot path into the JSON body


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What a source answers to an accepted request."""

    status: Annotated[int, Meta(ge=200, le=599)] = 202
    headers: dict[str, str] = {}
    body: str | None = None  #: None answers with the ids of the request and the event


class Place(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """Where something stands in a request. Exactly one of the two is set."""

    header: str | None = None
    field: str | None = None  #: dot path into the JSON body; a number is a place in an array


class FieldsMapping(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", tag="fields"
):
    """Reads an event out of a request by naming places in it. What is not found there is left as it is without one."""

    user: Place | None = None
    event_type: Place | None = None
    time: Place | None = None
    id: Place | None = None
    attributes: dict[Annotated[str, Meta(min_length=1, max_length=256)], Place] = {}  #: what it sets of the user


class CloudEventsMapping(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", tag="cloudevents"
):
    """Reads requests as CloudEvents 1.0 in structured, batched or binary mode."""

    user: str = "user"  #: the attribute that names the person, or `data.` and a dot path


class TrackingMapping(Struct, frozen=True, forbid_unknown_fields=True, tag="tracking"):
    """The source takes Segment's tracking calls, and its token is their write key; it has no inbox address."""


SourceMapping = FieldsMapping | CloudEventsMapping | TrackingMapping


class Source(Resource, frozen=True, kw_only=True):
    """An inbound address of ours, a broker that we consume from, or a write key: one of them for good.

    A broker's source has a token too, but a `token_digest` that no token has: there is no way in by HTTP.
    """

    name: str
    token_sealed: str
    token_digest: str  #: hex SHA-256 of the token, which has 160 random bits
    broker: BrokerSettings | None = None
    broker_sealed: str | None = None  #: JSON of its BrokerCredentials
    verification: Verification = NoVerification()
    secrets: tuple[SealedSecret, ...] = ()
    dedupe: DedupeRule | None = None
    answer: Answer = Answer()
    event_type: str = "webhook.received"  #: a template over `request` and `body`
    body_limit_bytes: int = 10 * 1024 * 1024
    enabled: bool = True
    mapping: SourceMapping | None = None  #: None keeps a request as one event without a user


class Application(Resource, frozen=True, kw_only=True):
    """A consumer that we send to."""

    name: str
    metadata: dict[str, str] = {}
    throttle_rate: int | None = None  #: attempts per second to each endpoint that has none of its own


class Endpoint(Resource, frozen=True, kw_only=True):
    """A URL that receives. `parent` is its application."""

    url: str
    description: str = ""
    metadata: dict[str, str] = {}
    event_types: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    disabled: bool = False
    disabled_reason: str | None = None  #: set when Posthorn did it, such as "gone" after a 410
    secrets: tuple[SealedSecret, ...]  #: the first signs; all unexpired ones sign during rotation
    headers_sealed: str | None = None  #: JSON object of extra headers; they often carry credentials
    throttle_rate: int | None = None  #: attempts per second
    retry_schedule_seconds: tuple[int, ...] | None = None
    deadline_seconds: float | None = None


class EventType(Resource, frozen=True, kw_only=True):
    """A name with optional JSON Schema versions. Its `uid` is the name."""

    description: str = ""
    schemas: dict[str, Any] | None = None
    archived: bool = False
    deprecated: bool = False
    feature_flags: tuple[str, ...] = ()
    group_name: str | None = None
    retry_schedule_seconds: tuple[int, ...] | None = None


class Draft(Struct, frozen=True, kw_only=True):
    """What an automation is to become once it is published. It may be unfinished: only publishing checks it."""

    name: str
    trigger: EventTrigger | None = None
    conditions: Any = None
    eligibility: Eligibility = Always()
    send: SendStep | None = None
    flow: Flow | None = None
    throttle_rate: int | None = None
    retry_schedule_seconds: tuple[int, ...] | None = None
    based_on: int  #: the version that it changes; 0 when there is none yet
    saved_ms: int


class AutomationState(StrEnum):
    """Where an automation stands: a draft is published; what is published is paused and resumed."""

    DRAFT = "draft"  #: nothing is published yet
    PUBLISHED = "published"
    PAUSED = "paused"


class Turn(Struct, frozen=True, kw_only=True):
    """What an automation was from an instant on: which version, and whether it was switched on."""

    at_ms: int
    version: int
    enabled: bool


class Automation(Resource, frozen=True, kw_only=True):
    """Triggers, conditions, eligibility, steps; every edit is a new version. Version 0 has nothing but a draft."""

    name: str
    enabled: bool = True
    version: int = 1
    trigger: EventTrigger | None = None  #: the simplest form, like one `OnEvent` in `flow`
    conditions: Any = None  #: the tree as JSON; `posthorn.conditions` decodes it
    eligibility: Eligibility = Always()
    send: SendStep | None = None  #: the simplest form, like one `Send` in `flow`
    flow: Flow | None = None
    pausing: Pausing = Pausing()
    secrets: tuple[SealedSecret, ...] = ()  #: sign its requests, like an endpoint's
    throttle_rate: int | None = None
    retry_schedule_seconds: tuple[int, ...] | None = None
    draft: Draft | None = None
    turns: tuple[Turn, ...] = ()  #: the last ones, the oldest first; none when it did not change since they are kept

    @property
    def state(self) -> AutomationState:
        """Tell where it stands."""
        if self.version == 0:
            return AutomationState.DRAFT
        return AutomationState.PUBLISHED if self.enabled else AutomationState.PAUSED


class AutomationVersion(Resource, frozen=True, kw_only=True):
    """What an automation was when it was published. `parent` is the automation, `uid` the number of the version."""

    automation: Automation


class Segment(Resource, frozen=True, kw_only=True):
    """A named condition over profiles."""

    name: str
    conditions: Any  #: the tree as JSON


class Secret(Resource, frozen=True, kw_only=True):
    """An encrypted value, referenced by its name (`uid`), never shown again."""

    sealed: str


TYPES: dict[Kind, type[Resource]] = {
    Kind.WORKSPACE: Workspace,
    Kind.API_KEY: ApiKey,
    Kind.SOURCE: Source,
    Kind.APPLICATION: Application,
    Kind.ENDPOINT: Endpoint,
    Kind.EVENT_TYPE: EventType,
    Kind.AUTOMATION: Automation,
    Kind.AUTOMATION_VERSION: AutomationVersion,
    Kind.SEGMENT: Segment,
    Kind.SECRET: Secret,
}
KINDS: dict[type[Resource], Kind] = {resource_type: kind for kind, resource_type in TYPES.items()}


class ResourceQuery(Struct, frozen=True, kw_only=True):
    """A page of resources. `after` is exclusive; backwards pages go towards the start of the order."""

    kind: Kind
    workspace: str
    parent: str = ""
    after: str | None = None
    backwards: bool = False
    descending: bool = False
    limit: int = 50
    by_uid: bool = False  #: order by uid in place of id (event types are listed by name)


class Change(Struct, frozen=True, kw_only=True):
    """One write to the registry. `resource` None means that it was deleted."""

    number: int
    kind: Kind
    id: str
    resource: Resource | None
