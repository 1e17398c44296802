"""Posthorn's HTTP/1.1 client: the one implementation of the Transport port that touches the network."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from posthorn.clock import Clock, SystemClock
from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.deliver.transport.connection import Connection
from posthorn.deliver.transport.dialer import EXCHANGING, Dialer, Stopwatch
from posthorn.deliver.transport.exchange import (
    OutboundRequest,
    OutboundResponse,
    PhaseTimings,
    TransportFailure,
)
from posthorn.deliver.transport.failures import FailureCode, Refusal, refusal
from posthorn.deliver.transport.headers import request_head
from posthorn.deliver.transport.pool import IdlePool
from posthorn.deliver.transport.resolver import Resolver, SystemResolver
from posthorn.deliver.transport.target import Target, parse_target
from posthorn.deliver.transport.tls import client_context

_CLOSE_SECONDS = 2.0
_SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """How connections are kept.

    Common servers close after 5 s without a request, so we let go first. A connection is retired after
    `max_connection_seconds` even when it is busy, so that a change of DNS takes effect.
    """

    idle_seconds: float = 4.0
    max_idle_per_origin: int = 64
    max_idle_total: int = 1024
    max_connection_seconds: float = 60.0
    extra_ca_file: Path | None = None


class HttpTransport:
    """Sends requests over kept HTTP/1.1 connections. Belongs to one event loop."""

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        resolver: Resolver | None = None,
        options: TransportOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Build a client; without a `resolver` it asks the operating system.

        Raises StartRefused when the extra CA file cannot be used.
        """
        self._options = options or TransportOptions()
        self._monotonic = (clock or SystemClock()).monotonic
        self._resolver = resolver or SystemResolver(clock=clock)
        self._pool = IdlePool(
            idle_seconds=self._options.idle_seconds,
            max_per_origin=self._options.max_idle_per_origin,
            max_total=self._options.max_idle_total,
        )
        self._dialer = Dialer(
            policy=policy,
            resolver=self._resolver,
            tls=client_context(self._options.extra_ca_file),
            new_connection=lambda origin, peer: Connection(self, origin, peer, self._monotonic),
        )
        self._live: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._none_live: asyncio.Event | None = None
        self._is_closed = False

    async def send(self, request: OutboundRequest) -> OutboundResponse | TransportFailure:
        """Send one request and return what became of it; see the port."""
        started_at = self._monotonic()
        target = request.target
        parsed = parse_target(target) if isinstance(target, str) else target
        if isinstance(parsed, Refusal):
            return self._refused(parsed, started_at)
        head = request_head(request.method, parsed, request.fixed_headers, request.headers, len(request.body))
        if isinstance(head, Refusal):
            return self._refused(head, started_at)
        if self._is_closed:
            return self._refused(refusal(FailureCode.TRANSPORT_CLOSED), started_at)
        connection = self._pool.take(parsed.origin, started_at)
        if connection is not None:
            await self._exchange(connection, head, request, request.deadline_seconds)
            if connection.failure is None or not _died_while_kept(connection):
                return self._settle(connection, started_at, None)
        # A server may close a kept connection just before our request comes: that must not cost an attempt.
        return await self._send_fresh(parsed, head, request, started_at)

    async def close(self) -> None:
        """Drop every connection and wait until they are gone; idempotent."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for connection in tuple(self._live):
            connection.give_up(FailureCode.TRANSPORT_CLOSED)
        await self._resolver.close()
        if self._live:
            self._none_live = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._none_live.wait()

    def on_made(self, connection: Connection) -> None:
        """Take note of a connection (ConnectionOwner)."""
        connection.retire_at = self._monotonic() + self._options.max_connection_seconds
        self._live.add(connection)

    def on_lost(self, connection: Connection) -> None:
        """Forget a connection (ConnectionOwner)."""
        self._live.discard(connection)
        self._pool.discard(connection)
        if self._none_live is not None and not self._live:
            self._none_live.set()

    async def _send_fresh(
        self, target: Target, head: bytes, request: OutboundRequest, started_at: float
    ) -> OutboundResponse | TransportFailure:
        """Open a connection and send over it, within what is left of the deadline."""
        watch = Stopwatch(self._monotonic, started_at)
        loop = asyncio.get_running_loop()
        deadline_at = loop.time() + request.deadline_seconds - (self._monotonic() - started_at)
        try:
            async with asyncio.timeout_at(deadline_at):
                connection = await self._dialer.open(target, deadline_at, watch)
        except TimeoutError:
            return self._failed(_timed_out(watch.doing), watch.timings(self._monotonic()))
        watch.enter(EXCHANGING)
        if isinstance(connection, Refusal):
            return self._failed(connection, watch.timings(self._monotonic()))
        if self._is_closed:
            connection.abort()
            return self._failed(refusal(FailureCode.TRANSPORT_CLOSED), watch.timings(self._monotonic()))
        await self._exchange(connection, head, request, deadline_at - loop.time())
        return self._settle(connection, started_at, watch)

    async def _exchange(self, connection: Connection, head: bytes, request: OutboundRequest, seconds: float) -> None:
        """Run one request over a connection. Every way out ends its timer; cancelling drops it."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, connection.expire)
        try:
            connection.begin(head, request, waiter)
            await waiter
        except BaseException:
            connection.abort()
            raise
        finally:
            timer.cancel()

    def _settle(
        self, connection: Connection, started_at: float, watch: Stopwatch | None
    ) -> OutboundResponse | TransportFailure:
        """Turn a finished exchange into its outcome, and keep or drop the connection."""
        now = self._monotonic()
        heard = not connection.heard_nothing
        if watch is None:
            timings = PhaseTimings(
                wait_us=int((connection.first_byte_at - started_at) * 1_000_000) if heard else 0,
                total_us=int((now - started_at) * 1_000_000),
                reused=True,
            )
        else:
            timings = watch.timings(now, connection.first_byte_at - watch.phase_at if heard else 0.0)
        if connection.failure is not None:
            return self._failed(connection.failure, timings)
        response = OutboundResponse(
            status=connection.status,
            headers=connection.headers,
            body=connection.body,
            truncated=connection.is_truncated,
            timings=timings,
            peer_address=connection.peer_address,
        )
        if connection.is_reusable and not self._is_closed:
            self._pool.put(connection, now)
            if self._sweeping is None:
                self._schedule_sweep()
        else:
            connection.abort()
        return response

    def _refused(self, why: Refusal, started_at: float) -> TransportFailure:
        return self._failed(why, PhaseTimings(total_us=int((self._monotonic() - started_at) * 1_000_000)))

    def _failed(self, why: Refusal, timings: PhaseTimings) -> TransportFailure:
        return TransportFailure(code=why.code, detail=why.detail, timings=timings)

    def _schedule_sweep(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        self._pool.sweep(self._monotonic())
        if len(self._pool):
            self._schedule_sweep()


def _died_while_kept(connection: Connection) -> bool:
    failure = connection.failure
    return (
        failure is not None
        and connection.heard_nothing
        and failure.code in {FailureCode.CONNECTION_CLOSED, FailureCode.CONNECTION_RESET}
    )


def _timed_out(doing: str) -> Refusal:
    code = FailureCode.TIMEOUT
    return refusal(code, f"{code.sentence} Time ran out while {doing or 'connecting'}.")
