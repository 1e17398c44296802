"""The reference model's triggers: what lets somebody into an automation."""

from collections.abc import Iterable

from reference_records import Json, Person


def listens(automation: Json, kind: str) -> bool:
    return any(type_of(trigger, automation) == kind for trigger in automation["flow"]["triggers"])


def type_of(trigger: Json, automation: Json) -> str | None:
    """Name the events that a trigger listens to."""
    return f"$call/{automation['id']}" if trigger["type"] == "call" else trigger.get("eventType")


def is_changed(person: Person, trigger: Json, changed: set[str]) -> bool:
    if trigger["type"] != "attribute" or trigger["attribute"] not in changed:
        return False
    return "to" not in trigger or person.attributes.get(trigger["attribute"]) in trigger["to"]


def is_moved(trigger: Json, moved: Iterable[tuple[str, bool]]) -> bool:
    return trigger["type"] == "segment" and (trigger["segment"], trigger.get("moves", "enters") == "enters") in moved
