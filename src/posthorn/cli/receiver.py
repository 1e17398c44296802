"""The demo's receiver: an HTTP server on loopback that accepts every POST and hands it over. It verifies nothing."""

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from posthorn.cli.failures import CommandFailed
from posthorn.cli.texts import _

_LARGEST_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it arrived; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Listens on a free port from its making until `close`."""

    def __init__(self) -> None:
        arrived: queue.SimpleQueue[Received] = queue.SimpleQueue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("content-length") or 0), _LARGEST_BODY_BYTES)
                headers = {name.lower(): value for name, value in self.headers.items()}
                arrived.put(Received(path=self.path, headers=headers, body=self.rfile.read(length)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                """Stay silent: the demo prints what arrives."""

        self._arrived = arrived
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo receiver", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self, timeout_seconds: float) -> Received:
        """Return the next request. Raises CommandFailed when none came in time."""
        try:
            return self._arrived.get(timeout=timeout_seconds)
        except queue.Empty:
            text = _("Nothing arrived at {url} within {seconds:g} s.")
            raise CommandFailed(text.format(url=self.url, seconds=timeout_seconds)) from None

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
