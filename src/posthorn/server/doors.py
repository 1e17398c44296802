"""The two doors as services: bound first, opened when everything behind them runs."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from posthorn.errors import StartRefused
from posthorn.server.protocol import ExactHttpProtocol

_BACKLOG = 4096
_KEEP_ALIVE_SECONDS = 75


class _QuietServer(uvicorn.Server):
    """uvicorn without its own signal handling: the supervisor owns signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def bind(host: str, port: int, what: str) -> socket.socket:
    """Bind a listening socket. Raises StartRefused when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        option = "--port" if what == "private" else "--inbox-port"
        raise StartRefused(
            f"the {what} door cannot listen on {host}:{port}: {error.strerror}; choose another with {option} or --host"
        ) from None
    return listener


class Door:
    """One listening socket and the ASGI application behind it."""

    def __init__(
        self,
        *,
        name: str,
        application: Any,
        listener: socket.socket,
        patience_seconds: float,
        closing: asyncio.Event | None = None,
        protocol: type[ExactHttpProtocol] = ExactHttpProtocol,
    ) -> None:
        """Make a door; `closing` is set when it begins to close, so that endless answers end."""
        self.name = name
        self._closing = closing
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None
        self._server = _QuietServer(
            uvicorn.Config(
                application,
                http=protocol,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(patience_seconds)),
            )
        )

    async def start(self) -> None:
        """Begin to answer."""
        if self._serving is not None:
            return
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                raise StartRefused(f"the {self.name} door did not open")
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Stop accepting, answer what was begun."""
        if self._serving is None:
            self._listener.close()
            return
        if self._closing is not None:
            self._closing.set()
        self._server.should_exit = True
        await self._serving
        self._serving = None
