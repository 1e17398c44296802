"""What conditions and templates see: `event`, `user`, `source`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from posthorn.calendars import Zone
from posthorn.calendars.days import weekday_of
from posthorn.clock import DAY_MS, MINUTE_MS, SECOND_MS, iso_text
from posthorn.engine.marks import HOPS_HEADER
from posthorn.engine.records import DecisionWork
from posthorn.engine.resources import Source


def facts_of(work: DecisionWork, source: Source | None) -> dict[str, Any]:
    """Build the facts of one event. A key is absent where there is nothing to say: no user, no source, no JSON."""
    event = work.event
    about: dict[str, Any] = {
        "id": event.id,
        "type": event.type,
        "time": iso_text(event.occurred_ms),
    }
    if event.uid is not None:
        about["uid"] = event.uid
    data = json_of(event.payload)
    if data is not None:
        about["data"] = data
    if work.head is not None:
        about["headers"] = headers_of(work.head)
    facts: dict[str, Any] = {"event": about}
    if event.user is not None:
        about["user"] = event.user
        facts["user"] = {"id": event.user}
    if source is not None:
        facts["source"] = {"id": source.id, "name": source.name, "uid": source.uid}
    return facts


_LONGEST_HOPS = 10
_PRIVATE = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


def json_of(payload: bytes | None) -> Any:
    """Decode a payload that is JSON; None when it is not."""
    if not payload:
        return None
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def headers_of(head: bytes) -> dict[str, str]:
    """Read header lines into a dict by lower-case name, credentials left out; a repeated name keeps its first value."""
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n"):
        name, separator, value = line.partition(":")
        if separator and name.lower() not in _PRIVATE:
            headers.setdefault(name.lower(), value.strip())
    return headers


def hops_of(facts: Mapping[str, Any]) -> int:
    """Return how many Posthorns the event came through."""
    value = facts["event"].get("headers", {}).get(HOPS_HEADER, "0")
    return int(value) if value.isascii() and value.isdigit() and len(value) < _LONGEST_HOPS else 0


def local_facts(now_ms: int, zone: Zone) -> dict[str, Any]:
    """Render the person's own clock: see `posthorn.conditions.local_time`."""
    wall_ms = zone.wall_ms(now_ms)
    day, of_day_ms = divmod(wall_ms, DAY_MS)
    return {
        "weekday": weekday_of(day),
        "minutes": of_day_ms // MINUTE_MS,
        "date": iso_text(day * DAY_MS)[:10],
        "offsetSeconds": (wall_ms - now_ms) // SECOND_MS,
        "offsetUntilMs": zone.steady_until_ms(now_ms),
    }
