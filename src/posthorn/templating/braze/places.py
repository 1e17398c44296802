"""Where the names of Braze's templates are found in our facts.

One table serves rendering, the variables that a template sees, and the warnings about unknown names. Names and
meanings: Braze, "Supported personalization tags".
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from posthorn.templating.context import ABSENT

FactPath = tuple[str | int, ...]
Facts = Mapping[str, Any]

RANDOM_BUCKETS: Final = 10_000

_PART: Final = re.compile(r"\[(\d{1,6})\]|[^.\[\]]+|[\[\]]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One `${…}` of a template: as written, and the paths of facts that may hold it, the first found wins."""

    written: str
    alternatives: tuple[FactPath, ...]
    derive: Callable[[Facts], object] | None = None
    is_local: bool = False  #: the first segment names a variable of the template itself

    def find(self, facts: Facts) -> object:
        """Return the value, or None."""
        for path in self.alternatives:
            value = walk(facts, path)
            if value is not ABSENT and value is not None:
                return value
        return self.derive(facts) if self.derive else None


def walk(facts: Facts, path: FactPath) -> object:
    """Return what stands at a path of JSON-like data, or ABSENT."""
    value: object = facts
    for key in path:
        if isinstance(value, Mapping):
            value = value.get(key, ABSENT)
        elif isinstance(value, (list, tuple)) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return ABSENT
    return value


def _language(facts: Facts) -> object:
    locale = walk(facts, ("profile", "locale"))
    return re.split("[-_]", locale)[0].lower() if isinstance(locale, str) else None


def _locale(facts: Facts) -> object:
    locale = walk(facts, ("profile", "locale"))
    return locale.replace("-", "_") if isinstance(locale, str) else None


def _random_bucket(facts: Facts) -> object:
    """Give a person one number of 0–9999 for ever: from the id, so that every rendering repeats it."""
    person = walk(facts, ("user", "id"))
    if not isinstance(person, str):
        person = walk(facts, ("profile", "id"))
    if not isinstance(person, str):
        return None
    return int.from_bytes(hashlib.sha256(person.encode("utf-8", "surrogatepass")).digest()[:8]) % RANDOM_BUCKETS


def _attributes(*names: str) -> tuple[FactPath, ...]:
    return tuple(("profile", "attributes", name) for name in names)


_USER: Final[FactPath] = ("user", "id")
_PERSON: Final[FactPath] = ("profile", "id")
_ENTERING: Final[tuple[FactPath, ...]] = (("event", "data"),)  # a run's event is the one that let its person in
_DEVICE: Final[FactPath] = ("profile", "devices", 0)

STANDARD: Final[dict[str, tuple[FactPath, ...]]] = {
    "braze_id": (*_attributes("braze_id"), _PERSON, _USER),
    "city": (*_attributes("city"), ("profile", "attributes", "address", "city")),
    "country": (*_attributes("country"), ("profile", "attributes", "address", "country")),
    "date_of_birth": _attributes("date_of_birth", "dateOfBirth", "dob", "birthday"),
    "email_address": _attributes("email_address", "email"),
    "first_name": _attributes("first_name", "firstName"),
    "gender": _attributes("gender"),
    "language": _attributes("language"),
    "last_name": _attributes("last_name", "lastName"),
    "last_used_app_date": _attributes("last_used_app_date", "lastUsedAppDate"),
    "most_recent_app_version": (
        *_attributes("most_recent_app_version", "mostRecentAppVersion"),
        (*_DEVICE, "appVersion"),
    ),
    "most_recent_locale": _attributes("most_recent_locale"),
    "most_recent_location": _attributes("most_recent_location", "mostRecentLocation"),
    "phone_number": _attributes("phone_number", "phone"),
    "random_bucket_number": _attributes("random_bucket_number"),
    "time_zone": (("profile", "timeZone"), *_attributes("time_zone")),
    "unsubscribe_url": _attributes("unsubscribe_url", "set_user_to_unsubscribed_url"),
    "user_id": (_USER, _PERSON),
}

