"""The doors over real sockets: heads byte for byte, bounded in size and time, and nothing lost on a kept connection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from posthorn.errors import StartRefused
from posthorn.receive.http import read_body
from posthorn.server.asgi import PublicDoor
from posthorn.server.doors import Door, bind
from posthorn.server.protocol import ExactHttpProtocol

HEAD = b"POST /in/t HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
OK = b"HTTP/1.1 200 OK"


class Impatient(ExactHttpProtocol):
    head_seconds = 0.05


class Echo:
    """Answers with what `read_body` made of the request, and keeps the scopes."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[Any] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.arrived = asyncio.Semaphore(0)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body = await read_body(scope, receive, limit_bytes=1_000_000)
        self.bodies.append(body)
        self.arrived.release()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Line:
    """A client that writes bytes and reads until the answers it expects, or the end, are there."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def hear(self, answers: int) -> bytes:
        heard = b""
        async with asyncio.timeout(5):
            while heard.count(b"\r\n\r\nok") < answers:
                heard += await self.reader.read(65536) or pytest.fail(f"closed after {heard!r}")
        return heard

    async def hear_out(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.read()


@pytest.fixture
def echo() -> Echo:
    return Echo()


async def opened(application: Any, protocol: type[ExactHttpProtocol] = ExactHttpProtocol) -> tuple[Door, int]:
    listener = bind("127.0.0.1", 0, "public")
    door = Door(name="public", application=application, listener=listener, patience_seconds=2, protocol=protocol)
    await door.start()
    return door, listener.getsockname()[1]


@pytest.fixture
async def line(echo: Echo) -> AsyncIterator[Line]:
    door, port = await opened(echo)
    line = Line(*await asyncio.open_connection("127.0.0.1", port))
    yield line
    line.writer.close()
    await door.stop()


async def test_header_case_order_and_repetition_and_the_raw_target_are_kept(line: Line, echo: Echo) -> None:
    target = b"/in/%74/a%2Fb//?x=%zz&y=+"
    await line.say(b"PUT %b HTTP/1.1\r\nhOST: a\r\nX-B: 1\r\nx-a:  2 \r\nX-B: \xff\r\n\r\n" % target)
    await line.hear(1)
    [scope] = echo.scopes
    assert scope["posthorn.headers"] == [(b"hOST", b"a"), (b"X-B", b"1"), (b"x-a", b"2 "), (b"X-B", b"\xff")]
    assert scope["posthorn.target"] == target
    assert [name for name, _ in scope["headers"]] == [b"host", b"x-b", b"x-a", b"x-b"]


async def test_requests_on_a_kept_connection_are_answered_in_their_order(line: Line, echo: Echo) -> None:
    for number in range(3):
        await line.say(HEAD + b"\r\n%d%d%d" % (number, number, number))
        await line.hear(1)
    assert echo.bodies == [b"000", b"111", b"222"]


async def test_pipelined_requests_are_each_answered(line: Line, echo: Echo) -> None:
    await line.say(b"".join(HEAD + b"X-N: %d\r\n\r\n%03d" % (number, number) for number in range(5)))
    await line.hear(5)
    assert echo.bodies == [b"%03d" % number for number in range(5)]
    assert [scope["posthorn.headers"][-1] for scope in echo.scopes] == [(b"X-N", b"%d" % n) for n in range(5)]


async def test_a_body_in_pieces_and_a_chunked_one_arrive_whole(line: Line, echo: Echo) -> None:
    await line.say(HEAD, b"\r\na", b"b", b"c")
    await line.hear(1)
    await line.say(
        b"POST /in/t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"
    )
    await line.hear(1)
    assert echo.bodies == [b"abc", b"abc"]


async def test_100_continue_is_said_to_who_waits_for_it(line: Line, echo: Echo) -> None:
    await line.say(HEAD + b"Expect: 100-continue\r\n\r\n")
    assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await line.say(b"abc")
    await line.hear(1)
    assert echo.bodies == [b"abc"]


async def test_an_offer_to_upgrade_is_ignored_and_its_body_is_not_lost(line: Line, echo: Echo) -> None:
    """Java's HttpClient makes this offer with its first request over http."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    await line.say(HEAD + offer + b"\r\n", b"abc")
    await line.hear(1)
    await line.say(HEAD + offer + b"\r\nxyz" + HEAD + b"\r\n123")
    await line.hear(2)
    assert echo.bodies == [b"abc", b"xyz", b"123"]
    assert (b"Upgrade", b"h2c") in echo.scopes[0]["posthorn.headers"]
    assert (b"Upgrade", b"h2c") not in echo.scopes[2]["posthorn.headers"]


