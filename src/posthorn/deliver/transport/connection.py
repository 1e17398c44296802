"""One connection: writes a request, parses its response, and says how it went. Knows no pool or policy."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import httptools

from posthorn.deliver.transport.exchange import OutboundRequest
from posthorn.deliver.transport.failures import FailureCode, Refusal, code_of_os_error, refusal

MAX_HEAD_BYTES = 64 * 1024
# Chunk sizes, extensions and trailers are bytes on the wire that the body limit does not see; a body in
# one-byte chunks is six times its size.
_WIRE_BYTES_PER_BODY_BYTE = 8
_JOIN_BELOW_BYTES = 64 * 1024

# Where an exchange stands. Plain ints: they are compared for every packet.
_IDLE, _HEAD, _BODY, _DONE, _LOST = range(5)


class ConnectionOwner(Protocol):
    """Is told about a connection's life."""

    def on_made(self, connection: "Connection") -> None:
        """Hear that it is up."""
        ...

    def on_lost(self, connection: "Connection") -> None:
        """Hear that it is gone."""
        ...


class Connection(asyncio.Protocol):
    """A client connection that carries one exchange at a time.

    After `begin`'s future is done, `failure` says what went wrong or is None, and then `status`, `headers`,
    `body` and `is_truncated` hold the response, and `is_reusable` whether another request may follow.
    """

    __slots__ = (
        "_headers",
        "_is_head_request",
        "_limit",
        "_monotonic",
        "_owner",
        "_parser",
        "_pieces",
        "_received",
        "_size",
        "_state",
        "_transport",
        "_waiter",
        "failure",
        "first_byte_at",
        "idle_since",
        "is_reusable",
        "is_truncated",
        "origin",
        "peer_address",
        "retire_at",
        "status",
    )

    def __init__(self, owner: ConnectionOwner, origin: str, peer_address: str, monotonic: Callable[[], float]) -> None:
        self.origin = origin
        self.peer_address = peer_address
        self.idle_since = 0.0
        self.retire_at = 0.0
        self.failure: Refusal | None = None
        self.is_reusable = False
        self.is_truncated = False
        self.status = 0
        self.first_byte_at = 0.0
        self._owner = owner
        self._monotonic = monotonic
        self._state = _IDLE
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._size = 0
        self._received = 0
        self._limit = 0
        self._is_head_request = False

    # What the client does with it.

    def begin(self, head: bytes, request: OutboundRequest, waiter: asyncio.Future[None]) -> None:
        """Write a request; `waiter` is done when its response is complete or will never be."""
        if self._transport is None or self._state != _IDLE:
            self.failure = self.failure or refusal(FailureCode.CONNECTION_CLOSED)
            waiter.set_result(None)
            return
        self._waiter = waiter
        self._state = _HEAD
        self._headers = []
        self._pieces = []
        self._size = 0
        self._received = 0
        self._limit = request.read_limit_bytes
        self._is_head_request = request.method == "HEAD"
        self.first_byte_at = 0.0
        body = request.body
        if len(body) < _JOIN_BELOW_BYTES:
            self._transport.write(head + body)
        else:
            # What the socket does not take waits in the transport's buffer while we go on reading, so that a
            # receiver which answers 413 in the middle of the body is heard.
            self._transport.writelines((head, body))

    def expire(self) -> None:
        """Give the exchange up because its deadline is over."""
        if self._state in {_HEAD, _BODY}:
            self._fail(FailureCode.TIMEOUT, f"{FailureCode.TIMEOUT.sentence} Time ran out while {self._doing()}.")

    def rest(self, now: float) -> None:
        """Make ready for the next request."""
        self._state = _IDLE
        self._waiter = None
        self._headers = []
        self._pieces = []
        self.idle_since = now

    def give_up(self, code: FailureCode) -> None:
        """Fail the exchange under way, if any, and drop the connection."""
        if self._state in {_HEAD, _BODY}:
            self._fail(code, code.sentence)
        self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.is_reusable = False
        if self._state == _IDLE:
            self._state = _LOST
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection politely."""
        self._state = _LOST
        if self._transport is not None:
            self._transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether a request can begin."""
        return self._state == _IDLE

    @property
    def heard_nothing(self) -> bool:
        """Whether not one byte of the response came."""
        return self._received == 0

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The response's headers, without trailers."""
        return tuple(self._headers)

    @property
    def body(self) -> bytes:
        """The response's body up to the read limit, without its transfer coding."""
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # create_connection makes duplex transports
        self._owner.on_made(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and judge what came too much."""
        state = self._state
        if state != _HEAD and state != _BODY:  # noqa: PLR1714 - runs per packet: two compares beat a set
            self._receive_unasked(data)
            return
        if self._received == 0:
            self.first_byte_at = self._monotonic()
        self._received += len(data)
        try:
            self._parser.feed_data(data)  # type: ignore[union-attr]  # there is one until connection_lost
        except httptools.HttpParserCallbackError:
            self._fail(FailureCode.PROTOCOL_ERROR, FailureCode.PROTOCOL_ERROR.sentence)
            raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._on_bad_bytes(error)
            return
        if self._received > MAX_HEAD_BYTES:
            self._check_sizes()

    def eof_received(self) -> None:
        """End a body that ends with the connection; the transport closes itself afterwards."""
        if self._state == _BODY and self._ends_with_connection():
            self._finish(is_reusable=False)
        elif self._state == _IDLE:
            self._state = _LOST

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the exchange under way and say good-bye."""
        if self._state in {_HEAD, _BODY}:
            code = code_of_os_error(exc if isinstance(exc, OSError) else None)
            self._fail(code, f"{code.sentence} It happened while {self._doing()}.")
        self._state = _LOST
        self.is_reusable = False
        # The parser holds methods of this object: break the cycle, or each lost connection waits for the
        # collector.
        self._parser = None
        self._transport = None
        self._owner.on_lost(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Notice a second response to one request."""
        if self._state == _DONE:
            self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; trailers come in the body's state and are dropped."""
        if self._state == _HEAD:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the status; step over interim responses (RFC 9110 §15.2)."""
        if self._state != _HEAD:
            return
        status: int = self._parser.get_status_code()  # type: ignore[union-attr]  # as in data_received
        if status < 200:
            self._begin_interim(status)
            return
        if self._received > MAX_HEAD_BYTES and _head_size(self._headers) > MAX_HEAD_BYTES:
            self._fail_oversize()
            return
        self.status = status
        self._state = _BODY
        if self._is_head_request:
            # The parser cannot be told that no body follows, so the connection ends with the answer.
            self._finish(is_reusable=False)

    def on_body(self, data: bytes) -> None:
        """Collect a piece of the body up to the limit."""
        if self._state != _BODY:
            return
        self._size += len(data)
        if self._size <= self._limit:
            self._pieces.append(data)
            return
        self._pieces.append(data[: self._limit - self._size])
        self._truncate()

    def on_message_complete(self) -> None:
        """Finish, unless it was an interim response."""
        if self._state == _BODY:
            self._finish(is_reusable=self._parser.should_keep_alive())  # type: ignore[union-attr]  # as above

    # How it ends.

    def _finish(self, *, is_reusable: bool) -> None:
        self._state = _DONE
        # A request still in the buffer after its response was refused in the middle: nothing may follow it.
        self.is_reusable = is_reusable and self._transport is not None and self._transport.get_write_buffer_size() == 0
        self._wake()

    def _fail(self, code: FailureCode, detail: str) -> None:
        self.failure = Refusal(code=code, detail=detail)
        self._state = _DONE
        self._wake()
        self.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _truncate(self) -> None:
        self.is_truncated = True
        self._finish(is_reusable=False)
        self.abort()

    def _begin_interim(self, status: int) -> None:
        self._headers = []
        if status < 100:
            self._fail(FailureCode.PROTOCOL_ERROR, f"{FailureCode.PROTOCOL_ERROR.sentence} Its status is {status}.")
        elif status == 101:
            self._fail(
                FailureCode.PROTOCOL_ERROR,
                f"{FailureCode.PROTOCOL_ERROR.sentence} It switched to a protocol that it was not asked for.",
            )

    def _receive_unasked(self, data: bytes) -> None:
        if data and self._state == _IDLE:
            self.failure = refusal(
                FailureCode.PROTOCOL_ERROR,
                f"{FailureCode.PROTOCOL_ERROR.sentence} It spoke before it was asked, as mail servers do.",
            )
        self.abort()

    def _on_bad_bytes(self, error: Exception) -> None:
        if self._state == _DONE:
            # The response was complete; what follows it only spoils the connection.
            self.is_reusable = False
            return
        sentence = FailureCode.PROTOCOL_ERROR.sentence
        self._fail(FailureCode.PROTOCOL_ERROR, f"{sentence} The parser says: {error}.")

    def _check_sizes(self) -> None:
        if self._state == _HEAD:
            self._fail_oversize()
        elif self._state == _BODY and self._received > MAX_HEAD_BYTES + self._limit * _WIRE_BYTES_PER_BODY_BYTE:
            self._truncate()

    def _fail_oversize(self) -> None:
        code = FailureCode.RESPONSE_HEADERS_TOO_LARGE
        self._fail(code, code.sentence)

    def _ends_with_connection(self) -> bool:
        # RFC 9112 §6.3: a body with neither a length nor a final chunked coding ends when the server closes.
        for name, value in self._headers:
            lowered = name.lower()
            if lowered == b"transfer-encoding":
                return not value.lower().rstrip().endswith(b"chunked")
            if lowered == b"content-length":
                return False
        return True

    def _doing(self) -> str:
        if self._state == _BODY:
            return f"reading the body of the response, whose status is {self.status}"
        if self._received:
            return "reading the head of the response"
        if self._transport is not None and self._transport.get_write_buffer_size():
            return "sending the request"
        return "waiting for the response"


def _head_size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)