_DERIVED: Final[dict[str, Callable[[Facts], object]]] = {
    "language": _language,
    "most_recent_locale": _locale,
    "random_bucket_number": _random_bucket,
}

NAMESPACES: Final[dict[str, tuple[FactPath, ...]]] = {
    "api_trigger_properties": _ENTERING,
    "app": (),
    "campaign": (),
    "canvas": (),
    "canvas_entry_properties": _ENTERING,
    "card": (),
    "context": _ENTERING,
    "custom_attribute": (("profile", "attributes"),),
    "event_properties": (("event", "data"),),
    "most_recently_used_device": (_DEVICE,),
    "sms": (("event", "data"),),
    "subscribed_state": (("profile", "subscriptions"),),
    "targeted_device": (_DEVICE,),
    "whats_app": (("event", "data"),),
}

_NAMED: Final[dict[tuple[str, str], tuple[FactPath, ...]]] = {
    ("campaign", "api_id"): (("automation", "id"),),
    ("campaign", "dispatch_id"): (("delivery", "id"), ("run", "id")),
    ("campaign", "message_api_id"): (("step", "name"), ("automation", "id")),
    ("campaign", "message_name"): (("step", "name"), ("automation", "name")),
    ("campaign", "name"): (("step", "name"), ("automation", "name")),
    ("canvas", "api_id"): (("automation", "id"),),
    ("canvas", "name"): (("automation", "name"),),
    ("subscribed_state", "email_global"): (
        ("profile", "subscriptions", "email_global"),
        ("profile", "subscriptions", "email"),
    ),
    ("subscribed_state", "push_global"): (
        ("profile", "subscriptions", "push_global"),
        ("profile", "subscriptions", "push"),
    ),
}


def place_of_name(namespace: str | None, name: str) -> Place:
    """Resolve `${name}` (namespace None) or `namespace.${name}`; a name may be a nested path (`address.city`)."""
    if namespace is None:
        found = STANDARD.get(name) or _below(("profile", "attributes"), name)
        return Place(written="${" + name + "}", alternatives=found, derive=_DERIVED.get(name))
    written = f"{namespace}.${{{name}}}"
    known = NAMESPACES.get(namespace)
    if known is None:
        return Place(written=written, alternatives=_below((namespace,), name), is_local=True)
    below = (path for base in known for path in _below(base, name))
    return Place(written=written, alternatives=_NAMED.get((namespace, name)) or tuple(below))


def _below(base: FactPath, name: str) -> tuple[FactPath, ...]:
    """Return the name as one key, and as a path where it looks like one: an attribute's name may hold a dot."""
    parts = tuple(int(part[1]) if part[1] else part[0] for part in _PART.finditer(name))
    return ((*base, name),) if len(parts) < 2 else ((*base, name), (*base, *parts))


class BrazeVariables(Mapping[str, Any]):
    """What a Braze template sees: the facts, and Braze's namespaces made from them when one is asked for."""

    __slots__ = ("_facts",)

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def __getitem__(self, name: str) -> Any:
        if name in self._facts:
            return self._facts[name]
        found = self._namespace(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._facts or (isinstance(name, str) and self._namespace(name) is not None)

    def __iter__(self) -> Iterator[str]:
        yield from self._facts
        yield from (name for name in NAMESPACES if name not in self._facts and name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<BrazeVariables of {len(self._facts)} facts>"

    def _namespace(self, name: str) -> object:
        paths = NAMESPACES.get(name)
        if paths is None:
            return None
        if not paths:
            return {inner: place_of_name(space, inner).find(self._facts) for space, inner in _NAMED if space == name}
        found = (walk(self._facts, path) for path in paths)
        return next((value for value in found if value is not ABSENT and value is not None), None)


def braze_variables(facts: Facts) -> BrazeVariables:
    """Return what a Braze template reads, over our facts. Cheap: nothing is made before a template asks for it.

    A template of the Braze dialect wraps the facts itself when it renders; callers need this only to look.
    """
    return facts if isinstance(facts, BrazeVariables) else BrazeVariables(facts)
