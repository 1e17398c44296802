import struct
from datetime import datetime, timedelta
from importlib import resources
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slow_calendar import DAY_MS, HOUR_MS, MINUTE_MS, at, first_shown, had, places, wall

from posthorn.calendars import zone, zone_if_known, zone_names
from posthorn.calendars.days import date_of
from posthorn.errors import Invalid

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall time has no zone


def as_wall_ms(shown: datetime) -> int:
    return (shown - EPOCH) // timedelta(milliseconds=1)


@given(places())
def test_the_wall_clock_shows_what_the_standard_library_says(place: tuple[str, int]) -> None:
    name, at_ms = place
    assert zone(name).wall_ms(at_ms) == as_wall_ms(wall(at_ms, name))


@settings(max_examples=300, deadline=None)
@given(places(), st.integers(-26 * 60, 26 * 60))
@example(("Pacific/Apia", at("2011-12-30T10:00")), -14 * 60)
@example(("America/St_Johns", at("2010-11-07T02:31")), -210)
def test_a_wall_time_is_the_first_instant_that_shows_it_or_a_later_one(place: tuple[str, int], minutes: int) -> None:
    name, at_ms = place
    shown = wall(at_ms // MINUTE_MS * MINUTE_MS, name) + timedelta(minutes=minutes)
    assert zone(name).instant_ms(as_wall_ms(shown)) == first_shown(shown, name)


@settings(deadline=None)
@given(places(), st.integers(-2, 2))
@example(("Pacific/Apia", at("2011-12-30T10:00")), -1)
@example(("Pacific/Kwajalein", at("1993-08-21T12:00")), 0)
@example(("America/Nuuk", at("2026-03-29T01:00")), -1)
def test_a_zone_knows_which_days_it_left_out(place: tuple[str, int], days: int) -> None:
    name, at_ms = place
    day = zone(name).wall_ms(at_ms) // DAY_MS + days
    assert zone(name).has_day(day) == had(date_of(day), name)


def test_a_time_on_a_day_that_was_left_out_is_none_and_one_that_was_skipped_is_the_jump() -> None:
    apia, nuuk = zone("Pacific/Apia"), zone("America/Nuuk")
    left_out = as_wall_ms(datetime(2011, 12, 30)) // DAY_MS  # noqa: DTZ001
    skipped = as_wall_ms(datetime(2026, 3, 28)) // DAY_MS  # noqa: DTZ001
    assert [apia.on_day_ms(left_out + day, 10 * HOUR_MS) for day in (-1, 0, 1)] == [
        at("2011-12-29T10:00", "Pacific/Apia"),
        None,
        at("2011-12-31T10:00", "Pacific/Apia"),
    ]
    assert nuuk.on_day_ms(skipped, 23 * HOUR_MS + 30 * MINUTE_MS) == at("2026-03-29T00:00", "America/Nuuk")


def offset_changes(data: bytes) -> list[tuple[int, int]]:
    """Read (instant in s, change of the offset in s) from a compiled zone, RFC 9636, the second of its blocks."""
    counts = struct.unpack_from(">6l", data, 20)
    isut, isstd, leap, times, types, characters = counts
    start = 44 + times * 5 + types * 6 + characters + leap * 8 + isstd + isut
    _, _, _, times, types, _ = struct.unpack_from(">6l", data, start + 20)
    start += 44
    instants = struct.unpack_from(f">{times}q", data, start)
    kinds = data[start + times * 8 : start + times * 9]
    offsets = [struct.unpack_from(">l", data, start + times * 9 + kind * 6)[0] for kind in range(types)]
    shown = [offsets[0], *(offsets[kind] for kind in kinds)]
    return [
        (t, after - before) for t, before, after in zip(instants, shown, shown[1:], strict=False) if after != before
    ]


def test_the_database_keeps_the_facts_that_the_arithmetic_needs() -> None:
    tables = resources.files("tzdata").joinpath("zoneinfo")
    seen = 0
    for name in zone_names():
        changes = [change for change in offset_changes(tables.joinpath(name).read_bytes()) if change[0] >= 0]
        seen += len(changes)
        assert all(later[0] - earlier[0] > 2 * 86_400 for earlier, later in pairwise(changes)), name
        assert all(-86_400 < by <= 86_400 for _, by in changes), name
        # Only Liberia had an offset with seconds after 1970, until January 1972.
        assert all(instant % 60 == 0 for instant, _ in changes) or name == "Africa/Monrovia"
    assert seen > 10_000


@pytest.mark.parametrize("spelled", ["Europe/Berlin", "europe/berlin", "EUROPE/BERLIN"])
def test_names_are_taken_in_any_case_of_letters(spelled: str) -> None:
    assert zone(spelled).name == "Europe/Berlin"


@pytest.mark.parametrize("absent", [None, ""])
def test_no_name_means_the_default(absent: str | None) -> None:
    assert zone(absent, "Asia/Tokyo").name == "Asia/Tokyo"
    assert zone(absent).name == "UTC"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berlni", "did you mean Europe/Berlin?"),
        ("Moscow", "did you mean Europe/Moscow?"),
        ("New York", "did you mean America/New_York?"),
        (" Europe/Paris", "did you mean Europe/Paris?"),
        ("US/Shanghai", "did you mean Asia/Shanghai?"),
        ("Qqqqqqqq", "use an IANA name such as Europe/Berlin"),
        ("+03:00", "is an offset and knows no summer time"),
        ("UTC+3", "is an offset and knows no summer time"),
        ("../../etc/passwd", "there is no time zone"),
        ("localtime", "there is no time zone"),
        ("Europe", "there is no time zone"),
        ("Europe/Berlin\0", "there is no time zone"),
    ],
)
def test_an_unknown_name_is_refused_with_the_way_out(name: str, hint: str) -> None:
    assert zone_if_known(name) is None
    with pytest.raises(Invalid) as refused:
        zone(name)
    assert hint in str(refused.value)


@given(st.text(max_size=80))
def test_no_text_breaks_the_search_for_a_zone(name: str) -> None:
    found = zone_if_known(name)
    assert found is None or found.name.lower() == name.lower()


def test_a_very_long_name_is_told_briefly() -> None:
    with pytest.raises(Invalid) as refused:
        zone("Europe/" + "x" * 1_000_000)
    assert len(str(refused.value)) < 200


def test_zones_are_equal_by_name_and_show_nothing_else() -> None:
    assert zone("Europe/Berlin") == zone("europe/berlin") != zone("Europe/Paris")
    assert repr(zone("UTC")) == "Zone(name='UTC')"


@pytest.mark.parametrize("at_ms", [10**15, -(10**15), 10**30])
def test_an_instant_that_no_calendar_has_is_refused(at_ms: int) -> None:
    with pytest.raises(Invalid):
        zone("Europe/Berlin").wall_ms(at_ms)
