"""Where webhooks go: a receiver on loopback that remembers every request and behaves as it is told."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One request, whole."""

    path: str
    webhook_id: str
    headers: tuple[tuple[str, str], ...]  #: names in lower case
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What to do with a request: answer these bytes, after a while or once told; None never answers."""

    answer: bytes | None = OK
    after_seconds: float = 0.0
    once: asyncio.Event | None = None
    drops: bool = False


def answering(status: int, headers: str = "", body: str = "") -> Behaviour:
    """Answer with this status; `headers` are whole lines, each ended by CRLF."""
    head = f"HTTP/1.1 {status} Whatever\r\ncontent-length: {len(body.encode())}\r\n{headers}\r\n"
    return Behaviour(answer=head.encode() + body.encode())


Told = Behaviour | Callable[[Received], Behaviour]
HANGING = Behaviour(answer=None)
DROPPING = Behaviour(drops=True)


class Receiver:
    """Listens on a free port, on loopback unless told otherwise.

    `behave` sets what a path does; every path answers 200 from the start.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.received: list[Received] = []
        self.by_id: Counter[str] = Counter()
        self.port = 0
        self._behaviours: dict[str, Told] = {}
        self._connections: set[_Connection] = set()
        self._deserted = asyncio.Event()
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()

    def url(self, path: str = "/") -> str:
        return f"http://{self.host}:{self.port}{path}"

    def behave(self, path: str, told: Told) -> None:
        self._behaviours[path] = told

    def at(self, path: str) -> list[Received]:
        return [received for received in self.received if received.path == path]

    async def wait_for(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Return once the condition holds; it is looked at after every request."""
        if condition():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s; received so far: {len(self.received)}") from None

    async def wait_for_count(self, path: str, count: int, seconds: float = 20.0) -> list[Received]:
        await self.wait_for(lambda: len(self.at(path)) >= count, seconds)
        return self.at(path)

    def take(self, received: Received) -> Behaviour:
        self.received.append(received)
        self.by_id[received.webhook_id] += 1
        for condition, future in self._waiting:
            if not future.done() and condition():
                future.set_result(None)
        self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]
        told = self._behaviours.get(received.path, Behaviour())
        return told if isinstance(told, Behaviour) else told(received)

    def joined(self, connection: "_Connection") -> None:
        self._connections.add(connection)

    def left(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._deserted.set()

    async def wait_until_deserted(self) -> None:
        """Return once every connection is closed from the other side: then all that was sent has been read."""
        while self._connections:
            self._deserted.clear()
            await self._deserted.wait()


@dataclass(slots=True)
class _Request:
    target: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._request = _Request()
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.left(self)
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._request = _Request()

    def on_url(self, url: bytes) -> None:
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._request.parts.append(body)

    def on_message_complete(self) -> None:
        request = self._request
        behaviour = self._receiver.take(
            Received(
                path=request.target.decode("latin-1"),
                webhook_id=next((value for name, value in request.headers if name == "webhook-id"), ""),
                headers=tuple(request.headers),
                body=b"".join(request.parts),
            )
        )
        if behaviour.drops:
            self.abort()
        elif behaviour.once is not None or behaviour.after_seconds:
            task = asyncio.get_running_loop().create_task(self._answer_later(behaviour))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif behaviour.answer is not None:
            self._write(behaviour.answer)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _answer_later(self, behaviour: Behaviour) -> None:
        if behaviour.once is not None:
            await behaviour.once.wait()
        await asyncio.sleep(behaviour.after_seconds)
        if behaviour.answer is not None:
            self._write(behaviour.answer)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
