"""What an event changes in its person's profile. Pure: profile and change in, profile and changed names out."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from posthorn.engine.people import Device, Profile, ProfileChange

_MOST_PROFILE_BYTES = 256 * 1024
_MOST_ATTRIBUTES = 1_000
_MOST_ITEMS = 1_000
_MOST_DEVICES = 50
_DEEPEST = 10


class Changed(Struct, frozen=True, kw_only=True):
    """A profile after a change, what is different in it, and what of the change could not be done."""

    profile: Profile
    attributes: frozenset[str] = frozenset()  #: top-level names whose values are other than before
    is_changed: bool = False
    refused: tuple[str, ...] = ()  #: one sentence for each part that was left out


def apply_change(profile: Profile, change: ProfileChange, *, now_ms: int) -> Changed:
    """Apply a change. A part that does not fit what is there is left out and said; the others are applied."""
    editing = _Editing(profile.attributes)
    for name, value in change.set_once.items():
        editing.edit(name, partial(_once, value))
    for name, value in change.set.items():
        editing.edit(name, partial(_put, value))
    for name, amount in change.increment.items():
        editing.edit(name, partial(_incremented, name, amount))
    for name, values in change.add.items():
        editing.edit(name, partial(_with_items, name, values))
    for name, values in change.remove.items():
        editing.edit(name, partial(_without_items, name, values))
    touched = replace(
        profile,
        attributes=editing.attributes,
        subscriptions=profile.subscriptions | {name: str(state) for name, state in change.subscriptions.items()},
        time_zone=change.time_zone or profile.time_zone,
        locale=change.locale or profile.locale,
        devices=_with_devices(profile.devices, change.devices),
    )
    if len(msgspec.json.encode(touched)) > _MOST_PROFILE_BYTES and touched != profile:
        most = _MOST_PROFILE_BYTES // 1024
        return Changed(profile=profile, refused=(f"nothing was changed: the profile would be over {most} KiB",))
    changed = _differences(profile.attributes, editing.attributes)
    if touched == profile:
        return Changed(profile=profile, refused=tuple(editing.refused))
    return Changed(
        profile=replace(touched, updated_ms=now_ms),
        attributes=changed,
        is_changed=True,
        refused=tuple(editing.refused),
    )


class _Refused(Exception):
    """This part of a change does not fit."""


class _Editing:
    """Attributes under change: objects on the way to a changed value are copied, all others stay shared."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.attributes: dict[str, Any] = dict(attributes)
        self.refused: list[str] = []

    def edit(self, name: str, change: Callable[[Any], Any]) -> None:
        """Change the value at a path with dots; a value of None deletes it."""
        steps = name.split(".")
        if len(steps) > _DEEPEST or not all(steps):
            self.refused.append(f"{name!r} is no attribute name: at most {_DEEPEST} parts, none of them empty")
            return
        try:
            self._edit(steps, change)
        except _Refused as refusal:
            self.refused.append(str(refusal))

    def _edit(self, steps: list[str], change: Callable[[Any], Any]) -> None:
        present: Any = self.attributes
        for step in steps:
            present = present.get(step) if isinstance(present, dict) else None
        value = change(present)
        if value is None and present is None:
            return
        holder = self.attributes
        for step in steps[:-1]:
            inner = holder.get(step)
            holder[step] = inner = dict(inner) if isinstance(inner, dict) else {}
            holder = inner
        if value is None:
            holder.pop(steps[-1], None)
        elif steps[-1] not in holder and len(holder) >= _MOST_ATTRIBUTES:
            raise _Refused(f"{'.'.join(steps)!r} was not set: there are {_MOST_ATTRIBUTES} attributes already")
        else:
            holder[steps[-1]] = value


def _put(value: Any, _: Any) -> Any:
    return value


def _once(value: Any, present: Any) -> Any:
    return value if present is None else present


def _incremented(name: str, amount: float, present: Any) -> int | float:
    if present is None:
        return amount
    if isinstance(present, bool) or not isinstance(present, (int, float)):
        raise _Refused(f"{name!r} was not incremented: it is a {_kind(present)}, not a number")
    return present + amount


def _with_items(name: str, values: Iterable[Any], present: Any) -> list[Any]:
    items = _items(name, present)
    items += [value for value in values if value not in items]
    if len(items) > _MOST_ITEMS:
        raise _Refused(f"nothing was added to {name!r}: it would hold more than {_MOST_ITEMS} values")
    return items


def _without_items(name: str, values: Iterable[Any], present: Any) -> list[Any] | None:
    if present is None:
        return None
    gone = list(values)
    return [item for item in _items(name, present) if item not in gone]


def _items(name: str, present: Any) -> list[Any]:
    if present is None:
        return []
    if not isinstance(present, list):
        raise _Refused(f"{name!r} was not changed: it is a {_kind(present)}, not a list")
    return list(present)


def _with_devices(present: tuple[Device, ...], put: tuple[Device, ...]) -> tuple[Device, ...]:
    if not put:
        return present
    newest = {device.id: device for device in (*present, *put)}
    kept = sorted(newest.values(), key=lambda device: -device.seen_ms)[:_MOST_DEVICES]
    return tuple(kept)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        name
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name) or type(before.get(name)) is not type(after.get(name))
    )


def _kind(value: Any) -> str:
    names = {str: "text", bool: "yes-or-no value", dict: "nested object", list: "list", int: "number", float: "number"}
    return names.get(type(value), "value")


def absorbed(profile: Profile, other: Profile, *, now_ms: int) -> Profile:
    """Put what is known of another profile into this one; where both know something, this one's word holds."""
    windows = {
        key: sorted((*profile.windows.get(key, ()), *other.windows.get(key, ())))[-_MOST_ITEMS:]
        for key in profile.windows.keys() | other.windows.keys()
    }
    messages = {
        key: sorted((*profile.messages.get(key, ()), *other.messages.get(key, ())))[-_MOST_ITEMS:]
        for key in profile.messages.keys() | other.messages.keys()
    }
    return replace(
        profile,
        created_ms=min(profile.created_ms, other.created_ms),
        updated_ms=now_ms,
        attributes={**other.attributes, **profile.attributes},
        subscriptions={**other.subscriptions, **profile.subscriptions},
        time_zone=profile.time_zone or other.time_zone,
        locale=profile.locale or other.locale,
        devices=_with_devices(other.devices, profile.devices),
        aliases=tuple(dict.fromkeys((*profile.aliases, *other.aliases, other.user))),
        windows=windows,
        messages=messages,
    )
