"""Hostile and broken receivers: what they cost is bounded, and what happened is named."""

import asyncio
import socket
from typing import Any

import pytest
from loopback_world import OK, NewClient, Peer, Receivers, TableResolver, always, once_then_close, to

from posthorn.deliver.transport import (
    FailureCode,
    HttpTransport,
    NotResolved,
    OutboundRequest,
    SystemResolver,
    TransportFailure,
)


async def drip(peer: Peer, piece: bytes) -> None:
    while True:
        await peer.send(piece)
        await asyncio.sleep(0.005)  # The slowness under test, not a synchronisation.


@pytest.mark.parametrize(
    ("begin", "piece", "doing"),
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
            b"x",
            "the body of the response, whose status is 200",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", "reading the body"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", "reading the head"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y", "reading the head"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "reading the head"),
    ],
)
async def test_a_receiver_that_drips_is_cut_at_the_total_deadline(
    receive: Receivers, client: HttpTransport, begin: bytes, piece: bytes, doing: str
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(begin)
        await drip(peer, piece)

    receiver = await receive(handler)
    failure = await client.send(to(receiver.url(), deadline_seconds=0.2))
    assert isinstance(failure, TransportFailure)
    assert failure.code is FailureCode.TIMEOUT
    assert doing in failure.detail
    assert 150_000 < failure.timings.total_us < 2_000_000


async def test_a_receiver_that_accepts_and_never_answers_times_out_and_is_let_go(
    receive: Receivers, client: HttpTransport
) -> None:
    let_go = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        let_go.set()

    receiver = await receive(handler)
    failure = await client.send(to(receiver.url(), deadline_seconds=1.0))
    assert failure.code is FailureCode.TIMEOUT
    assert "waiting for the response" in failure.detail
    await let_go.wait()


async def test_a_receiver_that_never_reads_times_out_while_sending(receive: Receivers, client: HttpTransport) -> None:
    async def handler(peer: Peer) -> None:
        peer.writer.transport.pause_reading()
        await asyncio.get_running_loop().create_future()

    receiver = await receive(handler)
    failure = await client.send(to(receiver.url(), body=bytes(32 * 1024 * 1024), deadline_seconds=0.3))
    assert failure.code is FailureCode.TIMEOUT
    assert "sending the request" in failure.detail


async def test_the_deadline_holds_on_a_kept_connection_too(receive: Receivers, client: HttpTransport) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.request()
        await peer.gone()

    receiver = await receive(handler)
    await client.send(to(receiver.url()))
    failure = await client.send(to(receiver.url(), deadline_seconds=1.0))
    assert failure.code is FailureCode.TIMEOUT
    assert failure.timings.reused
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: y\r\n" * 7_000 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 400_000,
        b"HTTP/1.1 200 " + b"y" * 400_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    ],
)
async def test_a_head_of_more_than_64_kib_is_refused(receive: Receivers, client: HttpTransport, head: bytes) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(head)
        await peer.gone()

    receiver = await receive(handler)
    failure = await client.send(to(receiver.url()))
    assert failure.code is FailureCode.RESPONSE_HEADERS_TOO_LARGE


async def test_a_head_just_below_the_cap_and_a_large_body_behind_it_are_fine(
    receive: Receivers, client: HttpTransport
) -> None:
    value = b"y" * 60_000
    body = b"z" * 60_000
    receiver = await receive(always(b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 60000\r\n\r\n%b" % (value, body)))
    response = await client.send(to(receiver.url()))
    assert response.headers[0] == (b"X", value)
    assert response.body == body


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
    ],
)
async def test_an_endless_body_is_cut_at_the_read_limit_and_its_status_counts(
    receive: Receivers, client: HttpTransport, head: bytes, piece: bytes
) -> None:
    cut = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.answer(head)
        try:
            while True:
                await peer.send(piece)
        finally:
            cut.set()

    receiver = await receive(handler)
    response = await client.send(to(receiver.url(), read_limit_bytes=2_500))
    assert (response.status, response.truncated) == (200, True)
    assert response.body == b"x" * 2_500
    await cut.wait()
    assert not (await client.send(to(receiver.url(), read_limit_bytes=10))).timings.reused


