"""A small keep-alive HTTP/1.1 client over bare streams, and the API spoken through it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import httptools
from posthorn_process import API_KEY, Posthorn

Headers = Sequence[tuple[str, str]]
Answered = TypeVar("Answered")
_READ_BYTES = 256 * 1024
_POLL_SECONDS = 0.02


@dataclass(kw_only=True)
class Response:
    """A whole response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class _Parsing:
    """Collects one response for httptools."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    complete: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


class Connection:
    """One connection. Whoever uses it may also write to it by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> "Connection":
        return cls(*await asyncio.open_connection(host, port))

    async def request(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> Response:
        self.write_head(method, target, [*headers, ("content-length", str(len(body)))])
        self.writer.write(body)
        return await self.response()

    def write_head(self, method: str, target: str, headers: Headers) -> None:
        lines = [f"{method} {target} HTTP/1.1", "host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers)]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def response(self) -> Response:
        """Read one response. Raises ConnectionError when the server hangs up before its end."""
        parsing = _Parsing()
        parser = httptools.HttpResponseParser(parsing)
        while not parsing.complete:
            data = await self.reader.read(_READ_BYTES)
            if not data:
                raise ConnectionResetError("hung up before the response was complete")
            parser.feed_data(data)
        return Response(status=parser.get_status_code(), headers=parsing.headers, body=b"".join(parsing.parts))

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return  # the server was killed: there is nothing left to say goodbye to


class Client:
    """Keeps connections to one port and lends each to one request at a time."""

    def __init__(self, port: int, headers: Headers = (), host: str = "127.0.0.1") -> None:
        self._host = host
        self._port = port
        self._headers = tuple(headers)
        self._idle: list[Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def request(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> Response:
        connection = self._idle.pop() if self._idle else await Connection.open(self._port, self._host)
        try:
            response = await connection.request(method, target, [*self._headers, *headers], body)
        except BaseException:
            await connection.close()
            raise
        if response.header("connection") == "close":
            await connection.close()
        else:
            self._idle.append(connection)
        return response

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()


class Refused(AssertionError):
    """The API answered something else than 2xx."""


class Api(Client):
    """The private door with the owner's key, or with another one."""

    def __init__(self, posthorn: Posthorn, key: str = API_KEY) -> None:
        super().__init__(posthorn.port, [("authorization", f"Bearer {key}")], posthorn.host)
        self.posthorn = posthorn

    async def call(self, method: str, path: str, body: object = None, headers: Headers = ()) -> Response:
        """Call and return whatever is answered. Bytes go out as they are, anything else as JSON."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        typed = [("content-type", "application/json"), *headers] if data else headers
        return await self.request(method, f"/api/v1{path}", typed, data)

    async def post(self, path: str, body: object = None) -> Any:
        return self._expect(await self.call("POST", path, {} if body is None else body))

    async def put(self, path: str, body: object) -> Any:
        return self._expect(await self.call("PUT", path, body))

    async def patch(self, path: str, body: object) -> Any:
        return self._expect(await self.call("PATCH", path, body))

    async def get(self, path: str) -> Any:
        return self._expect(await self.call("GET", path))

    async def rows(self, path: str) -> list[Any]:
        """Return all rows of a list, over all of its pages."""
        rows: list[Any] = []
        joint = "&" if "?" in path else "?"
        page = await self.get(f"{path}{joint}limit=250")
        rows += page["data"]
        while not page["done"]:
            page = await self.get(f"{path}{joint}limit=250&iterator={page['iterator']}")
            rows += page["data"]
        return rows

    async def eventually(
        self, path: str, condition: Callable[[Any], bool], *, seconds: float = 20.0, get: str = "rows"
    ) -> Any:
        """Ask until the answer is as wished, and return it."""
        return await eventually(lambda: self.rows(path) if get == "rows" else self.get(path), condition, seconds)

    @staticmethod
    def _expect(response: Response) -> Any:
        if not 200 <= response.status <= 299:
            raise Refused(f"{response.status} {response.body.decode(errors='replace')}")
        return response.json() if response.body else None


async def eventually(
    ask: Callable[[], Awaitable[Answered]], condition: Callable[[Answered], bool], seconds: float = 20.0
) -> Answered:
    """Ask another process until its answer is as wished. Raises AssertionError with the last answer."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answered = await ask()
        if condition(answered):
            return answered
        assert asyncio.get_running_loop().time() < deadline, f"after {seconds} s still: {answered!r}"
        await asyncio.sleep(_POLL_SECONDS)
