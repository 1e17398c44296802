"""Makes the requests.

With httpx, whose sync and async halves behave alike: kept connections, proxies and certificates from the environment.
Redirects are not followed: the credential is for this server alone.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar

import httpx

from posthorn.client.answers import LARGEST_ANSWER_BYTES, Answer, Outcome, TryAgain, outcome_of
from posthorn.client.calls import iso_text
from posthorn.client.errors import InvalidCall, NoAnswer
from posthorn.client.lanes import Lane, Request
from posthorn.client.outbox import Batch

_Http = TypeVar("_Http")
_logger = logging.getLogger("posthorn.client")
_FAILURES = (httpx.HTTPError, httpx.StreamError, OSError, TimeoutError)


class BlockingPoster:
    """Posts from a thread.

    Making one raises InvalidCall when the environment has settings that cannot be used. It takes milliseconds, and
    loads modules: nothing to be done by a thread that a fork may cut off in the middle.
    """

    def __init__(self, lane: Lane, *, request_seconds: float) -> None:
        self._lane = lane
        self._request_seconds = request_seconds
        self._http = _opened(httpx.Client, request_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def post(self, batch: Batch, *, within_seconds: float | None = None) -> Outcome:
        """Send once and say what came of it. Never raises: what is not understood is tried again.

        `within_seconds` makes the time shorter than usual, when the process is ending.
        """
        seconds = self._request_seconds if within_seconds is None else min(self._request_seconds, within_seconds)
        try:
            answer = self._exchange(_request(self._lane, batch), seconds)
        except Exception as error:  # noqa: BLE001 - an error that ends the thread would lose events in silence
            return _no_answer(error)
        return outcome_of(answer, now_seconds=time.time())

    def _exchange(self, request: Request, seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        with self._http.stream(
            "POST", request.url, content=request.body, headers=request.headers, timeout=seconds
        ) as response:
            body = bytearray()
            for part in response.iter_raw():
                body += part
                if len(body) >= LARGEST_ANSWER_BYTES:
                    break
                # httpx bounds each wait; an answer that comes drop by drop is bounded here.
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the answer was not complete after {seconds:g} s")
        return _answer(response, bytes(body))


class AsyncPoster:
    """Posts from a task. Making one raises InvalidCall, like its twin."""

    def __init__(self, lane: Lane, *, request_seconds: float) -> None:
        self._lane = lane
        self._request_seconds = request_seconds
        self._http = _opened(httpx.AsyncClient, request_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def post(self, batch: Batch) -> Outcome:
        """Send once and say what came of it. Raises nothing but the cancellation of its task."""
        try:
            answer = await self._exchange(_request(self._lane, batch))
        except Exception as error:  # noqa: BLE001 - an error that ends the task would lose events in silence
            return _no_answer(error)
        return outcome_of(answer, now_seconds=time.time())

    async def _exchange(self, request: Request) -> Answer:
        async with (
            asyncio.timeout(self._request_seconds),
            self._http.stream("POST", request.url, content=request.body, headers=request.headers) as response,
        ):
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) >= LARGEST_ANSWER_BYTES:
                    break
        return _answer(response, bytes(body))


def _opened(kind: Callable[..., _Http], request_seconds: float) -> _Http:
    try:
        return kind(timeout=request_seconds)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise InvalidCall(
            f"the proxy or certificate settings in the environment (HTTPS_PROXY, SSL_CERT_FILE, …) are wrong: {error}"
        ) from error


def _request(lane: Lane, batch: Batch) -> Request:
    return lane.request([item.body for item in batch.items], sent_at=iso_text(datetime.now(UTC)))


def _answer(response: httpx.Response, body: bytes) -> Answer:
    return Answer(status=response.status_code, retry_after=response.headers.get("retry-after"), body=body)


def _no_answer(error: Exception) -> TryAgain:
    if not isinstance(error, _FAILURES):
        _logger.error("posthorn.client.request_failed_unexpectedly", exc_info=error)
    text = str(error)
    return TryAgain(reason=NoAnswer(f"no answer: {type(error).__name__}{f': {text}' if text else ''}"))
