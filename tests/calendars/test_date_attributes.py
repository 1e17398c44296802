from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_calendar import ZONES, at, wall

from posthorn.calendars import DateRead, MonthDay, NoDate, read_date, zone


def read(value: object, name: str = "UTC") -> tuple[int | None, int, int] | None:
    found = read_date(value, zone(name))
    return (found.year, *found.date) if isinstance(found, DateRead) else None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1990-05-17", (1990, 5, 17)),
        (" 1990-05-17 ", (1990, 5, 17)),
        ("19900517", (1990, 5, 17)),
        ("05-17", (None, 5, 17)),
        ("--05-17", (None, 5, 17)),
        ("--0517", (None, 5, 17)),
        ("02-29", (None, 2, 29)),
        ("2000-02-29", (2000, 2, 29)),
        ("0000-05-17", (None, 5, 17)),
        ("1604-02-29", (1604, 2, 29)),
        ("1990-05-17T23:30:00", (1990, 5, 17)),
        ("1990-05-17 23:30", (1990, 5, 17)),
        ("1990-05-17T00:00:00Z", (1990, 5, 17)),
        ("1990-05-17T00:00:00.000+0000", (1990, 5, 17)),
        ("1990-05-17T00:00:00+03:00", (1990, 5, 17)),
        ("1990-05-16T21:00:00.000Z", (1990, 5, 17)),
        ("1990-05-17T01:00:00+14", (1990, 5, 16)),
        ("1990-05-17T23:59:60Z", (1990, 5, 18)),
        ("9999-12-31T23:00:00-10:00", (9999, 12, 31)),
        (642_884_399, (1990, 5, 16)),  # one second before 23:00, and Moscow had summer time
        (642_888_000, (1990, 5, 17)),
        (642_988_801, (1990, 5, 18)),
        (642_988_801_000, (1990, 5, 18)),
        ("642988801", (1990, 5, 18)),
        ("642988801000", (1990, 5, 18)),
        (642_902_400, (1990, 5, 17)),
        (642_902_400.0, (1990, 5, 17)),
        (-315_619_200, (1960, 1, 1)),
        (-315_619_200_000, (1960, 1, 1)),
    ],
)
def test_what_can_be_read_in_one_way_is_read(value: object, expected: tuple[int | None, int, int]) -> None:
    assert read(value, "Europe/Moscow") == expected


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("05/06/1990", "one way only"),
        ("17.05.1990", "one way only"),
        ("May 17", "one way only"),
        ("1990", "one way only"),
        ("1990-5-17", "one way only"),
        ("1990-W20-4", "one way only"),
        ("1990-05-17T10:00:00 Europe/Berlin", "one way only"),
        ("", "empty"),
        ("x" * 1000, "too long"),
        ("1990-02-29", "no 1990-02-29"),
        ("0000-02-30", "no 0000-02-30"),
        ("13-01", "no 0000-13-01"),
        ("1990-05-17T25:00:00Z", "no 25:00:00"),
        ("1990-05-17T10:00:00+25:00", "offset"),
        (0, "neither seconds nor ms"),
        (19_900_517, "neither seconds nor ms"),
        (50_000_000_000, "neither seconds nor ms"),
        (10**30, "neither seconds nor ms"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (True, "neither text nor number"),
        (None, "neither text nor number"),
        ([1990, 5, 17], "neither text nor number"),
        ({}, "neither text nor number"),
        ("١٩٩٠-٠٥-١٧", "one way only"),
    ],
)
def test_what_cannot_be_read_in_one_way_gets_a_reason(value: object, part: str) -> None:
    found = read_date(value, zone("UTC"))
    assert isinstance(found, NoDate)
    assert part in found.reason
    assert len(found.reason) < 150


@given(st.dates(), st.sampled_from(ZONES))
def test_a_date_is_the_same_in_every_zone_however_it_is_stored(day: date, name: str) -> None:
    expected = (day.year, day.month, day.day)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    forms: list[object] = [f"{day}", f"{day}T00:00:00Z", f"{day:%Y%m%d}".zfill(8), midnight.isoformat()]
    seconds = int(midnight.timestamp())
    if 10**8 <= abs(seconds) <= 4_102_444_800:
        forms += [seconds, float(seconds), seconds * 1000, str(seconds)]
    assert {read(form, name) for form in forms} == {expected}


@given(st.datetimes(datetime(1974, 1, 1), datetime(2099, 1, 1)), st.sampled_from(ZONES), st.integers(-840, 840))  # noqa: DTZ001
def test_an_instant_is_the_date_on_the_persons_wall(moment: datetime, name: str, offset_minutes: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    at_ms = int(moment.timestamp()) * 1000
    sign, ahead = ("-" if offset_minutes < 0 else "+"), abs(offset_minutes)
    written = (moment + timedelta(minutes=offset_minutes)).replace(tzinfo=None)
    shown = wall(at_ms, name)
    expected = (shown.year, shown.month, shown.day)
    if written.time() != datetime.min.time():
        assert read(f"{written.isoformat()}{sign}{ahead // 60:02d}:{ahead % 60:02d}", name) == expected
    if at_ms % 86_400_000:
        assert read(at_ms, name) == read(at_ms // 1000, name) == expected


@given(st.text(max_size=70) | st.from_regex(r"[-0-9T:+Z. ]{0,40}", fullmatch=True) | st.integers() | st.floats())
def test_no_value_breaks_the_reader(value: object) -> None:
    found = read_date(value, zone("Pacific/Apia"))
    assert isinstance(found, NoDate) or found.date.is_valid


def test_a_read_date_is_what_an_anniversary_takes() -> None:
    assert read_date("1990-05-17", zone("UTC")) == DateRead(date=MonthDay(5, 17), year=1990)
    assert at("1990-05-17") == 642_902_400_000
