import re
from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slow_calendar import DAY_MS, HOUR_MS, at, first_shown, had, places, wall

from posthorn.calendars import CalendarDuration, ExactDuration, TimeOfDay, add_duration, at_local_time, zone
from posthorn.errors import Invalid

WEEKDAYS = st.none() | st.frozensets(st.integers(1, 7), min_size=1)


def slow_local_time(start_ms: int, name: str, of_day: time, weekdays: frozenset[int] | None) -> int:
    today = wall(start_ms, name).date()
    days = [today + timedelta(days=ahead) for ahead in range(-2, 16)]
    return next(
        found
        for day in days
        if (weekdays is None or day.isoweekday() in weekdays) and had(day, name)
        if (found := first_shown(datetime.combine(day, of_day), name)) >= start_ms
    )


@settings(max_examples=200, deadline=None)
@given(places(), st.times(), WEEKDAYS)
@example(("Pacific/Apia", at("2011-12-30T09:00")), time(10), frozenset({5}))
@example(("America/Nuuk", at("2026-03-29T01:00")), time(23, 30), frozenset({6}))
@example(("Europe/Berlin", at("2026-03-29T00:00")), time(2, 30), None)
@example(("Europe/Berlin", at("2026-10-25T00:30")), time(2, 30), None)
@example(("Europe/Berlin", at("2026-10-25T00:30") + 1), time(2, 30), None)
def test_the_next_local_time_is_that_of_the_watch(
    place: tuple[str, int], moment: time, weekdays: frozenset[int] | None
) -> None:
    name, now_ms = place
    of_day = moment.replace(second=0, microsecond=0)
    found = at_local_time(now_ms, zone(name), of_day.hour, of_day.minute, weekdays=weekdays)
    assert found == slow_local_time(now_ms, name, of_day, weekdays)


def test_the_present_moment_counts_and_the_later_bound_wins() -> None:
    berlin = zone("Europe/Berlin")
    now_ms = at("2026-11-22T10:00", "Europe/Berlin")
    assert at_local_time(now_ms, berlin, 10, 0) == now_ms
    assert at_local_time(now_ms + 1, berlin, 10, 0) == now_ms + DAY_MS
    assert at_local_time(now_ms, berlin, 10, 0, not_before_ms=now_ms + DAY_MS + 1) == now_ms + 2 * DAY_MS
    assert at_local_time(now_ms, berlin, 10, 0, not_before_ms=now_ms - DAY_MS) == now_ms


def test_a_skipped_time_comes_at_the_jump_and_a_repeated_one_at_first() -> None:
    howe = zone("Australia/Lord_Howe")
    spring, autumn = at("2026-10-03T00:00", howe.name), at("2026-04-04T03:00", howe.name)
    assert at_local_time(spring, howe, 2, 15, weekdays=frozenset({7})) == at("2026-10-04T02:30", howe.name)
    assert at_local_time(autumn, howe, 1, 45) == at("2026-04-05T01:45", howe.name, fold=0)


@pytest.mark.parametrize(("hour", "minute"), [(24, 0), (-1, 0), (10, 60), (10, -1)])
def test_a_time_of_day_that_does_not_exist_is_refused(hour: int, minute: int) -> None:
    with pytest.raises(Invalid):
        at_local_time(0, zone("UTC"), hour, minute)


@pytest.mark.parametrize("weekdays", [frozenset(), frozenset({0}), frozenset({1, 8})])
def test_weekdays_that_do_not_exist_are_refused(weekdays: frozenset[int]) -> None:
    with pytest.raises(Invalid):
        at_local_time(0, zone("UTC"), 10, 0, weekdays=weekdays)


def slow_months_later(day: date, months: int) -> date:
    for _ in range(months):
        day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    return day


@settings(max_examples=200, deadline=None)
@given(places(), st.integers(0, 30), st.integers(0, 5), st.integers(0, 40), st.none() | st.times())
@example(("Pacific/Apia", at("2011-12-29T20:00")), 0, 0, 1, time(9))
@example(("Europe/Berlin", at("2026-01-31T20:00")), 1, 0, 0, None)
def test_days_and_months_are_counted_on_the_calendar(
    place: tuple[str, int], months: int, weeks: int, days: int, moment: time | None
) -> None:
    name, at_ms = place
    at_ms -= at_ms % 60_000
    if not months + weeks + days:
        days = 1
    shown = wall(at_ms, name)
    first = slow_months_later(shown.date(), months)
    month_end = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    day = (
        min(first.replace(day=1) + timedelta(days=shown.day - 1), month_end) if months else shown.date()
    ) + timedelta(days=weeks * 7 + days)
    if not had(day, name):
        day += timedelta(days=1)
    of_day = moment.replace(second=0, microsecond=0) if moment else shown.time()
    ends = TimeOfDay(of_day.hour, of_day.minute) if moment else None
    duration = CalendarDuration(months=months, weeks=weeks, days=days, at=ends)
    found = add_duration(at_ms, duration, zone(name))
    assert found == first_shown(datetime.combine(day, of_day), name)
    assert found > at_ms


def test_one_day_is_by_the_wall_clock_and_24_hours_are_by_the_stopwatch() -> None:
    berlin = zone("Europe/Berlin")
    before_ms = at("2026-03-28T12:00", berlin.name)
    assert add_duration(before_ms, CalendarDuration(days=1), berlin) == before_ms + 23 * HOUR_MS
    assert add_duration(before_ms, ExactDuration(seconds=86_400), berlin) == before_ms + 24 * HOUR_MS


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": 0},
        {"days": -1, "months": 2},
        {"months": 12 * 101},
        {"days": 10**9},
        {"days": 1, "at": TimeOfDay(24, 0)},
    ],
)
def test_durations_that_lead_nowhere_are_refused(wrong: dict) -> None:
    with pytest.raises(Invalid):
        CalendarDuration(**wrong)


@pytest.mark.parametrize("seconds", [0, -1, 10**12])
def test_exact_durations_have_bounds(seconds: int) -> None:
    with pytest.raises(Invalid):
        ExactDuration(seconds=seconds)


@given(st.text(max_size=8) | st.from_regex(r"[0-9]{2}:[0-9]{2}", fullmatch=True))
def test_a_time_of_day_is_read_as_it_is_written_or_refused(text: str) -> None:
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00", text):
        assert str(TimeOfDay.parse(text)) == text
    else:
        with pytest.raises(Invalid):
            TimeOfDay.parse(text)
