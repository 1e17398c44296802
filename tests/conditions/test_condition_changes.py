"""The next change is never too late: until that instant the answer stays as it is, tried out instant by instant."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthorn.clock import DAY_MS, HOUR_MS, MINUTE_MS
from posthorn.conditions import CompiledConditions, compile_conditions, decode_conditions

NOW_MS = 1_795_341_600_000
HORIZON_MS = 5_000


def compiled(raw: object) -> CompiledConditions:
    return compile_conditions(decode_conditions(raw))


INSTANTS = st.integers(min_value=NOW_MS - 2_500, max_value=NOW_MS + 2_500)
SPANS = st.sampled_from([{"seconds": 1}, {"seconds": 2}])
FIELDS = st.sampled_from(["profile.a", "profile.b", "profile.absent", "profile.text"])


def comparison(field: str, operator: str, value: object) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


LEAVES = st.one_of(
    st.builds(comparison, FIELDS, st.sampled_from(["within_last", "within_next", "older_than"]), SPANS),
    st.builds(comparison, FIELDS, st.sampled_from(["before", "after"]), st.just("now")),
    st.builds(comparison, st.just("now"), st.sampled_from(["before", "after"]), INSTANTS),
    st.builds(comparison, FIELDS, st.sampled_from(["before", "after"]), INSTANTS),
    st.builds(comparison, FIELDS, st.just("exists"), st.booleans()),
    st.builds(
        lambda bound, number, seconds: {"performed": {"event": "e", bound: number, "withinSeconds": seconds}},
        st.sampled_from(["atLeast", "atMost", "exactly"]),
        st.integers(min_value=1, max_value=3),
        st.none() | st.integers(min_value=1, max_value=3),
    ),
    st.builds(
        lambda match, operator, span: {
            "items": {"field": "profile.list", "match": match, "where": comparison("item", operator, span)}
        },
        st.sampled_from(["any", "all", "none"]),
        st.sampled_from(["within_last", "within_next"]),
        SPANS,
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda children: {"all": children}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda children: {"any": children}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda child: {"not": child}, inner),
    ),
    max_leaves=5,
)
WORLDS = st.builds(
    lambda a, b, items: {"profile": {"a": a, "b": b, "list": items, "text": "soon"}},
    INSTANTS,
    INSTANTS,
    st.lists(INSTANTS, max_size=2),
)
HISTORIES = st.lists(st.integers(min_value=NOW_MS - 3_000, max_value=NOW_MS), max_size=5).map(sorted)


def with_windows(conditions: CompiledConditions, facts: dict[str, Any], times: list[int]) -> dict[str, Any]:
    windows = {need.key: times[-need.keep :] for need in conditions.needs.windows}
    return {**facts, "windows": windows}


@settings(max_examples=150, deadline=None)
@given(raw=TREES, world=WORLDS, times=HISTORIES)
def test_nothing_changes_before_the_instant_that_is_told(raw: Any, world: dict[str, Any], times: list[int]) -> None:
    conditions = compiled(raw)
    facts = with_windows(conditions, world, times)
    answer = conditions.matches({**facts, "now": NOW_MS})
    next_ms = conditions.next_change_ms({**facts, "now": NOW_MS}, NOW_MS)
    assert next_ms is None or next_ms > NOW_MS
    end_ms = NOW_MS + HORIZON_MS if next_ms is None else min(next_ms, NOW_MS + HORIZON_MS)
    for instant in range(NOW_MS + 1, end_ms):
        assert conditions.matches({**facts, "now": instant}) is answer, instant


@settings(max_examples=150, deadline=None)
@given(raw=TREES, world=WORLDS, times=HISTORIES)
def test_whoever_follows_the_told_instants_knows_the_answer_at_every_instant(
    raw: Any, world: dict[str, Any], times: list[int]
) -> None:
    conditions = compiled(raw)
    facts = with_windows(conditions, world, times)
    known, timer, wakes = conditions.matches({**facts, "now": NOW_MS}), NOW_MS, 0
    for instant in range(NOW_MS, NOW_MS + HORIZON_MS, 7):
        while timer is not None and timer <= instant:
            known = conditions.matches({**facts, "now": timer})
            timer = conditions.next_change_ms({**facts, "now": timer}, timer)
            wakes += 1
        assert conditions.matches({**facts, "now": instant}) is known
    # Each leaf has at most a few turns, so timers must not fire again and again for nothing.
    assert wakes < 40


@given(
    operator=st.sampled_from(["within_last", "within_next", "older_than"]),
    at=INSTANTS,
    span=SPANS,
)
def test_a_single_time_rule_turns_exactly_at_the_instant_that_is_told(
    operator: str, at: int, span: dict[str, int]
) -> None:
    conditions = compiled(comparison("profile.a", operator, span))
    facts = {"profile": {"a": at}, "now": NOW_MS}
    next_ms = conditions.next_change_ms(facts, NOW_MS)
    if next_ms is None:
        assert conditions.matches({**facts, "now": NOW_MS + DAY_MS}) is conditions.matches(facts)
    else:
        assert conditions.matches({**facts, "now": next_ms}) is not conditions.matches(facts)


@given(
    bound=st.sampled_from(["atLeast", "atMost", "exactly"]),
    number=st.integers(min_value=1, max_value=4),
    times=st.lists(st.integers(min_value=NOW_MS - 3_000, max_value=NOW_MS), max_size=6, unique=True).map(sorted),
)
def test_a_single_window_turns_exactly_at_the_instant_that_is_told(bound: str, number: int, times: list[int]) -> None:
    conditions = compiled({"performed": {"event": "e", bound: number, "withinSeconds": 2}})
    facts = {**with_windows(conditions, {}, times), "now": NOW_MS}
    next_ms = conditions.next_change_ms(facts, NOW_MS)
    if next_ms is None:
        assert conditions.matches({**facts, "now": NOW_MS + DAY_MS}) is conditions.matches(facts)
    else:
        assert conditions.matches({**facts, "now": next_ms}) is not conditions.matches(facts)


def test_a_condition_that_fails_for_good_keeps_the_others_from_setting_a_timer() -> None:
    soon = comparison("profile.a", "within_last", {"days": 7})
    never = comparison("profile.plan", "eq", "pro")
    facts = {"profile": {"a": NOW_MS - 1_000, "plan": "free"}, "now": NOW_MS}
    assert compiled(soon).next_change_ms(facts, NOW_MS) == NOW_MS - 1_000 + 7 * DAY_MS
    assert compiled({"all": [soon, never]}).next_change_ms(facts, NOW_MS) is None
    assert compiled({"any": [{"not": soon}, never]}).next_change_ms(facts, NOW_MS) == NOW_MS - 1_000 + 7 * DAY_MS
    assert compiled({"any": [soon, {"not": never}]}).next_change_ms(facts, NOW_MS) is None


@pytest.mark.parametrize(
    "raw",
    [
        {"count": {"event": "a", "op": "gte", "value": 1}},
        {"segment": {"is": "in", "segment": "vip"}},
        {"subscription": {"channel": "email", "is": ["subscribed"]}},
        {"cel": "event.data.total > 100"},
        {"performed": {"event": "a", "atLeast": 3}},
    ],
)
def test_what_only_events_change_needs_no_timer(raw: dict[str, Any]) -> None:
    assert compiled(raw).next_change_ms({"now": NOW_MS}, NOW_MS) is None


def test_an_expression_over_the_clock_is_asked_again_every_full_hour() -> None:
    conditions = compiled({"cel": "timestamp(now) > timestamp('2026-12-01T00:00:00Z')"})
    assert conditions.next_change_ms({"now": NOW_MS}, NOW_MS) == NOW_MS + HOUR_MS
    assert conditions.next_change_ms({"now": NOW_MS + 5}, NOW_MS + 5) == NOW_MS + HOUR_MS


ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC")
# Around the turns to and from summer time of the zones above.
STARTS = tuple(
    int(datetime(*day, tzinfo=UTC).timestamp()) * 1_000 for day in [(2026, 3, 27), (2026, 10, 23), (2026, 4, 3)]
)


@cache
def offset_seconds(zone: str, minute: int) -> int:
    offset = datetime.fromtimestamp(minute * 60, ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)


def local_facts(zone: str, now_ms: int, days: int) -> dict[str, Any]:
    minute = now_ms // MINUTE_MS
    offset = offset_seconds(zone, minute)
    ends = (at for at in range(minute + 1, minute + days * 1_440) if offset_seconds(zone, at) != offset)
    until = next(ends, None) if days else None
    at = datetime.fromtimestamp(now_ms / 1_000, ZoneInfo(zone))
    return {
        "now": now_ms,
        "local": {
            "weekday": at.isoweekday(),
            "minutes": at.hour * 60 + at.minute,
            "date": at.date().isoformat(),
            "offsetSeconds": offset,
            "offsetUntilMs": None if until is None else until * MINUTE_MS,
        },
    }


CLOCKS = st.builds(lambda hour, half: f"{hour:02}:{half:02}", st.integers(0, 23), st.sampled_from([0, 30]))
WEEK = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
HOURS = st.builds(
    lambda start, end, days: {"from": start, "to": end, **({"weekdays": days} if days else {})},
    CLOCKS,
    CLOCKS,
    st.lists(st.sampled_from(WEEK), unique=True),
).filter(lambda rule: rule["from"] != rule["to"])
RULES = st.one_of(
    HOURS.map(lambda rule: {"time": rule}),
    st.lists(st.sampled_from(WEEK), min_size=1, unique=True).map(lambda days: {"time": {"weekdays": days}}),
    st.just(comparison("local.date", "gt", "2026-03-29")),
    st.builds(lambda day: comparison("local.weekday", "eq", day), st.integers(1, 7)),
)


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start_ms=st.sampled_from(STARTS),
    minutes=st.integers(min_value=0, max_value=3 * 1_440),
    rest_ms=st.integers(min_value=0, max_value=59_999),
    rule=RULES,
)
def test_local_time_does_not_turn_before_the_instant_that_is_told(
    zone: str, start_ms: int, minutes: int, rest_ms: int, rule: dict[str, Any]
) -> None:
    now_ms = start_ms + minutes * MINUTE_MS + rest_ms
    conditions = compiled(rule)
    facts = local_facts(zone, now_ms, days=8)
    answer = conditions.matches(facts)
    next_ms = conditions.next_change_ms(facts, now_ms)
    assert next_ms is None or next_ms > now_ms
    end_ms = now_ms + 8 * DAY_MS if next_ms is None else next_ms
    for at_ms in range(now_ms - rest_ms + MINUTE_MS, end_ms, MINUTE_MS):
        assert conditions.matches(local_facts(zone, at_ms, days=0)) is answer, at_ms


def test_local_time_turns_exactly_at_its_limits_where_the_offset_stays() -> None:
    conditions = compiled({"time": {"from": "09:00", "to": "17:00", "weekdays": ["monday"]}})
    sunday = {"local": {"weekday": 7, "minutes": 660, "offsetSeconds": 3_600, "offsetUntilMs": None}}
    monday_ms = NOW_MS + 22 * HOUR_MS
    assert conditions.next_change_ms(sunday, NOW_MS) == monday_ms
    monday = {"local": {"weekday": 1, "minutes": 540, "offsetSeconds": 3_600, "offsetUntilMs": None}}
    assert conditions.next_change_ms(monday, monday_ms) == monday_ms + 8 * HOUR_MS


def test_the_end_of_the_offset_comes_before_what_lies_behind_it() -> None:
    conditions = compiled({"time": {"from": "09:00", "to": "17:00"}})
    until_ms = NOW_MS + HOUR_MS
    facts = {"local": {"weekday": 7, "minutes": 660, "offsetSeconds": 3_600, "offsetUntilMs": until_ms}}
    assert conditions.next_change_ms(facts, NOW_MS) == until_ms
