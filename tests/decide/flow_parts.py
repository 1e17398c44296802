"""Pieces of flows, written as their JSON is."""

from typing import Any

import msgspec

from posthorn.engine.people import EventContext, ProfileChange

HOUR = 3600
DAY = 24 * HOUR


def on(event_type: str = "order.paid", **fields: Any) -> dict[str, Any]:
    return {"type": "event", "eventType": event_type, **fields}


def send(name: str = "send", path: str | None = None, **fields: Any) -> dict[str, Any]:
    request = {"url": f"https://example.test/{path or name}"} | fields.pop("request", {})
    return {"type": "send", "name": name, "send": request, **fields}


def wait(seconds: int, name: str = "wait") -> dict[str, Any]:
    return {"type": "wait", "name": name, "seconds": seconds}


def changing(**changes: Any) -> bytes:
    """Write the context of an event that changes its person."""
    return msgspec.json.encode(EventContext(changes=ProfileChange(**changes)))
