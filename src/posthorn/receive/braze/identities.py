"""Braze's requests about who is who: new aliases, identification, merges. Pure.

Each becomes an event `alias` of the one who moves, with what `posthorn.engine.people.ProfileChange.merge_into` says.
Texts of errors are those of braze.com/docs/api/endpoints/user_data (users/alias/new, users/identify, users/merge).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from posthorn.engine.people import ProfileChange
from posthorn.engine.records import Event
from posthorn.receive.braze.objects import Taking
from posthorn.receive.braze.people import Wrong, alias, by_email, by_phone, external

ALIAS = "alias"
MOST = 50
_NO_OBJECT = Wrong("each entry must be an object")
_BAD_IDENTIFIER = Wrong(
    "identifiers must be objects with an 'external_id' property that is a string, or 'user_alias' property that is"
    " an object"
)


def new_alias(entry: Any, taking: Taking) -> Event | Wrong:
    """Read a new alias: it is made for a user, or for somebody new when no external_id comes with it."""
    if not isinstance(entry, dict):
        return _NO_OBJECT
    user = alias(entry)
    if isinstance(user, Wrong):
        return user
    if entry.get("external_id") is None:
        return taking.event(ALIAS, user, b"{}", ProfileChange())
    return _moved(user, external(entry["external_id"]), taking)


def identified_by(field: str) -> Callable[[Any, Taking], Event | Wrong]:
    """Return the reader of entries that name somebody unidentified by `user_alias`, `email` or `phone`."""
    readers: dict[str, Callable[[object], str | Wrong]] = {"user_alias": alias, "email": by_email, "phone": by_phone}
    of = readers[field]

    def read(entry: Any, taking: Taking) -> Event | Wrong:
        if not isinstance(entry, dict):
            return _NO_OBJECT
        previous = of(entry.get(field))
        return previous if isinstance(previous, Wrong) else _moved(previous, external(entry.get("external_id")), taking)

    return read


def merge(entry: Any, taking: Taking) -> Event | Wrong:
    """Read a merge of one user into another."""
    if not isinstance(entry, dict) or entry.keys() != {"identifier_to_merge", "identifier_to_keep"}:
        return Wrong("'merge_updates' must only have 'identifier_to_merge' and 'identifier_to_keep'")
    gone, kept = entry["identifier_to_merge"], entry["identifier_to_keep"]
    if not isinstance(gone, dict) or not isinstance(kept, dict):
        return _BAD_IDENTIFIER
    previous = _identifier(gone)
    return previous if isinstance(previous, Wrong) else _moved(previous, _identifier(kept), taking)


def _identifier(given: dict[str, Any]) -> str | Wrong:
    readers: dict[str, Callable[[object], str | Wrong]] = {
        "external_id": external,
        "user_alias": alias,
        "email": by_email,
        "phone": by_phone,
    }
    named = [name for name in readers if given.get(name) is not None]
    return readers[named[0]](given[named[0]]) if len(named) == 1 else _BAD_IDENTIFIER


def _moved(previous: str, user: str | Wrong, taking: Taking) -> Event | Wrong:
    if isinstance(user, Wrong):
        return user
    if previous == user:
        return Wrong("a user cannot be merged into itself")
    data = msgspec.json.encode({"previousId": previous, "userId": user})
    return taking.event(ALIAS, previous, data, ProfileChange(merge_into=user))
