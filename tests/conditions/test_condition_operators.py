"""What the newer operators mean, and that a value of another type never matches and is explained by its type."""

import pytest

from posthorn.conditions import compile_conditions, decode_conditions
from posthorn.errors import Invalid

FIELD = "profile.attributes.x"


def decide(operator: str, value: object, actual: object) -> tuple[bool, str]:
    compiled = compile_conditions(decode_conditions({"field": FIELD, "operator": operator, "value": value}))
    facts = {"profile": {"attributes": {"x": actual}}}
    explanation = compiled.explain(facts)
    assert explanation.matched is compiled.matches(facts)
    return explanation.matched, explanation.message


@pytest.mark.parametrize(
    ("operator", "value", "actual", "expected"),
    [
        ("eq_ignore_case", "Straße", "STRASSE", True),
        ("eq_ignore_case", "МОСКВА", "москва", True),
        ("eq_ignore_case", "a", "b", False),
        ("between", [1, 5], 1, True),
        ("between", [1, 5], 5.0, True),
        ("between", [1, 5], 5.1, False),
        ("between", ["2026-01-01", "2026-02-01"], "2026-01-15", True),
        ("between", [1, 1], 1, True),
        ("not_contains", "ell", "hello", False),
        ("not_contains", "L", "hello", True),
        ("not_contains", 1, [1.0], False),
        ("not_contains", 1, ["1", True], True),
        ("not_contains", 1, "1", True),
        ("contains_any", ["x", "ell"], "hello", True),
        ("contains_any", ["x", "y"], "hello", False),
        ("contains_any", [3, 2], [1, 2], True),
        ("contains_any", [3], [], False),
        ("contains_all", ["he", "lo"], "hello", True),
        ("contains_all", [1, 2], [2, 1, 3], True),
        ("contains_all", [1, 4], [2, 1, 3], False),
        ("contains_none", ["x"], "hello", True),
        ("contains_none", [2], [1, 2], False),
        ("contains_none", [2], [], True),
        ("matches", "*@example.???", "ann@example.org", True),
        ("matches", "*@example.???", "ann@example.info", False),
        ("matches", "", "", True),
        ("size", 3, "Zoë", True),
        ("size", 2, [1, [2, 3]], True),
        ("size", 1, {"a": [1, 2]}, True),
        ("size", {"gte": 1, "lt": 3}, [1, 2], True),
        ("size", {"gte": 1, "lt": 3}, [], False),
        ("size", 0, "", True),
    ],
)
def test_an_operator_decides(operator: str, value: object, actual: object, *, expected: bool) -> None:
    assert decide(operator, value, actual)[0] is expected


@pytest.mark.parametrize(
    ("operator", "value", "actual", "message"),
    [
        ("eq_ignore_case", "1", 1, "a number (1), and 'eq_ignore_case' applies to a text only."),
        ("between", [1, 5], "3", 'a text ("3"), which has no order with a number (1).'),
        ("between", [0, 1], True, "a boolean (true), which has no order with a number (0)."),
        ("between", ["a", "b"], None, 'null (null), which has no order with a text ("a").'),
        ("not_contains", "x", 5, "a number (5), and 'not_contains' applies to a text or an array only."),
        ("contains_any", ["x"], {"x": 1}, """an object ({"x":1}), and 'contains_any' applies to a text or an array"""),
        ("contains_all", ["x"], None, "null (null), and 'contains_all' applies to a text or an array only."),
        ("contains_none", ["x"], False, "a boolean (false), and 'contains_none' applies to a text or an array only."),
        ("matches", "*", 5, "a number (5), and 'matches' applies to a text only."),
        ("matches", "*", "x" * 10_001, "and 'matches' looks at texts of at most 10,000 characters."),
        ("size", 1, 1, "a number (1), which has no size."),
        ("within_last", {"days": 1}, "yesterday", 'a text ("yesterday"), which is no time.'),
        ("before", "2026-01-01", [1], "an array ([1]), which is no time."),
        ("after", "2026-01-01", True, "a boolean (true), which is no time."),
    ],
)
def test_a_value_of_another_type_does_not_match_and_is_told(
    operator: str, value: object, actual: object, message: str
) -> None:
    matched, said = decide(operator, value, actual)
    assert matched is False
    assert said.startswith(f"{FIELD} is ")
    assert message in said


