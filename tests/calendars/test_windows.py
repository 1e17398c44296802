from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slow_calendar import DAY_MS, HOUR_MS, at, first_shown, places, wall

from posthorn.calendars import WindowKind, next_window_start_ms, window_start_ms, zone


def slow_starts(kind: WindowKind, near: date, week_starts: int, name: str) -> list[int]:
    """Return the starts of the windows around a date."""
    days = [near + timedelta(days=ahead) for ahead in range(-40, 41)]
    if kind is WindowKind.DAY:
        firsts = days[38:44]
    elif kind is WindowKind.WEEK:
        firsts = [day for day in days[25:56] if day.isoweekday() == week_starts]
    else:
        firsts = [day for day in days if day.day == 1]
    return [first_shown(datetime.combine(first, time()), name) for first in firsts]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WindowKind), places(), st.integers(1, 7))
@example(WindowKind.DAY, ("Pacific/Apia", at("2011-12-30T09:59")), 1)
@example(WindowKind.DAY, ("America/St_Johns", at("2010-11-07T02:45")), 1)
@example(WindowKind.DAY, ("America/St_Johns", at("2010-11-07T02:30")), 1)
@example(WindowKind.MONTH, ("Pacific/Kiritimati", at("1994-12-31T09:00")), 1)
@example(WindowKind.WEEK, ("America/Havana", at("2026-11-01T04:30")), 7)
def test_every_instant_is_in_the_window_of_the_calendar(
    kind: WindowKind, place: tuple[str, int], week_starts: int
) -> None:
    name, at_ms = place
    starts = slow_starts(kind, wall(at_ms, name).date(), week_starts, name)
    assert window_start_ms(kind, at_ms, zone(name), week_starts=week_starts) == max(t for t in starts if t <= at_ms)
    assert next_window_start_ms(kind, at_ms, zone(name), week_starts=week_starts) == min(t for t in starts if t > at_ms)


@settings(deadline=None)
@given(st.sampled_from(WindowKind), places())
def test_windows_follow_each_other_without_gap_or_overlap(kind: WindowKind, place: tuple[str, int]) -> None:
    name, at_ms = place
    there = zone(name)
    start_ms, next_ms = window_start_ms(kind, at_ms, there), next_window_start_ms(kind, at_ms, there)
    assert start_ms <= at_ms < next_ms
    assert window_start_ms(kind, next_ms, there) == next_ms
    assert window_start_ms(kind, next_ms - 1, there) == window_start_ms(kind, start_ms, there) == start_ms
    assert next_window_start_ms(kind, start_ms, there) == next_ms


def test_a_day_has_23_24_or_25_hours() -> None:
    berlin = zone("Europe/Berlin")
    for day, hours in [("2026-03-29", 23), ("2026-06-01", 24), ("2026-10-25", 25)]:
        noon_ms = at(f"{day}T12:00", berlin.name)
        start_ms = window_start_ms(WindowKind.DAY, noon_ms, berlin)
        assert next_window_start_ms(WindowKind.DAY, noon_ms, berlin) - start_ms == hours * HOUR_MS


@pytest.mark.parametrize(("week_starts", "expected"), [(1, "2026-11-16"), (7, "2026-11-22"), (6, "2026-11-21")])
def test_weeks_start_where_people_start_them(week_starts: int, expected: str) -> None:
    sunday_ms = at("2026-11-22T10:30")
    assert window_start_ms(WindowKind.WEEK, sunday_ms, zone("UTC"), week_starts=week_starts) == at(expected)


def test_two_people_are_in_different_days_at_the_same_instant() -> None:
    at_ms = at("2026-11-22T11:00")
    starts = [window_start_ms(WindowKind.DAY, at_ms, zone(name)) for name in ("Pacific/Auckland", "Pacific/Honolulu")]
    assert starts == [at("2026-11-23", "Pacific/Auckland"), at("2026-11-22", "Pacific/Honolulu")]
    assert starts[0] - starts[1] == HOUR_MS
    assert DAY_MS > at_ms - starts[1] > 0
