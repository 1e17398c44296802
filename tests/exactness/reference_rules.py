"""The reference model's conditions and templates: the few kinds that its automations use, read from their JSON."""

import re
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
_PRINTED = re.compile(r"\{\{ ([a-z_A-Z.]+)(?: \| default: (\"[^\"]*\"|\d+))? \}\}")
_ABORTS = re.compile(r"\{% if event\.data\.n >= (\d+) %\}\{% abort_message\('enough'\) %\}\{% endif %\}")


@dataclass(kw_only=True)
class Facts:
    """What conditions and templates see, and all events of the person, this one included."""

    seen: Json
    events: list[Any]
    segments: set[str]
    now_ms: int


def found(path: str, seen: Any) -> Any:
    """Follow a path with dots; None where it leads nowhere."""
    for step in path.split("."):
        seen = seen.get(step) if isinstance(seen, dict) else None
    return seen


class AbortedError(Exception):
    """A template says that nothing is to be sent."""


def printed(template: str, facts: Facts) -> str:
    """Print a template."""
    aborts = _ABORTS.match(template)
    if aborts is not None:
        if found("event.data.n", facts.seen) >= int(aborts[1]):
            raise AbortedError
        template = template[aborts.end() :]

    def value(match: re.Match[str]) -> str:
        here = found(match[1], facts.seen)
        if here is None:
            assert match[2] is not None, f"{match[0]} is absent"
            return match[2].strip('"')
        return str(here)

    return _PRINTED.sub(value, template)


def is_timed(rule: Json) -> bool:
    """Tell whether time alone may change a condition."""
    inner = [*rule.get("all", ()), *rule.get("any", ()), *([rule["not"]] if "not" in rule else [])]
    return "withinSeconds" in rule.get("performed", {}) or any(map(is_timed, inner))


def holds(rule: Json, facts: Facts) -> bool:  # noqa: PLR0911 - one for each kind of rule
    """Tell whether a condition holds."""
    if "all" in rule:
        return all(holds(one, facts) for one in rule["all"])
    if "any" in rule:
        return any(holds(one, facts) for one in rule["any"])
    if "not" in rule:
        return not holds(rule["not"], facts)
    if "count" in rule:
        count = found(f"counts.{rule['count']['event']}.count", facts.seen) or 0
        return _compared(rule["count"]["op"], count, rule["count"]["value"])
    if "performed" in rule:
        return _performed(rule["performed"], facts)
    if "subscription" in rule:
        state = found(f"profile.subscriptions.{rule['subscription']['channel']}", facts.seen)
        return (state or "unknown") in rule["subscription"]["is"]
    if "segment" in rule:
        return (rule["segment"]["segment"] in facts.segments) == (rule["segment"]["is"] == "in")
    value = found(rule["field"], facts.seen)
    return value is not None and _compared(rule["operator"], value, rule["value"])


def _compared(operator: str, left: Any, right: Any) -> bool:
    if operator == "every":
        return left > 0 and left % right == 0
    if operator == "eq":
        return left == right
    return left >= right if operator == "gte" else left < right


def _performed(rule: Json, facts: Facts) -> bool:
    since_ms = facts.now_ms - rule["withinSeconds"] * 1000 if "withinSeconds" in rule else None
    times = [
        event.occurred_ms
        for event in facts.events
        if event.type == rule["event"]
        and (since_ms is None or event.occurred_ms > since_ms)
        and ("where" not in rule or _matches(rule["where"], event))
    ]
    if "atLeast" in rule:
        return len(times) >= rule["atLeast"]
    return len(times) <= rule["atMost"] if "atMost" in rule else len(times) == rule["exactly"]


def _matches(rule: Json, event: Any) -> bool:
    return holds(rule, Facts(seen={"event": {"data": event.data}}, events=[], segments=set(), now_ms=0))


def looked_at(rule: Json) -> str | None:
    """Name the events that a rule over what happened looks at."""
    event: str | None = rule.get("performed", {}).get("event")
    return event


def counts_in(rule: Json, event: Any, before: list[Any]) -> bool:
    """Tell whether an event is one of the last ones that decide a rule over what happened."""
    performed = rule.get("performed", {})
    where = performed.get("where")
    if event.type != performed.get("event") or (where is not None and not _matches(where, event)):
        return False
    times = [one.occurred_ms for one in before if one.type == event.type and (where is None or _matches(where, one))]
    keep = performed["atLeast"] if "atLeast" in performed else performed["atMost"] + 1
    return len(times) < keep or event.occurred_ms > sorted(times)[-keep]
