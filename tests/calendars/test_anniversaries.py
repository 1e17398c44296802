from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slow_calendar import at, first_shown, had, places, wall

from posthorn.calendars import LeapDay, next_anniversary, zone
from posthorn.errors import Invalid


def celebrates(day: date, birthday: tuple[int, int], leap_day: LeapDay) -> bool:
    """Whether someone celebrates on a day, as one would ask them."""
    if (day.month, day.day) == birthday:
        return True
    tomorrow, yesterday = day + timedelta(days=1), day - timedelta(days=1)
    if birthday != (2, 29):
        return False
    if leap_day is LeapDay.FEB_28:
        return (day.month, day.day) == (2, 28) and tomorrow.month == 3
    return leap_day is LeapDay.MAR_1 and (day.month, day.day) == (3, 1) and yesterday.day == 28


def slow_anniversary(
    birthday: tuple[int, int], after_ms: int, name: str, of_day: time, lead_days: int, leap_day: LeapDay
) -> int:
    start = wall(after_ms, name).date() + timedelta(days=lead_days - 3)
    for ahead in range(9 * 366):
        day = start + timedelta(days=ahead)
        if celebrates(day, birthday, leap_day):
            told = day - timedelta(days=lead_days)
            if not had(told, name):
                told += timedelta(days=1)
            found = first_shown(datetime.combine(told, of_day), name)
            if found > after_ms:
                return found
    raise AssertionError(birthday)


DATES = st.dates(date(2000, 1, 1), date(2000, 12, 31)).map(lambda day: (day.month, day.day))


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, int, tuple[int, int], int]:
    """Draw a zone, an instant, a date and a lead, most of them due within days."""
    name, after_ms = draw(places())
    lead_days = draw(st.just(0) | st.integers(0, 366))
    near = wall(after_ms, name).date() + timedelta(days=lead_days + draw(st.integers(-2, 3)))
    birthday = draw(st.sampled_from([(near.month, near.day), (2, 29), (2, 28), (3, 1)]) | DATES)
    return name, after_ms, birthday, lead_days


@settings(max_examples=300, deadline=None)
@given(cases(), st.times(), st.sampled_from(LeapDay))
@example(("Pacific/Apia", at("2011-12-29T12:00"), (12, 30), 0), time(10), LeapDay.FEB_28)
@example(("Pacific/Kiritimati", at("1994-12-31T10:30"), (12, 31), 0), time(10), LeapDay.FEB_28)
@example(("UTC", at("2096-02-29T12:00"), (2, 29), 0), time(10), LeapDay.LEAP_YEARS_ONLY)
@example(("UTC", at("2096-02-28T12:00"), (2, 29), 366), time(10), LeapDay.LEAP_YEARS_ONLY)
@example(("Europe/Berlin", at("2026-10-25T00:45"), (10, 25), 0), time(2, 30), LeapDay.MAR_1)
def test_the_next_anniversary_is_that_of_the_calendar(
    case: tuple[str, int, tuple[int, int], int], moment: time, leap_day: LeapDay
) -> None:
    name, after_ms, birthday, lead_days = case
    of_day = moment.replace(second=0, microsecond=0)
    found = next_anniversary(
        birthday, after_ms, zone(name), of_day.hour, of_day.minute, lead_days=lead_days, leap_day=leap_day
    )
    assert found == slow_anniversary(birthday, after_ms, name, of_day, lead_days, leap_day)


@pytest.mark.parametrize(
    ("leap_day", "expected"),
    [
        (LeapDay.FEB_28, "2027-02-28T10:00"),
        (LeapDay.MAR_1, "2027-03-01T10:00"),
        (LeapDay.LEAP_YEARS_ONLY, "2028-02-29T10:00"),
    ],
)
def test_those_born_on_29_february_choose_their_day(leap_day: LeapDay, expected: str) -> None:
    after_ms = at("2026-11-22", "Europe/Moscow")
    found = next_anniversary((2, 29), after_ms, zone("Europe/Moscow"), 10, 0, leap_day=leap_day)
    assert found == at(expected, "Europe/Moscow")


def test_ten_years_of_birthdays_are_ten_whatever_the_clock_does() -> None:
    for name, birthday in [("Europe/Berlin", (3, 29)), ("Europe/Berlin", (10, 25)), ("Pacific/Apia", (12, 30))]:
        after_ms, found = at("2006-01-01"), []
        while after_ms < at("2016-01-01"):
            after_ms = next_anniversary(birthday, after_ms, zone(name), 2, 30)
            found.append(after_ms)
        assert len(found) == 11  # the eleventh is the first behind the ten years


def test_the_first_anniversary_may_be_set_to_a_year() -> None:
    signed_up_ms = at("2026-11-22T09:00")
    at_once, in_a_year = at("2026-11-22T10:00"), at("2027-11-22T10:00")
    assert next_anniversary((11, 22), signed_up_ms, zone("UTC"), 10, 0) == at_once
    assert next_anniversary((11, 22), signed_up_ms, zone("UTC"), 10, 0, first_year=2027) == in_a_year
    assert next_anniversary((11, 22), in_a_year, zone("UTC"), 10, 0, first_year=2027) == at("2028-11-22T10:00")


@pytest.mark.parametrize(
    ("date", "options"),
    [
        ((2, 30), {}),
        ((4, 31), {}),
        ((0, 1), {}),
        ((13, 1), {}),
        ((1, 0), {}),
        ((1, 1), {"lead_days": -1}),
        ((1, 1), {"lead_days": 367}),
        ((1, 1), {"hour": 24}),
        ((1, 1), {"first_year": 10_000}),
    ],
)
def test_dates_and_leads_that_do_not_exist_are_refused(date: tuple[int, int], options: dict) -> None:
    with pytest.raises(Invalid):
        next_anniversary(date, 0, zone("UTC"), minute=0, **{"hour": 10, **options})
