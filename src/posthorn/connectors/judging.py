"""What an answer means, by its status and its body. The body is hostile: bounded, maybe cut off, maybe no JSON.

The rules are asked in this order, and the first that matches decides:

1. `success`: the request did what it should. A 2xx alone is not success where the vendor answers 200 on failure.
2. The token was refused: get a new one and try again.
3. `retry`, then `stop`.
4. What nobody listed, by its status: 408, 425, 429 and 5xx but 501 are tried again; a 2xx that says nothing readable
   where JSON was asked for is tried again; another 2xx is `unlisted`; everything else stops, redirects included.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from posthorn.connectors.connector import Answer, AnswerRule, Predicate, RetryAfter, Text, TokenExchange
from posthorn.connectors.lookup import MISSING, find, holds

MOST_READ_BYTES: Final = 64 * 1024
MOST_WAIT_SECONDS: Final = 24 * 3600.0
_MOST_REASON_CHARACTERS: Final = 300
_SHORTEST_HIDDEN: Final = 4
_MASK: Final = "••••••"
_PASSING: Final = frozenset({408, 425, 429})
_NEVER: Final = 501
_CLASSES: Final = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

Headers = Sequence[tuple[bytes, bytes]]


class JudgementKind(StrEnum):
    """What to do after an answer."""

    SUCCESS = "success"
    RETRY = "retry"
    STOP = "stop"  #: it would fail again, however often it is tried


class Judgement(Struct, frozen=True, kw_only=True):
    """What an answer means, how long to wait if it says so, and why: for the journal and, translated, for people."""

    kind: JudgementKind
    reason: str
    retry_after_seconds: float | None = None
    because: Text | None = None
    needs_new_token: bool = False


class Seen:
    """One answer; its body is decoded once, and only if a rule asks for it."""

    __slots__ = ("_document", "body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body[:MOST_READ_BYTES]
        self._document: object = _UNREAD

    @property
    def document(self) -> Any:
        """The body as JSON; MISSING when it is none."""
        if self._document is _UNREAD:
            self._document = _decoded(self.body)
        return self._document

    def at(self, path: str) -> Any:
        """Return what is in the body at a path, or MISSING."""
        if path == "@text":
            return self.body.decode("utf-8", "replace").strip()
        return find(self.document, path)


_UNREAD: Final = object()


def judge(
    answer: Answer,
    status: int,
    headers: Headers,
    body: bytes,
    *,
    token: TokenExchange | None = None,
    secrets: Iterable[str] = (),
) -> Judgement:
    """Say what an answer means. `secrets` are values that the vendor may echo and that no reason may tell."""
    seen = Seen(status, headers, body)
    for rule in answer.success:
        if matches(rule, seen, default="2xx"):
            return Judgement(kind=JudgementKind.SUCCESS, reason=f"HTTP {status}", because=rule.because)
    kind, because, needs_new_token = _failed(answer, seen, token)
    return Judgement(
        kind=kind,
        reason=hide(_reason(answer, seen), secrets)[:_MOST_REASON_CHARACTERS],
        retry_after_seconds=_wait(answer, seen) if kind is JudgementKind.RETRY else None,
        because=because,
        needs_new_token=needs_new_token,
    )


def hide(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in a text, as some vendors repeat a refused key in their message."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_HIDDEN:
            text = text.replace(secret, _MASK)
    return text


def matches(rule: AnswerRule, seen: Seen, *, default: str | None = None) -> bool:
    """Tell whether a rule matches an answer; `default` is the class of statuses that it means when it names none."""
    group = _CLASSES.get(seen.status // 100)
    statuses = rule.statuses
    if statuses is None:
        if default is not None and group != default:
            return False
    elif seen.status not in statuses and group not in statuses:
        return False
    return all(_answers(predicate, seen) for predicate in rule.when)


def _answers(predicate: Predicate, seen: Seen) -> bool:
    return holds(predicate.operator, seen.at(predicate.path), predicate.value)


def _failed(answer: Answer, seen: Seen, token: TokenExchange | None) -> tuple[JudgementKind, Text | None, bool]:
    if token is not None and any(matches(rule, seen) for rule in token.refused):
        return JudgementKind.RETRY, None, True
    for kind, rules in ((JudgementKind.RETRY, answer.retry), (JudgementKind.STOP, answer.stop)):
        for rule in rules:
            if matches(rule, seen):
                return kind, rule.because, False
    return _by_status(answer, seen), None, False


def _by_status(answer: Answer, seen: Seen) -> JudgementKind:
    status = seen.status
    if status in _PASSING or (status >= 500 and status != _NEVER):
        return JudgementKind.RETRY
    if 200 <= status <= 299 and (seen.document is MISSING or answer.unlisted == "retry"):
        return JudgementKind.RETRY
    return JudgementKind.STOP


def _reason(answer: Answer, seen: Seen) -> str:
    parts = [_words(answer.code, seen), _words(answer.message, seen)]
    told = ": ".join(part for part in parts if part)
    return f"HTTP {seen.status}: {told}" if told else f"HTTP {seen.status}"


def _words(paths: tuple[str, ...], seen: Seen) -> str:
    for path in paths:
        found = seen.at(path)
        if isinstance(found, str) and found:
            # The text is the vendor's or whoever answers in its place: one printable line of it is enough.
            return "".join(c if c.isprintable() else " " for c in found[: 2 * _MOST_REASON_CHARACTERS]).strip()
        if isinstance(found, (int, float)):
            return str(found)
    return ""


def _wait(answer: Answer, seen: Seen) -> float | None:
    waits = [wait for place in answer.retry_after if (wait := _wait_at(place, seen)) is not None]
    standard = _seconds(_header(seen.headers, b"retry-after"))
    if standard is not None:
        waits.append(standard)
    return min(max(waits), MOST_WAIT_SECONDS) if waits else None


def _wait_at(place: RetryAfter, seen: Seen) -> float | None:
    found = seen.at(place.path) if place.path is not None else _header(seen.headers, (place.header or "").encode())
    seconds = _seconds(found)
    return seconds / 1000 if seconds is not None and place.unit == "milliseconds" else seconds


def _seconds(found: object) -> float | None:
    """Read a number of seconds. A date is left to whoever has a clock."""
    if isinstance(found, bytes):
        found = found.decode("latin-1")
    if isinstance(found, bool) or not isinstance(found, (int, float, str)):
        return None
    try:
        number = float(found)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < float("inf") else None


def _header(headers: Headers, name: bytes) -> bytes | None:
    lowered = name.lower()
    return next((value for key, value in headers if key.lower() == lowered), None)


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return MISSING
