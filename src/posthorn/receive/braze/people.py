"""Whom an object of a Braze request is about. Pure.

Rules and texts are those of Braze's documentation of /users/track (braze.com/docs/api/endpoints/user_data).
"""

from typing import Any

from msgspec import Struct

from posthorn.receive.people import LONGEST_USER, alias_user

IDENTIFIERS = frozenset({"external_id", "user_alias", "braze_id"})
NOBODY = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
_SEVERAL = "only one of 'external_id', 'braze_id' or 'user_alias' may be given"
_LONGEST_ALIAS_PART = 240


class Wrong(Struct, frozen=True, gc=False):
    """Why an object is not taken: the `type` of Braze's errors."""

    type: str


class Who(Struct, frozen=True, kw_only=True, gc=False):
    """A person, and whether an unknown one is to be made."""

    user: str
    existing_only: bool
    known_by: tuple[str, str] | None = None  #: the attribute that named the person: email or phone


def who(fields: dict[str, Any]) -> Who | Wrong:
    """Find the person: by one of three identifiers, else by email, else by phone.

    A person who is named by an alias is updated only, unless `_update_existing_only` is false. Nobody is searched by
    attribute here: email and phone name a profile of their own, which `/users/identify` merges into a user.
    """
    given = [name for name in ("external_id", "user_alias", "braze_id") if fields.get(name) is not None]
    if len(given) > 1:
        return Wrong(_SEVERAL)
    flag = fields.get("_update_existing_only")
    if flag is not None and not isinstance(flag, bool):
        return Wrong("'_update_existing_only' is not valid")
    if not given:
        return _by_contact(fields, existing_only=flag is True)
    if given[0] == "external_id":
        user = external(fields["external_id"])
        return user if isinstance(user, Wrong) else Who(user=user, existing_only=flag is True)
    if given[0] == "user_alias":
        user = alias(fields["user_alias"])
        return user if isinstance(user, Wrong) else Who(user=user, existing_only=flag is not False)
    return Wrong("'braze_id' is not valid: people here have no Braze ID, name them by 'external_id' or 'user_alias'")


def external(value: object) -> str | Wrong:
    """Return the user of an external_id."""
    if not isinstance(value, str) or not value:
        return Wrong("'external_id' is not valid")
    if len(value) > LONGEST_USER:
        return Wrong("'external_id' is too long")
    return value


def alias(value: object) -> str | Wrong:
    """Return the user of a user alias object."""
    if not isinstance(value, dict):
        return Wrong("'user_alias' is not valid")
    label, name = value.get("alias_label"), value.get("alias_name")
    if not isinstance(label, str) or not 0 < len(label) <= _LONGEST_ALIAS_PART:
        return Wrong("'alias_label' is not valid")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ALIAS_PART:
        return Wrong("'alias_name' is not valid")
    return alias_user(label, name)


def by_email(value: object) -> str | Wrong:
    """Return the user that an email address names when nothing else does."""
    if not isinstance(value, str) or not 3 <= len(value) <= _LONGEST_ALIAS_PART or "@" not in value:
        return Wrong("'email' is not valid")
    return alias_user("email", value.strip().lower())


def by_phone(value: object) -> str | Wrong:
    """Return the user that a phone number names when nothing else does."""
    digits = "".join(part for part in value if part.isdigit()) if isinstance(value, str) else ""
    if not 4 <= len(digits) <= 15:  # E.164 has at most 15
        return Wrong("'phone' is not valid")
    return alias_user("phone", f"+{digits}")


def _by_contact(fields: dict[str, Any], *, existing_only: bool) -> Who | Wrong:
    for name, of in (("email", by_email), ("phone", by_phone)):
        value = fields.get(name)
        if value is not None:
            user = of(value)
            if isinstance(user, Wrong):
                return user
            return Who(user=user, existing_only=existing_only, known_by=(name, value))
    return Wrong(NOBODY)
