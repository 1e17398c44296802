"""uvicorn's HTTP/1.1 protocol, extended where a webhook inbox needs more than ASGI passes on.

ASGI lower-cases header names and splits the target; an inbox keeps a request byte for byte. The exact pairs and target
are put into the scope as `posthorn.headers` and `posthorn.target`; `posthorn.cycle` tells whether the body is here
already. Heads are bounded in size and in time, which uvicorn leaves to a proxy. An offer to change the protocol is
ignored, as RFC 9110 section 7.8 allows; the parser would drop the body of such a request. Trailers are ignored too
(section 6.5.1): a header that a proxy removes must not come in behind the body.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD_BYTES = 64 * 1024
_MOST_HEADERS = 256


def _refusal(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


_TOO_LARGE = _refusal(
    b"431 Request Header Fields Too Large",
    b'{"code":"headers_too_large","detail":"the request head has more than 64 KiB or 256 headers"}',
)
_NOT_HTTP = _refusal(b"400 Bad Request", b'{"code":"bad_request","detail":"this is not valid HTTP/1.1"}')


class _HeadTooLarge(Exception):
    """Ends the parsing of a connection."""


class ExactHttpProtocol(HttpToolsProtocol):
    """Keeps the request head exactly as it was sent."""

    head_seconds = 15.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first head its time."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._exact: list[tuple[bytes, bytes]] = []
        self._is_upgrade = False
        self._kept_exact: list[tuple[bytes, bytes]] | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; what is no HTTP, or has too large a head, is refused and the connection closed."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._go_on_without_upgrade(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(_TOO_LARGE if isinstance(error.__context__, _HeadTooLarge) else _NOT_HTTP)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._exact = []
        if self._head_timer is None:
            self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header as it stands on the wire."""
        if self._head_timer is None:
            return  # a trailer
        self._exact.append((name, value))
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the exact head on with the scope."""
        if self.parser.should_upgrade():
            self._is_upgrade = True
            return
        self._stop_head_timer()
        if self.transport.is_closing():
            return
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["posthorn.headers"] = self._exact if self._kept_exact is None else self._kept_exact
        scope["posthorn.target"] = self.url
        self._kept_exact = None
        super().on_headers_complete()
        scope["posthorn.cycle"] = self.cycle

    def on_message_complete(self) -> None:
        """Let the body be complete, unless the request is only about to be read again without its offer to upgrade."""
        if not self._is_upgrade:
            super().on_message_complete()

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Parse a request again without its offer to upgrade, and then what follows it: its body, and more requests."""
        if self.transport.is_closing():
            return
        self._is_upgrade = False
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            self._refuse(_NOT_HTTP)
            return
        exact = self._exact
        lines = [b"%b %b HTTP/%b\r\n" % (method, self.url, version)]
        lines += [b"%b: %b\r\n" % (name, value) for name, value in exact if name.lower() != b"upgrade"]
        self._kept_exact = exact
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"".join([*lines, b"\r\n", rest]))

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _MOST_HEAD_BYTES or len(self._exact) > _MOST_HEADERS:
            raise _HeadTooLarge

    def _refuse(self, answer: bytes) -> None:
        self._stop_head_timer()
        if self.transport.is_closing():
            return
        if self._is_answering() and not self.cycle.more_body:
            # Requests before this one are owed their answers first, and none of them may take ours for its own.
            self.cycle.keep_alive = False
            return
        is_first_owed = not self._is_answering() or (not self.cycle.response_started and not self.pipeline)
        if is_first_owed:
            self.transport.write(answer)
        self.transport.close()

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._is_answering():
            self._start_head_timer()
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None until the first request, whatever its annotation says
        return cycle is not None and not cycle.response_complete

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
