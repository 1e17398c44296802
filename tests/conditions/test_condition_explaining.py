"""An explanation names the first condition that fails, and agrees with the decision for any facts."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.conditions import CompiledConditions, Explanation, Operator, compile_conditions, decode_conditions


def explain(raw: object, facts: dict[str, Any]) -> Explanation:
    return compile_conditions(decode_conditions(raw)).explain(facts)


def leaf(field: str, operator: str, value: object) -> dict[str, object]:
    return {"field": field, "operator": operator, "value": value}


FACTS: dict[str, Any] = {"event": {"n": 50, "s": "abc", "l": [1], "o": {}, "z": None, "b": True}}


def test_a_match_is_explained_as_one() -> None:
    assert explain(leaf("event.n", "eq", 50), FACTS) == Explanation(matched=True, message="Every condition holds.")


@pytest.mark.parametrize(
    ("field", "operator", "value", "message"),
    [
        ("event.n", "gt", 100, "event.n is 50, which is not greater than 100."),
        ("event.n", "gte", 51, "event.n is 50, which is not at least 51."),
        ("event.n", "lt", 50, "event.n is 50, which is not less than 50."),
        ("event.n", "lte", 1.5, "event.n is 50, which is not at most 1.5."),
        ("event.n", "eq", "50", 'event.n is 50, which does not equal "50".'),
        ("event.n", "ne", 50, "event.n is 50, which equals 50."),
        ("event.n", "in", [1, "50"], 'event.n is 50, which is none of [1,"50"].'),
        ("event.n", "not_in", [50], "event.n is 50, which is one of [50]."),
        ("event.s", "contains", "x", 'event.s is "abc", which does not contain "x".'),
        ("event.l", "contains", True, "event.l is [1], which does not contain true."),
        ("event.s", "starts_with", "b", 'event.s is "abc", which does not start with "b".'),
        ("event.s", "ends_with", "b", 'event.s is "abc", which does not end with "b".'),
        ("event.s", "lt", 100, 'event.s is a text ("abc"), which has no order with a number (100).'),
        ("event.b", "gt", 0, "event.b is a boolean (true), which has no order with a number (0)."),
        ("event.z", "gt", "a", 'event.z is null (null), which has no order with a text ("a").'),
        ("event.n", "starts_with", "5", "event.n is a number (50), and 'starts_with' applies to a text only."),
        (
            "event.o",
            "contains",
            "a",
            "event.o is an object ({}), and 'contains' applies to a text or an array only.",
        ),
        ("event.s", "contains", 1, 'event.s is a text ("abc"), which cannot contain a number (1).'),
        ("event.q", "eq", 1, "event.q is absent, and an absent field matches only 'exists: false'."),
        ("event.q", "exists", True, "event.q is absent but must be present."),
        ("event.n", "exists", False, "event.n is present but must be absent."),
    ],
)
def test_a_failed_comparison_is_one_english_sentence(field: str, operator: str, value: object, message: str) -> None:
    explanation = explain(leaf(field, operator, value), FACTS)
    assert explanation.message == message
    assert (explanation.matched, explanation.path, explanation.field) == (False, (), field)
    assert explanation.operator is Operator(operator)
    assert explanation.expected == msgspec.json.encode(value).decode()
    assert explanation.absent is (field == "event.q")
    assert (explanation.actual is None) is explanation.absent


def test_the_first_failing_comparison_of_all_is_named_with_its_path() -> None:
    good, bad, worse = leaf("event.n", "eq", 50), leaf("event.n", "eq", 51), leaf("event.n", "eq", 52)
    explanation = explain({"all": [good, {"all": [good, bad, worse]}, worse]}, FACTS)
    assert explanation.path == ("all", 1, "all", 1)
    assert explanation.expected == "51"


def test_a_failed_any_gives_the_cause_of_each_alternative_up_to_five() -> None:
    explanation = explain({"all": [{"any": [leaf("event.n", "eq", value) for value in range(7)]}]}, FACTS)
    assert explanation.path == ("all", 0)
    assert explanation.message == (
        "None of the 7 alternatives holds; the first: event.n is 50, which does not equal 0."
    )
    assert [cause.path for cause in explanation.causes] == [("all", 0, "any", at) for at in range(5)]


def test_a_failed_not_names_the_comparison_that_holds() -> None:
    explanation = explain({"not": leaf("event.n", "gt", 1)}, FACTS)
    assert explanation.message == "event.n is 50, which is greater than 1, and this must not hold."
    assert (explanation.path, explanation.field) == ((), "event.n")
    assert explain({"not": leaf("event.q", "exists", False)}, FACTS).message == (
        "event.q is absent, and this must not hold."
    )
    assert explain({"not": {"all": [leaf("event.n", "gt", 1)]}}, FACTS).message == (
        "The conditions that must not hold do hold."
    )


@pytest.mark.parametrize("actual", ["x" * 10_000, list(range(10_000)), {"k" * 300: 1}, 10**4_000])
def test_a_long_value_is_cut_to_two_hundred_characters(actual: object) -> None:
    explanation = explain(leaf("event.v", "eq", False), {"event": {"v": actual}})
    assert explanation.actual is not None
    assert len(explanation.actual) == 200
    assert explanation.actual.endswith("…")
    assert len(explanation.message) < 300


def test_a_value_of_two_hundred_characters_is_shown_whole() -> None:
    explanation = explain(leaf("event.v", "eq", False), {"event": {"v": "x" * 198}})
    assert explanation.actual == '"' + "x" * 198 + '"'


@given(st.text(st.characters(exclude_categories=[]), max_size=100) | st.integers() | st.booleans() | st.none())
def test_texts_and_numbers_are_shown_as_json_has_them(value: object) -> None:
    assert explain(leaf("event.v", "exists", False), {"event": {"v": value}}).actual == json.dumps(
        value, ensure_ascii=False
    )


def test_an_explanation_encodes_to_json() -> None:
    explanation = explain({"any": [leaf("event.n", "eq", 1)]}, FACTS)
    assert msgspec.json.decode(msgspec.json.encode(explanation), type=Explanation) == explanation


NAMES = st.sampled_from(["a", "b", "0", "c.d"])
SCALARS = st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, 2**53, 2**53 + 1, "", "a", "ab", "1"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.builds(
    lambda root, names: root + "".join(f'["{name}"]' if "." in name else f".{name}" for name in names),
    st.sampled_from(["event", "user"]),
    st.lists(NAMES, max_size=3),
)
LEAVES = st.one_of(
    st.builds(leaf, FIELDS, st.sampled_from(["eq", "ne", "contains"]), VALUES),
    st.builds(leaf, FIELDS, st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from([0, 1.0, 2**53, "", "a"])),
    st.builds(leaf, FIELDS, st.sampled_from(["in", "not_in"]), st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(leaf, FIELDS, st.sampled_from(["starts_with", "ends_with"]), st.sampled_from(["", "a", "b"])),
    st.builds(leaf, FIELDS, st.just("exists"), st.booleans()),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda children: {"all": children}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda children: {"any": children}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda child: {"not": child}, inner),
    ),
    max_leaves=8,
)
WORLDS = st.dictionaries(st.sampled_from(["event", "user"]), st.dictionaries(NAMES, VALUES, max_size=3) | VALUES)

MISSING = object()


def reference(raw: Any, facts: Any) -> bool:
    """Decide as the description reads, slowly and without any code of the product."""
    if "all" in raw:
        return all(reference(child, facts) for child in raw["all"])
    if "any" in raw:
        return any(reference(child, facts) for child in raw["any"])
    if "not" in raw:
        return not reference(raw["not"], facts)
    actual = find(raw["field"], facts)
    if raw["operator"] == "exists":
        return raw["value"] is (actual is not MISSING)
    return actual is not MISSING and compare(raw["operator"], actual, raw["value"])


def find(field: str, facts: Any) -> Any:
    value = facts
    for name in field.replace('["c.d"]', ".c!d").split("."):
        key = name.replace("!", ".")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key == "0" and value:
            value = value[0]
        else:
            return MISSING
    return value


def canonical(value: Any) -> Any:
    """Tag each value with its JSON type, so that Python's own equality is strict."""
    if isinstance(value, bool) or value is None:
        return ("constant", repr(value))
    if isinstance(value, (int, float)):
        return ("number", value)
    if isinstance(value, str):
        return ("text", value)
    if isinstance(value, list):
        return ("array", [canonical(item) for item in value])
    return ("object", {name: canonical(item) for name, item in value.items()})


