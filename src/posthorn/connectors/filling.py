"""From what people and templates give to the variables of a connector's request."""

import hashlib
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from posthorn.clock import iso_text
from posthorn.connectors.connector import Action, Connector, Idempotency, Input, InputType
from posthorn.connectors.forms import form_problem
from posthorn.errors import Problem

_MOST_JSON_CHARACTERS: Final = 65_536
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?\Z")
_DELIVERIES: Final = uuid.UUID("6f1d2c3a-6a0e-5b57-9b8e-6c1f6d2b7a41")
_INT31: Final = 2**31 - 1


class Filled(Struct, frozen=True, kw_only=True):
    """Values that fit what was asked for; a value that was not given and has no default is None."""

    values: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Filled({', '.join(self.values)})"


class NotFilled(Struct, frozen=True, kw_only=True):
    """What does not fit, all of it."""

    problems: tuple[Problem, ...]


class _Misfit(Exception):
    """Why one value does not fit; never quotes it."""


def read_inputs(action: Action, given: Mapping[str, object]) -> Filled | NotFilled:
    """Read an action's inputs from JSON-like values or from rendered text.

    A number may come as its digits, JSON as its text, a list as a JSON array or as lines. Empty text is absent.
    """
    problems = list(unknown_names(action, given))
    values: dict[str, Any] = {}
    for name, declared in action.inputs.items():
        try:
            values[name] = _read_input(declared, given.get(name))
        except _Misfit as misfit:
            problems.append(Problem(loc=("inputs", name), msg=str(misfit)))
    return NotFilled(problems=tuple(problems)) if problems else Filled(values=values)


def unknown_names(action: Action, names: Iterable[str]) -> tuple[Problem, ...]:
    """Return a problem for each name that is no input of the action."""
    known = ", ".join(action.inputs) or "none"
    return tuple(
        Problem(loc=("inputs", name), msg=f"unknown input; this action has: {known}", type="extra_forbidden")
        for name in names
        if name not in action.inputs
    )


def read_credentials(connector: Connector, given: Mapping[str, str]) -> Filled | NotFilled:
    """Check what an account consists of. No problem ever quotes a value."""
    problems: list[Problem] = []
    values: dict[str, str | None] = {}
    for name in given:
        if name not in connector.credentials:
            known = ", ".join(connector.credentials)
            problem = Problem(loc=("credentials", name), msg=f"unknown; there are: {known}", type="extra_forbidden")
            problems.append(problem)
    for name, declared in connector.credentials.items():
        value = given.get(name) or declared.default
        values[name] = value
        wrong = form_problem(declared, value) if value else ("is required" if declared.required else None)
        if wrong is not None:
            problems.append(Problem(loc=("credentials", name), msg=wrong))
    return NotFilled(problems=tuple(problems)) if problems else Filled(values=values)


def masked_credentials(connector: Connector, values: Mapping[str, str | None], mask: str) -> dict[str, str | None]:
    """Return the credentials as the journal may show them: whatever is secret and present is the mask."""
    secrets = connector.secrets()
    return {name: mask if name in secrets and value else value for name, value in values.items()}


def request_variables(
    action: Action,
    *,
    inputs: Mapping[str, Any],
    credentials: Mapping[str, str | None],
    delivery_id: str,
    now_ms: int,
) -> dict[str, Any]:
    """Return what a request's templates see: `input`, `credential`, `delivery` {id, key} and `now` (ISO 8601)."""
    return {
        "input": inputs,
        "credential": credentials,
        "delivery": {"id": delivery_id, "key": idempotency_key(action.idempotency, delivery_id)},
        "now": iso_text(now_ms),
    }


def idempotency_key(idempotency: Idempotency | None, delivery_id: str) -> str | int:
    """Derive what the vendor recognises a repeated request by: the same for every attempt of one delivery."""
    match idempotency.derive if idempotency is not None else "as_is":
        case "uuid5":
            return str(uuid.uuid5(_DELIVERIES, delivery_id))
        case "int31":
            # Never 0, which means "no key" to VK.
            return int.from_bytes(hashlib.sha256(delivery_id.encode()).digest()[:8], "big") % _INT31 + 1
        case _:
            return delivery_id


def _read_input(declared: Input, given: object) -> object:
    value = declared.default if given is None or given == "" else given
    if value is None or value == "":
        if declared.required:
            raise _Misfit("is required")
        return None
    return _READERS[declared.type](declared, value)


def _read_text(declared: Input, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _Misfit("must be text")
    text = value if isinstance(value, str) else str(value)
    _check_length(declared, text)
    return text


def _read_number(declared: Input, value: object) -> int | float:
    if isinstance(value, str):
        stripped = value.strip()
        if _NUMBER.match(stripped) is None:
            raise _Misfit("must be a number")
        value = float(stripped) if "." in stripped else int(stripped)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _Misfit("must be a number")
    if declared.whole:
        if value != int(value):
            raise _Misfit("must be a whole number")
        value = int(value)
    if declared.minimum is not None and value < declared.minimum:
        raise _Misfit(f"must be at least {declared.minimum:g}")
    if declared.maximum is not None and value > declared.maximum:
        raise _Misfit(f"must be at most {declared.maximum:g}")
    return value


def _read_choice(declared: Input, value: object) -> str:
    values = [choice.value for choice in declared.choices]
    if value not in values:
        raise _Misfit(f"must be one of {', '.join(values)}")
    return str(value)


def _read_json(declared: Input, value: object) -> object:
    if isinstance(value, str):
        if len(value) > _MOST_JSON_CHARACTERS:
            raise _Misfit(f"is longer than {_MOST_JSON_CHARACTERS:,} characters")
        value = _parsed(value)
    if isinstance(value, list) and len(value) > declared.max_items:
        raise _Misfit(f"has more than {declared.max_items} items")
    return value


def _read_list(declared: Input, value: object) -> list[Any]:
    if isinstance(value, str):
        text = value.strip()
        value = _parsed(text) if text.startswith("[") else [line.strip() for line in text.split("\n") if line.strip()]
    if not isinstance(value, (list, tuple)):
        raise _Misfit("must be a list")
    if not value and declared.required:
        raise _Misfit("must not be empty")
    if len(value) > declared.max_items:
        raise _Misfit(f"has more than {declared.max_items} items")
    for item in value:
        if isinstance(item, str):
            _check_length(declared, item)
    return list(value)


def _check_length(declared: Input, text: str) -> None:
    if len(text) > declared.max_characters:
        raise _Misfit(f"is longer than {declared.max_characters:,} characters")
    if declared.max_bytes is not None and len(text.encode("utf-8", "surrogatepass")) > declared.max_bytes:
        raise _Misfit(f"is longer than {declared.max_bytes:,} bytes")


def _parsed(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        raise _Misfit("must be JSON") from None


_READERS: Final[dict[InputType, Callable[[Input, object], object]]] = {
    InputType.TEXT: _read_text,
    InputType.NUMBER: _read_number,
    InputType.CHOICE: _read_choice,
    InputType.JSON: _read_json,
    InputType.LIST: _read_list,
}
