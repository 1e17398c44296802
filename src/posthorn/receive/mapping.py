"""Reading users, types, times, ids and attributes out of what a source captured. Pure.

What is not found, or is not usable, is left out: a sender is never turned away because our rule does not fit.
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from posthorn.engine.people import ProfileChange
from posthorn.engine.records import Event
from posthorn.engine.resources import CloudEventsMapping, FieldsMapping, Place, SourceMapping
from posthorn.errors import Invalid
from posthorn.receive.capture import UNNAMED, Incoming, short_key, usable_name
from posthorn.receive.cloudevents import CloudEvent, check_user_place, is_batch, parts_of, read, read_structured
from posthorn.receive.http import header
from posthorn.receive.instants import happened_ms, instant_of
from posthorn.receive.people import CHANGE_LIMIT_BYTES, LONGEST_NAME, context_of, user_text

_LONGEST_PATH = 512
_MOST_ATTRIBUTES = 100
_MOST_EVENTS = 1_000
_NOTHING = object()


class Mapped(Struct, frozen=True, kw_only=True, gc=False):
    """An event as its source's mapping reads it, and what makes it the same as another one of the source."""

    event: Event
    key: str | None = None


def check_mapping(mapping: SourceMapping | None) -> None:
    """Refuse a mapping that cannot find anything. Raises Invalid at its place."""
    match mapping:
        case FieldsMapping():
            for name, place in _places(mapping):
                _check_place(place, "mapping", *name)
            if len(mapping.attributes) > _MOST_ATTRIBUTES:
                raise Invalid.at("mapping", "attributes", msg=f"at most {_MOST_ATTRIBUTES} attributes can be mapped")
            if mapping.attributes and mapping.user is None:
                msg = "attributes are those of a user: say where the user stands"
                raise Invalid.at("mapping", "user", msg=msg, type="missing")
        case CloudEventsMapping():
            check_user_place(mapping.user, "mapping", "user")
        case _:
            return


def map_fields(mapping: FieldsMapping, incoming: Incoming, event: Event) -> Mapped:
    """Fill in what the named places hold."""
    user = user_text(_found(mapping.user, incoming))
    name = _text(_found(mapping.event_type, incoming))
    named = usable_name(name) if name is not None else UNNAMED
    at_ms = instant_of(_found(mapping.time, incoming))
    uid = _text(_found(mapping.id, incoming))
    return Mapped(
        event=replace(
            event,
            user=user,
            type=named if named != UNNAMED else event.type,
            occurred_ms=happened_ms(at_ms, event.received_ms) if at_ms is not None else event.occurred_ms,
            uid=short_key(uid)[:LONGEST_NAME] if uid is not None else None,
            context=_changes(mapping, incoming) if user is not None and mapping.attributes else None,
        ),
        key=short_key(uid) if uid is not None else None,
    )


def map_cloud(mapping: CloudEventsMapping, incoming: Incoming, event: Event) -> list[Mapped]:
    """Read a request's CloudEvents; what is none stays an event of the source's own type."""
    try:
        if not is_batch(incoming.headers):
            return [_cloud(read(incoming.headers, incoming.body), mapping, event, is_whole=True)]
        parts = parts_of(incoming.body)
    except Invalid:
        return [Mapped(event=event)]
    if not 1 <= len(parts) <= _MOST_EVENTS:
        return [Mapped(event=event)]
    return [_of_batch(part, mapping, event) for part in parts]


def _of_batch(part: bytes, mapping: CloudEventsMapping, event: Event) -> Mapped:
    try:
        return _cloud(read_structured(part, "body"), mapping, event, is_whole=False)
    except Invalid:
        return Mapped(event=replace(event, payload=part, content_type=None))


def _cloud(one: CloudEvent, mapping: CloudEventsMapping, event: Event, *, is_whole: bool) -> Mapped:
    mapped = replace(
        event,
        type=one.type,
        occurred_ms=one.occurred_ms(event.received_ms),
        user=one.user(mapping.user),
        uid=one.uid,
        content_type=one.content_type,
        # In binary mode the captured body is the data, and bytes are stored once.
        payload=None if is_whole and one.is_binary else one.data,
    )
    return Mapped(event=mapped, key=one.key)


def _places(mapping: FieldsMapping) -> list[tuple[tuple[str, ...], Place]]:
    named = {"user": mapping.user, "eventType": mapping.event_type, "time": mapping.time, "id": mapping.id}
    places: list[tuple[tuple[str, ...], Place]] = [((name,), place) for name, place in named.items() if place]
    return places + [(("attributes", name), place) for name, place in mapping.attributes.items()]


def _check_place(place: Place, *loc: str | int) -> None:
    if (place.header is None) == (place.field is None):
        raise Invalid.at(*loc, msg="give either header or field")
    if place.header is not None and (not place.header.isascii() or not place.header.strip()):
        raise Invalid.at(*loc, "header", msg="must be the name of a header")
    if place.field is not None and (len(place.field) > _LONGEST_PATH or not all(place.field.split("."))):
        raise Invalid.at(*loc, "field", msg="must be names with dots between them, such as customer.id or items.0.sku")


def _found(place: Place | None, incoming: Incoming) -> Any:
    """Return what stands at a place; None when nothing does."""
    found = _at(place, incoming) if place is not None else None
    return None if found is _NOTHING else found


def _at(place: Place, incoming: Incoming) -> Any:
    if place.header is not None:
        value = header(incoming.headers, place.header.lower().encode())
        return value.decode("latin-1") if value is not None else _NOTHING
    found: Any = incoming.json()
    for step in (place.field or "").split("."):
        if isinstance(found, dict):
            found = found.get(step, _NOTHING)
        elif isinstance(found, list) and step.isdecimal() and len(step) < 6 and int(step) < len(found):
            found = found[int(step)]
        else:
            return _NOTHING
    return found


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _changes(mapping: FieldsMapping, incoming: Incoming) -> bytes | None:
    """Return what the request sets. An attribute whose place is empty stays; one whose value is null is deleted."""
    values = {name: _at(place, incoming) for name, place in mapping.attributes.items()}
    values = {name: value for name, value in values.items() if value is not _NOTHING}
    context = context_of(ProfileChange(set=values)) if values else None
    return context if context is None or len(context) <= CHANGE_LIMIT_BYTES else None
