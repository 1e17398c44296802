"""The fake behind the Transport port: records every request and answers from a script, without a network.

It refuses what the real client refuses before it looks anything up (bad URLs, methods and headers), so that a
test cannot send what production would not.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from posthorn.deliver.transport.exchange import (
    OutboundRequest,
    OutboundResponse,
    PhaseTimings,
    TransportFailure,
)
from posthorn.deliver.transport.failures import FailureCode, Refusal, refusal
from posthorn.deliver.transport.headers import request_head
from posthorn.deliver.transport.target import parse_target

Outcome = OutboundResponse | TransportFailure

_TIMINGS = PhaseTimings(wait_us=1_000, total_us=1_000, reused=True)


def response(
    status: int = 200, *, headers: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b""
) -> OutboundResponse:
    """Build a response as a receiver would give it after a millisecond."""
    return OutboundResponse(
        status=status,
        headers=headers,
        body=body,
        truncated=False,
        timings=_TIMINGS,
        peer_address="203.0.113.7",
    )


def failure(code: FailureCode = FailureCode.CONNECTION_REFUSED) -> TransportFailure:
    """Build a failure of this kind."""
    return TransportFailure(code=code, detail=code.sentence, timings=_TIMINGS)


class RecordingTransport:
    """Answers with the scripted outcomes in order, then by `answer`, which says 200 unless told otherwise.

    `requests` holds every valid request in order of arrival. While held, requests wait unanswered, as they do
    at a receiver that hangs.
    """

    def __init__(self, answer: Callable[[OutboundRequest], Outcome] | None = None) -> None:
        self.requests: list[OutboundRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.is_closed = False
        self._answer = answer or (lambda _: response())
        self._script: deque[Outcome] = deque()
        self._open = asyncio.Event()
        self._open.set()
        self._arrived = asyncio.Condition()

    def script(self, *outcomes: Outcome) -> None:
        """Append outcomes for the next requests, one each."""
        self._script.extend(outcomes)

    def hold(self) -> None:
        """Let requests wait from now on."""
        self._open.clear()

    def release(self) -> None:
        """Answer the requests that wait, and later ones at once."""
        self._open.set()

    async def wait_for_requests(self, count: int) -> None:
        """Wait until `count` requests have arrived since the beginning."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    async def send(self, request: OutboundRequest) -> Outcome:
        """Record the request and give its outcome."""
        refused = _refusal_of(request)
        if refused is None and self.is_closed:
            refused = refusal(FailureCode.TRANSPORT_CLOSED)
        if refused is not None:
            return TransportFailure(code=refused.code, detail=refused.detail, timings=PhaseTimings())
        self.requests.append(request)
        outcome = self._script.popleft() if self._script else self._answer(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with self._arrived:
                self._arrived.notify_all()
            await self._open.wait()
        finally:
            self.in_flight -= 1
        return failure(FailureCode.TRANSPORT_CLOSED) if self.is_closed else outcome

    async def close(self) -> None:
        """Fail the requests that wait, and every later one."""
        self.is_closed = True
        self._open.set()


def _refusal_of(request: OutboundRequest) -> Refusal | None:
    target = parse_target(request.target) if isinstance(request.target, str) else request.target
    if isinstance(target, Refusal):
        return target
    head = request_head(request.method, target, request.fixed_headers, request.headers, len(request.body))
    return head if isinstance(head, Refusal) else None
