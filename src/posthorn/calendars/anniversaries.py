"""Anniversaries: the next birthday at ten in the morning, or a week before it."""

from enum import StrEnum
from typing import NamedTuple

from posthorn.calendars.days import date_of, day_of, days_in_month, is_leap, time_of_day_ms
from posthorn.calendars.moments import on_day_or_next_ms
from posthorn.calendars.zones import Zone
from posthorn.clock import DAY_MS
from posthorn.errors import Invalid

MAX_LEAD_DAYS = 366
# From one leap year to the next, across a century without one, and the years that a lead of 366 days reaches into.
_SEARCHED_YEARS = 11


class LeapDay(StrEnum):
    """When those born on 29 February celebrate in the other years."""

    FEB_28 = "feb28"
    MAR_1 = "mar1"
    LEAP_YEARS_ONLY = "leap_years_only"


class MonthDay(NamedTuple):
    """A date without its year: month from 1, day of the month from 1."""

    month: int
    day: int

    @property
    def is_valid(self) -> bool:
        """Whether the date comes in some year; 29 February does."""
        return 1 <= self.month <= 12 and 1 <= self.day <= days_in_month(2000, self.month)


def next_anniversary(
    date: tuple[int, int],
    after_ms: int,
    zone: Zone,
    hour: int,
    minute: int,
    *,
    lead_days: int = 0,
    leap_day: LeapDay = LeapDay.FEB_28,
    first_year: int = 1,
) -> int:
    """Return the first instant after `after_ms` at which a yearly date (month, day) is to be celebrated.

    That is at hour:minute on the wall clock, `lead_days` (0 to 366) before the date. A skipped time comes at the
    jump, a repeated one once, and a day that the zone left out gives its celebration to the next day. Dates in years
    before `first_year` do not count: the year after that of a subscription, that of a contract's end.
    Raises Invalid for a date, a time or a lead that does not exist, and beyond the year 9999.
    """
    yearly = MonthDay(*date)
    if not yearly.is_valid:
        raise Invalid.at("date", msg=f"there is no month {yearly.month} with a day {yearly.day}")
    if not 0 <= lead_days <= MAX_LEAD_DAYS:
        raise Invalid.at("lead_days", msg=f"the lead is from 0 to {MAX_LEAD_DAYS} days")
    of_day_ms = time_of_day_ms(hour, minute)
    # Not before the year of the lead's end: every earlier celebration is over by the wall clock.
    start = max(date_of(zone.wall_ms(after_ms) // DAY_MS + lead_days - 1).year, first_year)
    for year in range(start, start + _SEARCHED_YEARS):
        day = _day_in(year, yearly, leap_day)
        if day is not None:
            at_ms = on_day_or_next_ms(day - lead_days, of_day_ms, zone)
            if at_ms > after_ms:
                return at_ms
    raise AssertionError("eleven years without an anniversary")  # pragma: no cover - see _SEARCHED_YEARS


def _day_in(year: int, date: MonthDay, leap_day: LeapDay) -> int | None:
    if date != (2, 29) or is_leap(year):
        return day_of(year, date.month, date.day)
    match leap_day:
        case LeapDay.FEB_28:
            return day_of(year, 2, 28)
        case LeapDay.MAR_1:
            return day_of(year, 3, 1)
        case LeapDay.LEAP_YEARS_ONLY:
            return None