async def test_trailers_are_no_headers(line: Line, echo: Echo) -> None:
    await line.say(
        b"POST /in/t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nAuthorization: x\r\n\r\n"
    )
    await line.hear(1)
    assert [name for name, _ in echo.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("extra", [b"X-A: " + b"y" * 70_000 + b"\r\n", b"X-A: b\r\n" * 300])
async def test_a_head_that_is_too_large_is_431_and_the_end(line: Line, echo: Echo, extra: bytes) -> None:
    await line.say(HEAD + extra + b"\r\nabc")
    heard = await line.hear_out()
    assert heard.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"headers_too_large"' in heard
    assert heard.count(b"HTTP/1.1") == 1
    assert echo.scopes == []


async def test_a_refused_request_does_not_take_the_answer_of_the_one_before_it(line: Line, echo: Echo) -> None:
    await line.say(HEAD + b"\r\nabc" + HEAD + b"X-A: b\r\n" * 300 + b"\r\nabc")
    heard = await line.hear_out()
    assert heard.startswith(OK)
    assert heard.count(b"HTTP/1.1") == 1
    assert echo.bodies == [b"abc"]


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /in/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 4\r\n\r\nabcd",
        HEAD + b"A: b\r\n folded\r\n\r\nabc",
    ],
)
async def test_what_is_no_http_or_could_be_read_in_two_ways_is_400(line: Line, echo: Echo, wrong: bytes) -> None:
    await line.say(wrong)
    heard = await line.hear_out()
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert heard.endswith(b'{"code":"bad_request","detail":"this is not valid HTTP/1.1"}')
    assert echo.scopes == []


async def test_a_body_that_stops_being_http_ends_its_request_at_once(line: Line, echo: Echo) -> None:
    await line.say(b"POST /in/t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"nonsense\r\n")
    assert (await line.hear_out()).startswith(b"HTTP/1.1 400 ")
    await echo.arrived.acquire()
    assert echo.bodies == ["client_disconnected"]


async def test_a_slow_head_is_closed_also_the_second_on_a_connection(echo: Echo) -> None:
    door, port = await opened(echo, Impatient)
    silent = Line(*await asyncio.open_connection("127.0.0.1", port))
    slow = Line(*await asyncio.open_connection("127.0.0.1", port))
    await slow.say(HEAD + b"\r\nabc")
    await slow.hear(1)
    await slow.say(b"POST /in/t HTTP/1.1\r\nHos")
    assert await silent.hear_out() == b""
    assert await slow.hear_out() == b""
    silent.writer.close()
    slow.writer.close()
    await door.stop()


async def test_a_slow_answer_is_not_a_slow_head(echo: Echo) -> None:
    door, port = await opened(echo, Impatient)
    echo.may_answer.clear()
    line = Line(*await asyncio.open_connection("127.0.0.1", port))
    await line.say(HEAD + b"\r\nabc")
    await echo.arrived.acquire()
    silent = Line(*await asyncio.open_connection("127.0.0.1", port))
    assert await silent.hear_out() == b""
    echo.may_answer.set()
    await line.hear(1)
    line.writer.close()
    silent.writer.close()
    await door.stop()


async def test_a_sender_that_does_not_wait_for_its_answer_is_heard(line: Line, echo: Echo) -> None:
    await line.say(HEAD + b"\r\nabc")
    line.writer.close()
    await echo.arrived.acquire()
    assert echo.bodies == [b"abc"]


async def test_stopping_answers_what_was_begun_and_accepts_nothing_more(echo: Echo) -> None:
    door, port = await opened(echo)
    echo.may_answer.clear()
    line = Line(*await asyncio.open_connection("127.0.0.1", port))
    await line.say(HEAD + b"\r\nabc")
    await echo.arrived.acquire()
    stopping = asyncio.create_task(door.stop())
    await asyncio.sleep(0)
    echo.may_answer.set()
    assert b"\r\n\r\nok" in await line.hear_out()
    await stopping
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system likes
        await asyncio.open_connection("127.0.0.1", port)
    line.writer.close()


async def test_a_failure_of_ours_is_json_and_closes_the_connection() -> None:
    class Broken:
        async def handle(self, scope: Any, receive: Any, send: Any) -> None:
            raise RuntimeError("s3cret")

    door, port = await opened(PublicDoor(Broken(), Broken()))  # type: ignore[arg-type]
    line = Line(*await asyncio.open_connection("127.0.0.1", port))
    await line.say(HEAD + b"\r\nabc")
    heard = await line.hear_out()
    assert heard.startswith(b"HTTP/1.1 500 ")
    assert b'"code":"generic_error"' in heard
    assert b"s3cret" not in heard
    line.writer.close()
    await door.stop()


async def test_the_public_door_answers_nothing_but_inbox_addresses_and_tracking_calls() -> None:
    door, port = await opened(PublicDoor(None, None))  # type: ignore[arg-type]
    for target in (b"/", b"/api/v1/app", b"//in/t", b"/In/t", b"/in", b"/v1", b"/users/track"):
        line = Line(*await asyncio.open_connection("127.0.0.1", port))
        await line.say(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target)
        assert (await line.hear_out()).startswith(b"HTTP/1.1 404 ")
        line.writer.close()
    await door.stop()


def test_a_taken_address_is_refused_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartRefused, match="--inbox-port"):
            bind("127.0.0.1", taken.getsockname()[1], "public")
    with pytest.raises(StartRefused, match="--port"):
        bind("203.0.113.7", 0, "private")


async def test_a_door_that_never_opened_can_be_stopped(echo: Echo) -> None:
    listener = bind("127.0.0.1", 0, "public")
    door = Door(name="public", application=echo, listener=listener, patience_seconds=1)
    await door.stop()
    assert listener.fileno() == -1
