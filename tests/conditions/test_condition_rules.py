"""Rules that are no comparisons: counters, segments, subscriptions, local time, items."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.conditions import Explanation, compile_conditions, decode_conditions
from posthorn.errors import Invalid


def explain(raw: object, facts: dict[str, Any]) -> Explanation:
    compiled = compile_conditions(decode_conditions(raw))
    explanation = compiled.explain(facts)
    assert explanation.matched is compiled.matches(facts)
    return explanation


def matches(raw: object, facts: dict[str, Any]) -> bool:
    return explain(raw, facts).matched


def counted(count: int) -> dict[str, Any]:
    return {"counts": {"flight_booked": {"count": count}}}


@pytest.mark.parametrize(
    ("op", "value", "holding"),
    [
        ("eq", 5, {5}),
        ("ne", 5, {0, 1, 4, 6, 10}),
        ("gt", 5, {6, 10}),
        ("gte", 5, {5, 6, 10}),
        ("lt", 5, {0, 1, 4}),
        ("lte", 5, {0, 1, 4, 5}),
        ("every", 5, {5, 10}),
    ],
)
def test_a_counter_is_compared_exactly(op: str, value: int, holding: set[int]) -> None:
    raw = {"count": {"event": "flight_booked", "op": op, "value": value}}
    assert {count for count in (0, 1, 4, 5, 6, 10) if matches(raw, counted(count))} == holding


def test_an_event_that_never_happened_was_counted_0_times() -> None:
    raw = {"count": {"event": "flight_booked", "op": "eq", "value": 0}}
    assert matches(raw, {}) is True
    assert matches(raw, {"counts": {}}) is True
    assert matches(raw, {"counts": {"other": {"count": 1}}}) is True


def test_a_counter_is_explained_with_its_value() -> None:
    raw = {"count": {"event": "flight_booked", "op": "eq", "value": 5}}
    explanation = explain({"all": [raw]}, counted(4))
    assert explanation.message == "flight_booked happened 4 times in all, which does not equal 5."
    assert explanation.path == ("all", 0)
    assert (explanation.field, explanation.expected, explanation.actual) == ("counts.flight_booked.count", "5", "4")
    assert explain({"not": raw}, counted(5)).message == (
        "flight_booked happened 5 times in all, which equals 5, and this must not hold."
    )
    every = {"count": {"event": "flight_booked", "op": "every", "value": 5}}
    assert explain(every, counted(1)).message == "flight_booked happened once in all, which is no multiple of 5."


def test_membership_in_a_segment() -> None:
    inside, outside = ({"segment": {"is": which, "segment": "vip"}} for which in ("in", "not_in"))
    member = {"segments": {"vip": True}}
    assert [matches(inside, member), matches(outside, member)] == [True, False]
    for stranger in ({}, {"segments": {}}, {"segments": {"vip": False}}, {"segments": {"gold": True}}):
        assert [matches(inside, stranger), matches(outside, stranger)] == [False, True]
    assert explain(inside, {}).message == "The person is not in the segment vip."
    assert explain(outside, member).message == "The person is in the segment vip."


def subscribed(state: str) -> dict[str, Any]:
    return {"profile": {"subscriptions": {"email": state}}}


def test_a_subscription_state_is_one_of_those_wanted() -> None:
    raw = {"subscription": {"channel": "email", "is": ["subscribed", "opted_in"]}}
    states = ("subscribed", "opted_in", "unsubscribed")
    assert [matches(raw, subscribed(state)) for state in states] == [True, True, False]
    assert explain(raw, subscribed("unsubscribed")).message == (
        "The subscription to email is unsubscribed, which is none of subscribed, opted_in."
    )


def test_no_subscription_state_is_unknown_and_matches_only_when_that_is_wanted() -> None:
    unsaid: list[dict[str, Any]] = [{}, {"profile": {}}, {"profile": {"subscriptions": {"sms": "subscribed"}}}]
    for facts in unsaid:
        assert matches({"subscription": {"channel": "email", "is": ["subscribed"]}}, facts) is False
        assert matches({"subscription": {"channel": "email", "is": ["unknown"]}}, facts) is True
        assert "is unknown" in explain({"subscription": {"channel": "email", "is": ["opted_in"]}}, facts).message


def at(weekday: int, clock: str) -> dict[str, Any]:
    hours, minutes = map(int, clock.split(":"))
    return {"local": {"weekday": weekday, "minutes": hours * 60 + minutes, "date": "2026-11-23"}}


@pytest.mark.parametrize(
    ("rule", "weekday", "clock", "expected"),
    [
        ({"from": "09:00", "to": "17:00"}, 7, "09:00", True),
        ({"from": "09:00", "to": "17:00"}, 7, "08:59", False),
        ({"from": "09:00", "to": "17:00"}, 7, "16:59", True),
        ({"from": "09:00", "to": "17:00"}, 7, "17:00", False),
        ({"from": "09:00", "to": "00:00"}, 1, "23:59", True),
        ({"from": "09:00", "to": "00:00"}, 1, "00:00", False),
        ({"weekdays": ["monday", "friday"]}, 1, "00:00", True),
        ({"weekdays": ["monday", "friday"]}, 2, "00:00", False),
        ({"from": "22:00", "to": "06:00", "weekdays": ["friday"]}, 5, "23:00", True),
        ({"from": "22:00", "to": "06:00", "weekdays": ["friday"]}, 6, "05:59", True),
        ({"from": "22:00", "to": "06:00", "weekdays": ["friday"]}, 6, "06:00", False),
        ({"from": "22:00", "to": "06:00", "weekdays": ["friday"]}, 5, "05:00", False),
        ({"from": "22:00", "to": "06:00", "weekdays": ["sunday"]}, 1, "05:00", True),
    ],
)
def test_local_time_is_a_part_of_the_day_or_week(
    rule: dict[str, Any], weekday: int, clock: str, *, expected: bool
) -> None:
    assert matches({"time": rule}, at(weekday, clock)) is expected


def test_local_time_is_explained_with_the_persons_clock() -> None:
    raw = {"time": {"from": "09:00", "to": "17:00", "weekdays": ["monday"]}}
    assert explain(raw, at(7, "18:05")).message == (
        "It is Sunday 18:05 for the person, which is not from 09:00 to 17:00 on Monday."
    )
    assert explain(raw, {}).message == "The person's local time is not known."


ITEMS = {"field": "event.items", "where": {"field": "item.price", "operator": "gt", "value": 10}}


@pytest.mark.parametrize(
    ("match", "prices", "expected"),
    [
        ("any", [1, 11], True),
        ("any", [1, 2], False),
        ("any", [], False),
        ("all", [11, 12], True),
        ("all", [11, 1], False),
        ("all", [], True),
        ("none", [1, 2], True),
        ("none", [1, 11], False),
        ("none", [], True),
    ],
)
def test_items_of_an_array_meet_conditions(match: str, prices: list[int], *, expected: bool) -> None:
    facts = {"event": {"items": [{"price": price} for price in prices]}}
    assert matches({"items": {**ITEMS, "match": match}}, facts) is expected


def test_items_are_looked_at_beside_the_other_facts() -> None:
    where = {
        "all": [
            {"field": "item", "operator": "starts_with", "value": "a"},
            {"field": "profile.attributes.plan", "operator": "eq", "value": "pro"},
        ]
    }
    raw = {"items": {"field": "event.tags", "match": "any", "where": where}}
    facts: dict[str, Any] = {"event": {"tags": ["b", "ab"]}, "profile": {"attributes": {"plan": "pro"}}}
    assert matches(raw, facts) is True
    assert matches(raw, {**facts, "profile": {}}) is False


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"price": 1}] * 3, "0 of the 3 items of event.items match, where any must."),
        ({"price": 11}, 'event.items is an object ({"price":11}), which has no items.'),
        ([{"price": 11}] * 1_001, "event.items has 1,001 items, more than the 1,000 that are looked at."),
    ],
)
def test_items_that_do_not_match_are_explained(items: object, message: str) -> None:
    assert explain({"items": {**ITEMS, "match": "any"}}, {"event": {"items": items}}).message == message


def test_absent_items_do_not_match_even_where_none_must() -> None:
    explanation = explain({"items": {**ITEMS, "match": "none"}}, {"event": {}})
    assert (explanation.message, explanation.absent) == ("event.items is absent.", True)


@pytest.mark.parametrize(
    ("raw", "loc", "kind"),
    [
        ({"count": 5}, ("count",), "value_error"),
        ({"count": {"event": "a", "op": "eq"}}, ("count", "value"), "missing"),
        ({"count": {"event": "a", "op": "eq", "value": None}}, ("count", "value"), "missing"),
        ({"count": {"event": "a", "op": "in", "value": 1}}, ("count", "op"), "value_error"),
        ({"count": {"event": "a", "op": "eq", "value": True}}, ("count", "value"), "value_error"),
        ({"count": {"event": "a", "op": "eq", "value": 1.0}}, ("count", "value"), "value_error"),
        ({"count": {"event": "a", "op": "every", "value": 0}}, ("count", "value"), "value_error"),
        ({"count": {"event": "", "op": "eq", "value": 1}}, ("count", "event"), "value_error"),
        ({"count": {"event": "a", "op": "eq", "value": 1, "within": 5}}, ("count", "within"), "unknown_field"),
        ({"count": {"event": "a", "op": "eq", "value": 1}, "all": []}, ("count",), "unknown_field"),
        ({"segment": {"is": "on", "segment": "vip"}}, ("segment", "is"), "value_error"),
        ({"segment": {"segment": "vip"}}, ("segment", "is"), "missing"),
        ({"subscription": {"channel": "email", "is": "subscribed"}}, ("subscription", "is"), "value_error"),
        ({"subscription": {"channel": "email", "is": []}}, ("subscription", "is"), "value_error"),
        ({"subscription": {"channel": "email", "is": ["yes"]}}, ("subscription", "is"), "value_error"),
        ({"subscription": {"channel": "email", "is": [[]]}}, ("subscription", "is"), "value_error"),
        ({"subscription": {"channel": "e", "is": ["unknown", "unknown"]}}, ("subscription", "is"), "value_error"),
        ({"time": {}}, ("time",), "missing"),
        ({"time": {"from": "09:00"}}, ("time", "to"), "missing"),
        ({"time": {"to": "09:00"}}, ("time", "from"), "missing"),
        ({"time": {"from": "9:00", "to": "17:00"}}, ("time", "from"), "value_error"),
        ({"time": {"from": "09:00", "to": "24:00"}}, ("time", "to"), "value_error"),
        ({"time": {"from": "09:00", "to": "09:00"}}, ("time", "to"), "value_error"),
        ({"time": {"from": "09:00", "to": "١٧:٠٠"}}, ("time", "to"), "value_error"),
        ({"time": {"weekdays": ["Monday"]}}, ("time", "weekdays"), "value_error"),
        ({"time": {"weekdays": [1]}}, ("time", "weekdays"), "value_error"),
        ({"items": {"field": "event.a", "match": "some", "where": {}}}, ("items", "match"), "value_error"),
        ({"items": {"field": "event.a", "match": "any"}}, ("items", "where"), "missing"),
        ({"items": {**ITEMS, "match": "any", "field": "secrets.a"}}, ("items", "field"), "value_error"),
        (
            {"items": {**ITEMS, "match": "any", "where": {"items": {**ITEMS, "match": "any"}}}},
            ("items", "where", "items"),
            "value_error",
        ),
        (
            {"items": {**ITEMS, "match": "any", "where": {"field": "thing.a", "operator": "is_set"}}},
            ("items", "where", "field"),
            "value_error",
        ),
    ],
)
def test_a_fault_in_a_rule_is_reported_at_its_place(raw: object, loc: tuple[str | int, ...], kind: str) -> None:
    with pytest.raises(Invalid) as invalid:
        decode_conditions(raw)
    assert (loc, kind) in [(problem.loc, problem.type) for problem in invalid.value.problems]


RULES: list[dict[str, Any]] = [
    {"count": {"event": "a", "op": "every", "value": 5}},
    {"segment": {"is": "not_in", "segment": "vip"}},
    {"subscription": {"channel": "sms", "is": ["unknown", "opted_in"]}},
    {"time": {"from": "22:00", "to": "06:00", "weekdays": ["friday", "sunday"]}},
    {"time": {"weekdays": ["monday"]}},
    {"items": {**ITEMS, "match": "none"}},
    {"performed": {"event": "a", "atLeast": 3}},
    {"performed": {"event": "a", "where": ITEMS["where"] | {"field": "event.x"}, "exactly": 0, "withinSeconds": 60}},
    {"cel": "event.data.total > 100"},
    {"field": "profile.locale", "operator": "is_set"},
]


@pytest.mark.parametrize("raw", RULES)
def test_a_rule_encodes_to_the_json_that_it_came_from(raw: dict[str, Any]) -> None:
    condition = decode_conditions(msgspec.json.encode({"all": [raw]}))
    assert msgspec.json.decode(msgspec.json.encode(condition)) == {"all": [raw]}
    assert compile_conditions(condition).condition == condition


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "vip", "email", "count", "weekday", "minutes"]), inner, max_size=3)
    ),
    max_leaves=8,
)
ROOTS = st.sampled_from(["event", "profile", "counts", "segments", "local", "windows", "now"])


@given(facts=st.dictionaries(ROOTS, VALUES, max_size=5))
def test_facts_of_any_shape_are_decided_and_explained_without_an_exception(facts: dict[str, Any]) -> None:
    compiled = compile_conditions(decode_conditions({"any": [raw for raw in RULES if "performed" not in raw]}))
    assert compiled.explain(facts).matched is compiled.matches(facts)
    compiled.next_change_ms(facts, 0)
