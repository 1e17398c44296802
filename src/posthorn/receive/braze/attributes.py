"""What a Braze attributes object changes in a profile. Pure.

Source: the user attributes object (braze.com/docs/api/objects_filters/user_attributes_object), nested custom
attributes and arrays of objects. Where Braze drops a value in silence and another would be wrong, so do we.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from posthorn.engine.people import Device, ProfileChange, Subscription
from posthorn.receive.braze.people import IDENTIFIERS, Wrong
from posthorn.receive.people import LONGEST_NAME, known_locale, known_zone

FLAGS = frozenset({"_update_existing_only", "_merge_objects", "push_token_import"})
_DEEPEST = 9
_LONGEST_DEVICE = 512
_STATES = {str(state): state for state in Subscription}


class _Edit(Struct):
    """A change while it is collected."""

    set: dict[str, Any]
    increment: dict[str, int | float]
    add: dict[str, list[Any]]
    remove: dict[str, list[Any]]
    subscriptions: dict[str, Subscription]
    devices: list[Device]
    time_zone: str | None = None


def change_of(fields: dict[str, Any], *, existing_only: bool, now_ms: int) -> ProfileChange | Wrong:
    """Return what an attributes object changes; Wrong when any part of it cannot be done."""
    edit = _Edit(set={}, increment={}, add={}, remove={}, subscriptions={}, devices=[])
    merges = fields.get("_merge_objects") is True
    for name, value in fields.items():
        if name in IDENTIFIERS or name in FLAGS:
            continue
        special = _SPECIAL.get(name)
        wrong = special(edit, value, now_ms) if special is not None else _custom(edit, name, value, merges=merges)
        if wrong is not None:
            return wrong
    return ProfileChange(
        set=edit.set,
        increment=edit.increment,
        add=edit.add,
        remove=edit.remove,
        subscriptions=edit.subscriptions,
        devices=tuple(edit.devices),
        time_zone=edit.time_zone,
        locale=_locale(fields),
        existing_only=existing_only,
    )


def plain(value: Any) -> Any:
    """Return a value without Braze's marks: `{"$time": …}` is the time's text."""
    if isinstance(value, dict):
        if value.keys() == {"$time"}:
            return value["$time"]
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def _custom(edit: _Edit, name: str, value: Any, *, merges: bool) -> Wrong | None:
    if not 0 < len(name) <= LONGEST_NAME:
        return Wrong(f"attribute names have 1 to {LONGEST_NAME} characters")
    if isinstance(value, dict) and value:
        names = value.keys()
        if names == {"inc"}:
            return _increment(edit, name, value["inc"])
        if names <= {"add", "remove"}:
            return _items(edit, name, value.get("add", []), value.get("remove", []))
        if any(inner in {"$add", "$remove", "$update"} for inner in names):
            return _objects(edit, name, value)
        if merges:
            return _merge(edit, name, value, 1)
    edit.set[name] = plain(value)
    return None


def _increment(edit: _Edit, name: str, amount: Any) -> Wrong | None:
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        return Wrong(f"'{name}' is not valid: 'inc' must be a number")
    edit.increment[name] = amount
    return None


def _items(edit: _Edit, name: str, added: Any, removed: Any) -> Wrong | None:
    # One value is taken for an array of one, as Braze's own libraries send it.
    for values, into in ((added, edit.add), (removed, edit.remove)):
        listed = values if isinstance(values, list) else [values]
        if any(isinstance(item, list) or item is None for item in listed):
            return Wrong(f"'{name}' is not valid: arrays are one-dimensional")
        if listed:
            into[name] = plain(listed)
    return None


def _objects(edit: _Edit, name: str, value: dict[str, Any]) -> Wrong | None:
    if value.keys() != {"$add"} or not isinstance(value["$add"], list):
        return Wrong(f"'{name}' is not valid: of the operators on arrays of objects only '$add' is known here")
    edit.add[name] = plain(value["$add"])
    return None


def _merge(edit: _Edit, path: str, value: dict[str, Any], depth: int) -> Wrong | None:
    """Set what stands in an object, and leave what stands beside it in the profile."""
    for name, inner in value.items():
        deeper = f"{path}.{name}"
        if not name or "." in name or depth >= _DEEPEST or len(deeper) > LONGEST_NAME:
            return Wrong(f"'{path}' is not valid: it cannot be merged, set it as a whole")
        if isinstance(inner, dict) and inner and inner.keys() != {"$time"}:
            wrong = _merge(edit, deeper, inner, depth + 1)
            if wrong is not None:
                return wrong
        else:
            edit.set[deeper] = plain(inner)
    return None


def _subscribe(channel: str) -> Callable[[_Edit, Any, int], Wrong | None]:
    def put(edit: _Edit, value: Any, now_ms: int) -> Wrong | None:  # noqa: ARG001 - one shape for all
        state = _STATES.get(value) if isinstance(value, str) else None
        if state is None:
            return Wrong(f"'{channel}_subscribe' is not valid")
        edit.subscriptions[channel] = state
        return None

    return put


def _groups(edit: _Edit, value: Any, now_ms: int) -> Wrong | None:  # noqa: ARG001 - one shape for all
    for group in value if isinstance(value, list) else [None]:
        identifier = group.get("subscription_group_id") if isinstance(group, dict) else None
        word = group.get("subscription_state") if isinstance(group, dict) else None
        state = _STATES.get(word) if isinstance(word, str) else None
        if not isinstance(identifier, str) or not 0 < len(identifier) <= LONGEST_NAME or state is None:
            return Wrong("'subscription_groups' is not valid")
        edit.subscriptions[identifier] = state
    return None


def _zone(edit: _Edit, value: Any, now_ms: int) -> Wrong | None:  # noqa: ARG001 - one shape for all
    edit.time_zone = known_zone(value)  # "Only valid time zone values will be set"
    return None


def _push_tokens(edit: _Edit, value: Any, now_ms: int) -> Wrong | None:
    for entry in value if isinstance(value, list) else [None]:
        if not isinstance(entry, dict) or not isinstance(token := entry.get("token"), str) or not token:
            return Wrong("'push_tokens' is not valid")
        identifier = entry.get("device_id")
        if not isinstance(identifier, str) or not 0 < len(identifier) <= _LONGEST_DEVICE:
            identifier = sha256(token.encode(errors="surrogatepass")).hexdigest()[:32]
        edit.devices.append(Device(id=identifier, push_token=token, seen_ms=now_ms))
    return None


def _locale(fields: dict[str, Any]) -> str | None:
    """Return the locale of a language, and of the country if one is told with it."""
    language, country = fields.get("language"), fields.get("country")
    if not isinstance(language, str):
        return None
    if isinstance(country, str) and len(country) == 2 and "-" not in language and "_" not in language:
        return known_locale(f"{language}-{country.upper()}")
    return known_locale(language)


_SPECIAL: dict[str, Callable[[_Edit, Any, int], Wrong | None]] = {
    "email_subscribe": _subscribe("email"),
    "push_subscribe": _subscribe("push"),
    "subscription_groups": _groups,
    "time_zone": _zone,
    "push_tokens": _push_tokens,
}


def shown(fields: dict[str, Any]) -> bytes:
    """Write what an attributes object says, without whom it names, and without push tokens: those are secret."""
    left_out = IDENTIFIERS | FLAGS | {"push_tokens"}
    return msgspec.json.encode({name: plain(value) for name, value in fields.items() if name not in left_out})
