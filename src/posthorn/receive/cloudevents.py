"""CloudEvents 1.0 over HTTP: structured, batched and binary mode. Pure.

Source: the CloudEvents specification 1.0.2, its JSON event format and HTTP protocol binding (github.com/cloudevents).
An event's `data` becomes our event's payload byte for byte; the pair of `source` and `id` makes it the same event.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from posthorn.errors import Invalid
from posthorn.receive.capture import short_key
from posthorn.receive.http import Headers, header
from posthorn.receive.instants import happened_ms, instant_of
from posthorn.receive.people import LONGEST_NAME, user_text
from posthorn.receive.wire import TOO_DEEP, check_text, syntax_problem

DATA_LIMIT_BYTES = 2 * 1024 * 1024
USER_ATTRIBUTE = "user"  #: the extension attribute that names the person unless another one is named
_DATA = "data."
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,64}")
_BINARY = b"ce-"
_ONE = b"application/cloudevents+json"
_BATCH = b"application/cloudevents-batch+json"
_JSON_TYPE = re.compile(r"(?:application|text)/(?:[a-z0-9.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_REQUIRED = ("id", "source", "type")

_members = msgspec.json.Decoder(dict[str, Raw])
_list = msgspec.json.Decoder(list[Raw])


class CloudEvent(Struct, frozen=True, kw_only=True, gc=False):
    """An event as it was read. `attributes` are all context attributes as text."""

    attributes: Mapping[str, str]
    data: bytes
    content_type: str | None  #: None means application/json
    is_binary: bool = False  #: its data is the whole body of the request

    @property
    def type(self) -> str:
        """Its type."""
        return self.attributes["type"]

    @property
    def uid(self) -> str:
        """Its id, bounded."""
        return short_key(self.attributes["id"])[:LONGEST_NAME]

    @property
    def key(self) -> str:
        """What makes two events the same one."""
        return short_key(f"{self.attributes['source']}\n{self.attributes['id']}")

    def occurred_ms(self, now_ms: int) -> int:
        """When it happened: its time, or now."""
        return happened_ms(instant_of(self.attributes.get("time")), now_ms)

    def user(self, place: str) -> str | None:
        """Find the person: in an attribute, or at a `data.` path."""
        if not place.startswith(_DATA):
            return user_text(self.attributes.get(place))
        try:
            found = msgspec.json.decode(self.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        for step in place[len(_DATA) :].split("."):
            found = found.get(step) if isinstance(found, dict) else None
        return user_text(found)


def check_user_place(place: str, *loc: str | int) -> None:
    """Refuse a place where no event has its user. Raises Invalid at its place."""
    in_data = place.startswith(_DATA) and all(place[len(_DATA) :].split("."))
    if not (in_data or _ATTRIBUTE.fullmatch(place)):
        msg = "must be the name of an attribute, such as subject, or data. and a path, such as data.customer.id"
        raise Invalid.at(*loc, msg=msg)


def is_batch(headers: Headers) -> bool:
    """Whether a request says that it has several events."""
    return _media_type(headers) == _BATCH


def read(headers: Headers, body: bytes) -> CloudEvent:
    """Read the one event of a request in structured or binary mode. Raises Invalid."""
    media_type = _media_type(headers)
    if media_type == _ONE:
        return read_structured(body, "body")
    if media_type.startswith(b"application/cloudevents"):
        msg = "of the event formats only JSON is known: application/cloudevents+json"
        raise Invalid.at("header", "content-type", msg=msg)
    return _read_binary(headers, body)


def parts_of(body: bytes) -> list[bytes]:
    """Return the events of a batch, unread. Raises Invalid."""
    try:
        parts = [bytes(raw) for raw in _list.decode(body)]
        check_text(body)
    except msgspec.ValidationError:
        raise Invalid.at("body", msg="a batch is an array of events") from None
    except msgspec.DecodeError as error:
        raise syntax_problem(error, body) from None
    except UnicodeDecodeError:
        raise Invalid.at("body", msg="the body is not UTF-8", type="json_invalid") from None
    except RecursionError:
        raise Invalid.at("body", msg=TOO_DEEP, type="json_invalid") from None
    return parts


def read_structured(text: bytes, *loc: str | int) -> CloudEvent:
    """Read an event in the JSON format. Raises Invalid at its place."""
    try:
        members = _members.decode(text)
        check_text(text)
        values = {
            name: msgspec.json.decode(raw) for name, raw in members.items() if name not in {"data", "data_base64"}
        }
    except msgspec.ValidationError:
        raise Invalid.at(*loc, msg="an event is an object") from None
    except msgspec.DecodeError as error:
        problem = syntax_problem(error, text).problems[0]
        raise Invalid.at(*loc, msg=problem.msg, type=problem.type) from None
    except (UnicodeDecodeError, RecursionError):
        raise Invalid.at(*loc, msg="the event is not UTF-8, or nested too deeply", type="json_invalid") from None
    attributes = _texts(values, *loc)
    _check(attributes, *loc)
    data, content_type = _structured_data(members, attributes.get("datacontenttype"), *loc)
    _check_size(data, *loc, "data")
    return CloudEvent(attributes=attributes, data=data, content_type=content_type)


def _read_binary(headers: Headers, body: bytes) -> CloudEvent:
    attributes = {
        # Values are UTF-8, percent-encoded where a header cannot hold a character (HTTP binding, section 3.1.3.2).
        name[len(_BINARY) :].decode("latin-1"): unquote(_unquoted(value.decode("latin-1")))
        for name, value in headers
        if name.startswith(_BINARY)
    }
    if not attributes:
        msg = "no CloudEvent: send ce-* headers, or the type application/cloudevents+json"
        raise Invalid.at("header", "ce-specversion", msg=msg, type="missing")
    _check(attributes, "header")
    _check_size(body, "body")
    stated = header(headers, b"content-type")
    content_type = stated.decode("latin-1") if stated is not None else None
    return CloudEvent(
        attributes=attributes,
        data=body or b"{}",
        is_binary=bool(body),
        content_type=None if content_type is None or _JSON_TYPE.fullmatch(content_type) else content_type,
    )


def _media_type(headers: Headers) -> bytes:
    return (header(headers, b"content-type") or b"").partition(b";")[0].strip().lower()


def _unquoted(value: str) -> str:
    if len(value) < 2 or not value[0] == value[-1] == '"':
        return value
    return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")


def _texts(values: Mapping[str, object], *loc: str | int) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in values.items():
        if value is None:  # an attribute that is null is one that was left out (JSON format, section 2.2)
            continue
        if isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, (str, int)):
            texts[name] = str(value)
        else:
            raise Invalid.at(*loc, name, msg="an attribute must be text, a whole number or true or false")
    return texts


def _check(attributes: Mapping[str, str], *loc: str | int) -> None:
    prefix = _BINARY.decode() if loc == ("header",) else ""
    version = attributes.get("specversion")
    if version != "1.0":
        kind = "missing" if version is None else "value_error"
        raise Invalid.at(*loc, f"{prefix}specversion", msg="must be 1.0", type=kind)
    for name in _REQUIRED:
        if not attributes.get(name):
            raise Invalid.at(*loc, f"{prefix}{name}", msg="this attribute is required", type="missing")
    if len(attributes["type"]) > LONGEST_NAME:
        raise Invalid.at(*loc, f"{prefix}type", msg=f"must have at most {LONGEST_NAME} characters")
    if "time" in attributes and instant_of(attributes["time"]) is None:
        raise Invalid.at(*loc, f"{prefix}time", msg="must be a time as RFC 3339 writes it")


def _structured_data(members: Mapping[str, Raw], stated: str | None, *loc: str | int) -> tuple[bytes, str | None]:
    content_type = None if stated is None or _JSON_TYPE.fullmatch(stated) else stated
    encoded = members.get("data_base64")
    if encoded is not None:
        try:
            return base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True), content_type
        except (msgspec.DecodeError, binascii.Error, ValueError):
            raise Invalid.at(*loc, "data_base64", msg="must be base64 text") from None
    data = bytes(members["data"]) if "data" in members else b"{}"
    if content_type is None or data[:1] != b'"':
        return data, None
    try:
        return msgspec.json.decode(data, type=str).encode(), content_type  # text of another kind than JSON
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise Invalid.at(*loc, "data", msg="not JSON", type="json_invalid") from None


def _check_size(data: bytes, *loc: str | int) -> None:
    if len(data) > DATA_LIMIT_BYTES:
        raise Invalid.at(*loc, msg=f"larger than {DATA_LIMIT_BYTES} bytes", type="too_large")
