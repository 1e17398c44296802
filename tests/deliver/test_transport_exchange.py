"""What one exchange looks like on the wire, and how every kind of response is read."""

import asyncio
import gzip

import pytest
from loopback_world import OK, Peer, Receivers, always, once_then_close, to

from posthorn.deliver.transport import (
    FailureCode,
    HttpTransport,
    OutboundResponse,
    TransportFailure,
    header_block,
    parse_target,
)


async def test_the_request_is_on_the_wire_byte_for_byte_as_given(receive: Receivers, client: HttpTransport) -> None:
    receiver = await receive(always(OK))
    fixed = header_block([(b"User-Agent", b"Posthorn")])
    headers = ((b"X-B", b"2"), (b"x-a", b"\xc3\xa9; 1"), (b"X-B", b"3"))

    response = await client.send(
        to(receiver.url("/a%20b/../c?x=1&y=ü"), fixed_headers=fixed, headers=headers, body=b'{"a": 1}\r\n\0')
    )

    assert response.status == 200
    (received,) = receiver.requests
    assert received.head == (
        b"POST /a%20b/../c?x=1&y=%C3%BC HTTP/1.1\r\nHost: 127.0.0.1:" + str(receiver.port).encode() + b"\r\n"
        b"User-Agent: Posthorn\r\nX-B: 2\r\nx-a: \xc3\xa9; 1\r\nX-B: 3\r\nContent-Length: 11\r\n\r\n"
    )
    assert received.body == b'{"a": 1}\r\n\0'


async def test_the_response_comes_back_with_its_bytes_peer_and_timings(
    receive: Receivers, client: HttpTransport
) -> None:
    receiver = await receive(always(b"HTTP/1.1 201 Made\r\nX-One: 1\r\nset-cookie: a\r\nContent-Length: 3\r\n\r\na\0b"))

    response = await client.send(to(parse_target(receiver.url())))

    assert isinstance(response, OutboundResponse)
    assert (response.status, response.body, response.truncated) == (201, b"a\0b", False)
    assert response.headers == ((b"X-One", b"1"), (b"set-cookie", b"a"), (b"Content-Length", b"3"))
    assert response.peer_address == "127.0.0.1"
    timings = response.timings
    assert not timings.reused
    assert timings.connect_us > 0
    assert timings.wait_us > 0
    assert timings.dns_us == timings.tls_us == 0
    assert timings.total_us >= timings.connect_us + timings.wait_us


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_carry_their_body(receive: Receivers, client: HttpTransport, method: str) -> None:
    receiver = await receive(always(OK))
    response = await client.send(to(receiver.url(), method=method, body=b"x"))
    assert response.status == 200
    assert receiver.requests[0].head.startswith(method.encode() + b" /hook HTTP/1.1\r\n")
    assert receiver.requests[0].body == b"x"


async def test_a_get_without_body_has_no_content_length_and_an_empty_post_has_one(
    receive: Receivers, client: HttpTransport
) -> None:
    receiver = await receive(always(OK))
    await client.send(to(receiver.url(), method="GET"))
    await client.send(to(receiver.url(), method="POST"))
    assert b"content-length" not in receiver.requests[0].head.lower()
    assert b"Content-Length: 0\r\n" in receiver.requests[1].head


