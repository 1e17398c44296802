r"""Fields: where in the facts a comparison looks.

A path starts with one of `ROOTS` (`event`, `profile`, `counts` …) and goes on with

- `.name`: the attribute of an object; a name of digits only is also the position in an array, counted from 0;
- `["any text"]`: the attribute of an object, as a JSON string, for names with a dot, a space or the like.

`event.data.items.0["unit.price"]` is the attribute `unit.price` of the first item.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

ROOTS: Final = (
    "event",
    "user",
    "source",
    "profile",
    "counts",
    "segments",
    "run",
    "steps",
    "automation",
    "delivery",
    "now",
    "local",
)
EVENT_ROOTS: Final = ("event",)
ITEM: Final = "item"
"""The root of the conditions over an array's items."""
LOCAL_FIELDS: Final = ("weekday", "minutes", "date")
MAX_FIELD_CHARACTERS: Final = 1_024
ABSENT: Final = object()

_ROOT = re.compile("[a-z]+")
# What must be named behind a root, because only what is named is loaded.
_NAMED: Final = {"counts": "an event type", "segments": "a segment", "steps": "a step"}
_STEP = re.compile(r'\.([^.\[\]"\\\s]+)|\[("(?:[^"\\]|\\.)*")\]')
_POSITION = re.compile(r"[0-9]{1,9}")

Facts = Mapping[str, Any]
Reader = Callable[[Facts], object]
# The name of an attribute, and the position in an array that the step also stands for, if any.
Step = tuple[str, int | None]


def parse_field(field: str, roots: tuple[str, ...] = (*ROOTS, ITEM)) -> tuple[Step, ...] | str:
    """Return the steps of a path, the root first; or a sentence that says what is wrong with it."""
    if len(field) > MAX_FIELD_CHARACTERS:
        return f"longer than {MAX_FIELD_CHARACTERS:,} characters"
    root = _ROOT.match(field)
    if root is None or root.group() not in roots or field[root.end() : root.end() + 1] not in {"", ".", "["}:
        return f"a field here starts with one of {', '.join(roots)}"
    steps = _parse_steps(field, root)
    return steps if isinstance(steps, str) else _root_fault(steps) or steps


def _root_fault(steps: tuple[Step, ...]) -> str | None:
    root = steps[0][0]
    if root in _NAMED and len(steps) == 1:
        return f'name {_NAMED[root]}: {root}["…"]'
    if root == "now" and len(steps) > 1:
        return "'now' is an instant and has no parts"
    if root == "local" and (len(steps) != 2 or steps[1][0] not in LOCAL_FIELDS):
        return f"expected one of {', '.join(f'local.{name}' for name in LOCAL_FIELDS)}"
    return None


def _parse_steps(field: str, root: re.Match[str]) -> tuple[Step, ...] | str:
    steps: list[Step] = [(root.group(), None)]
    at = root.end()
    while at < len(field):
        step = _STEP.match(field, at)
        if step is None:
            return f'unexpected text at character {at + 1}: write .name, .0 or ["any text"]'
        name, quoted = step.groups()
        if name is None:
            try:
                steps.append((json.loads(quoted), None))
            except ValueError:
                return f"the text in brackets at character {at + 1} is not a JSON string"
        else:
            steps.append((name, int(name) if _POSITION.fullmatch(name) else None))
        at = step.end()
    return tuple(steps)


def reader(steps: tuple[Step, ...]) -> Reader:
    """Return a function that finds the value in facts, or ABSENT."""
    (root, _), *inner = steps
    if any(position is not None for _, position in inner):
        return _reader_with_positions(root, tuple(inner))
    names = tuple(name for name, _ in inner)

    def read(facts: Facts) -> object:
        value = facts.get(root, ABSENT)
        for name in names:
            if not isinstance(value, dict):
                return ABSENT
            value = value.get(name, ABSENT)
        return value

    return read


def _reader_with_positions(root: str, steps: tuple[Step, ...]) -> Reader:
    def read(facts: Facts) -> object:
        value = facts.get(root, ABSENT)
        for name, position in steps:
            if isinstance(value, dict):
                value = value.get(name, ABSENT)
            elif position is not None and isinstance(value, list) and position < len(value):
                value = value[position]
            else:
                return ABSENT
        return value

    return read
