"""Conditions decode strictly: every fault is reported with its place in the tree."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.conditions import AllOf, Comparison, Condition, Not, Operator, compile_conditions, decode_conditions
from posthorn.errors import Invalid

LEAF = {"field": "event.id", "operator": "eq", "value": 1}


def faults(raw: object) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(Invalid) as invalid:
        decode_conditions(raw)
    return [(problem.loc, problem.type) for problem in invalid.value.problems]


def nested(depth: int) -> dict[str, object]:
    raw: dict[str, object] = LEAF
    for _ in range(depth - 1):
        raw = {"not": raw}
    return raw


def test_a_tree_encodes_to_the_json_that_it_came_from() -> None:
    raw = (
        b'{"all":[{"any":[{"field":"user.a","operator":"in","value":[1,"x"]}]},'
        b'{"not":{"field":"source","operator":"exists","value":false}}]}'
    )
    assert msgspec.json.encode(decode_conditions(raw)) == raw
    assert decode_conditions(msgspec.json.decode(raw)) == decode_conditions(raw)


@pytest.mark.parametrize(
    ("raw", "loc", "kind"),
    [
        (b"", (), "json_invalid"),
        (b"[[", (), "json_invalid"),
        (b"[" * 100_000, (), "json_invalid"),
        (b'{"field":"event","operator":"eq","value":NaN}', (), "json_invalid"),
        (None, (), "value_error"),
        ("event.id eq 1", (), "value_error"),
        ([LEAF], (), "value_error"),
        ({}, ("field",), "missing"),
        ({"any": [1]}, ("any", 0), "value_error"),
        ({"all": [LEAF, None]}, ("all", 1), "value_error"),
        ({"all": {}}, ("all",), "value_error"),
        ({"all": LEAF}, ("all",), "value_error"),
        ({"all": []}, ("all",), "value_error"),
        ({"any": []}, ("any",), "value_error"),
        ({"not": [LEAF]}, ("not",), "value_error"),
        ({"not": {"any": [LEAF, {"not": 0}]}}, ("not", "any", 1, "not"), "value_error"),
        ({"all": [LEAF], "any": [LEAF]}, ("any",), "unknown_field"),
        ({"all": [LEAF], "field": "event"}, ("field",), "unknown_field"),
        ({**LEAF, "comment": "x"}, ("comment",), "unknown_field"),
        ({"$or": [LEAF], **LEAF}, ("$or",), "unknown_field"),
        ({**LEAF, "operator": "regex"}, ("operator",), "value_error"),
        ({**LEAF, "operator": "EQ"}, ("operator",), "value_error"),
        ({**LEAF, "operator": ["eq"]}, ("operator",), "value_error"),
        ({**LEAF, "operator": "exists", "value": "yes"}, ("value",), "value_error"),
        ({**LEAF, "operator": "exists", "value": 1}, ("value",), "value_error"),
        ({**LEAF, "operator": "gt", "value": True}, ("value",), "value_error"),
        ({**LEAF, "operator": "lte", "value": None}, ("value",), "value_error"),
        ({**LEAF, "operator": "lt", "value": [1]}, ("value",), "value_error"),
        ({**LEAF, "operator": "in", "value": "abc"}, ("value",), "value_error"),
        ({**LEAF, "operator": "not_in", "value": []}, ("value",), "value_error"),
        ({**LEAF, "operator": "in", "value": [1] * 1_001}, ("value",), "value_error"),
        ({**LEAF, "operator": "starts_with", "value": 1}, ("value",), "value_error"),
        ({**LEAF, "value": math.nan}, ("value",), "value_error"),
        ({**LEAF, "value": [math.inf]}, ("value",), "value_error"),
        ({**LEAF, "value": {1: 2}}, ("value",), "value_error"),
        ({**LEAF, "value": b"x"}, ("value",), "value_error"),
        ({**LEAF, "field": 1}, ("field",), "value_error"),
    ],
)
def test_a_fault_is_reported_at_its_place(raw: object, loc: tuple[str | int, ...], kind: str) -> None:
    assert (loc, kind) in faults(raw)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "event.",
        "event..a",
        ".event",
        "events.a",
        "secrets.token",
        "data.a",
        "event a",
        "event.a b",
        "event.a[0]",
        "event['a']",
        'event["a',
        'event["a"]b',
        'event["\\x"]',
        'event["a\nb"]',
        "event.a\\.b",
        "event." + "a" * 1_024,
    ],
)
def test_a_malformed_field_is_refused(field: str) -> None:
    assert faults({**LEAF, "field": field}) == [(("field",), "value_error")]


def test_every_fault_is_reported_at_once() -> None:
    raw = {"all": [{"field": "x", "operator": "y", "value": math.nan}, {"not": 1}], "extra": 1}
    assert [loc for loc, _ in faults(raw)] == [
        ("extra",),
        ("all", 0, "field"),
        ("all", 0, "operator"),
        ("all", 0, "value"),
        ("all", 1, "not"),
    ]


def test_thirty_two_levels_are_accepted_and_thirty_three_refused() -> None:
    assert isinstance(decode_conditions(nested(32)), Not)
    assert faults(nested(33)) == [(("not",) * 32, "too_deep")]


def test_a_tree_of_any_depth_is_refused_and_not_a_crash() -> None:
    assert faults(nested(50_000)) == [(("not",) * 32, "too_deep")]


def test_a_thousand_conditions_are_accepted_and_one_more_refused() -> None:
    assert isinstance(decode_conditions({"all": [LEAF] * 999}), AllOf)
    assert faults({"all": [LEAF] * 1_000}) == [(("all", 999), "too_many")]


def test_a_flood_of_faults_is_cut() -> None:
    assert len(faults({str(name): 1 for name in range(10_000)})) == 100


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    value: object = 1
    for _ in range(40):
        value = [value]
    assert faults({**LEAF, "value": value}) == [(("value",), "value_error")]


def test_a_tree_built_in_code_is_checked_when_it_is_compiled() -> None:
    built = AllOf(conditions=(Comparison(field="event.a", operator=Operator.GT, value=[1]),))
    with pytest.raises(Invalid) as invalid:
        compile_conditions(built)
    assert [problem.loc for problem in invalid.value.problems] == [("all", 0, "value")]
    good: Condition = Not(condition=Comparison(field="event.a", operator=Operator.GT, value=1))
    assert compile_conditions(AllOf(conditions=(good,))).condition == AllOf(conditions=(good,))


@given(
    raw=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["all", "any", "not", "field", "operator", "value", "x"]) | st.text(), inner, max_size=4
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_decodes_or_is_invalid(raw: object) -> None:
    try:
        condition = decode_conditions(raw)
    except Invalid as invalid:
        condition = None
        problems = invalid.problems
    if condition is None:
        assert problems
    else:
        assert msgspec.to_builtins(compile_conditions(condition).condition) == msgspec.to_builtins(condition)
