"""A window of the last few times decides as the whole history would, in whatever order events come."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.conditions import (
    CompiledConditions,
    Explanation,
    WindowNeed,
    compile_conditions,
    compile_window,
    decode_conditions,
    with_time,
)
from posthorn.errors import Invalid

WEEK_SECONDS = 604_800
NOW_MS = 1_795_341_600_000
PAID_EUR = {"field": "event.data.currency", "operator": "eq", "value": "EUR"}


def performed(**rule: Any) -> CompiledConditions:
    return compile_conditions(decode_conditions({"performed": {"event": "login", **rule}}))


def decide(compiled: CompiledConditions, times: list[int], now_ms: int = NOW_MS) -> Explanation:
    [need] = compiled.needs.windows
    facts = {"windows": {need.key: times}, "now": now_ms}
    explanation = compiled.explain(facts)
    assert explanation.matched is compiled.matches(facts)
    return explanation


BOUNDS = st.sampled_from(["atLeast", "atMost", "exactly"])
TIMES = st.lists(st.integers(min_value=NOW_MS - 5_000, max_value=NOW_MS + 1_000), max_size=12)


@given(
    bound=BOUNDS,
    number=st.integers(min_value=1, max_value=6),
    within=st.none() | st.integers(min_value=1, max_value=5),
    times=TIMES,
    now_ms=st.integers(min_value=NOW_MS - 1_000, max_value=NOW_MS + 6_000),
)
def test_the_kept_times_decide_as_all_times_would(
    bound: str, number: int, within: int | None, times: list[int], now_ms: int
) -> None:
    compiled = performed(**{bound: number}, withinSeconds=within)
    window = compile_window(compiled.needs.windows[0])
    kept: tuple[int, ...] = ()
    for at_ms in times:
        changed = window.with_event(kept, {"event": {"type": "login"}}, at_ms)
        kept = kept if changed is None else changed
        assert list(kept) == sorted(kept)
        assert len(kept) <= window.need.keep
    count = sum(within is None or at_ms > now_ms - within * 1_000 for at_ms in times)
    expected = {"atLeast": count >= number, "atMost": count <= number, "exactly": count == number}[bound]
    assert decide(compiled, list(kept), now_ms).matched is expected


@given(times=st.lists(st.integers(min_value=0, max_value=50)), keep=st.integers(min_value=1, max_value=5))
def test_times_are_kept_in_order_however_late_they_come(times: list[int], keep: int) -> None:
    kept: tuple[int, ...] = ()
    for at_ms in times:
        changed = with_time(kept, at_ms, keep=keep)
        assert changed != kept
        kept = kept if changed is None else changed
    assert list(kept) == sorted(times)[-keep:]


def test_a_time_leaves_the_window_exactly_when_the_span_is_over() -> None:
    compiled = performed(atLeast=1, withinSeconds=WEEK_SECONDS)
    entered = NOW_MS - WEEK_SECONDS * 1_000
    assert decide(compiled, [entered + 1]).matched is True
    assert decide(compiled, [entered]).matched is False


def test_an_event_ahead_of_the_clock_counts_at_once() -> None:
    assert decide(performed(atLeast=1, withinSeconds=60), [NOW_MS + 10_000]).matched is True


@pytest.mark.parametrize(
    ("rule", "times", "message"),
    [
        (
            {"atLeast": 3, "withinSeconds": WEEK_SECONDS},
            [NOW_MS - 1, NOW_MS],
            "login happened 2 times in the last 7 days, which is not at least 3.",
        ),
        ({"atLeast": 1}, [], "login happened 0 times, which is not at least 1."),
        ({"atMost": 1}, [1, 2], "login happened at least 2 times, which is not at most 1."),
        (
            {"exactly": 1, "withinSeconds": 5_400},
            [],
            "login happened 0 times in the last 1 hour 30 minutes, which is not exactly 1.",
        ),
        (
            {"atLeast": 1, "where": PAID_EUR},
            [],
            "login with the given properties happened 0 times, which is not at least 1.",
        ),
    ],
)
def test_what_was_performed_is_explained_with_its_number(rule: dict[str, Any], times: list[int], message: str) -> None:
    assert decide(performed(**rule), times).message == message


def test_a_window_that_was_never_filled_is_empty() -> None:
    assert performed(atMost=2).matches({}) is True
    assert performed(atLeast=1).matches({"windows": {}}) is False


def test_without_now_a_span_does_not_match_and_says_so() -> None:
    explanation = performed(atMost=5, withinSeconds=60).explain({})
    assert explanation.matched is False
    assert "'now' is absent" in explanation.message


def test_only_events_of_the_type_that_meet_the_filter_fall_into_a_window() -> None:
    window = compile_window(performed(atLeast=2, where=PAID_EUR).needs.windows[0])
    euro = {"event": {"type": "login", "data": {"currency": "EUR"}}}
    assert window.with_event((1,), euro, 5) == (1, 5)
    assert window.with_event((1,), {"event": {**euro["event"], "type": "logout"}}, 5) is None
    assert window.with_event((1,), {"event": {"type": "login", "data": {"currency": "CHF"}}}, 5) is None
    assert window.with_event((1,), {"event": {"type": "login"}}, 5) is None


@pytest.mark.parametrize(("rule", "keep"), [({"atLeast": 3}, 3), ({"atMost": 3}, 4), ({"exactly": 0}, 1)])
def test_no_more_times_are_kept_than_decide(rule: dict[str, int], keep: int) -> None:
    assert performed(**rule).needs.windows[0].keep == keep


def test_a_key_stays_the_same_for_the_same_window_and_differs_for_another() -> None:
    # Stored windows are found by their keys, so a change here loses what people did.
    assert performed(atLeast=3, withinSeconds=60).needs.windows[0].key == "894a64d282ba09e05b956c1f"
    reordered = dict(reversed(PAID_EUR.items()))
    assert performed(atLeast=1, where=PAID_EUR).needs == performed(atLeast=1, where=reordered).needs
    needs = [
        performed(**rule).needs.windows[0]
        for rule in (
            {"atLeast": 3},
            {"atLeast": 4},
            {"atLeast": 3, "withinSeconds": 60},
            {"atLeast": 3, "where": PAID_EUR},
            {"atLeast": 3, "where": {"not": PAID_EUR}},
        )
    ]
    assert len({need.key for need in needs}) == 5
    assert performed(atLeast=4).needs.windows[0].key == performed(exactly=3).needs.windows[0].key


def test_a_need_survives_being_stored() -> None:
    [need] = performed(atLeast=2, where=PAID_EUR, withinSeconds=60).needs.windows
    stored = msgspec.json.decode(msgspec.json.encode(need), type=WindowNeed)
    assert stored == need
    assert compile_window(stored).key == need.key


@pytest.mark.parametrize(
    ("rule", "loc"),
    [
        ({}, ("performed",)),
        ({"atLeast": 1, "atMost": 2}, ("performed",)),
        ({"atLeast": 0}, ("performed", "atLeast")),
        ({"atLeast": 1_001}, ("performed", "atLeast")),
        ({"exactly": -1}, ("performed", "exactly")),
        ({"exactly": True}, ("performed", "exactly")),
        ({"atLeast": 1, "withinSeconds": 0}, ("performed", "withinSeconds")),
        ({"atLeast": 1, "within": 5}, ("performed", "within")),
        ({"atLeast": 1, "event": None}, ("performed", "event")),
        ({"atLeast": 1, "where": []}, ("performed", "where")),
        ({"atLeast": 1, "where": {**PAID_EUR, "field": "profile.x"}}, ("performed", "where", "field")),
        (
            {"atLeast": 1, "where": {"all": [{"segment": {"is": "in", "segment": "a"}}]}},
            ("performed", "where", "all", 0, "segment"),
        ),
        (
            {"atLeast": 1, "where": {"field": "event.data.at", "operator": "within_last", "value": {"days": 1}}},
            ("performed", "where", "operator"),
        ),
        (
            {"atLeast": 1, "where": {"field": "event.data.at", "operator": "before", "value": "now"}},
            ("performed", "where", "operator"),
        ),
        ({"atLeast": 1, "where": {"cel": "profile.a == 1"}}, ("performed", "where", "cel")),
        ({"atLeast": 1, "where": {"performed": {"event": "a", "atLeast": 1}}}, ("performed", "where", "performed")),
    ],
)
def test_a_fault_in_a_window_is_reported_at_its_place(rule: dict[str, Any], loc: tuple[str | int, ...]) -> None:
    with pytest.raises(Invalid) as invalid:
        decode_conditions({"performed": {"event": "login", **rule}})
    assert loc in [problem.loc for problem in invalid.value.problems]


def test_a_filter_may_look_at_items_fixed_times_and_expressions_of_the_event() -> None:
    where = {
        "all": [
            {"items": {"field": "event.data.items", "match": "any", "where": {"cel": "item.price > 10"}}},
            {"field": "event.data.at", "operator": "after", "value": "2026-01-01"},
            {"cel": "event.data.total > 100"},
        ]
    }
    window = compile_window(performed(atLeast=1, where=where).needs.windows[0])
    data = {"items": [{"price": 11}], "at": "2026-05-05", "total": 101}
    assert window.with_event((), {"event": {"type": "login", "data": data}}, 7) == (7,)
    assert window.with_event((), {"event": {"type": "login", "data": {**data, "total": 1}}}, 7) is None
