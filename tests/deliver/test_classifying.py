"""What a result means."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from posthorn.deliver.classify import Verdict, finish_of, judge, retry_after_ms
from posthorn.deliver.transport import PhaseTimings
from posthorn.deliver.transport.failures import FailureCode
from posthorn.engine.fairqueue import Finish
from posthorn.testing.clock import START_MS
from posthorn.testing.transport import failure, response

OURS = [code for code in FailureCode if code.is_ours]
HOPELESS = {"url_invalid", "url_has_credentials", "scheme_not_allowed", "method_not_allowed", "header_not_allowed"}


@pytest.mark.parametrize("status", range(200, 600))
def test_only_200_to_299_is_success_410_is_the_end_and_a_redirect_is_a_failure(status: int) -> None:
    expected = Verdict.DELIVERED if status < 300 else Verdict.GONE if status == 410 else Verdict.RETRY
    assert judge(response(status)) is expected


@pytest.mark.parametrize("code", list(FailureCode))
def test_every_failure_has_one_meaning(code: FailureCode) -> None:
    verdict = judge(failure(code))
    if code.is_ours:
        assert verdict is Verdict.NOT_OURS_TO_COUNT
    else:
        assert verdict is (Verdict.HOPELESS if code.value in HOPELESS else Verdict.RETRY)


def test_the_fair_queue_hears_how_the_receiver_behaved() -> None:
    assert finish_of(response(204)) is Finish.ANSWERED_WELL
    assert finish_of(response(500)) is Finish.ANSWERED_BADLY
    assert finish_of(failure(FailureCode.TIMEOUT)) is Finish.UNANSWERED
    assert finish_of(failure(FailureCode.TOO_MANY_OPEN_FILES)) is Finish.NOTHING_LEARNED
    slow = replace(response(200), timings=PhaseTimings(total_us=5_000_001))
    assert finish_of(slow) is Finish.ANSWERED_SLOWLY


def retry_after(value: str, status: int = 429) -> int | None:
    return retry_after_ms(response(status, headers=((b"Retry-After", value.encode("latin-1")),)), START_MS)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_in_seconds_and_as_a_date(status: int) -> None:
    at = datetime.fromtimestamp(START_MS / 1000 + 90, UTC)
    assert retry_after(" 120 ", status) == 120_000
    assert retry_after(format_datetime(at, usegmt=True), status) == 90_000
    assert retry_after(format_datetime(at).replace("+0000", "-0000"), status) == 90_000
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT", status) == 0


@pytest.mark.parametrize("status", [200, 301, 404, 500, 502])
def test_retry_after_of_another_status_is_not_heard(status: int) -> None:
    assert retry_after("120", status) is None


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "²", "Mon, 01 Jan 2026 00:00:00 +9999999999999999999"])
def test_nonsense_is_no_retry_after(value: str) -> None:
    assert retry_after(value) is None


def test_a_failure_and_a_response_without_the_header_have_no_retry_after() -> None:
    assert retry_after_ms(failure(), START_MS) is None
    assert retry_after_ms(response(503), START_MS) is None


odd_dates = st.from_regex(r"[0-9]{1,2} Jan [0-9]{1,6} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{1,30}", fullmatch=True)


@given(st.text(st.characters(max_codepoint=255), max_size=60) | odd_dates)
def test_no_retry_after_raises_or_is_negative(value: str) -> None:
    found = retry_after(value)
    assert found is None or found >= 0
