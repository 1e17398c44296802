"""What each operator means. The expectations of the negative cases come from faults of other systems' filters."""

import pytest

from posthorn.conditions import compile_conditions, decode_conditions


def holds(field: str, operator: str, value: object, facts: dict[str, object]) -> bool:
    return matches({"field": field, "operator": operator, "value": value}, facts)


def matches(raw: object, facts: dict[str, object]) -> bool:
    compiled = compile_conditions(decode_conditions(raw))
    decided = compiled.matches(facts)
    assert compiled.explain(facts).matched is decided
    return decided


def event(value: object) -> dict[str, object]:
    return {"event": {"data": {"x": value}}}


X = "event.data.x"


@pytest.mark.parametrize(
    ("actual", "operator", "value", "expected"),
    [
        (1, "eq", 1.0, True),
        (0.1, "eq", 0.1, True),
        (1, "eq", True, False),
        (True, "eq", 1, False),
        (False, "eq", 0, False),
        (True, "eq", True, True),
        (None, "eq", None, True),
        (None, "eq", False, False),
        (None, "eq", "", False),
        (0, "eq", None, False),
        ("1000", "eq", 1000, False),
        ("1e3", "eq", 1000, False),
        ("1e3", "eq", "1000", False),
        ("inf", "eq", "infinity", False),
        ("nan", "eq", "nan", True),
        (2**53 + 1, "eq", 2**53, False),
        (2**53 + 1, "eq", float(2**53), False),
        (2**63 + 1, "eq", 2**63 + 1, True),
        (10**400, "gt", 1e308, True),
        ("\u00c9", "eq", "E\u0301", False),
        ([1, 2], "eq", [1.0, 2], True),
        ([1], "eq", [True], False),
        ([1, 2], "eq", [2, 1], False),
        ([1, 2], "eq", [1], False),
        ({"a": 1, "b": 2}, "eq", {"b": 2, "a": 1}, True),
        ({"a": 1}, "eq", {"a": True}, False),
        ({"a": 1}, "eq", {"b": 1}, False),
        ([], "eq", {}, False),
        ("a", "ne", "b", True),
        ("1", "ne", 1, True),
        (1, "ne", 1.0, False),
        (None, "ne", 1, True),
        (True, "ne", 1, True),
        (2, "gt", 1, True),
        (1, "gt", 1, False),
        (1, "gte", 1, True),
        (2**53 + 1, "gt", float(2**53), True),
        (1, "lt", 1.5, True),
        (1, "lte", 1, True),
        ("b", "gt", "a", True),
        ("B", "lt", "a", True),
        ("2026-01-02", "gte", "2026-01-01", True),
        ("5", "lt", 10, False),
        ("5", "gt", 1, False),
        ("5", "gte", 1, False),
        ("5", "lte", 10, False),
        (5, "lt", "9", False),
        (True, "gt", 0, False),
        (False, "lt", 1, False),
        (None, "lt", 1, False),
        ([5], "lt", 10, False),
        ({}, "lt", "z", False),
        (1, "in", [1.0, "x"], True),
        ("1", "in", [1, "x"], False),
        (True, "in", [1], False),
        (1, "in", [True], False),
        (None, "in", [None], True),
        (None, "in", [0, ""], False),
        ({"a": 1}, "in", [{"a": 1}, 2], True),
        ({"a": 1}, "in", [{"a": True}], False),
        ([], "in", [1, []], True),
        (2**53 + 1, "in", [2**53], False),
        ("x", "not_in", ["y"], True),
        ("x", "not_in", ["x"], False),
        (None, "not_in", [1], True),
        ("hello", "contains", "ell", True),
        ("hello", "contains", "L", False),
        ("a1", "contains", 1, False),
        ("None", "contains", None, False),
        ([1, "a"], "contains", 1.0, True),
        ([True], "contains", 1, False),
        ([[1]], "contains", [1], True),
        (["abc"], "contains", "b", False),
        ({"a": 1}, "contains", "a", False),
        (12, "contains", 1, False),
        ("hello", "starts_with", "he", True),
        ("hello", "starts_with", "el", False),
        (["he"], "starts_with", "he", False),
        ("hello", "ends_with", "lo", True),
        (10, "ends_with", "0", False),
        (None, "exists", True, True),
        (None, "exists", False, False),
        (False, "exists", True, True),
    ],
)
def test_a_present_value_is_compared_with_strict_types(
    actual: object, operator: str, value: object, expected: bool
) -> None:
    assert holds(X, operator, value, event(actual)) is expected


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("eq", None),
        ("eq", "x"),
        ("ne", "x"),
        ("ne", None),
        ("gt", 0),
        ("gte", ""),
        ("lt", 10),
        ("lte", "z"),
        ("in", [None]),
        ("not_in", ["x"]),
        ("contains", ""),
        ("starts_with", ""),
        ("ends_with", ""),
        ("exists", True),
    ],
)
@pytest.mark.parametrize(
    "facts", [{}, {"event": None}, {"event": {}}, {"event": {"data": []}}, {"event": {"data": "x"}}, {"event": 1}]
)
def test_an_absent_field_matches_nothing_but_exists_false(
    operator: str, value: object, facts: dict[str, object]
) -> None:
    assert holds(X, operator, value, facts) is False
    assert holds(X, "exists", False, facts) is True


