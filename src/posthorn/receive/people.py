"""Whom an event from outside is about, and what it may change in that person's profile."""

import re
from functools import lru_cache

import msgspec

from posthorn.calendars.zones import zone
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.errors import Invalid

LONGEST_USER = 512
LONGEST_NAME = 256
CHANGE_LIMIT_BYTES = 128 * 1024
_ANONYMOUS = "$anonymous/"
_ALIAS = "$alias/"
# The parts of RFC 5646 that are used: language, script, region, variants and extensions.
_LOCALE = re.compile(r"[a-zA-Z]{2,8}(?:-[a-zA-Z0-9]{1,8}){0,8}")
_LONGEST_LOCALE = 64

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(EventContext).decode


def anonymous_user(identifier: str) -> str:
    """Name somebody who is known by a device's id only."""
    return f"{_ANONYMOUS}{identifier}"


def alias_user(label: str, name: str) -> str:
    """Name somebody who is known by an alias only; a slash in the label would end it."""
    return f"{_ALIAS}{label.replace('%', '%25').replace('/', '%2F')}/{name}"


def user_text(value: object) -> str | None:
    """Return a user id that a sender gave as text or number; None when it is none."""
    if isinstance(value, str):
        return value if 0 < len(value) <= LONGEST_USER else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return None


@lru_cache(maxsize=1024)
def _zone_name(name: str) -> str | None:
    try:
        return zone(name).name
    except Invalid:
        return None


def known_zone(name: object) -> str | None:
    """Return the IANA time zone of this name, None when there is none."""
    return _zone_name(name) if isinstance(name, str) else None


def known_locale(text: object) -> str | None:
    """Return a BCP 47 language tag; None when it cannot be one. `en_US`, as POSIX writes it, is read as `en-US`."""
    if not isinstance(text, str) or len(text) > _LONGEST_LOCALE:
        return None
    tag = text.partition(".")[0].replace("_", "-")
    return tag if _LOCALE.fullmatch(tag) else None


def context_of(change: ProfileChange) -> bytes:
    """Write a change as an event carries it."""
    return _encode(EventContext(changes=change))


def with_depth(context: bytes | None, depth: int) -> bytes:
    """Say in an event's context through how many automations it came: without that, a loop would begin anew here."""
    known = _decode(context) if context is not None else EventContext()
    return _encode(msgspec.structs.replace(known, depth=depth))


def check_change(change: ProfileChange, user: str | None, *loc: str | int) -> None:
    """Refuse a change that a caller gave and that nobody could apply. Raises Invalid at its place."""
    if user is None:
        raise Invalid.at(*loc, msg="an event without a user changes no profile: give user", type="missing")
    if change.time_zone is not None and known_zone(change.time_zone) is None:
        raise Invalid.at(*loc, "timeZone", msg="must be an IANA time zone, such as Europe/Berlin")
    if change.locale is not None and known_locale(change.locale) != change.locale:
        raise Invalid.at(*loc, "locale", msg="must be a BCP 47 language tag, such as en-US")
    if change.merge_into is not None:
        if not 1 <= len(change.merge_into) <= LONGEST_USER:
            raise Invalid.at(*loc, "mergeInto", msg=f"must have 1 to {LONGEST_USER} characters")
        if change.merge_into == user:
            raise Invalid.at(*loc, "mergeInto", msg="nobody is merged into themselves: give another user's id")
    if len(_encode(change)) > CHANGE_LIMIT_BYTES:
        raise Invalid.at(*loc, msg=f"larger than {CHANGE_LIMIT_BYTES} bytes", type="too_large")
