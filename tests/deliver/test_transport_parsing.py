"""The connection's parser under arbitrary packets, without a network."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.deliver.transport import FailureCode, OutboundRequest
from posthorn.deliver.transport.connection import Connection

REQUEST = OutboundRequest(target="http://example.com/")
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    (
        b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;x\r\nhe\r\n3\r\nllo\r\n0\r\nT: u\r\n\r\n"
    ),
    b"HTTP/1.1 204 No Content\r\n\r\n",
]


class Wire(asyncio.Transport):
    """Remembers what was written and whether it was dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_dropped = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.is_dropped = True

    close = abort


class Owner:
    def on_made(self, connection: Connection) -> None: ...

    def on_lost(self, connection: Connection) -> None: ...


class Waiter:
    """Stands where the future of a send would."""

    def __init__(self) -> None:
        self.times_done = 0

    def done(self) -> bool:
        return bool(self.times_done)

    def set_result(self, result: None) -> None:
        self.times_done += 1


def begun() -> tuple[Connection, Wire, Waiter]:
    connection, wire, waiter = Connection(Owner(), "http://example.com:80", "192.0.2.1", lambda: 1.0), Wire(), Waiter()
    connection.connection_made(wire)
    connection.begin(b"POST / HTTP/1.1\r\n\r\n", REQUEST, waiter)
    return connection, wire, waiter


def outcome(connection: Connection) -> tuple[object, ...]:
    return (
        connection.failure,
        connection.status,
        connection.headers,
        connection.body,
        connection.is_truncated,
        connection.is_reusable,
    )


@given(st.sampled_from(RESPONSES), st.lists(st.integers(1, 100), max_size=8))
def test_a_response_means_the_same_however_it_is_cut_into_packets(response: bytes, cuts: list[int]) -> None:
    whole, _, _ = begun()
    whole.data_received(response)
    cut, wire, waiter = begun()
    edges = sorted({0, len(response), *(edge for edge in cuts if edge < len(response))})
    for start, end in pairwise(edges):
        cut.data_received(response[start:end])
    assert outcome(cut) == outcome(whole)
    assert whole.is_reusable
    assert waiter.times_done == 1
    assert not wire.is_dropped


@given(st.lists(st.binary(min_size=1, max_size=60) | st.sampled_from(RESPONSES), max_size=6))
def test_arbitrary_packets_end_in_one_outcome_and_never_raise(packets: list[bytes]) -> None:
    connection, _, waiter = begun()
    for packet in packets:
        connection.data_received(packet)
    connection.eof_received()
    connection.connection_lost(None)
    assert waiter.times_done == 1
    assert connection.failure is not None or 200 <= connection.status <= 999
    assert not connection.is_reusable


@given(st.sampled_from(RESPONSES), st.data())
def test_a_response_that_stops_short_is_a_failure_never_a_short_response(response: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(response) - 1))
    connection, _, waiter = begun()
    connection.data_received(response[:end])
    connection.eof_received()
    connection.connection_lost(None)
    assert waiter.times_done == 1
    assert connection.failure is not None
    assert connection.failure.code is FailureCode.CONNECTION_CLOSED


@pytest.mark.parametrize("extra", [b"x", b"HTTP/1.1 200 OK\r\n", b"\0"])
def test_bytes_after_a_response_drop_the_connection(extra: bytes) -> None:
    connection, wire, _ = begun()
    connection.data_received(RESPONSES[0])
    assert connection.is_reusable
    connection.data_received(extra)
    assert not connection.is_reusable
    assert wire.is_dropped
    assert connection.body == b"hello"


def test_a_lost_connection_refuses_to_begin() -> None:
    connection, wire, _ = begun()
    connection.data_received(RESPONSES[2])
    connection.rest(2.0)
    connection.connection_lost(None)
    waiter = Waiter()
    connection.begin(b"POST / HTTP/1.1\r\n\r\n", REQUEST, waiter)
    assert waiter.times_done == 1
    assert connection.failure.code is FailureCode.CONNECTION_CLOSED
    assert wire.written.count(b"POST") == 1


def test_a_connection_that_the_server_half_closes_while_idle_takes_no_request() -> None:
    connection, _, _ = begun()
    connection.data_received(RESPONSES[0])
    connection.rest(2.0)
    assert connection.is_idle
    connection.eof_received()
    assert not connection.is_idle
