"""What automations are made of: triggers, eligibility, limits, steps. Stored in JSON as people write them.

`type` names the kind of each part. Texts that are templates say so. Times of day are "HH:MM" in the person's zone.
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from posthorn.engine.people import ProfileChange

EventTypeName = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"\A[^$]")]
StepName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}\Z")]
TimeOfDay = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d\Z")]
Seconds = Annotated[int, Meta(ge=1, le=10 * 365 * 86_400)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """What all parts share."""


# ---- triggers ----


class EventTrigger(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Fires on events of this type, and of this source when one is named."""

    event_type: EventTypeName
    source: str | None = None


class OnEvent(Part, frozen=True, kw_only=True, tag="event"):
    """An event of this type, and of this source when one is named (an inbound webhook)."""

    event_type: EventTypeName
    source: str | None = None


class OnCount(Part, frozen=True, kw_only=True, tag="count"):
    """A person's event of this type is the n-th: counted exactly, in the transaction that settles the event."""

    event_type: EventTypeName
    count: Annotated[int, Meta(ge=1)]
    every: bool = False  #: also the 2n-th, the 3n-th …


class OnAttribute(Part, frozen=True, kw_only=True, tag="attribute"):
    """An attribute of a person changes; with `to`, to one of these values."""

    attribute: Annotated[str, Meta(min_length=1, max_length=256)]
    to: tuple[Any, ...] | None = None


class OnSegment(Part, frozen=True, kw_only=True, tag="segment"):
    """A person enters or leaves a segment."""

    segment: Text
    moves: Literal["enters", "leaves"] = "enters"


class OnAbsence(Part, frozen=True, kw_only=True, tag="absence"):
    """None of these events follows within a time after an event, for the same key: an abandoned cart.

    A new event of the first type with the same key begins the time anew; one of the others ends the wait at once.
    """

    event_type: EventTypeName
    without: Annotated[tuple[EventTypeName, ...], Meta(min_length=1, max_length=20)]
    seconds: Seconds
    key: Text | None = None  #: a template over each of the events, such as {{ event.data.cart_id }}


class OnSchedule(Part, frozen=True, kw_only=True, tag="schedule"):
    """At an instant, or again and again by a cron expression, for the members of a segment (or everybody)."""

    at: Text | None = None  #: ISO 8601; without an offset it is local time of each person
    cron: Text | None = None
    time_zone: str | None = None  #: None: that of each person
    segment: str | None = None


class OnAnniversary(Part, frozen=True, kw_only=True, tag="anniversary"):
    """A date attribute of a person comes round: a birthday."""

    attribute: Annotated[str, Meta(min_length=1, max_length=256)]
    at: TimeOfDay = "10:00"
    lead_days: Annotated[int, Meta(ge=0, le=365)] = 0
    leap_day: Literal["feb28", "mar1", "leap_years_only"] = "feb28"


class OnCall(Part, frozen=True, kw_only=True, tag="call"):
    """A call of the API names a person and brings data."""


Trigger: TypeAlias = OnEvent | OnCount | OnAttribute | OnSegment | OnAbsence | OnSchedule | OnAnniversary | OnCall


# ---- eligibility and limits ----


class Always(Struct, frozen=True, forbid_unknown_fields=True, tag="always"):
    """Every matching event fires."""


