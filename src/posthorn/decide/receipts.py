"""Eligibility that counts from receipt: whom nothing reached stays eligible.

Entering holds the person's place as long as a request is under way, so that two events in a row do not send twice. A
delivered request moves the firing to that instant; one that ended undelivered gives the place back, unless something
was received or somebody fired since.
"""

from msgspec import Struct

from posthorn.decide.case import Case
from posthorn.engine.flows import Always
from posthorn.engine.records import Attempt, DeliveryState, EligibilityKey, Firing
from posthorn.engine.resources import Automation

_NEVER = Firing(times=0, last_ms=0)


class Counted(Struct, frozen=True, kw_only=True):
    """Which firing a request counts for."""

    automation: str
    key: str
    entered_ms: int  #: the instant that holds the place


def counted(automation: Automation, key: EligibilityKey | None, entered_ms: int) -> Counted | None:
    """Return what the requests of somebody who enters now count for; None when entering is all that counts."""
    rule = automation.eligibility
    if key is None or isinstance(rule, Always) or rule.counts_from == "entry":
        return None
    return Counted(automation=automation.id, key=key.key, entered_ms=entered_ms)


def hear(case: Case, about: Counted, attempt: Attempt | None) -> None:
    """Count a request that has ended; without an attempt it was cancelled."""
    if attempt is None or attempt.state is not DeliveryState.DELIVERED:
        give_back(case, about)
        return
    key = _key(case, about)
    firing = case.memory.firing(key)
    if firing is not None:  # else the person was erased meanwhile
        # Later than the place that was held, so that another request of the same run cannot give it back.
        last_ms = max(firing.last_ms, attempt.started_ms, about.entered_ms + 1)
        case.put_firing(key, Firing(times=max(firing.times, 1), last_ms=last_ms))


def give_back(case: Case, about: Counted) -> None:
    """Forget a firing by which nobody received anything."""
    key = _key(case, about)
    firing = case.memory.firing(key)
    if firing is not None and firing.last_ms == about.entered_ms:
        case.put_firing(key, _NEVER)


def _key(case: Case, about: Counted) -> EligibilityKey:
    return EligibilityKey(automation=about.automation, profile=case.work.profile, key=about.key)
