"""The port: one request out, one response or failure back."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from posthorn.deliver.transport.failures import FailureCode
from posthorn.deliver.transport.headers import NO_HEADERS, HeaderBlock
from posthorn.deliver.transport.target import Target

DEFAULT_READ_LIMIT_BYTES = 64 * 1024


class OutboundRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP request.

    `target` is a URL or, cheaper, what `parse_target` made of it. `fixed_headers` go first, then `headers`,
    both in the given order and case; Host, Content-Length and Connection are the transport's.
    `deadline_seconds` covers everything from the name look-up to the last byte of the body;
    `read_limit_bytes` caps the body that is read. The repr shows neither headers nor body: both carry
    secrets.
    """

    method: str = "POST"
    target: Target | str
    headers: Sequence[tuple[bytes, bytes]] = ()
    fixed_headers: HeaderBlock = NO_HEADERS
    body: bytes = b""
    deadline_seconds: float = 15.0
    read_limit_bytes: int = DEFAULT_READ_LIMIT_BYTES

    def __repr__(self) -> str:
        where = "url" if isinstance(self.target, str) else self.target
        return f"OutboundRequest({self.method} {where}, {len(self.body)} bytes)"


class PhaseTimings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where the time went, in microseconds; 0 for a phase that did not take place.

    `wait_us` runs from the written request to the first byte of the response, `total_us` to its last. A
    `reused` connection has no look-up, connect and TLS phase.
    """

    dns_us: int = 0
    connect_us: int = 0
    tls_us: int = 0
    wait_us: int = 0
    total_us: int = 0
    reused: bool = False


class OutboundResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the receiver answered, byte for byte; a Content-Encoding is left as it is.

    `truncated`: the body was longer than the read limit and the connection was cut; the status still counts.
    `peer_address` is the IP that was connected to.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    truncated: bool
    timings: PhaseTimings
    peer_address: str

    def __repr__(self) -> str:
        return f"OutboundResponse({self.status}, {len(self.body)} bytes)"


class TransportFailure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """No whole response came: a stable code, a sentence for people, and the timings until then."""

    code: FailureCode
    detail: str
    timings: PhaseTimings


class Transport(Protocol):
    """Sends requests into the world."""

    async def send(self, request: OutboundRequest) -> OutboundResponse | TransportFailure:
        """Send one request and return what became of it.

        Never raises for what a network or receiver can do. Cancelling it drops the connection. The request
        may have reached its receiver twice when a kept connection died under it before a byte of the
        response.
        """
        ...

    async def close(self) -> None:
        """Drop every connection; sends under way fail with `transport_closed`. Idempotent."""
        ...