class Remembering(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """What the rules share that look at earlier firings."""

    counts_from: Literal["entry", "receipt"] = "entry"  #: by receipt, whom no request reached stays eligible


class Once(Remembering, frozen=True, kw_only=True, tag="once"):
    """The first matching event of a profile fires, and never another."""


class OncePerKey(Remembering, frozen=True, kw_only=True, tag="once_per_key"):
    """The first matching event of a profile for each rendered key fires."""

    key: Text  #: a template, such as {{ event.data.mode }}


class AgainAfter(Remembering, frozen=True, kw_only=True, tag="again_after"):
    """A matching event fires when the last firing for the profile is at least so long ago."""

    seconds: Annotated[int, Meta(ge=1)]


class OncePerPeriod(Remembering, frozen=True, kw_only=True, tag="once_per_period"):
    """The first matching event of each calendar day, week or month in the person's time zone fires."""

    period: Literal["day", "week", "month"]


Eligibility: TypeAlias = Always | Once | OncePerKey | AgainAfter | OncePerPeriod


class QuietTime(Part, frozen=True, kw_only=True):
    """When nobody is to be disturbed, in the person's zone: what falls into it goes out at its end, with jitter."""

    start: TimeOfDay
    end: TimeOfDay
    spread_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 900


class Pausing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What a pause of an automation does with runs that are under way, and its end with those that it held."""

    runs: Literal["hold", "go_on", "exit"] = "hold"
    end_after_seconds: Seconds | None = None  #: a run that was held for longer ends in place of going on
    spread_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 0  #: the others go on spread over so long


class Goal(Part, frozen=True, kw_only=True):
    """What a run is meant to bring about: an event of this type within a time after entering counts as its success."""

    event_type: EventTypeName
    within_seconds: Seconds = 3 * 86_400
    ends_run: bool = True


# ---- steps ----


class SendStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A request to make. URL, header values and body are templates."""

    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    method: str = "POST"
    headers: dict[str, str] = {}
    body: Annotated[str, Meta(max_length=256 * 1024)] | None = None  #: None sends the event's payload unchanged
    dialect: Literal["liquid", "braze"] = "liquid"


class ConnectorCall(Part, frozen=True, kw_only=True):
    """A request from the catalogue: which connector and action, and the templates of its inputs."""

    connector: Text
    action: Text | None = None  #: None: its only one
    account: dict[str, str] = {}  #: what is not secret: portal, subdomain
    credentials: dict[str, str] = {}  #: credential: name of a secret
    inputs: dict[str, Any] = {}  #: templates where they are texts


class Send(Part, frozen=True, kw_only=True, tag="send"):
    """Send one request, and go on at once; with `wait_for_answer` when its delivery has ended.

    The answer is then `steps.<name>` to later steps: status, body, headers, state.
    """

    name: StepName
    send: SendStep | None = None
    connector: ConnectorCall | None = None
    wait_for_answer: bool = False


class SendAll(Part, frozen=True, kw_only=True, tag="send_all"):
    """Send several requests side by side, each retried by itself."""

    name: StepName
    sends: Annotated[tuple[Send, ...], Meta(min_length=1, max_length=20)]


class Wait(Part, frozen=True, kw_only=True, tag="wait"):
    """Wait for so long; or until a time of day of the person; for nothing else."""

    name: StepName
    seconds: Seconds | None = None
    until: TimeOfDay | None = None
    weekdays: tuple[Annotated[int, Meta(ge=1, le=7)], ...] = ()  #: 1 is Monday; none: any day


class WaitForEvent(Part, frozen=True, kw_only=True, tag="wait_for_event"):
    """Wait for an event of the person, at most so long. The event is `steps.<name>.event` to later steps."""

    name: StepName
    event_types: Annotated[tuple[EventTypeName, ...], Meta(min_length=1, max_length=20)]
    conditions: Any = None  #: over the event that comes
    seconds: Seconds
    on_event: "tuple[Step, ...]" = ()
    on_timeout: "tuple[Step, ...]" = ()


class Way(Part, frozen=True, kw_only=True):
    """One way out of a branch."""

    conditions: Any
    steps: "tuple[Step, ...]" = ()


class Branch(Part, frozen=True, kw_only=True, tag="branch"):
    """Take the first way whose conditions hold."""

    name: StepName
    ways: Annotated[tuple[Way, ...], Meta(min_length=1, max_length=50)]
    otherwise: "tuple[Step, ...]" = ()


class Share(Part, frozen=True, kw_only=True):
    """One share of a split."""

    percent: Annotated[float, Meta(gt=0, le=100)]
    steps: "tuple[Step, ...]" = ()


class Split(Part, frozen=True, kw_only=True, tag="split"):
    """Divide people by percentages. A person comes into the same share each time, as long as those before it stay."""

    name: StepName
    shares: Annotated[tuple[Share, ...], Meta(min_length=1, max_length=50)]


class UpdateProfile(Part, frozen=True, kw_only=True, tag="update_profile"):
    """Change the person's profile. Texts among the values are templates."""

    name: StepName
    changes: ProfileChange


class EmitEvent(Part, frozen=True, kw_only=True, tag="emit_event"):
    """Bring about an event of the person, which other automations may listen to."""

    name: StepName
    event_type: EventTypeName
    data: Annotated[str, Meta(max_length=256 * 1024)] = "{}"  #: a template of JSON


class Exit(Part, frozen=True, kw_only=True, tag="exit"):
    """End the run here."""

    name: StepName


Step: TypeAlias = Send | SendAll | Wait | WaitForEvent | Branch | Split | UpdateProfile | EmitEvent | Exit


class Flow(Part, frozen=True, kw_only=True):
    """All that an automation does, beside the simplest form of one event trigger and one request."""

    triggers: tuple[Trigger, ...] = ()
    steps: tuple[Step, ...] = ()
    exit_on: tuple[EventTypeName, ...] = ()  #: events that end a run at once, wherever it waits
    exit_key: Text | None = None  #: a template over the exiting event; it must equal the run's key
    goal: Goal | None = None
    holdout_percent: Annotated[float, Meta(ge=0, le=100)] = 0.0  #: people who enter and get nothing, to compare with
    quiet_time: QuietTime | None = None
    channel: str | None = None  #: counts towards caps and subscriptions of this channel
    tags: tuple[str, ...] = ()
    ignores_caps: bool = False
    starts_ms: int | None = None
    ends_ms: int | None = None
    in_flight: Literal["stay", "move", "exit"] = "stay"  #: what a new version does with runs of the old one
