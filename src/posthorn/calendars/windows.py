"""Days, weeks and months as people live them: the windows that eligibility and caps count in.

The windows of one kind in one zone follow each other without gap or overlap: a window starts when the wall clock
first shows its first day, and what the clock shows twice around midnight belongs to the day that has begun.
"""

from enum import StrEnum

from posthorn.calendars.days import Weekday, date_of, months_later, weekday_of
from posthorn.calendars.zones import Zone
from posthorn.clock import DAY_MS


class WindowKind(StrEnum):
    """How long a calendar window is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def window_start_ms(kind: WindowKind, at_ms: int, zone: Zone, *, week_starts: int = Weekday.MONDAY) -> int:
    """Return the start of the window that an instant is in. `week_starts` is the ISO number of a weekday."""
    return zone.instant_ms(_first_day(kind, _day_begun(at_ms, zone), week_starts) * DAY_MS)


def next_window_start_ms(kind: WindowKind, at_ms: int, zone: Zone, *, week_starts: int = Weekday.MONDAY) -> int:
    """Return the start of the window after the one that an instant is in: the first instant outside of it."""
    first = _first_day(kind, _day_begun(at_ms, zone), week_starts)
    match kind:
        case WindowKind.DAY:
            after = first + 1
        case WindowKind.WEEK:
            after = first + 7
        case WindowKind.MONTH:
            after = months_later(first, 1)
    return zone.instant_ms(after * DAY_MS)


def _day_begun(at_ms: int, zone: Zone) -> int:
    """Return the latest day that has begun. Around midnight, the clock may show the day before once more."""
    day = zone.wall_ms(at_ms) // DAY_MS
    return day + 1 if zone.instant_ms((day + 1) * DAY_MS) <= at_ms else day


def _first_day(kind: WindowKind, day: int, week_starts: int) -> int:
    match kind:
        case WindowKind.DAY:
            return day
        case WindowKind.WEEK:
            return day - (weekday_of(day) - week_starts) % 7
        case WindowKind.MONTH:
            return day - date_of(day).day + 1
