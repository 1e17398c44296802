"""Moments that are told by the wall clock: the next 10:00, three days later at 09:00."""

from collections.abc import Callable
from dataclasses import dataclass

from posthorn.calendars.days import TimeOfDay, months_later, time_of_day_ms, weekday_of, weekdays_of
from posthorn.calendars.zones import Zone
from posthorn.clock import DAY_MS, SECOND_MS
from posthorn.errors import Invalid

# Two weeks have every weekday twice, so that one is left when a zone left out the other.
_SEARCHED_DAYS = 16
_LONGEST_YEARS = 100
_LONGEST_DAYS = 366 * _LONGEST_YEARS


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDuration:
    """So much time on a stopwatch, whatever the wall clock does meanwhile. At most 100 years."""

    seconds: int

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= _LONGEST_DAYS * 86_400:
            raise Invalid.at("seconds", msg="a duration is at least one second and at most 100 years")


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDuration:
    """So many pages of the calendar: months first, then weeks and days, then the time of day. At most 100 years.

    `at` is the local time of day to end at; None keeps the time of day of the start.
    """

    months: int = 0
    weeks: int = 0
    days: int = 0
    at: TimeOfDay | None = None

    def __post_init__(self) -> None:
        length = self.months * 31 + self.weeks * 7 + self.days
        if min(self.months, self.weeks, self.days) < 0 or not 0 < length <= _LONGEST_DAYS:
            raise Invalid.at("days", msg="a duration by the calendar is at least one day and at most 100 years")
        if self.at is not None:
            time_of_day_ms(*self.at)


def at_local_time(
    now_ms: int,
    zone: Zone,
    hour: int,
    minute: int,
    *,
    weekdays: frozenset[int] | None = None,
    not_before_ms: int | None = None,
) -> int:
    """Return the next instant at which the wall clock shows hour:minute, `now_ms` itself included.

    `weekdays` are ISO numbers (1 is Monday), None is any. `not_before_ms` is a second, later bound. A time that is
    skipped that day comes at the jump, a repeated one at its first time, and a day that the zone left out is passed
    over. Raises Invalid for a time of day or weekdays that do not exist.
    """
    of_day_ms = time_of_day_ms(hour, minute)
    chosen = weekdays_of(weekdays)
    start_ms = now_ms if not_before_ms is None else max(now_ms, not_before_ms)
    # One day back, because a time that the end of a day skipped comes at the start of the next.
    first = zone.wall_ms(start_ms) // DAY_MS - 1
    for day in range(first, first + _SEARCHED_DAYS):
        if chosen is not None and weekday_of(day) not in chosen:
            continue
        at_ms = zone.on_day_ms(day, of_day_ms)
        if at_ms is not None and at_ms >= start_ms:
            return at_ms
    raise AssertionError("two weeks of a zone without a weekday")  # pragma: no cover - see _SEARCHED_DAYS


def add_duration(at_ms: int, duration: ExactDuration | CalendarDuration, zone: Zone) -> int:
    """Return the instant when a duration from an instant on is over.

    By the calendar, 31 January and one month is the last day of February; a skipped time comes at the jump, and a
    day that the zone left out gives its time to the next day. Raises Invalid beyond the year 9999.
    """
    if isinstance(duration, ExactDuration):
        return at_ms + duration.seconds * SECOND_MS
    day, of_day_ms = divmod(zone.wall_ms(at_ms), DAY_MS)
    if duration.months:
        day = months_later(day, duration.months)
    day += duration.weeks * 7 + duration.days
    return on_day_or_next_ms(day, duration.at.of_day_ms if duration.at is not None else of_day_ms, zone)


def on_day_or_next_ms(day: int, of_day_ms: int, zone: Zone) -> int:
    """Return the first instant of a time on a day, on the next day when the zone left out that one."""
    at_ms = zone.on_day_ms(day, of_day_ms)
    # No zone left out two days in a row.
    return at_ms if at_ms is not None else zone.instant_ms((day + 1) * DAY_MS + of_day_ms)


def first_instant_ms(from_ms: int, zone: Zone, next_wall_ms: Callable[[int], int | None]) -> int | None:
    """Return the first instant, `from_ms` included, at which the wall clock shows one of a set of times.

    `next_wall_ms` tells the set: the first of its wall times that is not before the given one, None when none is
    left. Times that are skipped do not count, and repeated ones count twice. None when none is left.
    """
    at_ms = from_ms
    while True:
        offset_ms = zone.offset_ms(at_ms)
        wall_ms = next_wall_ms(at_ms + offset_ms)
        if wall_ms is None:
            return None
        if wall_ms == at_ms + offset_ms:
            return at_ms
        until_ms = zone.steady_until_ms(at_ms)
        if wall_ms - offset_ms < until_ms:
            return wall_ms - offset_ms
        is_steady_day = until_ms - at_ms >= DAY_MS
        at_ms = until_ms
        # After a steady day no repeated span reaches back to before its start, so that nothing is due until shortly
        # before `wall_ms`, and no zone is two days away from UTC: a time years away is reached in one leap.
        if is_steady_day:
            at_ms = max(until_ms, wall_ms - 2 * DAY_MS)
