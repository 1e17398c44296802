"""Expressions: checked when published, bounded, and never an exception when they run."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.conditions import Explanation, compile_conditions, decode_conditions
from posthorn.errors import Invalid

DATA: dict[str, Any] = {
    "total": 120.5,
    "count": 3,
    "name": "Zoë",
    "flag": True,
    "nothing": None,
    "items": [{"sku": "a", "price": 5}, {"sku": "b", "price": 50}],
    "huge": 2**70,
    "a key": {"x.y": 1},
}
FACTS: dict[str, Any] = {
    "event": {"type": "order.paid", "time": "2026-11-22T10:00:00.000Z", "data": DATA},
    "counts": {"order.paid": {"count": 3, "lastTime": "2026-11-22T10:00:00.000Z"}},
    "segments": {"vip": True},
    "now": "2026-11-22T10:00:00.000Z",
}


def explain(source: str, facts: dict[str, Any] | None = None) -> Explanation:
    compiled = compile_conditions(decode_conditions({"cel": source}))
    explanation = compiled.explain(FACTS if facts is None else facts)
    assert explanation.matched is compiled.matches(FACTS if facts is None else facts)
    return explanation


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("event.data.total > 100 && counts['order.paid'].count == 3", True),
        ("event.data.total > 121", False),
        ("event.data.count == 3.0", True),
        ("event.data.name.size() == 3", True),
        ("event.data.name.startsWith('Zo')", True),
        ("event.data.items.exists(i, i.price > 10)", True),
        ("event.data.items.all(i, i.price > 10)", False),
        ("event.data.items.filter(i, i.price > 10).size() == 1", True),
        ("event.data.items.map(i, i.price) == [5, 50]", True),
        ("event.data.items[1].sku == 'b'", True),
        ("event.data['a key']['x.y'] == 1", True),
        ("'x.y' in event.data['a key']", True),
        ("has(event.data.name) && !has(event.data.missing)", True),
        ("event.data.nothing == null", True),
        ("event.data.flag", True),
        ("event.data.flag // who would compare it with true", True),
        ("event.data.count", False),
        ("event.data.nothing", False),
        ("event.data.missing == 1 || true", True),
        ("event.type in ['order.paid', 'order.sent']", True),
        ("timestamp(event.time) <= timestamp(now)", True),
        ("timestamp(now).getHours('Europe/Berlin') == 11", True),
        ("timestamp(now) - timestamp('2026-11-21T10:00:00Z') == duration('24h')", True),
        ("event.data.total > 100 ? true : false", True),
        ("segments.vip && !segments['gold']", True),
        ("counts['never.happened'].count == 0", True),
        ("counts.other.count < 1 && !has(counts.other.lastTime)", True),
        ("""event.data.name == "Zo\\u00eb" && r'\\d' != "d" && '''x''' == "x" """, True),
    ],
)
def test_an_expression_decides(source: str, *, expected: bool) -> None:
    assert explain(source).matched is expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("event.data.missing == 1", 'Key not found in map : "missing"'),
        ("event.data.name > 3", "No matching overloads found : _>_(string, int64)"),
        ("event.data.count + 0.5 > 3.0", "No matching overloads found : _+_(int64, double)"),
        ("event.data.count / 0 == 1", "divide by zero"),
        ("event.data.items[7].sku == 'a'", "index=7 size=2"),
        ("event.data.huge > 1", "out of range"),
        ("event.data.name.x == 1", "SELECT"),
        ("timestamp(event.data.name) < timestamp(now)", "Timestamp"),
        ("9223372036854775807 + event.data.count > 0", "overflow"),
        ("int(event.data.name) == 1", "cannot convert string to int"),
        ("event.data.items.all(i, i.price > 'a')", "No matching overloads"),
        ("profile.attributes.plan == 'pro'", 'Key not found in map : "attributes"'),
    ],
)
def test_a_type_error_at_run_time_is_no_match_and_is_explained(source: str, reason: str) -> None:
    message = explain(source).message
    assert message.startswith(f"The expression {source} cannot be decided: ")
    assert reason in message


def test_an_expression_that_is_false_is_explained_with_the_values_that_it_met() -> None:
    explanation = explain("event.data.total > 500 && counts['order.paid'].count == 3")
    assert explanation.message == (
        "The expression event.data.total > 500 && counts['order.paid'].count == 3 is false"
        " with event.data.total 120.5, counts.order.paid.count 3."
    )
    assert explanation.actual == '{"event.data.total":120.5,"counts.order.paid.count":3}'


def test_an_expression_that_must_not_hold_is_explained_too() -> None:
    compiled = compile_conditions(decode_conditions({"not": {"cel": "event.data.flag"}}))
    assert compiled.explain(FACTS).message == (
        "The expression event.data.flag is true with event.data.flag true, and this must not hold."
    )


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("event.data.total >", "line 1, column 19: Syntax error: mismatched input '<EOF>'"),
        ("a b", "line 1, column 3: Syntax error"),
        ("event.type ==\n  evnt.type", "line 2, column 3: unknown name 'evnt.type'"),
        ("event.type ==\n  evnt.data.type", "line 2, column 3: unknown name 'evnt.data.type'"),
        ("event.type == vip", "line 1, column 15: unknown name 'vip'"),
        ("event.type == 'a' &&\n\n  1 + 'a' == 2", "line 3, column 5: found no matching overload for '_+_'"),
        ("shout(event.type)", "line 1, column 1: unknown name 'shout'"),
        ("event.type.matches('a')", "line 1, column 12: unknown name 'matches'"),
        ("bytes(event.type) == b'a'", "unknown name 'bytes'"),
        ("1 + 1", "line 1, column 1: the result must be true or false, and this one is int"),
        ("'true'", "this one is string"),
        ("counts.size() > 1", "line 1, column 1: name an event type"),
        ("counts[event.type].count > 1", "line 1, column 1: name an event type"),
        ("event.type == 'a' || 'vip' in segments", "line 1, column 31: name a segment"),
        ("has(segments.vip)", "line 1, column 5: segments.vip is always there"),
        ("steps.exists(s, s == 'a')", "line 1, column 1: name a step"),
        (".event.type == 'a'", "line 1, column 1: a name does not start with a dot"),
        ("event.data.all(event, event == 1)", "line 1, column 16: 'event' is a fact"),
        ("timestamp(now).getHours(event.data.zone) == 1", "line 1, column 25: a time zone is written out"),
        ("timestamp(now).getHours('/etc/passwd') == 1", "line 1, column 25: a time zone is written out"),
        ("secrets.token == 'a'", "unknown name 'secrets.token'"),
        ("item.price > 1", "line 1, column 1: 'item' is no fact here"),
        ("int == int", "line 1, column 1: 'int' is no fact here"),
        ("google.protobuf.Duration{seconds: 1} == duration('1s')", "line 1, column 1: 'google' is no fact here"),
        ("(" * 200 + "true" + ")" * 200, "recursion limit"),
        ("!" * 4_095 + "x", "unknown name 'x'"),
        (" ", "expected an expression"),
        ("true" + " " * 4_096, "expected an expression of 1 to 4,096 characters"),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_column(source: str, place: str) -> None:
    with pytest.raises(Invalid) as invalid:
        decode_conditions({"all": [{"cel": source}]})
    [problem] = invalid.value.problems
    assert (problem.loc, problem.type) == (("all", 0, "cel"), "cel_invalid")
    assert place in problem.msg


@pytest.mark.parametrize("source", [5, None, ["true"], {"x": 1}])
def test_an_expression_is_a_text(source: object) -> None:
    with pytest.raises(Invalid):
        decode_conditions({"cel": source})


DOUBLING = "['aaaaaaaaaaaaaaaa']" + ".map(s, s + s)" * 20 + ".size() == 1"
NESTING = "[event.data]" + ".map(s, [s, s])" * 20 + " == [event.data]" + ".map(s, [s, s])" * 20


@pytest.mark.parametrize("source", [DOUBLING, NESTING])
def test_an_expression_whose_values_double_in_each_loop_is_refused(source: str) -> None:
    with pytest.raises(Invalid, match="values may double"):
        decode_conditions({"cel": source})


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("event.data.a.all(x, !event.data.b.contains('yes'))", {"a": list(range(5_000)), "b": "no" * 100_000}),
        ("event.data.a.exists(x, event.data.b + event.data.b == 'a')", {"a": [0] * 9_000, "b": "x" * 9_000}),
    ],
)
def test_loops_over_too_much_are_not_run(source: str, data: dict[str, Any]) -> None:
    message = explain(source, {"event": {"data": data}}).message
    assert message.endswith("is not decided: there are too many values for its loops.")


def test_loops_stop_at_ten_thousand_steps() -> None:
    source = "event.data.a.all(x, event.data.a.all(y, x == x))"
    assert explain(source, {"event": {"data": {"a": list(range(90))}}}).matched is True
    assert "Iteration budget exceeded" in explain(source, {"event": {"data": {"a": list(range(110))}}}).message


def test_lists_of_literals_and_sums_in_loops_are_no_danger() -> None:
    choices = ", ".join(f"'{number}'" for number in range(200))
    assert explain(f"event.data.items.exists(i, i.sku in [{choices}, 'b'])").matched is True
    assert explain("event.data.items.exists(i, i.price + i.price > 50)").matched is True


def test_what_an_expression_does_not_name_costs_nothing() -> None:
    class Untouchable(dict[str, Any]):
        def __iter__(self) -> Any:
            raise AssertionError("everything was handed over")

        keys = values = items = __iter__

    data = Untouchable(total=120)
    compiled = compile_conditions(decode_conditions({"cel": "event.data.total > 100"}))
    assert compiled.matches({"event": {"data": data}, "profile": data}) is True


def test_one_expression_runs_in_many_threads() -> None:
    compiled = compile_conditions(decode_conditions({"cel": "event.data.n % 2 == 0"}))
    wrong: list[int] = []

    def run() -> None:
        wrong.extend(n for n in range(500) if compiled.matches({"event": {"data": {"n": n}}}) is not (n % 2 == 0))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(value=VALUES, other=VALUES)
def test_no_value_makes_an_expression_raise(value: object, other: object) -> None:
    facts = {"event": {"data": {"a": value, "b": other}}}
    for source in ("event.data.a > event.data.b", "event.data.a.exists(i, i == event.data.b)", "event.data.a"):
        explain(source, facts)


@given(source=st.text(alphabet="ab.()[]{}'\"\\+-!&|=<>?:, \n0r/", max_size=25) | st.text(max_size=10))
def test_any_text_is_an_expression_or_invalid(source: str) -> None:
    try:
        condition = decode_conditions({"cel": source})
    except Invalid as invalid:
        places = [problem.loc for problem in invalid.problems]
    else:
        places = [("cel",)]
        compiled = compile_conditions(condition)
        assert compiled.explain(FACTS).matched is compiled.matches(FACTS)
    assert places == [("cel",)]


@given(
    left=st.integers(min_value=-(2**40), max_value=2**40),
    right=st.floats(min_value=-1e6, max_value=1e6),
    word=st.text(alphabet="ab", max_size=3),
)
def test_comparisons_mean_what_they_mean_in_a_tree(left: int, right: float, word: str) -> None:
    facts = {"event": {"data": {"l": left, "w": word}}}
    tree = compile_conditions(
        decode_conditions(
            {
                "any": [
                    {"field": "event.data.l", "operator": "gt", "value": right},
                    {"field": "event.data.w", "operator": "starts_with", "value": "ab"},
                ]
            }
        )
    )
    source = f"event.data.l > double('{right!r}') || event.data.w.startsWith('ab')"
    assert explain(source, facts).matched is tree.matches(facts)
