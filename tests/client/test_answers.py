"""What an answer means."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.client import EventConflict, NoAnswer, ServerBusy, ServerRefused
from posthorn.client.answers import Accepted, Answer, Outcome, Oversized, Refused, TryAgain, outcome_of
from posthorn.client.answers import retry_after_seconds as read_retry_after

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def outcome(status: int, body: object = b"", *, retry_after: str | None = None) -> Outcome:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return outcome_of(Answer(status=status, retry_after=retry_after, body=text), now_seconds=NOW.timestamp())


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("body", [b"", b'{"success": true}', b'{"data": [{"status": "accepted"}]}'])
def test_any_2xx_with_json_or_nothing_is_an_acceptance(status: int, body: bytes) -> None:
    assert outcome(status, body) == Accepted()


@pytest.mark.parametrize("body", [b"<html>", b"OK", b"[]", b"\xff\xfe", b'{"succ'])
def test_a_2xx_that_is_no_json_object_comes_from_someone_else_and_is_tried_again(body: bytes) -> None:
    result = outcome(200, body)
    assert isinstance(result, TryAgain)
    assert isinstance(result.reason, NoAnswer)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_a_server_that_is_busy_or_broken_is_asked_again(status: int) -> None:
    result = outcome(status, {"code": "overloaded", "detail": "later"}, retry_after="7")
    assert isinstance(result, TryAgain)
    assert isinstance(result.reason, ServerBusy)
    assert (result.reason.status, result.reason.detail, result.after_seconds) == (status, "later", 7.0)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 409, 422])
def test_any_other_status_is_a_refusal_with_the_servers_words(status: int) -> None:
    result = outcome(status, {"code": "authentication_failed", "detail": "no valid credential"})
    assert isinstance(result, Refused)
    assert isinstance(result.reason, ServerRefused)
    assert (result.reason.status, result.reason.code) == (status, "authentication_failed")
    assert "no valid credential" in str(result.reason)
    assert result.faults == ()


def test_a_request_that_is_too_large_is_said_to_be_so() -> None:
    assert isinstance(outcome(413, {"detail": "too large"}), Oversized)


@pytest.mark.parametrize("prefix", [["body"], ["body", "batch"], []])
def test_a_refusal_names_events_by_position(prefix: list[str]) -> None:
    problems = [
        {"loc": [*prefix, 2, "data", "total"], "msg": "must be a number", "type": "x"},
        {"loc": [*prefix, 0], "msg": "no user", "type": "x"},
        {"loc": [*prefix, 2, "user"], "msg": "too long", "type": "x"},
    ]
    result = outcome(422, {"detail": problems})
    assert isinstance(result, Refused)
    faults = dict(result.faults)
    assert faults.keys() == {0, 2}
    first = faults[2]
    assert isinstance(first, ServerRefused)
    assert (first.loc, first.detail) == (("data", "total"), "must be a number")
    assert "at data.total: must be a number" in str(first)


@pytest.mark.parametrize("loc", [["body"], ["body", True], ["body", -1], "body", None, ["header", "x", "y", 0]])
def test_a_refusal_of_the_call_as_a_whole_names_no_event(loc: object) -> None:
    named = {"loc": ["body", 0], "msg": "m"}
    result = outcome(422, {"detail": [named, {"loc": loc, "msg": "m"}]})
    assert isinstance(result, Refused)
    assert result.faults == ()


def test_a_conflict_is_a_fault_of_one_event_of_an_accepted_call() -> None:
    rows = [{"status": "accepted"}, {"status": "conflict", "detail": "exists"}, {"status": "duplicate"}]
    result = outcome(202, {"data": rows})
    assert isinstance(result, Accepted)
    ((position, reason),) = result.faults
    assert position == 1
    assert isinstance(reason, EventConflict)
    assert str(reason) == "exists"


def test_a_page_of_html_becomes_one_bounded_line() -> None:
    result = outcome(404, b"<html>\n" + b"x\n" * 10_000)
    assert isinstance(result, Refused)
    assert len(str(result.reason)) < 1_100
    assert "\n" not in str(result.reason)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 40, float("9" * 12)),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("٣", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        ("Sun, 22 Nov 2026 09:01:30", 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Sun, 99 Nov 99999 99:99:99 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str | None, seconds: float) -> None:
    assert read_retry_after(text, now_seconds=NOW.timestamp()) == seconds


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["detail", "loc", "msg", "data", "status"]), inner),
)


@given(
    status=st.integers(200, 599),
    body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
    retry_after=st.none() | st.text(max_size=40),
)
def test_no_answer_is_too_odd_to_be_classified(status: int, body: bytes, retry_after: str | None) -> None:
    result = outcome(status, body, retry_after=retry_after)
    assert isinstance(result, Accepted | TryAgain | Refused | Oversized)
    if isinstance(result, TryAgain):
        assert result.after_seconds >= 0