def compare(operator: str, actual: Any, expected: Any) -> bool:
    if operator in {"starts_with", "ends_with"}:
        at = 0 if operator == "starts_with" else len(str(actual)) - len(expected)
        return isinstance(actual, str) and at >= 0 and actual[at : at + len(expected)] == expected
    left, right = canonical(actual), canonical(expected)
    if operator in {"gt", "gte", "lt", "lte"}:
        ordered = left[0] == right[0] and left[0] in {"number", "text"}
        return (
            ordered and {"gt": left > right, "gte": left >= right, "lt": left < right, "lte": left <= right}[operator]
        )
    if operator == "contains" and left[0] == "text":
        return right[0] == "text" and expected in actual
    if operator == "contains":
        return left[0] == "array" and right in left[1]
    if operator in {"in", "not_in"}:
        return (left in right[1]) is (operator == "in")
    return (left == right) is (operator == "eq")


def locate(raw: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        raw = raw[step]
    return raw


@given(raw=TREES, facts=WORLDS)
def test_matches_and_explain_agree_with_a_naive_interpreter(raw: Any, facts: dict[str, Any]) -> None:
    compiled = compile_conditions(decode_conditions(raw))
    expected = reference(raw, facts)
    assert compiled.matches(facts) is expected
    explanation = compiled.explain(facts)
    assert explanation.matched is expected
    if not expected:
        check_place(raw, facts, explanation)


def check_place(raw: Any, facts: Any, explanation: Explanation) -> None:
    """The part of the tree that an explanation points to fails, and it is a comparison, an any or a not."""
    part = locate(raw, explanation.path)
    assert reference(part, facts) is False
    assert "all" not in part
    if explanation.field is not None:
        compared = part.get("not", part)
        assert compared["field"] == explanation.field
        assert explanation.absent is (find(explanation.field, facts) is MISSING)
    for cause in explanation.causes:
        check_place(raw, facts, cause)


@given(facts=st.recursive(VALUES, lambda inner: st.dictionaries(st.text(max_size=3), inner), max_leaves=10))
def test_no_facts_raise_whatever_their_types_are(facts: object) -> None:
    operators: dict[str, object] = {"gt": 1, "lt": "a", "in": [{"a": []}], "contains": {}, "ends_with": "x", "eq": [1]}
    compiled: CompiledConditions = compile_conditions(
        decode_conditions({"any": [leaf("event.a.0.b", operator, value) for operator, value in operators.items()]})
    )
    world = {"event": facts}
    assert compiled.explain(world).matched is compiled.matches(world)
