import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.connectors import (
    Answer,
    AnswerRule,
    JudgementKind,
    Predicate,
    RequestTemplate,
    RetryAfter,
    Text,
    Token,
    TokenExchange,
    hide,
    judge,
    load_catalogue,
    read_token,
)
from posthorn.connectors.judging import MOST_READ_BYTES
from posthorn.connectors.lookup import MISSING, find, holds

BECAUSE = Text(en="x", ru="x", zh="x")
PLAIN = Answer()
OK = Answer(
    success=(AnswerRule(when=(Predicate(path="ok", value=True),)),),
    retry=(AnswerRule(when=(Predicate(path="error", operator="in", value=["busy"]),)),),
    stop=(AnswerRule(statuses=(429,), when=(Predicate(path="error", value="monthly"),), because=BECAUSE),),
    retry_after=(RetryAfter(path="wait"), RetryAfter(header="X-Reset", unit="milliseconds")),
    code=("error",),
    message=("text",),
)
SUCCESS, RETRY, STOP = JudgementKind


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, SUCCESS),
        (204, SUCCESS),
        (299, SUCCESS),
        (301, STOP),
        (302, STOP),
        (400, STOP),
        (401, STOP),
        (404, STOP),
        (408, RETRY),
        (410, STOP),
        (425, RETRY),
        (429, RETRY),
        (500, RETRY),
        (501, STOP),
        (503, RETRY),
        (599, RETRY),
    ],
)
def test_without_rules_the_status_decides(status: int, kind: JudgementKind) -> None:
    assert judge(PLAIN, status, (), b"").kind is kind


@pytest.mark.parametrize(
    ("status", "sent", "kind"),
    [
        (200, body(ok=True), SUCCESS),
        (200, body(ok=1), STOP),
        (200, body(ok=False, error="busy"), RETRY),
        (200, body(ok=False, error="wrong"), STOP),
        (400, body(ok=True), STOP),
        (400, body(error="busy"), RETRY),
        (429, body(error="monthly"), STOP),
        (429, body(error="daily"), RETRY),
        (200, b"<html>login</html>", RETRY),
        (200, b"", RETRY),
        (200, b'{"ok": tr', RETRY),
        (200, b"[]", STOP),
        (200, b"\xff\xfe", RETRY),
        (200, b"[" * 60_000, RETRY),
        (200, b'{"ok": true, "pad": "' + b"x" * MOST_READ_BYTES + b'"}', RETRY),
    ],
)
def test_the_body_decides_with_the_status(status: int, sent: bytes, kind: JudgementKind) -> None:
    assert judge(OK, status, (), sent).kind is kind


def test_an_explanation_goes_with_the_rule_that_decided() -> None:
    assert judge(OK, 429, (), body(error="monthly")).because is BECAUSE
    assert judge(OK, 429, (), body(error="daily")).because is None


def test_an_unlisted_failure_is_tried_again_where_the_file_says_so() -> None:
    answer = Answer(success=OK.success, unlisted="retry")
    assert judge(answer, 200, (), body(ok=False)).kind is RETRY


@pytest.mark.parametrize(
    ("headers", "sent", "seconds"),
    [
        ((), body(wait=7), 7),
        ((), body(wait=0.65), 0.65),
        ((), body(wait="8"), 8),
        ((), body(wait=-1), None),
        ((), body(wait=True), None),
        ((), body(wait="soon"), None),
        ((), body(wait=10**400), None),
        ((), body(wait=10**9), 24 * 3600),
        (((b"Retry-After", b"3"),), b"", 3),
        (((b"retry-after", b"3"),), body(wait=2), 3),
        (((b"Retry-After", b"Sun, 22 Nov 2026 08:00:00 GMT"),), b"", None),
        (((b"x-reset", b"1500"),), b"", 1.5),
        (((b"x-reset", b"\xff"),), b"", None),
        (((b"Retry-After", b"nan"),), b"", None),
        (((b"Retry-After", b"inf"),), b"", None),
    ],
)
def test_the_wait_is_read_from_body_and_headers(
    headers: tuple[tuple[bytes, bytes], ...], sent: bytes, seconds: float | None
) -> None:
    judgement = judge(OK, 503, headers, sent)
    assert judgement.kind is RETRY
    assert judgement.retry_after_seconds == seconds


def test_who_stops_does_not_wait() -> None:
    assert judge(OK, 400, ((b"Retry-After", b"3"),), b"").retry_after_seconds is None


