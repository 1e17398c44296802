"""The objects of Braze requests, and the events that they become. Pure.

An attributes object becomes an event `identify`, a purchase an event `purchase`, an event one of its own name.
`event.data` of an event is its `properties`, byte for byte.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from posthorn.engine.people import ProfileChange
from posthorn.engine.records import Event
from posthorn.receive.braze.attributes import change_of, plain, shown
from posthorn.receive.braze.people import IDENTIFIERS, Who, Wrong, who
from posthorn.receive.instants import happened_ms, instant_of
from posthorn.receive.people import LONGEST_NAME, context_of

_MOST_QUANTITY = 100
_LONGEST_PRODUCT = 255
_WHO_AND_WHEN = IDENTIFIERS | {"_update_existing_only", "time", "app_id", "email", "phone"}
_NOT_JSON = Wrong("the object is not valid JSON")


class Taking(Struct, frozen=True, kw_only=True, gc=False):
    """What the objects of one request share. `ids` gives each event the next id."""

    workspace: str
    now_ms: int
    ids: Iterator[str]

    def event(self, name: str, user: str, data: bytes, change: ProfileChange | None, at_ms: int | None = None) -> Event:
        """Make an event of this request; one that is to happen later happened now."""
        return Event(
            id=next(self.ids),
            workspace=self.workspace,
            type=name,
            occurred_ms=happened_ms(at_ms, self.now_ms),
            received_ms=self.now_ms,
            user=user,
            payload=data,
            context=context_of(change) if change is not None else None,
        )


class _Properties(Struct, frozen=True, gc=False):
    """Of an event only what is kept byte for byte."""

    properties: Raw = Raw(b"")


_properties = msgspec.json.Decoder(_Properties)


def attributes(raw: Raw, taking: Taking) -> Event | Wrong:
    """Read an attributes object."""
    fields = _fields(raw)
    person = who(fields) if fields is not None else _NOT_JSON
    if isinstance(person, Wrong) or fields is None:
        return person if isinstance(person, Wrong) else _NOT_JSON
    change = change_of(fields, existing_only=person.existing_only, now_ms=taking.now_ms)
    if isinstance(change, Wrong):
        return change
    return taking.event("identify", person.user, shown(fields), change)


def event(raw: Raw, taking: Taking) -> Event | Wrong:
    """Read an event object."""
    fields = _fields(raw)
    person = who(fields) if fields is not None else _NOT_JSON
    if isinstance(person, Wrong) or fields is None:
        return person if isinstance(person, Wrong) else _NOT_JSON
    name = fields.get("name")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME:
        return Wrong("'name' is required" if name is None else "'name' is not valid")
    at_ms = _time(fields)
    if isinstance(at_ms, Wrong):
        return at_ms
    properties = fields.get("properties")
    if properties is not None and not isinstance(properties, dict):
        return Wrong("'properties' is not valid")
    data = bytes(_properties.decode(raw).properties) if properties else b"{}"
    return taking.event(name.strip(), person.user, data, _of_person(person), at_ms)


def purchase(raw: Raw, taking: Taking) -> Event | Wrong:
    """Read a purchase object."""
    fields = _fields(raw)
    person = who(fields) if fields is not None else _NOT_JSON
    if isinstance(person, Wrong) or fields is None:
        return person if isinstance(person, Wrong) else _NOT_JSON
    wrong = _wrong_purchase(fields)
    if wrong is not None:
        return wrong
    at_ms = _time(fields)
    if isinstance(at_ms, Wrong):
        return at_ms
    told = {name: plain(value) for name, value in fields.items() if name not in _WHO_AND_WHEN}
    data = msgspec.json.encode({"quantity": 1, "properties": {}} | told)
    return taking.event("purchase", person.user, data, _of_person(person), at_ms)


def _fields(raw: Raw) -> dict[str, Any] | None:
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _time(fields: dict[str, Any]) -> int | Wrong:
    if fields.get("time") is None:
        return Wrong("'time' is required")
    at_ms = instant_of(fields["time"])
    return at_ms if at_ms is not None else Wrong("'time' is not valid")


def _of_person(person: Who) -> ProfileChange | None:
    if person.known_by is not None:
        name, value = person.known_by
        return ProfileChange(set_once={name: value}, existing_only=person.existing_only)
    return ProfileChange(existing_only=True) if person.existing_only else None


def _wrong_purchase(fields: dict[str, Any]) -> Wrong | None:
    product, currency = fields.get("product_id"), fields.get("currency")
    if not isinstance(product, str) or not 0 < len(product) <= _LONGEST_PRODUCT:
        return Wrong("'product_id' is required" if product is None else "'product_id' is not valid")
    if not isinstance(currency, str) or len(currency) != 3 or not currency.isalpha():
        return Wrong("'currency' is required" if currency is None else "'currency' is not valid")
    price = fields.get("price")
    if isinstance(price, bool) or not isinstance(price, (int, float)):
        return Wrong("'price' is required" if price is None else "'price' is not valid")
    quantity = fields.get("quantity", 1)
    if isinstance(quantity, bool) or not isinstance(quantity, int) or not 1 <= quantity <= _MOST_QUANTITY:
        return Wrong("'quantity' is not valid")
    properties = fields.get("properties")
    return Wrong("'properties' is not valid") if properties is not None and not isinstance(properties, dict) else None
