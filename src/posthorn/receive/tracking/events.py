"""What becomes of a tracking call: one event, or two when it also tells that two people are one. Pure.

`event.data` is the call's `properties` or `traits`, byte for byte, with these members added unless it has them itself:
`context`, for pages and screens `name` and `category`, for groups `groupId`.
"""

from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from posthorn.clock import DAY_MS
from posthorn.engine.people import Device, ProfileChange
from posthorn.engine.records import Claim, Event
from posthorn.receive.capture import dedupe_claim, short_key
from posthorn.receive.people import (
    LONGEST_NAME,
    LONGEST_USER,
    anonymous_user,
    context_of,
    known_locale,
    known_zone,
    user_text,
)
from posthorn.receive.tracking.items import (
    NOBODY,
    Item,
    Refused,
    anonymous_of,
    members_of,
    name_of,
    object_of,
    occurred_ms,
    user_of,
    with_members,
)

MERGED = "alias"  #: the type of events that tell that two people are one
_MERGES_KEPT_MS = 30 * DAY_MS
_LONGEST_TEXT = 512
_EMPTY = (b"", b"null", b"{}")

Tracked = tuple[Event, tuple[Claim, ...]]


class Sending(Struct, frozen=True, kw_only=True, gc=False):
    """What the calls of one request share. `ids` gives each event the next id.

    `moves_users` is whether an alias may move a user to another one, and not only somebody anonymous.
    """

    workspace: str
    source: str
    received_ms: int
    ids: Iterator[str]
    sent_at: object = None
    moves_users: bool = False
    hops: int = 0  #: through how many automations the request came


def tracked(kind: str, item: Item, sending: Sending) -> list[Tracked] | Refused:
    """Return the events of a call of this kind."""
    make = _MAKERS.get(kind)
    if make is None:
        return Refused(code="unknown_type", message="type must be track, identify, page, screen, group or alias")
    try:
        return make(item, sending)
    except (msgspec.DecodeError, RecursionError):  # objects are read late, and only where somebody asks for them
        return Refused(code="invalid_json", message="properties, traits or context are not JSON")


def _track(item: Item, sending: Sending) -> list[Tracked] | Refused:
    name = name_of(item.event)
    if name is None:
        return Refused(code="missing_event", message="event must be a name of 1 to 256 characters")
    user = user_of(item)
    if user is None:
        return NOBODY
    data = object_of(item.properties)
    if data is None:
        return _no_object("properties")
    return [_event(name, user, _with_context(data, item), item, sending)]


def _identify(item: Item, sending: Sending) -> list[Tracked] | Refused:
    user = user_of(item)
    if user is None:
        return NOBODY
    data = object_of(item.traits)
    if data is None:
        return _no_object("traits")
    change = _identity(item, sending.received_ms)
    events = []
    anonymous = anonymous_of(item)
    if anonymous is not None and anonymous != user:
        events.append(_merge(anonymous, user, item, sending))
    events.append(_event("identify", user, _with_context(data, item), item, sending, change))
    return events


def _view(kind: str) -> Callable[[Item, Sending], list[Tracked] | Refused]:
    def make(item: Item, sending: Sending) -> list[Tracked] | Refused:
        user = user_of(item)
        if user is None:
            return NOBODY
        data = object_of(item.properties)
        if data is None:
            return _no_object("properties")
        named = [(field, value) for field in ("name", "category") if (value := name_of(getattr(item, field)))]
        data = with_members(data, [(field, msgspec.json.encode(value)) for field, value in named])
        return [_event(kind, user, _with_context(data, item), item, sending)]

    return make


def _group(item: Item, sending: Sending) -> list[Tracked] | Refused:
    user = user_of(item)
    if user is None:
        return NOBODY
    group = user_text(item.group_id)
    if group is None:
        return Refused(code="missing_group_id", message="groupId must be text of 1 to 512 characters")
    data = object_of(item.traits)
    if data is None:
        return _no_object("traits")
    # A dot would lead deeper into the attribute.
    name = f"groups.{group.replace('.', '_')}"
    change = ProfileChange(set={name: members_of(item.traits)}) if len(name) <= LONGEST_NAME else None
    data = with_members(data, [("groupId", msgspec.json.encode(group))])
    return [_event("group", user, _with_context(data, item), item, sending, change)]


