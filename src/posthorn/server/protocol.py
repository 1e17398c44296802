"""uvicorn's HTTP/1.1 protocol, extended where a webhook inbox needs more than ASGI passes on.

ASGI lower-cases header names and splits the target; an inbox keeps a request byte for byte. The exact pairs and target
are put into the scope as `posthorn.headers` and `posthorn.target`; `posthorn.cycle` tells whether the body is here
already. Heads are bounded in size and in time, which uvicorn leaves to a proxy.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD_BYTES = 64 * 1024
_MOST_HEADERS = 256
_HEAD_SECONDS = 15.0
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b'content-length: 72\r\n\r\n{"code":"headers_too_large","detail":"the request head is over 64 KiB"} '
)


class ExactHttpProtocol(HttpToolsProtocol):
    """Keeps the request head exactly as it was sent."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first head its time."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = self.loop.call_later(_HEAD_SECONDS, self._head_too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0
        self._exact: list[tuple[bytes, bytes]] = []
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._head_too_slow)

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header as it stands on the wire."""
        self._exact.append((name, value))
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the exact head on with the scope."""
        self._stop_head_timer()
        if self.transport.is_closing():
            return
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["posthorn.headers"] = self._exact
        scope["posthorn.target"] = self.url
        super().on_headers_complete()
        scope["posthorn.cycle"] = self.cycle

    def _count(self, size: int) -> None:
        self._head_bytes += size
        too_many = len(self._exact) > _MOST_HEADERS
        if (self._head_bytes > _MOST_HEAD_BYTES or too_many) and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing() and not self._is_answering():
            self.transport.close()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None until the first request, whatever its annotation says
        return cycle is not None and not cycle.response_complete

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
