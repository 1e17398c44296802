"""The reference model's limits: who may enter again, and how many messages somebody may get."""

from typing import Any

from reference_records import Counted, Json, Now, Person

from posthorn.calendars import WindowKind, window_start_ms


def not_eligible(person: Person, automation: Json, key: str, at_ms: int, zone: Any) -> str | None:
    """Say why somebody may not enter again, None when they may. All that ever fired is looked at."""
    rule = automation["eligibility"]
    fired = [when for name, of, when in person.firings if name == automation["id"] and of == key]
    if rule["type"] == "always" or not fired:
        return None
    if rule["type"] == "again_after":
        return "fired_recently" if at_ms - max(fired) < rule["seconds"] * 1000 else None
    if rule["type"] == "once_per_period":
        since_ms = window_start_ms(WindowKind(rule["period"]), at_ms, zone)
        return "fired_recently" if max(fired) >= since_ms else None
    return "fired_before"


def receive(person: Person, counted: Counted, received_ms: int | None) -> None:
    """Count a request that somebody received at an instant, or did not."""
    if received_ms is None:
        give_back(person, counted)
        return
    mine = [one for one in person.firings if one[:2] == counted[:2]]
    last_ms = max([one[2] for one in mine] + [received_ms, counted[2] + 1])
    if mine:
        person.firings.remove(max(mine, key=lambda one: one[2]))
    person.firings.append((*counted[:2], last_ms))


def give_back(person: Person, counted: Counted) -> None:
    """Forget that somebody fired, unless something was received or they fired since."""
    mine = [one for one in person.firings if one[:2] == counted[:2]]
    if mine and max(one[2] for one in mine) == counted[2]:
        person.firings = [one for one in person.firings if one[:2] != counted[:2]]
        person.given_back.add(counted[:2])


def is_capped(now: Now, automation: Json, caps: list[Json], zone: Any) -> bool:
    """Tell whether a message would be one too many. All messages that were ever sent are looked at."""
    flow = automation["flow"]
    if flow.get("ignoresCaps"):
        return False
    return any(
        _sent(now, cap, zone) >= cap["most"] for cap in caps if _is_of(cap, flow.get("channel"), flow.get("tags", ()))
    )


def _sent(now: Now, cap: Json, zone: Any) -> int:
    if "period" in cap:
        since_ms = window_start_ms(WindowKind(cap["period"]), now.at_ms, zone)
    else:
        since_ms = now.at_ms - cap["seconds"] * 1000 + 1
    return sum(at_ms >= since_ms and _is_of(cap, channel, tags) for at_ms, channel, tags in now.person.messages)


def _is_of(cap: Json, channel: str | None, tags: Any) -> bool:
    return cap.get("channel") in (None, channel) and (cap.get("tag") is None or cap["tag"] in tags)
