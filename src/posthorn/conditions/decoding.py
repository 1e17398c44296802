"""From JSON to a tree of conditions. Every problem is reported, each with its place in the tree."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from posthorn.conditions.cel import expression_fault
from posthorn.conditions.checks import MAX_SECONDS, Check, name, one_of, some_of, value_fault, whole_number
from posthorn.conditions.fields import EVENT_ROOTS, ITEM, ROOTS, parse_field
from posthorn.conditions.local_time import minutes_of
from posthorn.conditions.timing import is_relative
from posthorn.conditions.tree import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_TIMES,
    NOW,
    TIME_OPERATORS,
    AllOf,
    AnyOf,
    Cel,
    Comparison,
    Condition,
    Count,
    CountOperator,
    CountRule,
    InSegment,
    Items,
    ItemsRule,
    LocalTime,
    Membership,
    Not,
    Operator,
    Performed,
    PerformedRule,
    Quantifier,
    SegmentRule,
    Subscription,
    SubscriptionRule,
    SubscriptionState,
    TimeRule,
    Weekday,
)
from posthorn.errors import Invalid, Problem

Loc = tuple[str | int, ...]

_LEAF: Final = ("field", "operator", "value")
_VALUELESS: Final = frozenset({Operator.IS_SET, Operator.IS_NOT_SET})
_OPERATORS: Final = {str(operator): operator for operator in Operator}
_MAX_PROBLEMS: Final = 100
_KINDS: Final = ("all", "any", "not", "items", "count", "performed", "segment", "subscription", "time", "cel")
_SHAPES: Final = (
    'one of {"all": […]}, {"any": […]}, {"not": {…}}, {"field": …, "operator": …, "value": …}, '
    + ", ".join(f'{{"{kind}": …}}' for kind in _KINDS[3:])
)
# Of these a performed event knows nothing: it is put into its window once, by what is in it.
_BEYOND_EVENTS: Final = frozenset({"count", "performed", "segment", "subscription", "time"})
_MOST_COUNTED: Final = 1_000_000_000


class Place(Struct, frozen=True, kw_only=True):
    """What may stand at a place in the tree."""

    depth: int
    roots: tuple[str, ...] = ROOTS  #: facts that may be looked at
    in_items: bool = False

    @property
    def is_of_event(self) -> bool:
        """Whether only the event may be looked at, and not the clock."""
        return "profile" not in self.roots


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
    condition = decoder.decode(raw, (), Place(depth=1))
    if decoder.problems or condition is None:
        raise Invalid(*decoder.problems)
    return condition


class _Decoder:
    """Walks the JSON once. A part that cannot be decoded becomes None and at least one problem."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._nodes = 0

    def decode(self, raw: object, loc: Loc, place: Place) -> Condition | None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self._refuse(loc, f"more than {MAX_NODES:,} conditions", "too_many")
            return None
        if place.depth > MAX_DEPTH:
            self._refuse(loc, f"conditions are nested more than {MAX_DEPTH} deep", "too_deep")
            return None
        if not isinstance(raw, dict):
            self._refuse(loc, f"expected an object: {_SHAPES}")
            return None
        kind = next((kind for kind in _KINDS if kind in raw), None)
        self._refuse_unknown(raw, loc, _LEAF if kind is None else (kind,))
        if kind is None:
            return self._comparison(raw, loc, place)
        if place.is_of_event and kind in _BEYOND_EVENTS:
            self._refuse((*loc, kind), "only conditions over the event itself may stand here")
            return None
        return self._of_kind(kind, raw[kind], (*loc, kind), place)

    def _of_kind(self, kind: str, raw: Any, loc: Loc, place: Place) -> Condition | None:
        match kind:
            case "all" | "any":
                children = self._list(raw, loc, place)
                branch = AllOf if kind == "all" else AnyOf
                return None if children is None else branch(conditions=children)
            case "not":
                inner = self.decode(raw, loc, _deeper(place))
                return None if inner is None else Not(condition=inner)
            case "items":
                return self._items(raw, loc, place)
            case "performed":
                return self._performed(raw, loc, place)
            case "cel":
                return self._cel(raw, loc, place)
        return self._plain(kind, raw, loc)

    def _plain(self, kind: str, raw: Any, loc: Loc) -> Condition | None:
        """Decode a rule that has no conditions inside."""
        known, needed = _PLAIN[kind]
        if not self._is_body(raw, loc, known, needed):
            return None
        match kind:
            case "count":
                operator = CountOperator(raw["op"])
                if operator is CountOperator.EVERY and raw["value"] == 0:
                    self._refuse((*loc, "value"), "'every' needs at least 1")
                    return None
                return Count(count=CountRule(event=raw["event"], op=operator, value=raw["value"]))
            case "segment":
                return InSegment(segment=SegmentRule(membership=Membership(raw["is"]), segment=raw["segment"]))
            case "subscription":
                states = tuple(map(SubscriptionState, raw["is"]))
                return Subscription(subscription=SubscriptionRule(channel=raw["channel"], states=states))
        return self._time(raw, loc)

    def _time(self, raw: Any, loc: Loc) -> LocalTime | None:
        start, end = raw.get("from"), raw.get("to")
        weekdays = raw.get("weekdays")
        if (start is None) is not (end is None):
            self._refuse((*loc, "to" if end is None else "from"), "'from' and 'to' go together", "missing")
        elif start is None and weekdays is None:
            self._refuse(loc, "expected 'from' and 'to', or 'weekdays', or all three", "missing")
        elif start is not None and start == end:
            self._refuse((*loc, "to"), "'from' and 'to' are the same time; leave both out for whole days")
        else:
            days = None if weekdays is None else tuple(map(Weekday, weekdays))
            return LocalTime(time=TimeRule(start=start, end=end, weekdays=days))
        return None

    def _performed(self, raw: Any, loc: Loc, place: Place) -> Performed | None:
        if not self._is_body(raw, loc, _PERFORMED, ("event",)):
            return None
        bounds = [bound for bound in ("atLeast", "atMost", "exactly") if raw.get(bound) is not None]
        if len(bounds) != 1:
            self._refuse(loc, "expected exactly one of 'atLeast', 'atMost', 'exactly'")
        where = raw.get("where")
        if where is not None:
            inner = Place(depth=place.depth + 1, roots=EVENT_ROOTS)
            where = self.decode(where, (*loc, "where"), inner)
        if len(bounds) != 1 or (where is None and raw.get("where") is not None):
            return None
        return Performed(
            performed=PerformedRule(
                event=raw["event"],
                where=where,
                at_least=raw.get("atLeast"),
                at_most=raw.get("atMost"),
                exactly=raw.get("exactly"),
                within_seconds=raw.get("withinSeconds"),
            )
        )

    def _items(self, raw: Any, loc: Loc, place: Place) -> Items | None:
        if place.in_items:
            self._refuse(loc, "the items of an item cannot be looked at")
            return None
        if not self._is_body(raw, loc, _ITEMS, tuple(_ITEMS)):
            return None
        fault = _field_fault(raw["field"], place)
        if fault:
            self._refuse((*loc, "field"), fault)
        roots = (*place.roots, ITEM)
        where = self.decode(raw["where"], (*loc, "where"), Place(depth=place.depth + 1, roots=roots, in_items=True))
        if fault or where is None:
            return None
        return Items(items=ItemsRule(field=raw["field"], match=Quantifier(raw["match"]), where=where))

    def _cel(self, raw: Any, loc: Loc, place: Place) -> Cel | None:
        fault = expression_fault(raw, place.roots)
        if fault:
            self._refuse(loc, fault, "cel_invalid")
            return None
        return Cel(cel=raw)

    def _list(self, raw: object, loc: Loc, place: Place) -> tuple[Condition, ...] | None:
        # A tuple comes from a tree that was built in code.
        if not isinstance(raw, (list, tuple)):
            self._refuse(loc, "expected a list of conditions")
            return None
        if not raw:
            self._refuse(loc, "an empty list decides nothing; leave the conditions out instead")
            return None
        children = [self.decode(child, (*loc, at), _deeper(place)) for at, child in enumerate(raw)]
        complete = tuple(child for child in children if child is not None)
        return complete if len(complete) == len(children) else None

    def _comparison(self, raw: dict[Any, Any], loc: Loc, place: Place) -> Comparison | None:
        operator = _OPERATORS.get(raw["operator"]) if isinstance(raw.get("operator"), str) else None
        needed = _LEAF[:2] if operator in _VALUELESS else _LEAF
        if not self._has_all(raw, loc, needed):
            return None
        value = raw.get("value", UNSET)
        faults = {
            "field": _field_fault(raw["field"], place),
            "operator": None if operator else f"unknown operator; expected one of {', '.join(Operator)}",
            "value": _comparison_value_fault(operator, value),
        }
        for part, fault in faults.items():
            if fault:
                self._refuse((*loc, part), fault)
        if operator is None or any(faults.values()):
            return None
        comparison = Comparison(field=raw["field"], operator=operator, value=value)
        fault = _clock_fault(comparison, place)
        if fault:
            self._refuse((*loc, "operator"), fault)
        return None if fault else comparison

    def _is_body(self, raw: Any, loc: Loc, known: Mapping[str, Check | None], needed: tuple[str, ...]) -> bool:
        """Check the parts of a rule, each by itself; null stands for a part that is left out."""
        if not isinstance(raw, dict):
            self._refuse(loc, f"expected an object with {', '.join(known)}")
            return False
        before = len(self.problems)
        self._refuse_unknown(raw, loc, tuple(known))
        self._has_all({part: value for part, value in raw.items() if value is not None}, loc, needed)
        for part, check in known.items():
            fault = check(raw[part]) if check is not None and raw.get(part) is not None else None
            if fault:
                self._refuse((*loc, part), fault)
        return len(self.problems) == before < _MAX_PROBLEMS

    def _has_all(self, raw: dict[Any, Any], loc: Loc, needed: tuple[str, ...]) -> bool:
        missing = [part for part in needed if part not in raw]
        for part in missing:
            self._refuse((*loc, part), f"'{part}' is missing", "missing")
        return not missing

    def _refuse_unknown(self, raw: dict[Any, Any], loc: Loc, known: tuple[str, ...]) -> None:
        wanted = _SHAPES if known == _LEAF or len(known) == 1 else ", ".join(known)
        for part in raw:
            if part not in known:
                self._refuse((*loc, str(part)), f"unknown field here; expected {wanted}", "unknown_field")

    def _refuse(self, loc: Loc, msg: str, type: str = "value_error") -> None:  # noqa: A002 - the wire name
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(loc=loc, msg=msg, type=type))


