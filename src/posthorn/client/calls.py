"""The calls of both clients: each makes the JSON of one event and queues it. They do no input or output."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from posthorn.client.errors import EventTooLarge, InvalidCall
from posthorn.client.lanes import Lane, LaneName

Values = Mapping[str, Any]

_encode = msgspec.json.Encoder().encode


def _library() -> dict[str, str]:
    try:
        return {"name": "posthorn-python", "version": version("posthorn")}
    except PackageNotFoundError:  # copied out of the project
        return {"name": "posthorn-python", "version": "0"}


_LIBRARY = _library()


class Calls(ABC):
    """What happened to whom. Every call queues one event and returns its id at once; sending happens behind it.

    Values are what JSON has, and `datetime`, `date`, `UUID`, `Decimal`, dataclasses and msgspec structs; NaN becomes
    null. They are read during the call, so changing them later changes nothing. The same `message_id` (or `event_id`)
    twice is one event to the server: pass your own where a call may be repeated, such as in a job that is retried.

    Every call raises InvalidCall, EventTooLarge, QueueFull and ClientClosed.
    """

    def __init__(self, lanes: Mapping[LaneName, Lane], *, largest_event_bytes: int) -> None:
        self._lanes = lanes
        self._largest_event_bytes = largest_event_bytes

    def track(
        self,
        event: str,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        properties: Values | None = None,
        timestamp: datetime | None = None,
        message_id: str | None = None,
        context: Values | None = None,
    ) -> str:
        """Someone did something."""
        call = {"type": "track", "event": _text("event", event), "properties": properties or {}}
        return self._queue(_said_of(call, user_id, anonymous_id), timestamp, message_id, context)

    def identify(
        self,
        user_id: str | None = None,
        *,
        anonymous_id: str | None = None,
        traits: Values | None = None,
        timestamp: datetime | None = None,
        message_id: str | None = None,
        context: Values | None = None,
    ) -> str:
        """Someone is known to be so: `traits` change the person's profile."""
        call = {"type": "identify", "traits": traits or {}}
        return self._queue(_said_of(call, user_id, anonymous_id), timestamp, message_id, context)

    def page(
        self,
        name: str | None = None,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        properties: Values | None = None,
        timestamp: datetime | None = None,
        message_id: str | None = None,
        context: Values | None = None,
    ) -> str:
        """Someone looked at a web page."""
        call = _named({"type": "page", "properties": properties or {}}, name)
        return self._queue(_said_of(call, user_id, anonymous_id), timestamp, message_id, context)

    def screen(
        self,
        name: str | None = None,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        properties: Values | None = None,
        timestamp: datetime | None = None,
        message_id: str | None = None,
        context: Values | None = None,
    ) -> str:
        """Someone looked at a screen of an app."""
        call = _named({"type": "screen", "properties": properties or {}}, name)
        return self._queue(_said_of(call, user_id, anonymous_id), timestamp, message_id, context)

    def group(
        self,
        group_id: str,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        traits: Values | None = None,
        timestamp: datetime | None = None,
        message_id: str | None = None,
        context: Values | None = None,
    ) -> str:
        """Someone belongs to a company, a team, an account; `traits` describe that group."""
        call = {"type": "group", "groupId": _text("group_id", group_id), "traits": traits or {}}
        return self._queue(_said_of(call, user_id, anonymous_id), timestamp, message_id, context)

    def alias(
        self,
        previous_id: str,
        user_id: str,
        *,
        timestamp: datetime | None = None,
        message_id: str | None = None,
        context: Values | None = None,
    ) -> str:
        """Two ids are one person: what was known under `previous_id` belongs to `user_id`."""
        call = {
            "type": "alias",
            "previousId": _text("previous_id", previous_id),
            "userId": _text("user_id", user_id),
        }
        return self._queue(call, timestamp, message_id, context)

    def publish(
        self,
        event_type: str,
        data: Any = None,
        *,
        user: str | None = None,
        event_id: str | None = None,
        time: datetime | None = None,
    ) -> str:
        """Publish an event of our own API: `event_type` is a dotted name, `data` any JSON (null becomes {}).

        Needs an `api_key`; the calls above need a `write_key`.
        """
        event = {
            "id": _id("event_id", event_id),
            "type": _text("event_type", event_type),
            "data": {} if data is None else data,
            # The time is set here: what waits in the queue happened when the call was made.
            "time": _instant("time", time),
        }
        if user is not None:
            event["user"] = _text("user", user)
        return self._offer(LaneName.EVENTS, event["id"], event)

    @abstractmethod
    def _put(self, lane: LaneName, message_id: str, body: bytes) -> None:
        """Queue an event of a lane that this client has."""

    def _queue(
        self, call: dict[str, Any], timestamp: datetime | None, message_id: str | None, context: Values | None
    ) -> str:
        call["messageId"] = _id("message_id", message_id)
        call["timestamp"] = _instant("timestamp", timestamp)
        call["context"] = {"library": _LIBRARY, **(context or {})}
        return self._offer(LaneName.TRACKING, call["messageId"], call)

    def _offer(self, lane: LaneName, message_id: str, value: Values) -> str:
        if lane not in self._lanes:
            key, call = ("write_key", "this call") if lane is LaneName.TRACKING else ("api_key", "publish()")
            raise InvalidCall(f"{call} needs the client to be made with {key}=")
        body = _json(value)
        if len(body) > self._largest_event_bytes:
            raise EventTooLarge(f"the event has {len(body)} bytes; at most {self._largest_event_bytes} are sent")
        self._put(lane, message_id, body)
        return message_id


def iso_text(at: datetime) -> str:
    """Write an instant as ISO 8601 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: Values) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidCall(f"this cannot be written as JSON: {error}") from error


def _said_of(call: dict[str, Any], user_id: str | None, anonymous_id: str | None) -> dict[str, Any]:
    if user_id is None and anonymous_id is None:
        raise InvalidCall("say of whom: user_id or anonymous_id (or both)")
    if user_id is not None:
        call["userId"] = _text("user_id", user_id)
    if anonymous_id is not None:
        call["anonymousId"] = _text("anonymous_id", anonymous_id)
    return call


def _named(call: dict[str, Any], name: str | None) -> dict[str, Any]:
    if name is not None:
        call["name"] = _text("name", name)
    return call


def _text(name: str, value: Any) -> str:
    # Ids of databases are numbers, and the server takes texts only: one event of a batch would be refused later.
    if not isinstance(value, str) or not value:
        raise InvalidCall(f"{name} must be a text that is not empty, not {type(value).__name__}")
    return value


def _id(name: str, value: str | None) -> str:
    return str(uuid.uuid4()) if value is None else _text(name, value)


def _instant(name: str, value: Any) -> str:
    if value is None:
        return iso_text(datetime.now(UTC))
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidCall(f"{name} must be a datetime with a time zone, such as datetime.now(UTC)")
    return iso_text(value)