def test_the_reason_is_one_short_printable_line_of_what_the_vendor_says() -> None:
    judgement = judge(OK, 400, (), body(error="bad\nthing", text="x\x1b[31m\u2028" + "y" * 5_000))
    assert judgement.reason.startswith("HTTP 400: bad thing: x [31m y")
    assert len(judgement.reason) <= 300
    assert judgement.reason.isprintable()


def test_a_secret_that_the_vendor_repeats_is_hidden() -> None:
    judgement = judge(OK, 401, (), body(text="Invalid API key: 1234-5678"), secrets=["1234-5678", "ab", ""])
    assert judgement.reason == "HTTP 401: Invalid API key: ••••••"
    assert hide("abc 1234-5678", ["ab"]) == "abc 1234-5678"


@given(st.integers(100, 599), st.binary(max_size=200))
def test_no_body_breaks_any_connector(status: int, sent: bytes) -> None:
    for connector in load_catalogue().values():
        for action in connector.actions.values():
            judgement = judge(action.answer, status, ((b"Retry-After", sent[:9]),), sent, token=connector.token)
            assert judgement.reason.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ok", "error", "0", "code"]), inner),
    max_leaves=8,
)


@given(st.sampled_from([200, 400, 429, 500]), JSON)
def test_no_json_breaks_any_connector(status: int, document: object) -> None:
    sent = json.dumps(document).encode()
    for connector in load_catalogue().values():
        for action in connector.actions.values():
            assert judge(action.answer, status, (), sent, token=connector.token).kind in JudgementKind


@given(JSON, st.sampled_from(["ok", "ok.0", "error.ok", "0", "code.0.0", "nothing"]))
def test_what_is_missing_equals_nothing(document: object, path: str) -> None:
    found = find(document, path)
    if found is MISSING:
        assert not holds("eq", found, None)
        assert not holds("in", found, [None])
        assert not holds("exists", found, None)
        assert not holds("gt", found, 0)
        assert holds("ne", found, 1)
        assert holds("not_in", found, [1])
        assert holds("empty", found, None)


@pytest.mark.parametrize(
    ("operator", "found", "value", "expected"),
    [
        ("eq", True, 1, False),
        ("eq", 1, 1.0, True),
        ("in", True, [1], False),
        ("contains", "Monthly LIMIT", "limit", True),
        ("contains", ["a"], "a", True),
        ("contains", 5, "5", False),
        ("exists", None, True, False),
        ("exists", 0, True, True),
        ("exists", None, False, True),
        ("empty", [], True, True),
        ("empty", 0, True, False),
        ("empty", [1], False, True),
        ("gte", 2, 2, True),
        ("lt", "1", 2, False),
        ("lte", True, 2, False),
    ],
)
def test_predicates_convert_nothing(operator: str, found: object, value: object, expected: bool) -> None:
    assert holds(operator, found, value) is expected


EXCHANGE = TokenExchange(
    request=RequestTemplate(url="https://x.example.com"),
    value="access_token",
    expires_in="expires_in",
    answer=Answer(success=(AnswerRule(when=(Predicate(path="access_token", operator="exists"),)),)),
    refused=(AnswerRule(statuses=(401,)),),
)


def test_a_token_is_used_until_a_minute_before_its_end() -> None:
    assert read_token(EXCHANGE, 200, (), body(access_token="t", expires_in=7200)) == Token(
        value="t", usable_seconds=7140
    )
    assert read_token(EXCHANGE, 200, (), body(access_token="t")) == Token(value="t", usable_seconds=3540)
    assert read_token(EXCHANGE, 200, (), body(access_token="t", expires_in=-5)) == Token(value="t", usable_seconds=0)
    assert "hush" not in repr(Token(value="hush", usable_seconds=1))


def test_an_answer_without_a_token_is_judged() -> None:
    refused = read_token(EXCHANGE, 400, (), body(error="invalid_client"))
    assert not isinstance(refused, Token)
    assert refused.kind is STOP
    odd = read_token(EXCHANGE, 200, (), body(access_token={"a": 1}))
    assert not isinstance(odd, Token)
    assert odd.kind is RETRY
    broken = read_token(EXCHANGE, 200, (), body(access_token="a\r\nX-Evil: 1"))
    assert not isinstance(broken, Token)


def test_a_refused_token_is_replaced() -> None:
    judgement = judge(PLAIN, 401, (), b"", token=EXCHANGE)
    assert (judgement.kind, judgement.needs_new_token) == (RETRY, True)
    assert judge(PLAIN, 401, (), b"").kind is STOP