@pytest.mark.parametrize(
    ("operator", "value", "actual", "message"),
    [
        ("between", [1, 5], 6, "6, which is not between 1 and 5."),
        ("not_contains", "a", ["a"], '["a"], which contains "a".'),
        ("contains_any", [1, 2], [], "[], which contains none of [1,2]."),
        ("contains_all", [1, 2], [1], "[1], which does not contain all of [1,2]."),
        ("contains_none", [1, 2], [1], "[1], which contains one of [1,2]."),
        ("matches", "a*", "b", '"b", which does not match "a*".'),
        ("size", {"gte": 3}, [1], '[1], which does not have the size {"gte":3}.'),
        ("eq_ignore_case", "a", "b", '"b", which does not equal, in any case, "a".'),
    ],
)
def test_what_does_not_hold_is_said_with_the_value(operator: str, value: object, actual: object, message: str) -> None:
    assert decide(operator, value, actual) == (False, f"{FIELD} is {message}")


def test_is_set_and_is_not_set_have_no_value_and_mean_exists() -> None:
    is_set = compile_conditions(decode_conditions({"field": FIELD, "operator": "is_set"}))
    is_not_set = compile_conditions(decode_conditions({"field": FIELD, "operator": "is_not_set"}))
    present, absent = {"profile": {"attributes": {"x": None}}}, {"profile": {"attributes": {}}}
    assert [is_set.matches(present), is_set.matches(absent)] == [True, False]
    assert [is_not_set.matches(present), is_not_set.matches(absent)] == [False, True]
    assert is_set.explain(absent).message == f"{FIELD} is absent but must be present."
    assert is_not_set.explain(present).message == f"{FIELD} is present but must be absent."
    negated = compile_conditions(decode_conditions({"not": {"field": FIELD, "operator": "is_not_set"}}))
    assert negated.explain(absent).message == f"{FIELD} is absent, and this must not hold."


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("eq_ignore_case", 1),
        ("between", [1]),
        ("between", [5, 1]),
        ("between", [1, "5"]),
        ("between", [True, 5]),
        ("contains_any", []),
        ("contains_all", "abc"),
        ("contains_none", [1] * 1_001),
        ("matches", 1),
        ("matches", "a" * 257),
        ("matches", "a\\"),
        ("size", "3"),
        ("size", True),
        ("size", {}),
        ("size", {"between": 3}),
        ("size", {"gte": 1.5}),
        ("before", "soon"),
        ("before", True),
        ("after", None),
        ("within_last", 7),
        ("within_last", {}),
        ("within_last", {"days": 0}),
        ("within_last", {"days": -1, "weeks": 5}),
        ("within_next", {"days": 1.5}),
        ("within_next", {"months": 1}),
        ("older_than", {"days": 40_000}),
        ("older_than", {"days": True}),
        ("is_set", None),
        ("is_not_set", True),
    ],
)
def test_a_value_that_an_operator_cannot_use_is_refused_at_its_place(operator: str, value: object) -> None:
    with pytest.raises(Invalid) as invalid:
        decode_conditions({"all": [{"field": FIELD, "operator": operator, "value": value}]})
    assert [problem.loc for problem in invalid.value.problems] == [("all", 0, "value")]


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("counts", "name an event type"),
        ("segments", "name a segment"),
        ("steps", "name a step"),
        ("now.year", "no parts"),
        ("local", "local.weekday"),
        ("local.offsetSeconds", "local.weekday"),
        ("secrets.token", "starts with one of"),
        ("windows.x", "starts with one of"),
        ("item.sku", "starts with one of"),
        ("profiles.x", "starts with one of"),
    ],
)
def test_a_fact_that_cannot_be_compared_is_refused(field: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        decode_conditions({"field": field, "operator": "exists", "value": True})


@pytest.mark.parametrize(
    "field",
    [
        "profile.attributes.address.city",
        "profile.timeZone",
        'counts["order.paid"].count',
        "segments.vip",
        "run.key",
        "steps.lookup.body.items.0",
        "automation.version",
        "delivery.id",
        "local.date",
    ],
)
def test_all_facts_can_be_compared(field: str) -> None:
    compiled = compile_conditions(decode_conditions({"field": field, "operator": "exists", "value": False}))
    assert compiled.matches({}) is True