async def test_endless_chunk_extensions_are_cut_although_no_body_comes(
    receive: Receivers, client: HttpTransport
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
        while True:
            await peer.send(b"x" * 10_000)

    receiver = await receive(handler)
    response = await client.send(to(receiver.url()))
    assert (response.status, response.truncated, response.body) == (200, True, b"")


@pytest.mark.parametrize(("limit", "is_truncated", "body"), [(3, False, b"abc"), (2, True, b"ab"), (0, True, b"")])
async def test_a_body_of_exactly_the_limit_is_whole(
    receive: Receivers, client: HttpTransport, limit: int, is_truncated: bool, body: bytes
) -> None:
    receiver = await receive(always(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
    response = await client.send(to(receiver.url(), read_limit_bytes=limit))
    assert (response.truncated, response.body) == (is_truncated, body)


@pytest.mark.parametrize(
    "begin", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"]
)
async def test_a_connection_closed_before_the_response_is_whole_is_a_failure(
    receive: Receivers, client: HttpTransport, begin: bytes
) -> None:
    receiver = await receive(once_then_close(begin))
    failure = await client.send(to(receiver.url()))
    assert failure.code is FailureCode.CONNECTION_CLOSED
    assert receiver.connections == 1


async def test_a_chunked_body_that_ends_without_its_last_chunk_is_a_failure(
    receive: Receivers, client: HttpTransport
) -> None:
    receiver = await receive(
        once_then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked \r\n\r\n2\r\nab\r\n")
    )
    assert (await client.send(to(receiver.url()))).code is FailureCode.CONNECTION_CLOSED


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"])
async def test_a_reset_in_the_middle_of_a_response_is_a_failure(
    receive: Receivers, client: HttpTransport, begin: bytes
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(begin)
        peer.reset()

    receiver = await receive(handler)
    failure = await client.send(to(receiver.url()))
    assert failure.code is FailureCode.CONNECTION_RESET
    assert receiver.connections == 1


async def test_a_port_where_nothing_listens_refuses_the_connection(client: HttpTransport) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        failure = await client.send(to(f"http://127.0.0.1:{bound.getsockname()[1]}/"))
    assert failure.code is FailureCode.CONNECTION_REFUSED
    assert failure.timings.connect_us > 0


async def test_a_name_server_that_never_answers_times_out_while_looking_up(client_with: NewClient) -> None:
    class Silent(SystemResolver):
        async def resolve(self, host: str, port: int) -> tuple[str, ...] | NotResolved:
            return await asyncio.get_running_loop().create_future()

    client = client_with(resolver=Silent())
    failure = await client.send(to("http://silent.test/", deadline_seconds=0.05))
    assert failure.code is FailureCode.TIMEOUT
    assert "looking up the host name" in failure.detail
    assert failure.timings.dns_us > 0


async def test_the_time_that_a_look_up_takes_is_taken_from_the_rest(receive: Receivers, client_with: NewClient) -> None:
    class Slow(TableResolver):
        async def resolve(self, host: str, port: int) -> tuple[str, ...] | NotResolved:
            await asyncio.sleep(0.4)  # The slowness under test.
            return await super().resolve(host, port)

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    receiver = await receive(handler)
    client = client_with(resolver=Slow({"slow.test": [("127.0.0.1",)]}))
    failure = await client.send(to(receiver.url(host="slow.test"), deadline_seconds=0.5))
    assert failure.code is FailureCode.TIMEOUT
    assert failure.timings.dns_us > 350_000
    assert failure.timings.total_us < 800_000


async def test_the_deadline_of_an_answered_request_does_not_cut_the_next_one(
    receive: Receivers, client: HttpTransport
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.request()
        await asyncio.sleep(0.3)  # Longer than the first deadline.
        await peer.send(OK)

    receiver = await receive(handler)
    await client.send(to(receiver.url(), deadline_seconds=0.15))
    response = await client.send(to(receiver.url()))
    assert response.status == 200
    assert response.timings.reused


@pytest.mark.parametrize("deadline", [0.0, -1.0])
async def test_a_deadline_that_is_over_fails_at_once(
    receive: Receivers, client: HttpTransport, deadline: float
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    receiver = await receive(handler)
    assert (await client.send(to(receiver.url(), deadline_seconds=deadline))).code is FailureCode.TIMEOUT


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"method": "TRACE"}, FailureCode.METHOD_NOT_ALLOWED),
        ({"method": "POST / HTTP/1.1\r\nX:"}, FailureCode.METHOD_NOT_ALLOWED),
        ({"headers": [(b"Host", b"evil")]}, FailureCode.HEADER_NOT_ALLOWED),
        ({"headers": [(b"X", b"a\r\nX-Injected: 1")]}, FailureCode.HEADER_NOT_ALLOWED),
        ({"target": "ftp://127.0.0.1/"}, FailureCode.SCHEME_NOT_ALLOWED),
        ({"target": "http://u:p@127.0.0.1/"}, FailureCode.URL_HAS_CREDENTIALS),
        ({"target": "http://127.1/"}, FailureCode.URL_INVALID),
        ({"target": "http://10.0.0.1/"}, FailureCode.ADDRESS_NOT_ALLOWED),
    ],
)
async def test_what_may_not_be_sent_never_connects(
    receive: Receivers, client: HttpTransport, given: dict[str, Any], code: FailureCode
) -> None:
    receiver = await receive(always(OK))
    failure = await client.send(OutboundRequest(**{"target": receiver.url(), **given}))
    assert failure.code is code
    assert receiver.connections == 0