def test_a_missing_second_field_does_not_match() -> None:
    both = [{"field": "event.a", "operator": "eq", "value": 1}, {"field": "event.b", "operator": "eq", "value": 2}]
    assert matches({"all": both}, {"event": {"a": 1}}) is False
    assert matches({"all": both}, {"event": {"a": 1, "b": 2}}) is True
    assert matches({"any": both}, {"event": {"a": 1}}) is True


def test_not_turns_the_result_of_a_comparison_around_even_for_an_absent_field() -> None:
    comparison = {"field": X, "operator": "eq", "value": 1}
    assert matches({"not": comparison}, event(1)) is False
    assert matches({"not": comparison}, event(2)) is True
    assert matches({"not": comparison}, {}) is True
    assert matches({"not": {"not": comparison}}, {}) is False


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("event.items.0.sku", "a"),
        ("event.items.1.sku", "b"),
        ('event["items"].0["sku"]', "a"),
        ('event["a.b"]', "dotted"),
        ('event["say \\"hi\\" \\u00e9"]', "quoted"),
        ('event[""]', "empty"),
        ("event.codes.0", "zero"),
        ("event.codes.007", "bond"),
        ("event.$type", "dollar"),
        ("event.имя", "letters"),
        ("event.first-name", "hyphen"),
        ("source.id", "src_1"),
    ],
)
def test_a_path_leads_to_the_value(field: str, expected: str) -> None:
    facts = {
        "event": {
            "items": [{"sku": "a"}, {"sku": "b"}],
            "a.b": "dotted",
            'say "hi" é': "quoted",
            "": "empty",
            "codes": {"0": "zero", "007": "bond"},
            "$type": "dollar",
            "имя": "letters",
            "first-name": "hyphen",
        },
        "source": {"id": "src_1"},
    }
    assert holds(field, "eq", expected, facts) is True


@pytest.mark.parametrize(
    "field",
    ["event.items.2", 'event.items["0"]', "event.items.first", "event.text.0", "event.items.-1", "event.a.b", "user"],
)
def test_a_path_to_nowhere_is_absent(field: str) -> None:
    facts = {"event": {"items": [1, 2], "text": "abc", "a.b": 1}}
    assert holds(field, "exists", False, facts) is True


def test_the_whole_of_event_user_or_source_can_be_tested_for_presence() -> None:
    assert holds("user", "exists", True, {"user": None}) is True
    assert holds("user", "exists", False, {"event": {}}) is True


def test_one_compiled_tree_serves_many_facts() -> None:
    compiled = compile_conditions(decode_conditions({"field": X, "operator": "gt", "value": 1}))
    assert [compiled.matches(event(value)) for value in (2, "2", 1, 3.5)] == [True, False, False, True]
