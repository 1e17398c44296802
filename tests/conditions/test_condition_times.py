"""Times in facts and conditions: what counts as one, and what before, after, within and older mean."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.clock import DAY_MS, iso_text
from posthorn.conditions import compile_conditions, decode_conditions, instant_ms
from posthorn.errors import Invalid

NOW_MS = 1_795_341_600_000  # 2026-11-22T10:00:00Z
FIELD = "profile.attributes.at"


def holds(operator: str, value: object, at: object, now_ms: int = NOW_MS) -> bool:
    compiled = compile_conditions(decode_conditions({"field": FIELD, "operator": operator, "value": value}))
    facts = {"profile": {"attributes": {"at": at}}, "now": iso_text(now_ms)}
    assert compiled.explain(facts).matched is compiled.matches(facts)
    return compiled.matches(facts)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22T10:00:00Z", NOW_MS),
        ("2026-11-22T10:00:00.000Z", NOW_MS),
        ("2026-11-22T13:00:00+03:00", NOW_MS),
        ("2026-11-22T10:00:00", NOW_MS),
        ("2026-11-22 10:00", NOW_MS),
        ("2026-11-22", NOW_MS - 10 * 3_600_000),
        ("2026-11-22T10:00:00.123987Z", NOW_MS + 123),
        ("1969-12-31T23:59:59.999Z", -1),
        (NOW_MS, NOW_MS),
        (NOW_MS // 1000, NOW_MS),
        (NOW_MS / 1000 + 0.5, NOW_MS + 500),
        (float(NOW_MS), NOW_MS),
        (0, 0),
        (99_999_999_999, 99_999_999_999_000),
        (100_000_000_000, 100_000_000_000),
        (True, None),
        (None, None),
        ("", None),
        ("tomorrow", None),
        ("2026-02-30", None),
        ("2026-11-22T25:00:00Z", None),
        ("1795341600", None),
        ("2026-11-22T10:00:00Z" + " " * 40, None),
        (10**18, None),
        (float("nan"), None),
        (float("inf"), None),
        ([NOW_MS], None),
        ("\ud800", None),
    ],
)
def test_a_time_is_iso_text_or_a_unix_time(value: object, expected: int | None) -> None:
    assert instant_ms(value) == expected


@given(
    at=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001 - zones are added
    minutes=st.integers(min_value=-720, max_value=840),
)
def test_iso_text_of_any_zone_is_read_exactly(at: datetime, minutes: int) -> None:
    zoned = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert instant_ms(zoned.isoformat()) == expected


@given(value=st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_whatever_a_value_is_reading_it_as_a_time_does_not_raise(value: object) -> None:
    instant = instant_ms(value)
    assert instant is None or isinstance(instant, int)


@pytest.mark.parametrize(
    ("operator", "value", "offset_ms", "expected"),
    [
        ("within_last", {"days": 7}, 0, True),
        ("within_last", {"days": 7}, 1, False),
        ("within_last", {"days": 7}, -7 * DAY_MS + 1, True),
        ("within_last", {"days": 7}, -7 * DAY_MS, False),
        ("within_last", {"weeks": 1, "hours": 1}, -7 * DAY_MS, True),
        ("within_next", {"days": 7}, 0, False),
        ("within_next", {"days": 7}, 1, True),
        ("within_next", {"days": 7}, 7 * DAY_MS, True),
        ("within_next", {"days": 7}, 7 * DAY_MS + 1, False),
        ("older_than", {"days": 7}, -7 * DAY_MS, True),
        ("older_than", {"days": 7}, -7 * DAY_MS + 1, False),
        ("older_than", {"days": 7}, DAY_MS, False),
        ("before", "now", -1, True),
        ("before", "now", 0, False),
        ("after", "now", 1, True),
        ("after", "now", 0, False),
        ("before", "2026-11-22T10:00:00Z", -1, True),
        ("before", "2026-11-22T10:00:00Z", 0, False),
        ("after", NOW_MS, 1, True),
        ("after", NOW_MS, 0, False),
    ],
)
def test_the_limits_of_a_time_operator(operator: str, value: object, offset_ms: int, *, expected: bool) -> None:
    assert holds(operator, value, NOW_MS + offset_ms) is expected
    assert holds(operator, value, iso_text(NOW_MS + offset_ms)) is expected


@given(offset_ms=st.integers(min_value=-20 * DAY_MS, max_value=20 * DAY_MS))
def test_a_time_is_in_the_last_days_or_older_or_to_come(offset_ms: int) -> None:
    at = NOW_MS + offset_ms
    span = {"days": 3}
    assert [
        holds("within_last", span, at),
        holds("older_than", span, at),
        holds("after", "now", at),
    ].count(True) == 1


def test_an_absent_field_matches_no_time_operator() -> None:
    for operator, value in {"before": "2999-01-01", "after": "now", "older_than": {"days": 1}}.items():
        compiled = compile_conditions(decode_conditions({"field": FIELD, "operator": operator, "value": value}))
        explanation = compiled.explain({"now": NOW_MS})
        assert explanation.absent is True
        assert "is absent" in explanation.message


def test_without_now_a_relative_time_does_not_match_and_says_so() -> None:
    raw = {"field": FIELD, "operator": "within_last", "value": {"days": 1}}
    explanation = compile_conditions(decode_conditions(raw)).explain({"profile": {"attributes": {"at": NOW_MS}}})
    assert explanation.message.endswith("and it is not known what time it is, as 'now' is absent.")


def test_a_refusal_says_the_span_in_words() -> None:
    raw = {"field": FIELD, "operator": "within_last", "value": {"weeks": 1, "days": 3}}
    facts = {"profile": {"attributes": {"at": "2026-01-01"}}, "now": iso_text(NOW_MS)}
    explanation = compile_conditions(decode_conditions(raw)).explain(facts)
    assert explanation.message == f'{FIELD} is "2026-01-01", which is not within the last 1 week 3 days.'


def test_now_itself_is_compared_with_a_date() -> None:
    raw = {"field": "now", "operator": "after", "value": "2026-12-01"}
    compiled = compile_conditions(decode_conditions(raw))
    assert compiled.matches({"now": "2026-12-01T00:00:00.001Z"}) is True
    assert compiled.matches({"now": "2026-12-01T00:00:00.000Z"}) is False
    assert compiled.needs.times is True


@pytest.mark.parametrize(("operator", "value"), [("eq", "2026"), ("within_last", {"days": 1}), ("before", "now")])
def test_now_is_compared_by_before_and_after_an_instant_only(operator: str, value: object) -> None:
    with pytest.raises(Invalid) as invalid:
        decode_conditions({"field": "now", "operator": operator, "value": value})
    assert invalid.value.problems[0].loc == ("operator",)