def _deeper(place: Place) -> Place:
    return Place(depth=place.depth + 1, roots=place.roots, in_items=place.in_items)


def _field_fault(field: object, place: Place) -> str | None:
    """Say what is wrong with a path, if anything is."""
    steps = parse_field(field, place.roots) if isinstance(field, str) else "expected a text like event.data.total"
    return steps if isinstance(steps, str) else None


def _comparison_value_fault(operator: Operator | None, value: object) -> str | None:
    if operator in _VALUELESS:
        return None if value is UNSET else f"'{operator}' has no value"
    return value_fault(operator, value)


def _clock_fault(comparison: Comparison, place: Place) -> str | None:
    """Say what is wrong with how a comparison depends on the present instant, if anything is."""
    if comparison.field == NOW and comparison.operator not in {Operator.BEFORE, Operator.AFTER}:
        return "'now' is compared by 'before' and 'after'"
    if comparison.field == NOW and comparison.value == NOW:
        return "'now' is neither before nor after itself"
    if place.is_of_event and comparison.operator in TIME_OPERATORS and is_relative(comparison):
        return "an event is put into its window once, so this must not depend on 'now'"
    return None


def _clock_time(value: Any) -> str | None:
    return None if minutes_of(value) is not None else 'expected a time of day like "09:30"'


_PERFORMED: Final[Mapping[str, Check | None]] = {
    "event": name,
    "where": None,
    "atLeast": whole_number(1, MAX_TIMES),
    "atMost": whole_number(0, MAX_TIMES),
    "exactly": whole_number(0, MAX_TIMES),
    "withinSeconds": whole_number(1, MAX_SECONDS),
}
_ITEMS: Final[Mapping[str, Check | None]] = {"field": None, "match": one_of(Quantifier), "where": None}
_PLAIN: Final[Mapping[str, tuple[Mapping[str, Check | None], tuple[str, ...]]]] = {
    "count": (
        {"event": name, "op": one_of(CountOperator), "value": whole_number(0, _MOST_COUNTED)},
        ("event", "op", "value"),
    ),
    "segment": ({"is": one_of(Membership), "segment": name}, ("is", "segment")),
    "subscription": ({"channel": name, "is": some_of(SubscriptionState)}, ("channel", "is")),
    "time": ({"from": _clock_time, "to": _clock_time, "weekdays": some_of(Weekday)}, ()),
}
