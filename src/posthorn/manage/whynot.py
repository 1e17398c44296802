"""Why no decision of an automation about an event is kept, from what is known of both. Pure, and it never guesses.

That a decision is missing tells something too: whoever listened, and met what it wanted, left one.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from posthorn.clock import DAY_MS, iso_text
from posthorn.conditions.wording import shown
from posthorn.engine.flows import OnAnniversary, OnAttribute, OnCall, OnSchedule, OnSegment, Trigger
from posthorn.engine.listening import run_types, triggers_of, type_of
from posthorn.engine.people import ProfileChange
from posthorn.engine.records import Event
from posthorn.engine.resources import Automation, Turn
from posthorn.manage.turns import first_published_ms, resumed_ms, turn_after, turn_at

_DECIDED_BY_THEN_MS = DAY_MS  # an event waits for milliseconds; one that waits for a day is a node that stands still


class Untried(StrEnum):
    """Why there is no decision. The table of docs/automations.md explains each, and a test keeps the two equal."""

    UNDECIDED = "undecided"
    OTHER_TYPE = "other_type"
    ATTRIBUTE_DIFFERS = "attribute_differs"
    ATTRIBUTE_UNCHANGED = "attribute_unchanged"
    SEGMENT_UNMOVED = "segment_unmoved"
    PAUSED = "paused"
    DRAFT = "draft"
    PUBLISHED_LATER = "published_later"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    MESSAGE = "message"
    MERGE = "merge"
    PERSON_UNKNOWN = "person_unknown"
    AUTOMATION_GONE = "automation_gone"
    EVENT_GONE = "event_gone"
    DECISION_EXPIRED = "decision_expired"
    NOT_KNOWN = "not_known"

    @property
    def outcome(self) -> str:
        """Whether it will be decided, was not tried for certain, or cannot be known any more."""
        if self is Untried.UNDECIDED:
            return "undecided"
        return "unknown" if self in _UNKNOWN else "not_tried"


_UNKNOWN = frozenset({Untried.AUTOMATION_GONE, Untried.EVENT_GONE, Untried.DECISION_EXPIRED, Untried.NOT_KNOWN})


class WhyNot(Struct, frozen=True, kw_only=True):
    """The stable reason, one sentence for people, and data for programs."""

    reason: Untried
    detail: str
    data: dict[str, Any] | None = None


class Known(Struct, frozen=True, kw_only=True):
    """What is known of an event and an automation that left no decision about it."""

    event: Event
    changes: ProfileChange | None  #: what the event was to change in its person
    automation: Automation  #: as it is now
    rules: Automation | None  #: as it was when the event came; None when that version is not kept
    segments: Mapping[str, str]  #: names by id
    is_waiting: bool  #: the event waits to be decided
    is_expired: bool  #: decisions as old as the event have been deleted
    decided_ms: int | None  #: when the event was decided, where another automation's decision tells


def why_not(known: Known) -> WhyNot:
    """Say why there is no decision."""
    event, automation = known.event, known.automation
    if event.application is not None:
        detail = "it is a message to an application: it goes to endpoints, and automations are not asked about it"
        return WhyNot(reason=Untried.MESSAGE, detail=detail, data={"applicationId": event.application})
    if known.is_waiting:
        detail = f"the event came at {iso_text(event.received_ms)} and waits to be decided"
        return WhyNot(reason=Untried.UNDECIDED, detail=detail, data={"sinceMs": event.received_ms})
    turn = turn_at(automation, event.received_ms)
    return _unpublished(known, turn) or _paused(known, turn) or _untriggered(known, turn) or _unexplained(known, turn)


def version_at(automation: Automation, at_ms: int) -> int | None:
    """Return which version was in force at an instant, None when that is not known."""
    turn = turn_at(automation, at_ms)
    return turn.version if turn is not None else None


def _unpublished(known: Known, turn: Turn | None) -> WhyNot | None:
    automation, came_ms = known.automation, known.event.received_ms
    if automation.version == 0:
        detail = "nothing of it is published; once its draft is, it is asked about the events that come from then on"
        return WhyNot(reason=Untried.DRAFT, detail=detail)
    if came_ms >= automation.created_ms and (turn is None or turn.version > 0):
        return None
    since_ms = first_published_ms(automation) or automation.created_ms
    detail = f"it was first published at {iso_text(since_ms)}, after the event came at {iso_text(came_ms)}"
    return WhyNot(reason=Untried.PUBLISHED_LATER, detail=detail, data={"sinceMs": since_ms})


def _paused(known: Known, turn: Turn | None) -> WhyNot | None:
    if turn is None or turn.enabled:
        return None
    came_ms = known.event.received_ms
    until_ms = resumed_ms(known.automation, came_ms)
    then = f"it was resumed at {iso_text(until_ms)}" if until_ms is not None else "it is paused still"
    detail = f"it was paused when the event came at {iso_text(came_ms)}; {then}"
    return WhyNot(reason=Untried.PAUSED, detail=detail, data={"untilMs": until_ms})


def _untriggered(known: Known, turn: Turn | None) -> WhyNot | None:
    """Say why none of the triggers of that time took the event, None when one did or that is not known."""
    rules = known.rules
    if turn is None or rules is None:
        return None
    triggers = triggers_of(rules)
    if any(type_of(trigger, rules.id) == known.event.type for trigger in triggers):
        return None
    misses = [_miss(known, trigger) for trigger in triggers]
    if any(miss.reason in _REACTIONS for miss in misses) and not _tells_much(known):
        return None
    reason = min((miss.reason for miss in misses), key=_NEAREST.index, default=Untried.OTHER_TYPE)
    said = "; ".join(dict.fromkeys(miss.detail for miss in misses))
    detail = f"{said}; this event is {_kind_of(known.event)}"
    if known.event.type in run_types(rules):
        detail += ", which its runs under way wait for, and which lets nobody in"
    data = {"version": turn.version, "eventType": known.event.type, "triggers": [miss.data for miss in misses]}
    return WhyNot(reason=reason, detail=detail, data=data)


def _tells_much(known: Known) -> bool:
    """Whether a missing decision tells that a change did not happen, and not that nobody looked or that it is lost."""
    turn = turn_after(known.automation, known.event.received_ms)
    if known.is_expired or turn is None:
        return not known.is_expired
    if known.decided_ms is not None:
        return known.decided_ms < turn.at_ms
    return turn.at_ms - known.event.received_ms > _DECIDED_BY_THEN_MS


def _miss(known: Known, trigger: Trigger) -> WhyNot:
    if isinstance(trigger, OnAttribute):
        return _attribute_miss(known, trigger)
    if isinstance(trigger, OnSegment):
        name = known.segments.get(trigger.segment, trigger.segment)
        move = "enter" if trigger.moves == "enters" else "leave"
        detail = f"the event did not make its person {move} the segment {name}"
        data = {"type": "segment", "segment": trigger.segment, "moves": trigger.moves}
        return WhyNot(reason=Untried.SEGMENT_UNMOVED, detail=detail, data=data)
    wanted = type_of(trigger, known.automation.id)
    spoken = _TIMED.get(type(trigger), f"events of type {wanted}")
    return WhyNot(reason=Untried.OTHER_TYPE, detail=f"a trigger waits for {spoken}", data={"eventType": wanted})


def _attribute_miss(known: Known, trigger: OnAttribute) -> WhyNot:
    name, wanted = trigger.attribute, trigger.to
    data = {"type": "attribute", "attribute": name, "to": wanted}
    to = f" to {' or '.join(shown(value) for value in wanted)}" if wanted is not None else ""
    given = known.changes.set if known.changes is not None else {}
    if wanted is not None and name in given and not _is_among(given[name], wanted):
        detail = f"the event set the attribute {name} to {shown(given[name])}, and the trigger waits for a change{to}"
        return WhyNot(reason=Untried.ATTRIBUTE_DIFFERS, detail=detail, data=data | {"value": given[name]})
    detail = f"the event did not change the attribute {name}{to}"
    return WhyNot(reason=Untried.ATTRIBUTE_UNCHANGED, detail=detail, data=data)


def _unexplained(known: Known, turn: Turn | None) -> WhyNot:
    """Say what is known where something listened, or where it is not known whether something did."""
    event, changes, automation = known.event, known.changes, known.automation
    if known.is_expired:
        detail = f"the event came at {iso_text(event.received_ms)}, and decisions of that time are not kept any more"
        return WhyNot(reason=Untried.DECISION_EXPIRED, detail=detail)
    if turn is None:
        return _unknown("it was changed since the event came, and what it was then is not known any more", automation)
    if known.rules is None:
        detail = f"version {turn.version} was in force when the event came, and what that listened to is not kept"
        return _unknown(detail, automation, {"version": turn.version})
    if changes is not None and changes.merge_into is not None:
        detail = f"the event merged its person into {changes.merge_into!r}, and automations are not asked about that"
        return WhyNot(reason=Untried.MERGE, detail=detail, data={"mergeInto": changes.merge_into})
    if changes is not None and changes.existing_only:
        detail = "the event was to change somebody who is known already, and nobody was known by this user id"
        return WhyNot(reason=Untried.PERSON_UNKNOWN, detail=detail, data={"user": event.user})
    detail = f"version {turn.version} listened when the event came, and yet no decision is kept"
    following = turn_after(automation, event.received_ms)
    if following is not None:
        became = f"version {following.version} began" if following.enabled else "it was paused"
        detail += f"; {became} at {iso_text(following.at_ms)}, perhaps before the event was decided"
    return _unknown(detail, automation, {"version": turn.version, "changedMs": following and following.at_ms})


def _unknown(detail: str, automation: Automation, data: dict[str, Any] | None = None) -> WhyNot:
    now = "it is switched on now" if automation.enabled else "it is paused now"
    return WhyNot(reason=Untried.NOT_KNOWN, detail=f"{detail}; {now}", data=data)


def _is_among(value: Any, wanted: tuple[Any, ...]) -> bool:
    return any(value == one and type(value) is type(one) for one in wanted)


def _kind_of(event: Event) -> str:
    return f"of type {event.type}" + ("" if event.user is not None else ", and without a user")


_REACTIONS = frozenset({Untried.ATTRIBUTE_UNCHANGED, Untried.ATTRIBUTE_DIFFERS, Untried.SEGMENT_UNMOVED})
_NEAREST = [Untried.ATTRIBUTE_DIFFERS, Untried.OTHER_TYPE, Untried.ATTRIBUTE_UNCHANGED, Untried.SEGMENT_UNMOVED]
"""Of several triggers the one that came nearest gives the reason; the sentence has all of them."""
_TIMED: Mapping[type, str] = {
    OnSchedule: "its schedule",
    OnAnniversary: "a date of a person",
    OnCall: "a call of the API",
}
