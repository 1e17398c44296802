"""May it fire again? A pure decision over what is remembered."""

from msgspec import Struct

from posthorn.clock import SECOND_MS
from posthorn.engine.profiles import shared_profile, user_profile
from posthorn.engine.records import DecisionWork, EligibilityKey, Firing
from posthorn.engine.resources import AgainAfter, Always, Automation


class NotEligible(Struct, frozen=True, kw_only=True):
    """It fired before, and that rules it out."""

    reason: str
    detail: str
    since_ms: int


def eligibility_key(automation: Automation, work: DecisionWork, key: str) -> EligibilityKey | None:
    """Return whose firing matters, None when the rule remembers nothing. Events without a user share one memory."""
    if isinstance(automation.eligibility, Always):
        return None
    event = work.event
    profile = user_profile(event.workspace, event.user) if event.user else shared_profile(event.workspace)
    return EligibilityKey(automation=automation.id, profile=profile, key=key)


def is_in_line(automation: Automation, work: DecisionWork) -> bool:
    """Whether an event waited in the line of everything that may change what this automation remembers of it.

    An event without a user has a line by itself when no rule that was known at its receipt remembers anything.
    """
    key = eligibility_key(automation, work, "")
    return key is None or key.profile == work.profile


def check(automation: Automation, work: DecisionWork, key: str, firing: Firing | None) -> NotEligible | None:
    """Decide whether an earlier firing rules this one out. Time is the events' time of receipt."""
    if firing is None:
        return None
    rule = automation.eligibility
    if isinstance(rule, AgainAfter):
        passed_ms = work.event.received_ms - firing.last_ms
        if passed_ms >= rule.seconds * SECOND_MS:
            return None
        detail = f"it fired {passed_ms / SECOND_MS:.1f} s before this event; again after {rule.seconds} s"
        return NotEligible(reason="fired_recently", detail=detail, since_ms=firing.last_ms)
    who = f"user {work.event.user!r}" if work.event.user else "events without a user"
    with_key = f" and the key {key[:200]!r}" if key else ""
    detail = f"it fired before for {who}{with_key}, and its eligibility allows that once"
    return NotEligible(reason="fired_before", detail=detail, since_ms=firing.last_ms)


def next_firing(firing: Firing | None, work: DecisionWork) -> Firing:
    """Return what to remember after firing."""
    if firing is None:
        return Firing(times=1, last_ms=work.event.received_ms)
    return Firing(times=firing.times + 1, last_ms=max(firing.last_ms, work.event.received_ms))