async def test_a_redirect_is_returned_and_not_followed(receive: Receivers, client: HttpTransport) -> None:
    elsewhere = await receive(always(OK))
    location = elsewhere.url().encode()
    receiver = await receive(always(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"))
    response = await client.send(to(receiver.url()))
    assert response.status == 302
    assert elsewhere.connections == 0


async def test_a_compressed_body_is_left_as_it_is(receive: Receivers, client: HttpTransport) -> None:
    packed = gzip.compress(b"x" * 100_000)
    receiver = await receive(
        always(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
    )
    assert (await client.send(to(receiver.url()))).body == packed


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Trailer: t\r\n\r\n"
)


@pytest.mark.parametrize(
    ("answer", "status", "body", "is_kept"),
    [
        (CHUNKED, 200, b"abcdefg", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + OK, 200, b"ok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 500\r\nContent-Length: 1\r\n\r\n!", 500, b"!", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n!", 200, b"!", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n!", 200, b"!", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n!", 200, b"!", True),
        # A second response to one request, whole or begun, spoils the connection but not the first one.
        (OK + OK, 200, b"ok", False),
        (OK + b"HTTP", 200, b"ok", False),
        (OK + b"garbage", 200, b"ok", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204, b"", False),
    ],
)
async def test_framing_decides_the_body_and_whether_the_connection_is_kept(
    receive: Receivers, client: HttpTransport, answer: bytes, status: int, body: bytes, is_kept: bool
) -> None:
    receiver = await receive(always(answer))
    first = await client.send(to(receiver.url()))
    assert (first.status, first.body) == (status, body)
    assert not any(name.lower() in {b"x-trailer", b"link"} for name, _ in first.headers)
    second = await client.send(to(receiver.url()))
    assert (second.status, second.body) == (status, body)
    assert second.timings.reused is is_kept
    assert receiver.connections == (1 if is_kept else 2)


@pytest.mark.parametrize("coding", [b"", b"Transfer-Encoding: gzip\r\n"])
async def test_a_body_without_length_ends_with_the_connection(
    receive: Receivers, client: HttpTransport, coding: bytes
) -> None:
    receiver = await receive(once_then_close(b"HTTP/1.1 200 OK\r\n" + coding + b"\r\nuntil the end"))
    response = await client.send(to(receiver.url()))
    assert (response.status, response.body) == (200, b"until the end")


async def test_a_head_response_has_no_body_whatever_its_length_says(receive: Receivers, client: HttpTransport) -> None:
    receiver = await receive(always(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"))
    for _ in range(2):
        response = await client.send(to(receiver.url(), method="HEAD"))
        assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example ESMTP\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x00\x05hello",
    ],
)
async def test_an_answer_that_is_not_valid_http_is_a_protocol_error(
    receive: Receivers, client: HttpTransport, answer: bytes
) -> None:
    receiver = await receive(always(answer))
    failure = await client.send(to(receiver.url()))
    assert isinstance(failure, TransportFailure)
    assert failure.code is FailureCode.PROTOCOL_ERROR
    assert failure.timings.total_us > 0


async def test_a_switch_of_protocols_is_named(receive: Receivers, client: HttpTransport) -> None:
    receiver = await receive(always(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"))
    failure = await client.send(to(receiver.url()))
    assert failure.code is FailureCode.PROTOCOL_ERROR
    assert "switched to a protocol" in failure.detail


async def test_a_server_that_speaks_first_gets_a_protocol_error(receive: Receivers, client: HttpTransport) -> None:
    async def greet(peer: Peer) -> None:
        await peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    receiver = await receive(greet)
    assert (await client.send(to(receiver.url()))).code is FailureCode.PROTOCOL_ERROR


async def test_a_large_body_arrives_whole_and_the_connection_is_kept(receive: Receivers, client: HttpTransport) -> None:
    receiver = await receive(always(OK))
    body = bytes(range(256)) * 8192
    for _ in range(2):
        assert (await client.send(to(receiver.url(), body=body))).status == 200
    assert [received.body == body for received in receiver.requests] == [True, True]
    assert receiver.connections == 1


async def test_a_receiver_that_answers_413_before_it_has_read_the_body_is_heard(
    receive: Receivers, client: HttpTransport
) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")

    receiver = await receive(refuse)
    response = await client.send(to(receiver.url(), body=bytes(16 * 1024 * 1024)))
    assert (response.status, response.body) == (413, b"big")


async def test_a_connection_whose_request_was_not_read_to_its_end_is_not_kept(
    receive: Receivers, client: HttpTransport
) -> None:
    async def early(peer: Peer) -> None:
        if peer.number == 1:
            await peer.reader.readuntil(b"\r\n\r\n")
            peer.writer.transport.pause_reading()
            await peer.send(OK)
            await asyncio.get_running_loop().create_future()
        await always(OK)(peer)

    receiver = await receive(early)
    assert (await client.send(to(receiver.url(), body=bytes(32 * 1024 * 1024)))).status == 200
    second = await client.send(to(receiver.url()))
    assert second.status == 200
    assert not second.timings.reused
