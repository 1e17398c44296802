"""Days and times of day as plain integers: what a wall clock shows, without a zone.

A wall time is the number of ms that the clock and the calendar on the wall show since their 1 January 1970, 00:00.
A day is that number divided by the ms of a day, so that days are consecutive integers and 0 is 1 January 1970.
Integers are compared and added in tens of nanoseconds, where a `datetime` takes half a microsecond.
"""

from datetime import date
from enum import IntEnum
from typing import NamedTuple, Self

from posthorn.clock import HOUR_MS, MINUTE_MS
from posthorn.errors import Invalid

MINUTES_OF_DAY = 24 * 60

_FIRST_DAY = date(1970, 1, 1).toordinal()
_THURSDAY = 3  # the weekday of day 0, counted from Monday as 0
_DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Weekday(IntEnum):
    """A day of the week with the number that ISO 8601 gives it."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


class TimeOfDay(NamedTuple):
    """What a clock shows, to the minute. 24:00 is the end of a day, and stands only where a range ends."""

    hour: int
    minute: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HH:MM` with two digits each, from 00:00 to 24:00. Raises Invalid."""
        hour, colon, minute = text.partition(":")
        is_spelled = len(text) == 5 and colon and (hour + minute).isdecimal() and text.isascii()
        if is_spelled and cls(int(hour), int(minute)).is_valid:
            return cls(int(hour), int(minute))
        raise Invalid.at(msg=f"{text[:20]!r} is no time of day; write HH:MM, such as 09:30")

    @property
    def is_valid(self) -> bool:
        """Whether it is from 00:00 to 24:00."""
        return (0 <= self.hour <= 23 and 0 <= self.minute <= 59) or self == (24, 0)

    @property
    def of_day_ms(self) -> int:
        """Ms from the start of the day, as the wall clock counts them."""
        return self.hour * HOUR_MS + self.minute * MINUTE_MS

    def __str__(self) -> str:
        return f"{self.hour:02d}:{self.minute:02d}"


def time_of_day_ms(hour: int, minute: int) -> int:
    """Return the ms of a day at this time. Raises Invalid unless it is from 00:00 to 23:59."""
    if 0 <= hour <= 23 and 0 <= minute <= 59:
        return hour * HOUR_MS + minute * MINUTE_MS
    raise Invalid.at(msg=f"{hour}:{minute:02d} is no time of day; from 0:00 to 23:59")


def weekday_of(day: int) -> int:
    """Return the ISO number of a day's weekday: 1 is Monday, 7 is Sunday."""
    return (day + _THURSDAY) % 7 + 1


def date_of(day: int) -> date:
    """Return the date of a day. Raises Invalid outside of the years 1 to 9999."""
    try:
        return date.fromordinal(day + _FIRST_DAY)
    except (ValueError, OverflowError):
        raise Invalid.at(msg="a date outside of the years 1 to 9999") from None


def day_of(year: int, month: int, day_of_month: int) -> int:
    """Return the day of a date that exists. Raises Invalid outside of the years 1 to 9999."""
    try:
        return date(year, month, day_of_month).toordinal() - _FIRST_DAY
    except (ValueError, OverflowError):
        raise Invalid.at(msg=f"there is no date {year:04d}-{month:02d}-{day_of_month:02d}") from None


def is_leap(year: int) -> bool:
    """Whether a year has a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """Return 28 to 31."""
    return 29 if month == 2 and is_leap(year) else _DAYS_IN_MONTH[month - 1]


def months_later(day: int, months: int) -> int:
    """Return the day of so many months later: the same day of the month, or the month's last when it has none such."""
    start = date_of(day)
    years, month = divmod(start.month - 1 + months, 12)
    year = start.year + years
    return day_of(year, month + 1, min(start.day, days_in_month(year, month + 1)))


def weekdays_of(weekdays: frozenset[int] | None) -> frozenset[int] | None:
    """Check a choice of weekdays: ISO numbers, at least one; None is every day. Raises Invalid."""
    if weekdays is None or (weekdays and weekdays <= _WEEK):
        return weekdays
    raise Invalid.at(msg="weekdays are one or more of 1 (Monday) to 7 (Sunday)")


_WEEK = frozenset(map(int, Weekday))
