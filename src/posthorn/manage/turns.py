"""When an automation was published, paused and resumed: what answers whether it could have fired at an instant.

Pure. An automation keeps its last turns itself, because an event whose only listeners are paused must cost nothing.
"""

from msgspec import structs

from posthorn.engine.resources import Automation, Turn

MOST_TURNS = 100


def begun(automation: Automation) -> Automation:
    """Return a new automation with its first turn."""
    return structs.replace(automation, turns=(_as_it_is(automation, automation.created_ms),))


def turned(before: Automation, after: Automation, now_ms: int) -> Automation:
    """Return a changed automation with one turn more where another version begins, or a pause begins or ends.

    Of one that was stored before turns were kept it is known what it has been since it was last written.
    """
    if (after.version, after.enabled) == (before.version, before.enabled):
        return after
    known = before.turns or (_as_it_is(before, before.updated_ms),)
    return structs.replace(after, turns=(*known, _as_it_is(after, now_ms))[-MOST_TURNS:])


def turn_at(automation: Automation, at_ms: int) -> Turn | None:
    """Return what an automation was at an instant; None when that is not known any more."""
    known = automation.turns or (_as_it_is(automation, automation.updated_ms),)
    return next((turn for turn in reversed(known) if turn.at_ms <= at_ms), None)


def turn_after(automation: Automation, at_ms: int) -> Turn | None:
    """Return the first turn after an instant, None when there was none."""
    return next((turn for turn in automation.turns if turn.at_ms > at_ms), None)


def resumed_ms(automation: Automation, at_ms: int) -> int | None:
    """Return when the first pause after an instant, or the one at it, ended; None when none did."""
    return next((turn.at_ms for turn in automation.turns if turn.at_ms > at_ms and turn.enabled), None)


def first_published_ms(automation: Automation) -> int | None:
    """Return when the first version was published; None when that is not known (any more), or has not happened."""
    first = automation.turns[0] if automation.turns else None
    if first is None or first.at_ms != automation.created_ms:
        return None
    return next((turn.at_ms for turn in automation.turns if turn.version), None)


def _as_it_is(automation: Automation, at_ms: int) -> Turn:
    return Turn(at_ms=at_ms, version=automation.version, enabled=automation.enabled)
