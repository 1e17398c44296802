"""What transport tests send to: raw receivers on loopback that do what a test tells them, and a table of names."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from posthorn.deliver.transport import HttpTransport, NotResolved, OutboundRequest, Target

NewClient = Callable[..., HttpTransport]


@dataclass
class Received:
    head: bytes
    body: bytes


class Peer:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receiver: "Receiver") -> None:
        self.reader = reader
        self.writer = writer
        self.number = receiver.connections
        self._receiver = receiver

    async def request(self) -> Received:
        """Read one request; raises IncompleteReadError when the client is gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        received = Received(head, await self.reader.readexactly(length))
        self._receiver.requests.append(received)
        return received

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, data: bytes) -> None:
        await self.request()
        await self.send(data)

    async def gone(self) -> None:
        """Wait until the client has let the connection go."""
        while await self.reader.read(65_536):
            pass

    def reset(self) -> None:
        """Break the connection off with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Handler = Callable[[Peer], Awaitable[None]]


@dataclass
class Receiver:
    scheme: str
    port: int = 0
    connections: int = 0
    requests: list[Received] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    errors: list[Exception] = field(default_factory=list)

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def run(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        try:
            await handler(Peer(reader, writer, self))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # The client left, as many tests want it to.
        except asyncio.CancelledError:
            pass  # The test is over.
        except Exception as error:  # noqa: BLE001 - a handler's failed assertion is raised when the test ends
            self.errors.append(error)
        finally:
            writer.close()
            self.tasks.discard(task)


class Receivers:
    """Starts receivers and takes all of them down."""

    def __init__(self) -> None:
        self._started: list[tuple[Receiver, asyncio.Server]] = []

    async def __call__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> Receiver:
        receiver = Receiver("https" if tls else "http")

        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await receiver.run(handler, reader, writer)

        server = await asyncio.start_server(run, "127.0.0.1", 0, ssl=tls, limit=2**22)
        receiver.port = server.sockets[0].getsockname()[1]
        self._started.append((receiver, server))
        return receiver

    async def close(self) -> None:
        errors = []
        for receiver, server in self._started:
            server.close()
            tasks = tuple(receiver.tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            errors += receiver.errors
        if errors:
            raise errors[0]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def always(data: bytes) -> Handler:
    """Answer every request on a connection with the same bytes."""

    async def handler(peer: Peer) -> None:
        while True:
            await peer.answer(data)

    return handler


def once_then_close(data: bytes) -> Handler:
    """Answer one request, then close."""

    async def handler(peer: Peer) -> None:
        await peer.answer(data)

    return handler


class TableResolver:
    """Answers from a table; a list of answers is given one by one, as a rebinding name server does."""

    def __init__(self, table: dict[str, list[tuple[str, ...] | NotResolved]]) -> None:
        self.asked: list[str] = []
        self._table = table

    async def resolve(self, host: str, port: int) -> tuple[str, ...] | NotResolved:
        self.asked.append(host)
        answers = self._table[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def close(self) -> None:
        pass


def to(url: str | Target, **given: Any) -> OutboundRequest:
    """Build a request with a deadline that no healthy test reaches."""
    return OutboundRequest(target=url, **{"deadline_seconds": 5.0, **given})
