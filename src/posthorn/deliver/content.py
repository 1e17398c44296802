"""Content that templates ask for while they are rendered: fetched through the same guarded transport, and kept.

Whoever decides waits for it, so a host that does not answer is not asked again for a while: one that hangs must not
hold up everybody's events every time.
"""

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable

from posthorn.clock import SECOND_MS, Clock
from posthorn.deliver.transport import OutboundRequest, Refusal, Target, Transport, TransportFailure, parse_target
from posthorn.telemetry import Telemetry
from posthorn.templating import (
    CONTENT_DEADLINE_SECONDS,
    MAX_CONTENT_BYTES,
    ContentKey,
    ContentRequest,
    ContentResponse,
)

_MOST_KEPT = 5_000
_MOST_KEPT_BYTES = 64 * 1024 * 1024
_REST_SECONDS = 30
"""How long a host that gave no answer is left alone."""
_UNANSWERED = ContentResponse(status=0, is_transient=True)
_TRANSIENT = frozenset({408, 429})
_SERVER_ERRORS = 500

Credential = Callable[[str, str], str | None]
"""Returns a secret of a workspace by its name."""


class ContentFetcher:
    """Answers requests of templates. Keeps answers for as long as their templates say, and failures for a while."""

    def __init__(
        self,
        *,
        transport: Transport,
        credential: Credential,
        clock: Clock,
        telemetry: Telemetry,
        deadline_seconds: float = CONTENT_DEADLINE_SECONDS,
    ) -> None:
        self._transport = transport
        self._deadline_seconds = deadline_seconds
        self._credential = credential
        self._clock = clock
        self._telemetry = telemetry
        self._kept: OrderedDict[tuple[str, ContentKey], tuple[int, ContentResponse]] = OrderedDict()
        self._kept_bytes = 0
        self._resting: dict[tuple[str, str], int] = {}
        self._under_way: dict[tuple[str, ContentKey], asyncio.Task[ContentResponse]] = {}

    async def fetch(self, workspace: str, request: ContentRequest) -> ContentResponse:
        """Return the answer to a request, one of status 0 when there is none."""
        name = (workspace, request.key())
        kept = self._kept.get(name)
        is_fresh = request.no_cache or (request.retry and kept is not None and kept[1].is_transient)
        if kept is not None and self._clock.now_ms() < kept[0] and not is_fresh:
            return kept[1]
        outbound = self._outbound(workspace, request)
        if outbound is None:
            return _UNANSWERED
        host = (workspace, outbound.target.origin if isinstance(outbound.target, Target) else outbound.target)
        if self._clock.now_ms() < self._resting.get(host, 0):
            return _UNANSWERED
        response = await self._shared(name, request, outbound, host)
        if response.status and request.cache_seconds and not request.no_cache:
            self._keep(name, self._clock.now_ms() + request.cache_seconds * SECOND_MS, response)
        return response

    async def _shared(
        self, name: tuple[str, ContentKey], request: ContentRequest, outbound: OutboundRequest, host: tuple[str, str]
    ) -> ContentResponse:
        """Ask once for many who ask the same at the same time; a POST, and who wants a fresh answer, asks alone."""
        if request.method != "GET" or request.no_cache:
            return await self._answer(outbound, host)
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = asyncio.ensure_future(self._answer(outbound, host))
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        return await asyncio.shield(task)

    async def _answer(self, outbound: OutboundRequest, host: tuple[str, str]) -> ContentResponse:
        result = await self._transport.send(outbound)
        if isinstance(result, TransportFailure):
            self._telemetry.emit("content.failed", code=result.code)
            self._rest(host)
            return _UNANSWERED
        if result.truncated:
            return _UNANSWERED
        try:
            is_transient = result.status in _TRANSIENT or result.status >= _SERVER_ERRORS
            return ContentResponse(status=result.status, body=result.body.decode(), is_transient=is_transient)
        except UnicodeDecodeError:
            return _UNANSWERED

    def _outbound(self, workspace: str, request: ContentRequest) -> OutboundRequest | None:
        target = parse_target(request.url)
        if isinstance(target, Refusal):
            return None
        headers = [(name.encode(), value.encode()) for name, value in request.headers]
        if request.basic_auth is not None:
            secret = self._credential(workspace, request.basic_auth)
            if secret is None:
                return None
            headers.append((b"authorization", b"Basic " + base64.b64encode(secret.encode())))
        elif request.auth_credentials is not None:
            secret = self._credential(workspace, request.auth_credentials)
            if secret is None:
                return None
            headers.append((b"authorization", b"Bearer " + secret.encode()))
        return OutboundRequest(
            method=request.method,
            target=target,
            headers=headers,
            body=(request.body or "").encode(),
            deadline_seconds=self._deadline_seconds,
            read_limit_bytes=MAX_CONTENT_BYTES,
        )

    def _rest(self, host: tuple[str, str]) -> None:
        if len(self._resting) >= _MOST_KEPT:
            self._resting.clear()
        self._resting[host] = self._clock.now_ms() + _REST_SECONDS * SECOND_MS

    def _keep(self, name: tuple[str, ContentKey], until_ms: int, response: ContentResponse) -> None:
        known = self._kept.pop(name, None)
        self._kept_bytes += len(response.body) - (len(known[1].body) if known is not None else 0)
        self._kept[name] = (until_ms, response)
        while self._kept and (len(self._kept) > _MOST_KEPT or self._kept_bytes > _MOST_KEPT_BYTES):
            _, (_, gone) = self._kept.popitem(last=False)
            self._kept_bytes -= len(gone.body)
