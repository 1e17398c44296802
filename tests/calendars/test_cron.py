from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slow_calendar import DAY_MS, HOUR_MS, MINUTE_MS, at, had, minutes, places, wall

from posthorn.calendars import next_firing, next_firings, parse_cron, zone
from posthorn.errors import Invalid

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def number(text: str, names: tuple[str, ...], first: int) -> int:
    return names.index(text.upper()) + first if text.upper() in names else int(text)


@cache
def slow_set(word: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    """Expand a field by counting, without its L and #."""
    found: set[int] = set()
    for term in word.split(","):
        if "L" in term[-1:] or "#" in term:
            continue
        span, _, step = term.partition("/")
        start, _, end = span.partition("-")
        if span == "*":
            start, end = str(low), str(high)
        elif not end:
            end = str(high) if step else start
        bounds = number(start, names, low), number(end, names, low)
        found |= {value for value in range(bounds[0], bounds[1] + 1) if (value - bounds[0]) % int(step or 1) == 0}
    return found


def slow_day_matches(words: list[str], day: date) -> bool:
    _, _, dom, month, dow = words
    next_week, tomorrow = day + timedelta(days=7), day + timedelta(days=1)
    by_number = day.day in slow_set(dom, 1, 31, ()) or ("L" in dom.split(",") and tomorrow.day == 1)
    by_weekday = day.isoweekday() % 7 in {value % 7 for value in slow_set(dow, 0, 7, WEEKDAYS)}
    for term in dow.split(","):
        if "#" in term:
            weekday, nth = term.split("#")
            same = number(weekday, WEEKDAYS, 0) % 7 == day.isoweekday() % 7
            by_weekday |= same and (day.day - 1) // 7 + 1 == int(nth)
        elif term.endswith("L"):
            by_weekday |= number(term[:-1], WEEKDAYS, 0) % 7 == day.isoweekday() % 7 and next_week.month != day.month
    if day.month not in slow_set(month, 1, 12, MONTHS):
        return False
    return by_number and by_weekday if dom[0] == "*" or dow[0] == "*" else by_number or by_weekday


def slow_walls(words: list[str], day: date) -> list[datetime]:
    if not slow_day_matches(words, day):
        return []
    hours, minute_set = slow_set(words[1], 0, 23, ()), slow_set(words[0], 0, 59, ())
    return [datetime.combine(day, time(hour, minute)) for hour in sorted(hours) for minute in sorted(minute_set)]


def slow_firings(text: str, after_ms: int, name: str, until_ms: int) -> list[int]:
    """Walk minute by minute with a watch in the hand, from long before, and note what each minute brings."""
    words = text.split()
    start_ms = after_ms // MINUTE_MS * MINUTE_MS - 12 * HOUR_MS
    first = wall(start_ms, name).date()
    days = [first + timedelta(days=ahead) for ahead in range(-2, (until_ms - start_ms) // DAY_MS + 4)]
    due = {shown for day in days for shown in slow_walls(words, day) if had(day, name)}
    found = []
    seen = wall(start_ms, name)  # the latest that the clock has shown so far
    for t in minutes(start_ms, until_ms):
        shown = wall(t, name)
        if words[0][0] == "*" or words[1][0] == "*":
            fires = shown in due
        else:
            passed = (
                seen + timedelta(minutes=step)
                for step in range(1, max(0, int((shown - seen).total_seconds() // 60)) + 1)
            )
            fires = any(moment in due for moment in passed)
        seen = max(seen, shown)
        if fires and t > after_ms:
            found.append(t)
    return found


def terms(low: int, high: int) -> st.SearchStrategy[str]:
    single = st.integers(low, high).map(str)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda two: f"{min(two)}-{max(two)}")
    stepped = st.tuples(st.just("*") | span | single, st.integers(1, 30)).map(lambda two: f"{two[0]}/{two[1]}")
    return st.lists(single | span | stepped, min_size=1, max_size=3).map(",".join)


DAYS = st.just("*") | terms(1, 31) | st.sampled_from(["L", "15,L", "*/2"])
ON_WEEKDAYS = st.just("*") | terms(0, 7) | st.sampled_from(["MON-FRI", "1#2", "FRIL", "SUN#1,3", "7L", "*/2", "SAT-7"])
SCHEDULES = st.tuples(
    st.just("*") | st.sampled_from(["0", "30", "*/15", "1-59/2"]) | terms(0, 59),
    st.just("*") | st.sampled_from(["2", "*/2", "0-23", "0,23"]) | terms(0, 23),
    DAYS,
    st.just("*") | terms(1, 12),
    ON_WEEKDAYS,
).map(" ".join)


@settings(max_examples=120, deadline=None)
@given(SCHEDULES, places())
@example("30 2 * * *", ("Europe/Berlin", at("2026-03-28T12:00")))
@example("30 2 * * *", ("Europe/Berlin", at("2026-10-24T12:00")))
@example("*/30 2 * * *", ("Europe/Berlin", at("2026-10-24T12:00")))
@example("15,45 1,2 * * *", ("Australia/Lord_Howe", at("2026-10-03T12:00")))
@example("0 10 * * *", ("Pacific/Apia", at("2011-12-29T12:00")))
@example("0 * * * *", ("Pacific/Apia", at("2011-12-30T08:30")))
@example("45 23 * * *", ("America/St_Johns", at("2010-11-07T02:30")))
@example("*/15 * * * 6", ("America/St_Johns", at("2010-11-07T02:14")))
@example("*/15 1 * * 0", ("Europe/Dublin", at("2026-10-25T00:50")))
@example("0 0 * * *", ("America/Havana", at("2026-03-07T12:00")))
def test_firings_are_those_of_the_watch(text: str, place: tuple[str, int]) -> None:
    name, after_ms = place
    until_ms = after_ms + 4 * DAY_MS
    expected = slow_firings(text, after_ms, name, until_ms)
    try:
        cron = parse_cron(text)
    except Invalid:
        assert expected == []
        return
    found = []
    at_ms = next_firing(cron, after_ms, zone(name))
    while at_ms is not None and at_ms < until_ms and len(found) < 40:
        found.append(at_ms)
        at_ms = next_firing(cron, at_ms, zone(name))
    assert found == expected[:40]


@settings(max_examples=150, deadline=None)
@given(DAYS, st.just("*") | terms(1, 12), ON_WEEKDAYS, st.dates(date(1990, 1, 1), date(2100, 1, 1)))
@example("29", "2", "*/7", date(2072, 3, 1))
@example("*", "2", "1#5", date(2072, 3, 1))
def test_the_next_day_is_that_of_the_calendar(dom: str, month: str, dow: str, after: date) -> None:
    words = ["0", "12", dom, month, dow]
    days = (after + timedelta(days=ahead) for ahead in range(41 * 366))
    expected = next((day for day in days if slow_day_matches(words, day)), None)
    try:
        cron = parse_cron(" ".join(words))
    except Invalid:
        assert expected is None
        return
    found = next_firing(cron, at(after.isoformat()) - 1, zone("UTC"))
    assert found == (at(f"{expected}T12:00") if expected else None)


def test_every_fifteen_minutes_is_so_even_when_the_clock_is_turned() -> None:
    cron = parse_cron("*/15 * * * *")
    for name in ("Europe/Berlin", "Australia/Lord_Howe"):
        for start in ("2026-03-28T20:00", "2026-04-04T10:00", "2026-10-03T10:00", "2026-10-24T20:00"):
            firings = next_firings(cron, at(start), zone(name), count=60)
            assert {later - earlier for earlier, later in pairwise(firings)} == {15 * MINUTE_MS}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@yearly", "2027-01-01T00:00"),
        ("@monthly", "2026-12-01T00:00"),
        ("@weekly", "2026-11-29T00:00"),
        (" @Daily ", "2026-11-23T00:00"),
        ("@hourly", "2026-11-22T11:00"),
        ("0 9 L * *", "2026-11-30T09:00"),
        ("0 9 * * mon#1", "2026-12-07T09:00"),
        ("0 9 * * FriL", "2026-11-27T09:00"),
        ("0 9 1 * 5", "2026-11-27T09:00"),
        ("0 9 13 * */5", "2026-12-13T09:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0\t9  *   * SAT-SUN", "2026-11-28T09:00"),
        ("0 9 * * SUN-SUN", "2026-11-29T09:00"),
        ("0 9 * * 2-2/4", "2026-11-24T09:00"),
        ("0 9 * * 3/2", "2026-11-25T09:00"),
        ("0 9 * JAN-MAR SUN", "2027-01-03T09:00"),
    ],
)
def test_schedules_mean_what_people_expect(text: str, expected: str) -> None:
    assert next_firing(parse_cron(text), at("2026-11-22T10:30"), zone("UTC")) == at(expected)


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("61 * * * *", 1, "61 is not within 0 to 59"),
        ("0 24 * * *", 3, "24 is not within 0 to 23"),
        ("0 9 0 * *", 5, "0 is not within 1 to 31"),
        ("0 9 * 13 *", 7, "13 is not within 1 to 12"),
        ("0 9 * * 8", 9, "8 is not within 0 to 7"),
        ("0 9,10,25 * * *", 8, "25"),
        ("0 9-70 * * *", 5, "70"),
        ("0 22-2 * * *", 3, "backwards"),
        ("*/0 * * * *", 3, "step"),
        ("*/100 * * * *", 3, "step"),
        ("*/ * * * *", 2, "step"),
        ("5x * * * *", 2, "expected a comma"),
        ("0 9 * MAI *", 7, "JAN to DEC"),
        ("0 9 * * MONDAY", 12, "expected a comma"),
        ("0 9 ? * MON", 5, "write * for ?"),
        ("0 9 15W * *", 5, "not supported"),
        ("0 9 LW * *", 5, "not supported"),
        ("0 9 * * L", 9, "FRIL"),
        ("L 9 * * *", 1, "day of month"),
        ("0 9 1#2 * *", 5, "day of week"),
        ("0 9 * * 1#6", 9, "#1 to #5"),
        ("0 9 * * 1#2/2", 9, "step"),
        ("1, 9 * * *", 3, "missing"),
        ("-5 9 * * *", 1, "no number"),
        ("0 9 31 2 *", 5, "no such day"),
        ("0 9 30,31 FEB *", 5, "no such day"),
        ("0 9 31 4,6,9,11 *", 5, "no such day"),
        ("   0 9 31 2 *", 8, "no such day"),
        ("0 ٣ * * *", 3, "no number"),
    ],
)
def test_a_fault_is_told_with_its_column(text: str, column: int, part: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_cron(text)
    (problem,) = refused.value.problems
    assert problem.loc[1] == column
    assert part in problem.msg


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        parse_cron("60 24 0 0 8")
    assert [problem.loc for problem in refused.value.problems] == [
        ("minute", 1),
        ("hour", 4),
        ("day of month", 7),
        ("month", 9),
        ("day of week", 11),
    ]


@pytest.mark.parametrize("text", ["", "* * * *", "0 * * * * *", "@reboot", "@", "* " * 200])
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_cron(text)


@given(st.text(alphabet="0123456789*/,-L#?WMONFRISUNJAN @", max_size=40) | st.text(max_size=40))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        cron = parse_cron(text)
    except Invalid as refused:
        assert refused.problems  # noqa: PT017 - either is fine, another exception is not
    else:
        assert next_firing(cron, 0, zone("UTC")) is not None


def test_a_schedule_ends_with_the_calendar() -> None:
    cron = parse_cron("0 0 29 2 *")
    assert next_firing(cron, at("9997-01-01"), zone("Europe/Berlin")) is None
    assert next_firings(cron, at("9990-01-01"), zone("UTC"), count=5) == (at("9992-02-29"), at("9996-02-29"))
