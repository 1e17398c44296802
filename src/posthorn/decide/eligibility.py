"""May it fire again? A pure decision over what is remembered."""

from msgspec import Struct

from posthorn.calendars import WindowKind, Zone, window_start_ms
from posthorn.clock import SECOND_MS, iso_text
from posthorn.decide.reasons import Reason
from posthorn.engine.flows import AgainAfter, Always, OncePerPeriod
from posthorn.engine.profiles import shared_profile, user_of, user_profile
from posthorn.engine.records import EligibilityKey, Firing
from posthorn.engine.resources import Automation


class NotEligible(Struct, frozen=True, kw_only=True):
    """It fired before, and that rules it out."""

    reason: Reason
    detail: str
    since_ms: int


def eligibility_key(automation: Automation, user: str | None, key: str) -> EligibilityKey | None:
    """Return whose firing matters, None when the rule remembers nothing. Events without a user share one memory."""
    if isinstance(automation.eligibility, Always):
        return None
    workspace = automation.workspace
    profile = user_profile(workspace, user) if user else shared_profile(workspace)
    return EligibilityKey(automation=automation.id, profile=profile, key=key)


def check(
    automation: Automation, key: EligibilityKey, firing: Firing | None, *, at_ms: int, zone: Zone
) -> NotEligible | None:
    """Decide whether an earlier firing rules out one at an instant: the time of receipt of the event."""
    if firing is None or not firing.times:  # 0 times: it fired, and nobody received anything
        return None
    rule = automation.eligibility
    if isinstance(rule, AgainAfter):
        passed_ms = at_ms - firing.last_ms
        if passed_ms >= rule.seconds * SECOND_MS:
            return None
        detail = f"it fired {passed_ms / SECOND_MS:.1f} s before this event; again after {rule.seconds} s"
        return NotEligible(reason=Reason.FIRED_RECENTLY, detail=detail, since_ms=firing.last_ms)
    if isinstance(rule, OncePerPeriod):
        since_ms = window_start_ms(WindowKind(rule.period), at_ms, zone)
        if firing.last_ms < since_ms:
            return None
        detail = f"it fired at {iso_text(firing.last_ms)}, in the same {rule.period} of the person's time zone"
        return NotEligible(reason=Reason.FIRED_RECENTLY, detail=detail, since_ms=firing.last_ms)
    is_shared = key.profile == shared_profile(automation.workspace)
    who = "events without a user" if is_shared else f"user {user_of(key.profile)!r}"
    with_key = f" and the key {key.key[:200]!r}" if key.key else ""
    detail = f"it fired before for {who}{with_key}, and its eligibility allows that once"
    return NotEligible(reason=Reason.FIRED_BEFORE, detail=detail, since_ms=firing.last_ms)


def next_firing(firing: Firing | None, at_ms: int) -> Firing:
    """Return what to remember after firing."""
    if firing is None:
        return Firing(times=1, last_ms=at_ms)
    return Firing(times=firing.times + 1, last_ms=max(firing.last_ms, at_ms))
