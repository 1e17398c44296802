"""From JSON to a tree of conditions. Every problem is reported, each with its place in the tree."""

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from posthorn.conditions.fields import parse_field
from posthorn.conditions.tree import (
    MAX_DEPTH,
    MAX_LISTED_VALUES,
    MAX_NODES,
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Not,
    Operator,
)
from posthorn.errors import Invalid, Problem

Loc = tuple[str | int, ...]

_BRANCHES: Final = ("all", "any", "not")
_LEAF: Final = ("field", "operator", "value")
_OPERATORS: Final = {str(operator): operator for operator in Operator}
_MAX_PROBLEMS: Final = 100
_SHAPES: Final = 'one of {"all": […]}, {"any": […]}, {"not": {…}}, {"field": …, "operator": …, "value": …}'


def decode_conditions(raw: object) -> Condition:
    """Decode conditions from JSON bytes, or from JSON that is decoded already.

    Raises Invalid with a problem for each fault found; `loc` is the path in the tree: `("all", 0, "value")`.
    """
    if isinstance(raw, (bytes, bytearray, memoryview)):
        try:
            raw = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Invalid.at(msg=f"not JSON: {error}", type="json_invalid") from None
    decoder = _Decoder()
    condition = decoder.decode(raw, (), 1)
    if decoder.problems or condition is None:
        raise Invalid(*decoder.problems)
    return condition


class _Decoder:
    """Walks the JSON once. A part that cannot be decoded becomes None and at least one problem."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._nodes = 0

    def decode(self, raw: object, loc: Loc, depth: int) -> Condition | None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self._refuse(loc, f"more than {MAX_NODES:,} conditions", "too_many")
            return None
        if depth > MAX_DEPTH:
            self._refuse(loc, f"conditions are nested more than {MAX_DEPTH} deep", "too_deep")
            return None
        if not isinstance(raw, dict):
            self._refuse(loc, f"expected an object: {_SHAPES}")
            return None
        return self._decode_object(raw, loc, depth)

    def _decode_object(self, raw: dict[Any, Any], loc: Loc, depth: int) -> Condition | None:
        branch = next((name for name in _BRANCHES if name in raw), None)
        known = _LEAF if branch is None else (branch,)
        for name in raw:
            if name not in known:
                self._refuse((*loc, str(name)), f"unknown field here; expected {_SHAPES}", "unknown_field")
        if branch == "all":
            children = self._decode_list(raw["all"], (*loc, "all"), depth)
            return None if children is None else AllOf(conditions=children)
        if branch == "any":
            children = self._decode_list(raw["any"], (*loc, "any"), depth)
            return None if children is None else AnyOf(conditions=children)
        if branch == "not":
            inner = self.decode(raw["not"], (*loc, "not"), depth + 1)
            return None if inner is None else Not(condition=inner)
        return self._decode_comparison(raw, loc)

    def _decode_list(self, raw: object, loc: Loc, depth: int) -> tuple[Condition, ...] | None:
        # A tuple comes from a tree that was built in code.
        if not isinstance(raw, (list, tuple)):
            self._refuse(loc, "expected a list of conditions")
            return None
        if not raw:
            self._refuse(loc, "an empty list decides nothing; leave the conditions out instead")
            return None
        children = [self.decode(child, (*loc, at), depth + 1) for at, child in enumerate(raw)]
        complete = tuple(child for child in children if child is not None)
        return complete if len(complete) == len(children) else None

    def _decode_comparison(self, raw: dict[Any, Any], loc: Loc) -> Comparison | None:
        missing = [name for name in _LEAF if name not in raw]
        for name in missing:
            self._refuse((*loc, name), f"'{name}' is missing", "missing")
        if missing:
            return None
        operator = _OPERATORS.get(raw["operator"]) if isinstance(raw["operator"], str) else None
        faults = {
            "field": _field_fault(raw["field"]),
            "operator": None if operator else f"unknown operator; expected one of {', '.join(Operator)}",
            "value": _value_fault(operator, raw["value"]),
        }
        for name, fault in faults.items():
            if fault:
                self._refuse((*loc, name), fault)
        if operator is None or any(faults.values()):
            return None
        return Comparison(field=raw["field"], operator=operator, value=raw["value"])

    def _refuse(self, loc: Loc, msg: str, type: str = "value_error") -> None:  # noqa: A002 - the wire name
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(loc=loc, msg=msg, type=type))


def _field_fault(field: object) -> str | None:
    """Say what is wrong with a path, if anything is."""
    steps = parse_field(field) if isinstance(field, str) else "expected a text like event.data.total"
    return steps if isinstance(steps, str) else None


def _value_fault(operator: Operator | None, value: object) -> str | None:
    """Say what is wrong with the value that an operator compares with, if anything is."""
    fault = _json_fault(value, 1)
    if fault:
        return fault
    check = _VALUE_CHECKS.get(operator) if operator else None
    if check is None or check[0](value):
        return None
    return f"'{operator}' needs {check[1]}"


def _is_orderable(value: object) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MAX_LISTED_VALUES


_ORDERABLE: Final = (_is_orderable, "a number or a text")
_LIST: Final = (_is_list, f"a list of 1 to {MAX_LISTED_VALUES:,} values")
_TEXT: Final = (lambda value: isinstance(value, str), "a text")
_VALUE_CHECKS: Final[dict[Operator, tuple[Callable[[object], bool], str]]] = {
    Operator.GT: _ORDERABLE,
    Operator.GTE: _ORDERABLE,
    Operator.LT: _ORDERABLE,
    Operator.LTE: _ORDERABLE,
    Operator.IN: _LIST,
    Operator.NOT_IN: _LIST,
    Operator.STARTS_WITH: _TEXT,
    Operator.ENDS_WITH: _TEXT,
    Operator.EXISTS: (lambda value: isinstance(value, bool), "true or false"),
}


def _json_fault(value: object, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"the value is nested more than {MAX_DEPTH} deep"
    if value is None or isinstance(value, (bool, int, str)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else "the number is not finite"
    if isinstance(value, list):
        return next(filter(None, (_json_fault(item, depth + 1) for item in value)), None)
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return next(filter(None, (_json_fault(item, depth + 1) for item in value.values())), None)
    return f"a {type(value).__name__} is no JSON value"
