"""What the server's answer means for the events that were sent. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from posthorn.client.errors import EventConflict, NoAnswer, SendingError, ServerBusy, ServerRefused

LARGEST_ANSWER_BYTES = 256 * 1024
_LONGEST_DETAIL = 1_000
_Faults = tuple[tuple[int, SendingError], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer. `body` may be cut at LARGEST_ANSWER_BYTES."""

    status: int
    retry_after: str | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The server has the events, except those at the positions in `faults`."""

    faults: _Faults = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """Nobody knows, or the server is busy: send the same again, not before `after_seconds`."""

    reason: SendingError
    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server kept nothing. Without the events at the positions in `faults` it might; without any, it will not."""

    reason: SendingError
    faults: _Faults = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversized:
    """Too much in one request (413): fewer events at a time may pass."""

    reason: SendingError


Outcome = Accepted | TryAgain | Refused | Oversized


def outcome_of(answer: Answer, *, now_seconds: float) -> Outcome:
    """Classify an answer. `now_seconds` is the time since the Unix epoch, to read a Retry-After that is a date.

    A 2xx that is not JSON comes from a proxy or a captive portal, so the events are sent again; the server drops
    repetitions by their ids.
    """
    if 200 <= answer.status < 300:
        return _accepted(answer)
    if answer.status in (408, 429) or answer.status >= 500:
        reason = ServerBusy(status=answer.status, detail=_detail(answer)[1])
        return TryAgain(reason=reason, after_seconds=retry_after_seconds(answer.retry_after, now_seconds=now_seconds))
    code, detail = _detail(answer)
    refusal = ServerRefused(status=answer.status, code=code, detail=detail)
    if answer.status == 413:
        return Oversized(reason=refusal)
    return Refused(reason=refusal, faults=_named_faults(answer))


def retry_after_seconds(value: str | None, *, now_seconds: float) -> float:
    """Read a Retry-After of either form (RFC 9110 §10.2.3); 0 when there is none or it is no such thing."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return 0.0
    # A date without a zone is in GMT, the only one that HTTP knows.
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now_seconds)


def _accepted(answer: Answer) -> Accepted | TryAgain:
    if not answer.body.strip():
        return Accepted()
    value = _json(answer)
    if not isinstance(value, dict):
        return TryAgain(reason=NoAnswer(f"what answered {answer.status} is no Posthorn: its answer is no JSON object"))
    rows = value.get("data")
    if not isinstance(rows, list):
        return Accepted(faults=tuple(_left_out(value.get("errors"), answer.status)))
    faults = [
        (index, EventConflict(_short(row.get("detail") or "another event with this id exists")))
        for index, row in enumerate(rows)
        if isinstance(row, dict) and row.get("status") == "conflict"
    ]
    return Accepted(faults=tuple(faults))


def _left_out(errors: object, status: int) -> Iterator[tuple[int, SendingError]]:
    """Read which calls of a batch were left out: `errors` is a list of `{index, code, message}`."""
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict) and isinstance(error.get("index"), int):
            detail = _short(error.get("message") or "left out")
            yield error["index"], ServerRefused(status=status, code=str(error.get("code")), detail=detail)


def _named_faults(answer: Answer) -> _Faults:
    """Return which events a 4xx names: `detail` is a list of `{loc, msg, type}`, and `loc` leads to an event."""
    value = _json(answer)
    problems = value.get("detail") if isinstance(value, dict) else None
    if not isinstance(problems, list):
        return ()
    faults: dict[int, SendingError] = {}
    for problem in problems:
        loc = problem.get("loc") if isinstance(problem, dict) else None
        steps = loc if isinstance(loc, list) else []
        at = next((index for index, step in enumerate(steps[:3]) if _is_position(step)), None)
        if at is None:
            return ()  # something is wrong with the call itself, whatever its events are
        refusal = ServerRefused(status=answer.status, detail=_short(problem.get("msg")), loc=tuple(steps[at + 1 :]))
        faults.setdefault(steps[at], refusal)
    return tuple(faults.items())


def _is_position(step: Any) -> bool:
    return isinstance(step, int) and not isinstance(step, bool) and step >= 0


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _detail(answer: Answer) -> tuple[str | None, str]:
    """Return the code and the text of an error, whose shape is `{code, detail}` here and anything elsewhere."""
    value = _json(answer)
    if isinstance(value, dict):
        code = value.get("code") if isinstance(value.get("code"), str) else None
        detail = value.get("detail", value.get("message", value.get("error")))
        if isinstance(detail, list):
            detail = "; ".join(_problem_text(problem) for problem in detail)
        if detail:
            return code, _short(detail)
    text = answer.body.decode("utf-8", "replace").strip() or _phrase(answer.status)
    return None, _short(text)


def _problem_text(problem: Any) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    loc = problem.get("loc")
    return f"{'.'.join(map(str, loc if isinstance(loc, list) else []))}: {problem.get('msg')}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason was given"


def _short(text: Any) -> str:
    """Return a text as one line of bounded length: it may be a page of HTML."""
    line = " ".join(str(text).split())
    return line if len(line) <= _LONGEST_DETAIL else f"{line[:_LONGEST_DETAIL]}…"
