"""Quiet hours: whether a person is left in peace now, and when not any more.

What counts is what the clock on the person's wall shows, however often it shows it.
"""

from dataclasses import dataclass

from posthorn.calendars.days import TimeOfDay, Weekday, time_of_day_ms, weekday_of, weekdays_of
from posthorn.calendars.moments import first_instant_ms
from posthorn.calendars.zones import Zone
from posthorn.clock import DAY_MS, SECOND_MS
from posthorn.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """A daily span of peace by the wall clock, from `start` up to, not including, `end`.

    An end at or before the start is on the next day: 22:00 to 08:00. `weekdays` (ISO numbers, None is all) are the
    days on which the span starts: Friday's 22:00 to 08:00 ends on Saturday. An end of 24:00 makes whole days:
    00:00 to 24:00 on Saturday and Sunday. Raises Invalid for a span that is empty or never ends.
    """

    start: TimeOfDay
    end: TimeOfDay
    weekdays: frozenset[int] | None = None

    def __post_init__(self) -> None:
        time_of_day_ms(*self.start)
        if not self.end.is_valid:
            raise Invalid.at("end", msg=f"{self.end} is no time of day; from 00:00 to 24:00")
        if self.start == self.end:
            raise Invalid.at("end", msg="quiet hours end at another time than they start; a whole day ends at 24:00")
        weekdays = weekdays_of(self.weekdays)
        is_whole_day = (self.start, self.end) == ((0, 0), (24, 0))
        if is_whole_day and (weekdays is None or len(weekdays) == len(Weekday)):
            raise Invalid.at("weekdays", msg="whole days on every weekday would leave no time to send")

    def end_after_ms(self, wall_ms: int) -> int:
        """Return the first wall time that is not quiet and not before this one."""
        while (end_ms := self._end_of_span_ms(wall_ms)) is not None:
            wall_ms = end_ms
        return wall_ms

    def start_after_ms(self, wall_ms: int) -> int:
        """Return the first wall time that is quiet and not before this one."""
        if self._end_of_span_ms(wall_ms) is not None:
            return wall_ms
        day, of_day_ms = divmod(wall_ms, DAY_MS)
        start_ms = self.start.of_day_ms
        day += of_day_ms > start_ms
        while not self._starts_on(day):
            day += 1
        return day * DAY_MS + start_ms

    def _end_of_span_ms(self, wall_ms: int) -> int | None:
        """Return when the span ends that a wall time is in, None when it is in none."""
        day, of_day_ms = divmod(wall_ms, DAY_MS)
        start_ms, end_ms = self.start.of_day_ms, self.end.of_day_ms
        if end_ms > start_ms:
            is_inside = start_ms <= of_day_ms < end_ms and self._starts_on(day)
            return day * DAY_MS + end_ms if is_inside else None
        if of_day_ms >= start_ms and self._starts_on(day):
            return (day + 1) * DAY_MS + end_ms
        return day * DAY_MS + end_ms if of_day_ms < end_ms and self._starts_on(day - 1) else None

    def _starts_on(self, day: int) -> bool:
        return self.weekdays is None or weekday_of(day) in self.weekdays


def is_quiet(at_ms: int, quiet: QuietHours, zone: Zone) -> bool:
    """Whether an instant is in quiet hours."""
    wall_ms = zone.wall_ms(at_ms)
    return quiet.end_after_ms(wall_ms) != wall_ms


def release_ms(
    at_ms: int, quiet: QuietHours, zone: Zone, *, jitter: float = 0.0, spread_seconds: int = 0
) -> int | None:
    """Return when to send what is due now: None for at once, otherwise an instant after the quiet hours.

    Everything that was held would leave in the same second: `jitter`, from 0 up to, not including, 1, places each
    within the `spread_seconds` after the end; `sticky_fraction` draws it. When the next quiet hours start sooner
    than that, the spread shrinks to the time that is left. Raises Invalid for a jitter or a spread out of range.
    """
    if not 0.0 <= jitter < 1.0:
        raise Invalid.at("jitter", msg="jitter is from 0 up to, not including, 1")
    if spread_seconds < 0:
        raise Invalid.at("spread_seconds", msg="a spread is not negative")
    if not is_quiet(at_ms, quiet, zone):
        return None
    end_ms = _found(first_instant_ms(at_ms, zone, quiet.end_after_ms))
    if not spread_seconds:
        return end_ms
    quiet_again_ms = _found(first_instant_ms(end_ms, zone, quiet.start_after_ms))
    return end_ms + int(jitter * min(spread_seconds * SECOND_MS, quiet_again_ms - end_ms))


def _found(at_ms: int | None) -> int:
    # Quiet hours repeat every week, so that there is always a next start and a next end.
    if at_ms is None:  # pragma: no cover - see above
        raise AssertionError("quiet hours without an end")
    return at_ms
