"""What an attempt's result means: pure decisions over a response or a failure."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

from msgspec import Struct

from posthorn.clock import SECOND_MS
from posthorn.connectors import JudgementKind
from posthorn.connectors import judge as judge_by_rules
from posthorn.deliver.calling import Called
from posthorn.deliver.transport import FailureCode, OutboundResponse, TransportFailure
from posthorn.engine.fairqueue import Finish


class Verdict(StrEnum):
    """What to do after an attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    HOPELESS = "hopeless"  #: the request itself cannot be sent, now or later
    GONE = "gone"  #: 410: the receiver wants no more of this
    NOT_OURS_TO_COUNT = "not_ours_to_count"  #: this node's own trouble: defer, count no attempt


_VERDICTS = {
    JudgementKind.SUCCESS: Verdict.DELIVERED,
    JudgementKind.RETRY: Verdict.RETRY,
    JudgementKind.STOP: Verdict.HOPELESS,
}
_GONE = 410
_SLOW_US = 5_000_000
_HOPELESS = frozenset(
    {"url_invalid", "url_has_credentials", "scheme_not_allowed", "method_not_allowed", "header_not_allowed"}
)


def judge(result: OutboundResponse | TransportFailure) -> Verdict:
    """Success is 200-299 only; a redirect is a failure and never followed."""
    if isinstance(result, TransportFailure):
        if result.code.is_ours:
            return Verdict.NOT_OURS_TO_COUNT
        return Verdict.HOPELESS if result.code in _HOPELESS else Verdict.RETRY
    if 200 <= result.status <= 299:
        return Verdict.DELIVERED
    return Verdict.GONE if result.status == _GONE else Verdict.RETRY


class Judged(Struct, frozen=True, kw_only=True):
    """What a vendor's answer means by the rules of its connector."""

    verdict: Verdict
    reason: str
    retry_after_ms: int | None = None
    needs_new_token: bool = False


def judge_answer(called: Called, result: OutboundResponse | TransportFailure) -> Judged | None:
    """Judge by status and body as a connector says; None where no answer came."""
    if isinstance(result, TransportFailure):
        return None
    judgement = judge_by_rules(
        called.action.answer,
        result.status,
        result.headers,
        result.body,
        token=called.connector.token,
        secrets=called.secrets,
    )
    wait_seconds = judgement.retry_after_seconds
    return Judged(
        verdict=_VERDICTS[judgement.kind],
        reason=judgement.reason,
        retry_after_ms=int(wait_seconds * SECOND_MS) if wait_seconds is not None else None,
        needs_new_token=judgement.needs_new_token,
    )


def finish_of(result: OutboundResponse | TransportFailure) -> Finish:
    """Tell the fair queue how the receiver behaved."""
    if isinstance(result, TransportFailure):
        is_known = result.code.is_ours or result.code is FailureCode.TOKEN_REFUSED
        return Finish.NOTHING_LEARNED if is_known else Finish.UNANSWERED
    if result.timings.total_us > _SLOW_US:
        return Finish.ANSWERED_SLOWLY
    return Finish.ANSWERED_WELL if 200 <= result.status <= 299 else Finish.ANSWERED_BADLY


def retry_after_ms(result: OutboundResponse | TransportFailure, now_ms: int) -> int | None:
    """Read Retry-After of a 429 or 503, in seconds or as a date (RFC 9110 §10.2.3); None when it is neither."""
    if isinstance(result, TransportFailure) or result.status not in (429, 503):
        return None
    value = next((value for name, value in result.headers if name.lower() == b"retry-after"), None)
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * SECOND_MS
    try:
        at = parsedate_to_datetime(text)
        at_ms = int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):  # what a receiver writes here is hostile, up to offsets of 10^20 hours
        return None
    return max(at_ms - now_ms, 0)
