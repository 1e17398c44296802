"""People and what is remembered of them: profiles, what events change in them, segment memberships.

A profile is one document, written whole by the owner of its shard in the transaction that settles what changed it.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class Subscription(StrEnum):
    """Whether a person wants messages of a channel. Braze's three words."""

    SUBSCRIBED = "subscribed"  #: nobody asked, or it was told so
    OPTED_IN = "opted_in"  #: the person said so
    UNSUBSCRIBED = "unsubscribed"


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """A device of a person: data for conditions and templates."""

    id: Annotated[str, Meta(min_length=1, max_length=512)]
    platform: str | None = None
    model: str | None = None
    os: str | None = None
    browser: str | None = None
    app_version: str | None = None
    push_token: str | None = None
    seen_ms: int = 0


class ProfileChange(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel"):
    """What an event changes in its person's profile, applied in the order of these fields.

    Attribute names may be paths with dots into nested objects.
    """

    set: dict[Name, Any] = {}  #: attribute: value; null deletes it
    set_once: dict[Name, Any] = {}  #: only where the attribute is not set yet
    increment: dict[Name, int | float] = {}  #: numbers; an absent attribute counts as 0
    add: dict[Name, list[Any]] = {}  #: values to put into an array attribute that are not in it yet
    remove: dict[Name, list[Any]] = {}
    subscriptions: dict[Name, Subscription] = {}  #: by channel, or by the id of a subscription group
    time_zone: str | None = None  #: IANA
    locale: str | None = None  #: BCP 47
    devices: tuple[Device, ...] = ()  #: put by id
    existing_only: bool = False  #: no profile is made for somebody who is unknown (Braze's `_update_existing_only`)
    merge_into: str | None = None  #: the user id that this one turned out to be: everything moves there


class EventContext(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What comes with an event beside its payload."""

    changes: ProfileChange | None = None
    automation: str | None = None  #: the automation whose step emitted it
    depth: int = 0  #: through how many emitting automations it came
    through: tuple[str, ...] = ()  #: which ones, to end circles
    absorbs: str | None = None  #: the profile that was merged into this one
    cancels: tuple[str, ...] = ()  #: runs of the person to be cancelled


class Profile(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A person of a workspace."""

    key: str  #: see `engine.profiles.user_profile`
    workspace: str
    user: str  #: the external id, or a reserved `$alias/<label>/<name>`
    created_ms: int
    updated_ms: int
    attributes: dict[str, Any] = {}
    subscriptions: dict[str, str] = {}
    time_zone: str | None = None
    locale: str | None = None
    devices: tuple[Device, ...] = ()
    aliases: tuple[str, ...] = ()  #: user ids that were merged into this one
    windows: dict[str, list[int]] = {}  #: by window key: the times of the last events in it, ascending, ms
    segments: dict[str, int] = {}  #: by segment id: member since, ms
    messages: dict[str, list[int]] = {}  #: by cap: when messages that count towards it were sent, ms
    merged_into: str | None = None  #: the key of the profile that this one was merged into: it is no more


class Membership(Struct, frozen=True, kw_only=True, gc=False):
    """A person enters or leaves a segment."""

    segment: str
    profile: str
    is_in: bool
    since_ms: int


class ProfileQuery(Struct, frozen=True, kw_only=True):
    """A page of a workspace's profiles by user id, merged ones left out. `after` is exclusive, a user id.

    With `segment` only its members.
    """

    workspace: str
    segment: str | None = None
    after: str | None = None
    backwards: bool = False
    limit: int = 50


class ProfilePage(Struct, frozen=True, kw_only=True):
    """Profiles in the order that was asked for, and whether there are more."""

    profiles: Sequence[Profile]
    more: bool
