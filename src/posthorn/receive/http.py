"""The little HTTP that the hot handlers need: bounded bodies, JSON answers, errors with a way out."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from posthorn.errors import Invalid, Overloaded, PosthornError, StoreUnavailable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

BODY_DEADLINE_SECONDS = 30.0
_NO_CONTENT = frozenset({204, 205, 304})
_LINGER_BYTES = 4 * 1024 * 1024
_LINGER_SECONDS = 2.0
JSON = (b"content-type", b"application/json")
NOSNIFF = (b"x-content-type-options", b"nosniff")

_encode = msgspec.json.Encoder().encode


class BodyProblem(StrEnum):
    """Why a body could not be read."""

    TOO_LARGE = "body_too_large"
    TOO_SLOW = "body_too_slow"
    DISCONNECTED = "client_disconnected"


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of a header; ASGI names are lower case."""
    for key, value in headers:
        if key == name:
            return value
    return None


async def read_body(
    scope: Scope, receive: Receive, *, limit_bytes: int, deadline_seconds: float = BODY_DEADLINE_SECONDS
) -> bytes | BodyProblem:
    """Read a body of at most `limit_bytes`, refusing a longer one as soon as that is known."""
    body: bytes
    length = header(scope["headers"], b"content-length")
    if length is not None and length.isdigit() and int(length) > limit_bytes:
        return BodyProblem.TOO_LARGE
    cycle = scope.get("posthorn.cycle")
    if cycle is not None and not cycle.more_body:  # all of it came with the head: no clock is needed
        # Read past `receive`, which has nothing more to say of a sender that did not wait for its answer.
        body = bytes(cycle.body)
        cycle.body = bytearray()
        return body if len(body) <= limit_bytes else BodyProblem.TOO_LARGE
    try:
        async with asyncio.timeout(deadline_seconds):
            message = await receive()
            if not message.get("more_body", False) and message["type"] == "http.request":
                body = message["body"]
                return body if len(body) <= limit_bytes else BodyProblem.TOO_LARGE
            return await _read_on(message, receive, limit_bytes)
    except TimeoutError:
        return BodyProblem.TOO_SLOW


async def _read_on(message: MutableMapping[str, Any], receive: Receive, limit_bytes: int) -> bytes | BodyProblem:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            return BodyProblem.DISCONNECTED
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            return BodyProblem.TOO_LARGE
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


async def answer(send: Send, status: int, body: bytes, headers: Headers = (JSON, NOSNIFF)) -> None:
    """Send a whole response; one of a status that has no content (RFC 9110 §15.3.5, §15.4.5) without its body."""
    if status in _NO_CONTENT:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: Send, status: int, value: object, extra: Headers = ()) -> None:
    """Send a value as JSON."""
    await answer(send, status, _encode(value), (JSON, NOSNIFF, *extra))


async def answer_unread(receive: Receive, send: Send, status: int, value: object, extra: Headers = ()) -> None:
    """Answer a request whose body was not read to its end, then close.

    The rest is read and dropped for a moment: closing a socket with unread bytes makes the kernel send a reset,
    and the sender would see that in place of the answer.
    """
    body = _encode(value)
    headers = [JSON, NOSNIFF, (b"connection", b"close"), (b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    dropped = 0
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while dropped < _LINGER_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})


def error_body(error: PosthornError) -> dict[str, Any]:
    """Return the JSON form of an error: `{code, detail}`, or for a 422 `{detail: [{loc, msg, type}]}`."""
    if isinstance(error, Invalid):
        return {"detail": [{"loc": list(p.loc), "msg": p.msg, "type": p.type} for p in error.problems]}
    return {"code": error.code, "detail": str(error)}


async def answer_error(send: Send, error: PosthornError) -> None:
    """Send an error as JSON, with Retry-After where coming back later helps."""
    extra: Headers = ()
    if isinstance(error, Overloaded | StoreUnavailable):
        extra = ((b"retry-after", b"%d" % error.retry_after_seconds),)
    await answer_json(send, error.http_status, error_body(error), extra)


def problem_of_body(problem: BodyProblem, limit_bytes: int) -> tuple[int, dict[str, str]]:
    """Return status and JSON of a body that could not be read."""
    if problem is BodyProblem.TOO_LARGE:
        return 413, {"code": "payload_too_large", "detail": f"the body is larger than {limit_bytes} bytes"}
    if problem is BodyProblem.DISCONNECTED:
        return 400, {"code": "body_incomplete", "detail": "the sender went away before the body was complete"}
    return 408, {
        "code": "request_timeout",
        "detail": f"the body did not arrive within {BODY_DEADLINE_SECONDS:.0f} seconds",
    }
