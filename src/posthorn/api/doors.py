"""What every call passes on its way to a handler: who calls, and whether it is a repetition."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from posthorn.api.body import BODY_LIMIT_BYTES
from posthorn.api.services import ApiServices
from posthorn.errors import PosthornError, TooLarge
from posthorn.manage.idempotency import KeptAnswer
from posthorn.receive.http import Receive, Scope, Send
from posthorn.receive.idempotency import call_fingerprint, idempotency_key

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Message: TypeAlias = MutableMapping[str, Any]

OPEN_TO_ALL = {"open_to_all": True}


class Authentication:
    """Finds out who calls and leaves the principal in the scope, or raises Unauthenticated."""

    def __init__(self, app: ASGIApp, services: ApiServices) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let an authenticated call through."""
        if scope["type"] == "http" and not scope["route_handler"].opt.get("open_to_all"):
            scope["auth"] = self._services.api_keys.authenticate(_bearer(scope))
        await self._app(scope, receive, send)


def _bearer(scope: Scope) -> str | None:
    values = {value for name, value in scope["headers"] if name == b"authorization"}
    if len(values) != 1:
        # Two different values prove nothing: another program on the way may have read the other one.
        return None
    scheme, _, token = values.pop().decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class Repetition:
    """Answers a POST whose Idempotency-Key was seen before with its first answer.

    The answer is kept before it is sent, so that a caller who got it can rely on it.
    """

    def __init__(self, app: ASGIApp, services: ApiServices) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a first call through, answer a repeated one."""
        is_post = scope["type"] == "http" and scope["method"] == "POST" and "auth" in scope
        key = idempotency_key(scope["headers"]) if is_post else None
        if key is None:
            await self._app(scope, receive, send)
            return
        body = await _whole_body(receive)
        if body is None:
            return
        workspace = scope["auth"].workspace
        mark = call_fingerprint(scope["method"], scope["path"], scope["query_string"], body)
        idempotency = self._services.idempotency
        async with idempotency.turn(workspace, key):
            kept = await idempotency.find(workspace, key, mark)
            if kept is not None:
                await _send_kept(kept, send)
                return
            recorded = _Recorded()
            await self._app(scope, _replayed(body, receive), recorded.take)
            answer = recorded.answer()
            if 200 <= answer.status < 300:
                await self._keep(workspace, key, mark, answer)
        await recorded.release(send)

    async def _keep(self, workspace: str, key: str, mark: bytes, answer: KeptAnswer) -> None:
        try:
            await self._services.idempotency.keep(workspace, key, mark, answer)
        except PosthornError as error:
            # The work is done; failing now would make the caller do it a second time.
            self._services.telemetry.emit("error.unexpected", where="keeping an idempotent answer", exception=error)


class _Recorded:
    """Holds an answer back until it is kept."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    async def take(self, message: Message) -> None:
        """Stand in for `send`."""
        self._messages.append(message)

    def answer(self) -> KeptAnswer:
        """Put the answer together."""
        status, body = 500, b""
        for message in self._messages:
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                body += message["body"]
        return KeptAnswer(status=status, body=body)

    async def release(self, send: Send) -> None:
        """Send the answer as it was made."""
        for message in self._messages:
            await send(message)


async def _whole_body(receive: Receive) -> bytes | None:
    """Read the body; None when the caller went away before its end. Raises TooLarge."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        size += len(message["body"])
        if size > BODY_LIMIT_BYTES:
            raise TooLarge(f"a body may have {BODY_LIMIT_BYTES} bytes")
        if not message["more_body"]:
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay


async def _send_kept(kept: KeptAnswer, send: Send) -> None:
    headers = [(b"idempotent-replayed", b"true"), (b"cache-control", b"no-store")]
    if kept.body:
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(kept.body))]
    await send({"type": "http.response.start", "status": kept.status, "headers": headers})
    await send({"type": "http.response.body", "body": kept.body, "more_body": False})
