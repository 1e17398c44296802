"""What a request head may contain, proven against an independent request parser."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.deliver.transport import (
    NO_HEADERS,
    OWNED_HEADERS,
    FailureCode,
    HeaderBlock,
    OutboundRequest,
    Refusal,
    header_block,
    parse_target,
)
from posthorn.deliver.transport.headers import request_head

TARGET = parse_target("http://example.com/hook")
TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", min_size=1, max_size=20).map(str.encode)


def test_fixed_headers_go_before_the_others_and_the_length_goes_last() -> None:
    fixed = header_block([(b"A", b"1"), (b"B", b"2")])
    head = request_head("POST", TARGET, fixed, [(b"C", b"3")], 7)
    assert head == (b"POST /hook HTTP/1.1\r\nHost: example.com\r\nA: 1\r\nB: 2\r\nC: 3\r\nContent-Length: 7\r\n\r\n")


@pytest.mark.parametrize("name", sorted(OWNED_HEADERS))
def test_headers_that_frame_or_route_a_message_are_refused_in_any_case(name: bytes) -> None:
    for spelling in (name, name.title(), name.upper()):
        refused = header_block([(b"X-Fine", b"1"), (spelling, b"1")])
        assert isinstance(refused, Refusal)
        assert refused.code is FailureCode.HEADER_NOT_ALLOWED
        assert spelling.decode() in refused.detail


@pytest.mark.parametrize("name", [b"", b"X Y", b"X:", b"X\r", b"X\nY", b"\0", b"X\t", b"(", b"\xc3\xa9", b"x" * 257])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    for _ in range(2):
        assert isinstance(header_block([(name, b"1")]), Refusal)


@pytest.mark.parametrize("value", [b"\r", b"\n", b"\0", b"a\r\nb", b"a\r\n\r\nPOST / HTTP/1.1", b"a\n", b"\rb", b"a\0"])
def test_a_value_with_a_line_break_or_nul_is_refused_wherever_it_stands(value: bytes) -> None:
    for headers in ([(b"A", value)], [(b"A", value), (b"B", b"")], [(b"A", b""), (b"B", value)]):
        refused = header_block(headers)
        assert isinstance(refused, Refusal)
        assert refused.code is FailureCode.HEADER_NOT_ALLOWED


@given(st.lists(st.tuples(TOKEN, st.binary(max_size=20)), max_size=6))
def test_a_line_break_anywhere_is_refused_and_nothing_else_in_a_value_is(headers: list[tuple[bytes, bytes]]) -> None:
    built = header_block(headers)
    is_bad = any(byte in value for _, value in headers for byte in b"\r\n\0")
    assert isinstance(built, Refusal) is is_bad


@given(
    st.lists(st.tuples(TOKEN, st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map(str.encode)))
)
def test_an_independent_parser_reads_exactly_the_headers_that_were_given(headers: list[tuple[bytes, bytes]]) -> None:
    read: list[tuple[bytes, bytes]] = []

    class Reader:
        def on_header(self, name: bytes, value: bytes) -> None:
            read.append((name, value))

    head = request_head("POST", TARGET, NO_HEADERS, headers, 3)
    assert isinstance(head, bytes)
    httptools.HttpRequestParser(Reader()).feed_data(head + b"abc")
    assert read == [(b"Host", b"example.com"), *headers, (b"Content-Length", b"3")]


def test_neither_requests_nor_header_blocks_show_their_secrets() -> None:
    block = header_block([(b"Authorization", b"Bearer s3cr3t")])
    assert isinstance(block, HeaderBlock)
    request = OutboundRequest(
        target="http://example.com/s3cr3t",
        headers=((b"X-Key", b"s3cr3t"),),
        fixed_headers=block,
        body=b"s3cr3t",
    )
    assert "s3cr3t" not in f"{block!r} {request!r} {request}"
