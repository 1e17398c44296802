"""Which conditions a segment can have: those over a person, never over the event that is at hand."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from posthorn.conditions import compile_conditions, decode_conditions
from posthorn.conditions.cel import expression_fault, needs_of_expression
from posthorn.conditions.fields import ITEM, parse_field
from posthorn.engine.flows import Branch, OnSchedule, OnSegment, WaitForEvent
from posthorn.engine.listening import steps_of, triggers_of
from posthorn.engine.resources import Automation
from posthorn.errors import Invalid, Problem

Place = tuple[str | int, ...]

_OF_A_PERSON = ("user", "profile", "counts", "segments", "now", "local")
_NOT_OF_A_PERSON = "a segment is decided without an event: "


class Named(Struct, frozen=True, kw_only=True):
    """A segment that conditions name, by id or uid, and where."""

    name: str
    at: Place


def check_person_conditions(tree: object, *at: str | int) -> list[Named]:
    """Refuse conditions that a person alone cannot answer; return the segments that they name.

    Raises Invalid with the place of each problem under `at`.
    """
    try:
        compile_conditions(decode_conditions(tree))
    except Invalid as error:
        raise Invalid(*(Problem(loc=(*at, *p.loc), msg=p.msg, type=p.type) for p in error.problems)) from None
    problems = [problem for part, place in _parts(tree, at) for problem in _problems_of(part, place)]
    if problems:
        raise Invalid(*problems)
    return [named for part, place in _parts(tree, at) for named in _named_in(part, place)]


def segments_named_by(tree: object) -> set[str]:
    """Return the segments that conditions name; none for what is no valid tree."""
    try:
        return {*compile_conditions(decode_conditions(tree)).needs.segments} if tree is not None else set()
    except Invalid:
        return set()


def segments_used_by(automation: Automation) -> set[str]:
    """Return the segments, by id or uid, that an automation names in its triggers and conditions."""
    used = segments_named_by(automation.conditions)
    for trigger in triggers_of(automation):
        if isinstance(trigger, OnSegment | OnSchedule) and trigger.segment is not None:
            used.add(trigger.segment)
    for step in steps_of(automation.flow.steps if automation.flow is not None else ()):
        if isinstance(step, Branch):
            used.update(*(segments_named_by(way.conditions) for way in step.ways))
        elif isinstance(step, WaitForEvent):
            used |= segments_named_by(step.conditions)
    return used


def _parts(tree: Any, at: Place) -> Iterator[tuple[dict[str, Any], Place]]:
    """Go through the objects of a valid tree that are no branches. What `performed` filters is an event of its own."""
    for kind in ("all", "any"):
        if kind in tree:
            for number, child in enumerate(tree[kind]):
                yield from _parts(child, (*at, kind, number))
            return
    if "not" in tree:
        yield from _parts(tree["not"], (*at, "not"))
        return
    yield tree, at
    if "items" in tree:
        yield from _parts(tree["items"]["where"], (*at, "items", "where"))


def _problems_of(part: dict[str, Any], at: Place) -> Iterator[Problem]:
    if "cel" in part:
        # Inside of an array's items `item` is known too; elsewhere the tree would not have been decoded.
        fault = expression_fault(part["cel"], (*_OF_A_PERSON, ITEM))
        if fault is not None:
            yield Problem(loc=(*at, "cel"), msg=f"{_NOT_OF_A_PERSON}{fault}")
    field, place = _field_of(part, at)
    if field is not None:
        steps = parse_field(field, (*_OF_A_PERSON, ITEM))
        if isinstance(steps, str):
            yield Problem(loc=place, msg=f"{_NOT_OF_A_PERSON}{steps}")


def _named_in(part: dict[str, Any], at: Place) -> Iterator[Named]:
    if "segment" in part:
        yield Named(name=part["segment"]["segment"], at=(*at, "segment", "segment"))
    if "cel" in part:
        for name in sorted(needs_of_expression(part["cel"]).segments):
            yield Named(name=name, at=(*at, "cel"))
    field, place = _field_of(part, at)
    if field is not None:
        steps = parse_field(field)
        if not isinstance(steps, str) and steps[0][0] == "segments":
            yield Named(name=steps[1][0], at=place)


def _field_of(part: dict[str, Any], at: Place) -> tuple[str | None, Place]:
    if "items" in part:
        return part["items"]["field"], (*at, "items", "field")
    return part.get("field"), (*at, "field")
