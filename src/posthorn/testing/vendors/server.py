"""A double of a vendor as a real HTTP server on loopback. It notes everything that the vendor would refuse."""

import asyncio
import re
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

import msgspec

from posthorn.testing.vendors.double import FORM, JSON, Call, Received, Reply, Vendor

_UNKNOWN = Reply(status=404, body={"error": "not found"})


class VendorServer:
    """Serves one vendor. `problems` holds what was wrong with the requests; `received` holds them all."""

    def __init__(self, vendor: Vendor, *, now_ms: int) -> None:
        self.received: list[Received] = []
        self.problems: list[str] = []
        self.port = 0
        self._vendor = vendor
        self._now_ms = now_ms
        self._next: list[Reply] = []
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def answer_next(self, reply: Reply) -> None:
        """Give this answer to the next valid request."""
        self._next.append(reply)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
        try:
            while True:
                reply = self._answer(await _read(reader))
                writer.write(_written(reply))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # The client left, or the test is over.
        finally:
            writer.close()
            if task is not None:
                self._connections.discard(task)

    def _answer(self, received: Received) -> Reply:
        self.received.append(received)
        vendor = self._vendor
        if received.host.rpartition(":")[0] != vendor.host:
            return self._refused(f"the host is {received.host}", _UNKNOWN)
        here = [call for call in vendor.calls if re.fullmatch(call.path, received.path)]
        fitting = [call for call in here if call.method == received.method]
        if not fitting:
            return self._refused(f"there is no {received.method} {received.path}", _UNKNOWN)
        if fitting[0].action != "token" and not vendor.authorized(received):
            return self._refused("not authorized", vendor.unauthorized.reply)
        # Several actions may share an address: the request has to fit one of them.
        wrongs = [_wrong(call, received, self._now_ms) for call in fitting]
        if None not in wrongs:
            return self._refused("; ".join(filter(None, wrongs)), fitting[0].invalid)
        if self._next:
            return self._next.pop(0)
        return fitting[wrongs.index(None)].answer

    def _refused(self, problem: str, reply: Reply) -> Reply:
        self.problems.append(problem)
        return reply


def _wrong(call: Call, received: Received, now_ms: int) -> str | None:
    """Say what the vendor would refuse."""
    pairs = parse_qsl(received.query, keep_blank_values=True)
    if len({name for name, _ in pairs}) != len(pairs):
        return "a parameter of the query comes twice"
    wanted = FORM if call.form is not None else JSON if call.json is not None else ""
    if received.media_type != wanted:
        return f"the Content-Type is {received.media_type!r}, not {wanted!r}"
    try:
        msgspec.convert(dict(pairs), call.query, strict=False)
        if call.json is not None:
            msgspec.json.decode(received.body, type=call.json)
        elif call.form is not None:
            msgspec.convert(received.fields(), call.form, strict=False)
        elif received.body:
            return "a body came where none belongs"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)
    return call.check(received, now_ms) if call.check is not None else None


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    path, _, query = target.partition("?")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    host = headers.get("host", "")
    return Received(method=method, host=host, path=path, query=query, headers=headers, body=body)


def _written(reply: Reply) -> bytes:
    body = (
        reply.body if isinstance(reply.body, bytes) else b"" if reply.body is None else msgspec.json.encode(reply.body)
    )
    lines = [f"HTTP/1.1 {reply.status} Answer"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    if reply.status != 204:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if reply.status == 204 else body)
