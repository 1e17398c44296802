"""Rules over the person's own clock and calendar.

They need the fact `local`: `weekday` (1 Monday to 7 Sunday), `minutes` since the local midnight, `date`
("2026-11-22"), and for the timers of segments `offsetSeconds` (local time minus UTC) and `offsetUntilMs` (the
instant at which that offset ends, None when no end is known).
"""

from collections.abc import Iterator
from typing import Any, Final

from posthorn.clock import DAY_MS, MINUTE_MS, SECOND_MS
from posthorn.conditions.fields import Facts
from posthorn.conditions.nodes import Account, Change, Made
from posthorn.conditions.tree import LocalTime, TimeRule, Weekday

LOCAL: Final = "local"
_DAY_MINUTES: Final = 24 * 60
_DAYS_LOOKED_AHEAD: Final = 8
_EPOCH_WEEKDAY: Final = 4  # 1 January 1970 was a Thursday
_NUMBERS: Final = {weekday: number for number, weekday in enumerate(Weekday, start=1)}
_NAMES: Final = tuple(Weekday)


def minutes_of(text: object) -> int | None:
    """Read "HH:MM" (00:00 to 23:59) as minutes since midnight; None when it is none."""
    if not isinstance(text, str) or len(text) != 5 or text[2] != ":" or not (text[:2] + text[3:]).isascii():
        return None
    if not (text[:2] + text[3:]).isdigit():
        return None
    hours, minutes = int(text[:2]), int(text[3:])
    return hours * 60 + minutes if hours < 24 and minutes < 60 else None


def _local_of(facts: Facts) -> dict[str, Any] | None:
    local = facts.get(LOCAL)
    if not isinstance(local, dict) or type(local.get("weekday")) is not int or type(local.get("minutes")) is not int:
        return None
    return local


def _offset_ms(local: dict[str, Any]) -> int | None:
    seconds = local.get("offsetSeconds")
    return seconds * SECOND_MS if type(seconds) is int else None


class _Hours:
    """A rule as numbers."""

    __slots__ = ("days", "end", "start")

    def __init__(self, rule: TimeRule) -> None:
        start, end = minutes_of(rule.start), minutes_of(rule.end)
        self.start: Final = 0 if start is None else start
        self.end: Final = _DAY_MINUTES if end is None else end
        weekdays = rule.weekdays
        self.days: Final = frozenset(range(1, 8) if weekdays is None else (_NUMBERS[day] for day in weekdays))

    def hold(self, weekday: int, minutes: int) -> bool:
        if self.start < self.end:
            return self.start <= minutes < self.end and weekday in self.days
        if minutes >= self.start:
            return weekday in self.days
        # Behind midnight it is still the part that began the day before.
        return minutes < self.end and (weekday - 1 or 7) in self.days


def make_time(condition: LocalTime) -> Made:
    """Compile a rule over local weekday and hours. Without the fact `local` it does not match."""
    hours = _Hours(condition.time)

    def test(facts: Facts) -> bool:
        local = _local_of(facts)
        return local is not None and hours.hold(local["weekday"], local["minutes"])

    def account(facts: Facts) -> Account:
        return _account(condition.time, _local_of(facts), test(facts))

    def change(facts: Facts, now_ms: int) -> int | None:
        local = _local_of(facts)
        return None if local is None else _next_change(hours, local, now_ms)

    return Made(test=test, account=account, change=change)


def field_change(name: str) -> Change:
    """Return when `local.date`, `local.weekday` or `local.minutes` has its next value."""
    step_ms = MINUTE_MS if name == "minutes" else DAY_MS

    def change(facts: Facts, now_ms: int) -> int | None:
        local = _local_of(facts)
        offset_ms = None if local is None else _offset_ms(local)
        if local is None or offset_ms is None:
            return None
        return _before_offset_ends(local, now_ms, now_ms - (now_ms + offset_ms) % step_ms + step_ms)

    return change


def _next_change(hours: _Hours, local: dict[str, Any], now_ms: int) -> int | None:
    offset_ms = _offset_ms(local)
    if offset_ms is None:
        return None
    held = _holds_at(hours, now_ms + offset_ms)
    for local_ms in _boundaries(hours, now_ms + offset_ms):
        if _holds_at(hours, local_ms) is not held:
            return _before_offset_ends(local, now_ms, local_ms - offset_ms)
    # It holds at every hour or at none; a new offset changes neither.
    return None


def _before_offset_ends(local: dict[str, Any], now_ms: int, at_ms: int) -> int:
    """Behind the end of the offset another one counts, which is known only then."""
    until_ms = local.get("offsetUntilMs")
    return until_ms if type(until_ms) is int and now_ms < until_ms < at_ms else at_ms


def _holds_at(hours: _Hours, local_ms: int) -> bool:
    day, rest_ms = divmod(local_ms, DAY_MS)
    return hours.hold((day + _EPOCH_WEEKDAY - 1) % 7 + 1, rest_ms // MINUTE_MS)


def _boundaries(hours: _Hours, local_ms: int) -> Iterator[int]:
    """Return the local instants behind this one at which the rule may turn, in order."""
    midnight_ms = local_ms - local_ms % DAY_MS
    turns = sorted({0, hours.start, hours.end % _DAY_MINUTES})
    for day in range(_DAYS_LOOKED_AHEAD + 1):
        for minutes in turns:
            at_ms = midnight_ms + day * DAY_MS + minutes * MINUTE_MS
            if at_ms > local_ms:
                yield at_ms


def _account(rule: TimeRule, local: dict[str, Any] | None, holds: bool) -> Account:  # noqa: FBT001 - an outcome, private
    wanted = _wanted(rule)
    if local is None:
        return Account(clause="the person's local time is not known", field=LOCAL, expected=wanted, absent=True)
    clock = f"{_NAMES[(local['weekday'] - 1) % 7].capitalize()} {local['minutes'] // 60:02}:{local['minutes'] % 60:02}"
    return Account(
        clause=f"it is {clock} for the person, which is {'' if holds else 'not '}{wanted}",
        field=LOCAL,
        expected=wanted,
        actual=clock,
    )


def _wanted(rule: TimeRule) -> str:
    parts = []
    if rule.start is not None:
        parts.append(f"from {rule.start} to {rule.end}")
    if rule.weekdays is not None:
        parts.append(f"on {', '.join(day.capitalize() for day in rule.weekdays)}")
    return " ".join(parts)
