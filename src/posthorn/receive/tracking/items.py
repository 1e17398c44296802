"""One call of Segment's tracking API as it came, and what every kind of call has in common. Pure.

The fields are those of the Segment Spec (segment.com/docs/connections/spec/common); what is of another kind than there
is taken for absent, because Segment takes such calls too.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from posthorn.receive.instants import happened_ms, instant_of
from posthorn.receive.people import LONGEST_NAME, LONGEST_USER, anonymous_user, user_text

_NOTHING = Raw(b"")
_ABSENT = frozenset({b"", b"null", b"{}"})
_LONGEST_ANONYMOUS = LONGEST_USER - len(anonymous_user(""))


class Item(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A call, or one of a batch."""

    type: Any = None
    event: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    previous_id: Any = None
    group_id: Any = None
    message_id: Any = None
    name: Any = None
    category: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    write_key: Any = None
    properties: Raw = _NOTHING
    traits: Raw = _NOTHING
    context: Raw = _NOTHING


class Batch(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Several calls. `context` is that of each of them where it has none of its own."""

    batch: list[Raw]
    sent_at: Any = None
    write_key: Any = None
    context: Raw = _NOTHING


class Refused(Struct, frozen=True, kw_only=True, gc=False):
    """Why nothing comes of a call."""

    code: str
    message: str


NOBODY = Refused(code="no_user_anon_id", message="give userId or anonymousId, as text of at most 500 characters")


def object_of(raw: Raw) -> bytes | None:
    """Return the JSON text of an object, `{}` when it was left out; None when it is something else."""
    text = bytes(raw)
    if text in _ABSENT:
        return b"{}"
    return text if text[:1] == b"{" else None


def members_of(raw: Raw) -> dict[str, Any]:
    """Return an object's members; none when it is something else."""
    text = bytes(raw)
    if text in _ABSENT or text[:1] != b"{":
        return {}
    members: dict[str, Any] = msgspec.json.decode(text)
    return members


def merged(outer: Raw, inner: Raw) -> Raw:
    """Return a call's own context upon that of its batch."""
    if bytes(outer) in _ABSENT:
        return inner
    if bytes(inner) in _ABSENT:
        return outer
    return Raw(msgspec.json.encode({**members_of(outer), **members_of(inner)}))


def with_members(data: bytes, extra: list[tuple[str, bytes]]) -> bytes:
    """Add members to the text of a JSON object. What stands in it is kept byte for byte, and wins over an extra."""
    if not extra:
        return data
    held: dict[str, Any] | None = None
    added = []
    for name, value in extra:
        # The name may stand anywhere in the text, or be spelled with escapes: only then is the text worth parsing.
        if name.encode() in data or b"\\" in data:
            held = held if held is not None else msgspec.json.decode(data)
            if name in held:
                continue
        added.append(b'"%b":%b' % (name.encode(), value))
    if not added:
        return data
    head = data[:-1].rstrip()
    return b"%b%b%b}" % (head, b"" if head == b"{" else b",", b",".join(added))


def user_of(item: Item) -> str | None:
    """Return whom a call is about: the user, or else the anonymous one."""
    user = user_text(item.user_id)
    return user if user is not None else anonymous_of(item)


def anonymous_of(item: Item) -> str | None:
    """Return the profile of the anonymous id of a call."""
    identifier = user_text(item.anonymous_id)
    return anonymous_user(identifier) if identifier is not None and len(identifier) <= _LONGEST_ANONYMOUS else None


def name_of(value: object) -> str | None:
    """Return the name of an event or page, None when it is unusable."""
    if not isinstance(value, str):
        return None
    name = value.strip()
    return name if 0 < len(name) <= LONGEST_NAME else None


def occurred_ms(item: Item, sent_at: object, received_ms: int) -> int:
    """Tell when it happened, corrected by how far the sender's clock is off from ours.

    As Segment does (segment.com/docs/connections/spec/common/#timestamps): received - (sent - original). Without a
    time the call happens now, and never later than now.
    """
    original_ms = instant_of(item.original_timestamp)
    if original_ms is None:
        original_ms = instant_of(item.timestamp)
        if original_ms is None:
            return received_ms
    sent_ms = instant_of(item.sent_at)
    if sent_ms is None and sent_at is not None:
        sent_ms = instant_of(sent_at)
    at_ms = original_ms if sent_ms is None else received_ms - (sent_ms - original_ms)
    return happened_ms(at_ms, received_ms)
