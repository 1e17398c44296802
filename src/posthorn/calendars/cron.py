"""Cron schedules in a time zone: when they fire next.

The rules are those of Debian's cron, which `crontab(5)` describes:

- When day of month and day of week are both restricted, either suffices; a field that starts with `*` restricts
  nothing by itself, and then both must match.
- A schedule for certain times (neither minute nor hour starts with `*`) fires once for each of them: a time that the
  wall clock skips comes at the jump, and a time that it shows twice counts at the first.
- A schedule by interval (minute or hour starts with `*`) follows the wall clock: skipped times do not come, and
  repeated ones come twice, so that `*/15 * * * *` always fires every 15 minutes.

A day that a zone left out as a whole has no firings.
"""

from dataclasses import dataclass

from posthorn.calendars.days import MINUTES_OF_DAY, date_of, day_of, days_in_month, weekday_of
from posthorn.calendars.moments import first_instant_ms
from posthorn.calendars.zones import Zone
from posthorn.clock import DAY_MS, MINUTE_MS

EVERY_WEEKDAY = 0b1111_1110
LAST_OF_MONTH = -1
# The same weekday falls on 29 February again after at most 40 years: 2096 was leap, 2100 is not.
_SEARCHED_MONTHS = 12 * 41
_LAST_YEAR = 9998  # leaves room for the offsets of zones
_EVERY_WEEK = sum(1 << 7 * week for week in range(6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A cron schedule. Make one with `parse_cron`.

    Sets of numbers are bits: bit 5 of `minutes` is minute 5. `weekdays` has ISO numbers, bit 1 is Monday.
    """

    text: str
    minutes: int
    hours: int
    days: int
    months: int
    weekdays: int
    nth_weekdays: tuple[tuple[int, int], ...] = ()  #: ISO weekday and which of the month, 1 to 5 or LAST_OF_MONTH
    is_last_day: bool = False  #: the last day of the month is one of the days
    is_either_day: bool = False  #: day of month or day of week suffices; otherwise both must match
    is_interval: bool = False  #: fires by the running wall clock, see the module

    def days_of_month(self, year: int, month: int) -> int:
        """Return the days of a month on which it fires, as bits: bit 1 is the first."""
        if not self.months >> month & 1:
            return 0
        length = days_in_month(year, month)
        by_number = self.days & (2 << length) - 2
        if self.is_last_day:
            by_number |= 1 << length
        by_weekday = self._days_by_weekday(weekday_of(day_of(year, month, 1)), length)
        return by_number | by_weekday if self.is_either_day else by_number & by_weekday

    def _days_by_weekday(self, first: int, length: int) -> int:
        """Return the days of a month whose weekday matches, for a month that starts on the weekday `first`."""
        if self.weekdays == EVERY_WEEKDAY:
            return (2 << length) - 2
        found = 0
        for weekday in range(1, 8):
            if self.weekdays >> weekday & 1:
                found |= _EVERY_WEEK << 1 + (weekday - first) % 7
        for weekday, nth in self.nth_weekdays:
            day = 1 + (weekday - first) % 7
            day += (length - day) // 7 * 7 if nth == LAST_OF_MONTH else 7 * (nth - 1)
            found |= 1 << day
        return found & (2 << length) - 2

    def next_wall_ms(self, wall_ms: int) -> int | None:
        """Return the first wall time of the schedule that is not before this one, None when there is none."""
        day, minute = divmod(-(-wall_ms // MINUTE_MS), MINUTES_OF_DAY)
        found = self._next_day(day)
        if found == day:
            at_minute = self._next_minute(minute)
            if at_minute is not None:
                return day * DAY_MS + at_minute * MINUTE_MS
            found = self._next_day(day + 1)
        if found is None:
            return None
        return found * DAY_MS + (_next_bit(self.hours, 0) * 60 + _next_bit(self.minutes, 0)) * MINUTE_MS

    def _next_minute(self, minute: int) -> int | None:
        """Return the first minute of a day that matches and is not before this one."""
        hour, minute_of_hour = divmod(minute, 60)
        if self.hours >> hour & 1:
            found = _next_bit(self.minutes, minute_of_hour)
            if found >= 0:
                return hour * 60 + found
        hour = _next_bit(self.hours, hour + 1)
        return hour * 60 + _next_bit(self.minutes, 0) if hour >= 0 else None

    def _next_day(self, day: int) -> int | None:
        """Return the first day that matches and is not before this one."""
        start = date_of(day)
        year, month, day_of_month = start.year, start.month, start.day
        for _ in range(_SEARCHED_MONTHS):
            if year > _LAST_YEAR:
                return None
            found = _next_bit(self.days_of_month(year, month), day_of_month)
            if found >= 0:
                return day_of(year, month, found)
            day_of_month = 1
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return None


def next_firing(cron: Cron, after_ms: int, zone: Zone) -> int | None:
    """Return the first instant after `after_ms` at which the schedule fires in a zone.

    None when it never fires again, which is so only near the year 9999: `parse_cron` refuses impossible dates.
    """
    if cron.is_interval:
        return first_instant_ms(after_ms + 1, zone, cron.next_wall_ms)
    wall_ms = cron.next_wall_ms(zone.wall_ms(after_ms) + 1)
    while wall_ms is not None:
        day, of_day_ms = divmod(wall_ms, DAY_MS)
        at_ms = zone.on_day_ms(day, of_day_ms)
        if at_ms is None:
            wall_ms = cron.next_wall_ms((day + 1) * DAY_MS)
        elif at_ms > after_ms:
            return at_ms
        else:
            # Shown for the second time, and it fired at the first: go on behind all that was shown until now.
            wall_ms = cron.next_wall_ms(after_ms + (wall_ms - at_ms) + 1)
    return None


def next_firings(cron: Cron, after_ms: int, zone: Zone, *, count: int) -> tuple[int, ...]:
    """Return the next `count` firings after an instant, to show people what a schedule means."""
    found: list[int] = []
    at_ms = next_firing(cron, after_ms, zone)
    while at_ms is not None and len(found) < count:
        found.append(at_ms)
        at_ms = next_firing(cron, at_ms, zone)
    return tuple(found)


def _next_bit(bits: int, start: int) -> int:
    """Return the first set bit that is not below `start`, -1 when there is none."""
    rest = bits >> start
    return start + (rest & -rest).bit_length() - 1 if rest else -1
