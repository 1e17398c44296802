from datetime import datetime, time, timedelta

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from slow_calendar import DAY_MS, HOUR_MS, MINUTE_MS, at, minutes, places, wall

from posthorn.calendars import QuietHours, TimeOfDay, is_quiet, release_ms, sticky_fraction, zone
from posthorn.errors import Invalid

NIGHT = QuietHours(start=TimeOfDay(22), end=TimeOfDay(8))
WEEKEND = QuietHours(start=TimeOfDay(0), end=TimeOfDay(24), weekdays=frozenset({6, 7}))


def slow_quiet(shown: datetime, quiet: QuietHours) -> bool:
    """Look at the spans that start today and yesterday."""
    for days_ago in (0, 1):
        day = shown.date() - timedelta(days=days_ago)
        start = datetime.combine(day, time(*quiet.start))
        end = datetime.combine(day, time()) + timedelta(hours=quiet.end.hour, minutes=quiet.end.minute)
        if end <= start:
            end += timedelta(days=1)
        if start <= shown < end and (quiet.weekdays is None or day.isoweekday() in quiet.weekdays):
            return True
    return False


@st.composite
def quiet_hours(draw: st.DrawFn) -> QuietHours:
    times = st.builds(TimeOfDay, st.integers(0, 23), st.integers(0, 59))
    start = draw(times | st.just(TimeOfDay(0)))
    end = draw(times | st.just(TimeOfDay(24)))
    weekdays = draw(st.none() | st.frozensets(st.integers(1, 7), min_size=1))
    assume(start != end)
    assume((start, end) != ((0, 0), (24, 0)) or (weekdays is not None and len(weekdays) < 7))
    return QuietHours(start=start, end=end, weekdays=weekdays)


@settings(max_examples=200, deadline=None)
@given(places(), quiet_hours())
@example(("Europe/Berlin", at("2026-10-25T00:10")), QuietHours(start=TimeOfDay(2), end=TimeOfDay(2, 30)))
@example(("Europe/Berlin", at("2026-03-29T00:30")), QuietHours(start=TimeOfDay(1), end=TimeOfDay(2, 30)))
@example(("Pacific/Apia", at("2011-12-30T09:00")), QuietHours(start=TimeOfDay(22), end=TimeOfDay(8)))
@example(("UTC", at("2026-11-21T09:00")), WEEKEND)
def test_release_is_the_first_minute_in_which_the_watch_shows_no_quiet(
    place: tuple[str, int], quiet: QuietHours
) -> None:
    name, at_ms = place
    assert is_quiet(at_ms, quiet, zone(name)) == slow_quiet(wall(at_ms, name), quiet)
    loud = (t for t in minutes(at_ms, at_ms + 9 * DAY_MS) if not slow_quiet(wall(t, name), quiet))
    expected = next(loud)
    assert release_ms(at_ms, quiet, zone(name)) == (None if expected == at_ms else expected)


@settings(max_examples=200, deadline=None)
@given(places(), quiet_hours(), st.floats(0, 1, exclude_max=True), st.integers(0, 100_000))
@example(("Europe/Berlin", at("2026-10-25T00:10")), QuietHours(start=TimeOfDay(2), end=TimeOfDay(2, 30)), 0.99, 7200)
@example(("UTC", at("2026-11-21T09:00")), QuietHours(start=TimeOfDay(8), end=TimeOfDay(7, 59)), 1 - 2**-53, 7200)
def test_jitter_never_lands_in_quiet_time_again(
    place: tuple[str, int], quiet: QuietHours, jitter: float, spread_seconds: int
) -> None:
    name, at_ms = place
    end_ms = release_ms(at_ms, quiet, zone(name))
    found = release_ms(at_ms, quiet, zone(name), jitter=jitter, spread_seconds=spread_seconds)
    if end_ms is None:
        assert found is None
        return
    assert found is not None
    assert end_ms <= found <= end_ms + spread_seconds * 1000
    assert not any(slow_quiet(wall(t, name), quiet) for t in [*minutes(end_ms, found), found])


def test_a_held_crowd_is_spread_evenly_after_the_end() -> None:
    berlin, now_ms = zone("Europe/Berlin"), at("2026-11-22T23:00", "Europe/Berlin")
    end_ms = at("2026-11-23T08:00", "Europe/Berlin")
    draws = [sticky_fraction(f"automation/{person}") for person in range(6000)]
    found = [release_ms(now_ms, NIGHT, berlin, jitter=draw, spread_seconds=3600) or 0 for draw in draws]
    per_minute = [sum(1 for t in found if (t - end_ms) // MINUTE_MS == minute) for minute in range(60)]
    assert sum(per_minute) == 6000
    assert 55 < min(per_minute) <= max(per_minute) < 150


def test_the_spread_shrinks_to_the_time_that_is_left() -> None:
    short = QuietHours(start=TimeOfDay(9), end=TimeOfDay(8))
    now_ms, end_ms = at("2026-11-22T20:00"), at("2026-11-23T08:00")
    assert release_ms(now_ms, short, zone("UTC"), jitter=0.5, spread_seconds=36_000) == end_ms + HOUR_MS // 2


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-20T21:59", None),
        ("2026-11-20T22:00", "2026-11-21T08:00"),
        ("2026-11-21T07:59", "2026-11-21T08:00"),
        ("2026-11-21T08:00", None),
        ("2026-11-21T23:00", None),
    ],
)
def test_the_night_of_friday_ends_on_saturday(now: str, expected: str | None) -> None:
    friday = QuietHours(start=TimeOfDay(22), end=TimeOfDay(8), weekdays=frozenset({5}))
    assert release_ms(at(now), friday, zone("UTC")) == (at(expected) if expected else None)


def test_quiet_days_in_a_row_end_together() -> None:
    assert release_ms(at("2026-11-21T09:00"), WEEKEND, zone("UTC")) == at("2026-11-23T00:00")


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"start": TimeOfDay(8), "end": TimeOfDay(8)}, "another time"),
        ({"start": TimeOfDay(0), "end": TimeOfDay(24)}, "no time to send"),
        ({"start": TimeOfDay(0), "end": TimeOfDay(24), "weekdays": frozenset(range(1, 8))}, "no time to send"),
        ({"start": TimeOfDay(24), "end": TimeOfDay(8)}, "time of day"),
        ({"start": TimeOfDay(22), "end": TimeOfDay(24, 1)}, "time of day"),
        ({"start": TimeOfDay(22), "end": TimeOfDay(8), "weekdays": frozenset()}, "weekdays"),
    ],
)
def test_quiet_hours_that_are_empty_or_endless_are_refused(wrong: dict, part: str) -> None:
    with pytest.raises(Invalid, match=part):
        QuietHours(**wrong)


@pytest.mark.parametrize("wrong", [{"jitter": 1.0}, {"jitter": -0.1}, {"jitter": float("nan")}, {"spread_seconds": -1}])
def test_jitter_and_spread_have_bounds(wrong: dict) -> None:
    with pytest.raises(Invalid):
        release_ms(0, NIGHT, zone("UTC"), **wrong)