def _alias(item: Item, sending: Sending) -> list[Tracked] | Refused:
    previous, user = user_text(item.previous_id), user_text(item.user_id)
    if previous is None or user is None:
        return Refused(code="missing_previous_id", message="give previousId and userId")
    if previous == user:
        return Refused(code="same_id", message="previousId and userId are the same")
    anonymous = anonymous_user(previous)
    is_anonymous = not sending.moves_users or previous == user_text(item.anonymous_id)
    first = anonymous if is_anonymous else previous
    data = msgspec.json.encode({"previousId": previous, "userId": user})
    events = [_event(MERGED, first, data, item, sending, ProfileChange(merge_into=user))]
    if not is_anonymous and len(anonymous) <= LONGEST_USER:
        # Nothing says whether the earlier id was a user's or an anonymous one; whoever is known under it moves.
        events.append(_merge(anonymous, user, item, sending, existing_only=True))
    return events


_MAKERS: dict[str, Callable[[Item, Sending], list[Tracked] | Refused]] = {
    "track": _track,
    "identify": _identify,
    "page": _view("page"),
    "screen": _view("screen"),
    "group": _group,
    "alias": _alias,
}


def _event(
    name: str, user: str, data: bytes, item: Item, sending: Sending, change: ProfileChange | None = None
) -> Tracked:
    message = item.message_id
    uid = message if isinstance(message, str) and 0 < len(message) <= LONGEST_NAME else None
    event = Event(
        id=next(sending.ids),
        workspace=sending.workspace,
        type=name,
        occurred_ms=occurred_ms(item, sending.sent_at, sending.received_ms),
        received_ms=sending.received_ms,
        user=user,
        uid=uid,
        source=sending.source,
        payload=data,
        context=context_of(change) if change is not None else None,
    )
    if not isinstance(message, str) or not message:
        return event, ()
    claim = dedupe_claim(
        sending.source, short_key(message), status=200, answer=b"", event=event.id, now_ms=sending.received_ms
    )
    return event, (claim,)


def _merge(previous: str, user: str, item: Item, sending: Sending, *, existing_only: bool = False) -> Tracked:
    """Make the event that tells that somebody anonymous is a user; it is committed once in 30 days.

    Whoever signs in next in the same browser is somebody else: the first user keeps what was done anonymously.
    """
    change = ProfileChange(merge_into=user, existing_only=existing_only)
    data = msgspec.json.encode({"previousId": previous, "userId": user})
    event, _ = _event(MERGED, previous, data, item, sending, change)
    event = replace(event, uid=None)  # that is the id of the call's own event
    claim = Claim(
        scope=f"merge:{sending.workspace}",
        key=short_key(previous),
        fingerprint=b"",
        answer_status=200,
        answer_body=b"",
        event=event.id,
        expires_ms=sending.received_ms + _MERGES_KEPT_MS,
    )
    return event, (claim,)


def _no_object(field: str) -> Refused:
    return Refused(code=f"invalid_{field}", message=f"{field} must be an object")


def _with_context(data: bytes, item: Item) -> bytes:
    context = bytes(item.context)
    if context in _EMPTY or context[:1] != b"{":
        return data
    return with_members(data, [("context", context)])


def _identity(item: Item, received_ms: int) -> ProfileChange:
    traits = {name: value for name, value in members_of(item.traits).items() if 0 < len(name) <= LONGEST_NAME}
    context = members_of(item.context)
    return ProfileChange(
        set=traits,
        time_zone=known_zone(context.get("timezone")),
        locale=known_locale(context.get("locale")),
        devices=_devices(context, received_ms),
    )


def _devices(context: dict[str, object], received_ms: int) -> tuple[Device, ...]:
    device = _object(context, "device")
    identifier = _text(device, "id")
    if identifier is None:
        return ()
    return (
        Device(
            id=identifier,
            platform=_text(device, "type"),
            model=_text(device, "model"),
            os=_text(_object(context, "os"), "name"),
            app_version=_text(_object(context, "app"), "version"),
            push_token=_text(device, "token"),
            seen_ms=received_ms,
        ),
    )


def _object(members: dict[str, object], name: str) -> dict[str, object]:
    found = members.get(name)
    return found if isinstance(found, dict) else {}


def _text(members: dict[str, object], name: str) -> str | None:
    found = members.get(name)
    return found if isinstance(found, str) and 0 < len(found) <= _LONGEST_TEXT else None
