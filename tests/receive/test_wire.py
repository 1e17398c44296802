"""Decoding: nothing but Invalid comes out, whatever comes in."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.errors import Invalid
from posthorn.receive.events import _decoded
from posthorn.receive.messages import _decoder
from posthorn.receive.wire import decode

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
).map(msgspec.json.encode)
fragments = st.lists(
    st.sampled_from(
        [b'{"eventType":', b'"a"', b",", b'"payload":', b"{}", b"[", b"]", b"}", b"\xff", b"\n", b'"', b"1e999"]
    )
).map(b"".join)
bodies = st.binary(max_size=80) | json_like | fragments


@given(bodies)
def test_a_message_decodes_or_is_invalid(body: bytes) -> None:
    try:
        message = decode(_decoder, body)
    except Invalid as error:
        places = [problem.loc[0] for problem in error.problems]
    else:
        places = ["body"]
        assert bytes(message.payload) in body
    assert places == ["body"]


@given(bodies, st.sampled_from([b"application/json", b"application/x-ndjson"]))
def test_events_decode_or_are_invalid(body: bytes, content_type: bytes) -> None:
    try:
        found = _decoded({"headers": [(b"content-type", content_type)]}, body)
    except Invalid as error:
        found = error.problems
    assert found


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"eventType":"a","payload":['])
def test_nesting_without_end_is_invalid(opening: bytes) -> None:
    with pytest.raises(Invalid):
        decode(_decoder, opening + b"[" * 100_000)
    with pytest.raises(Invalid, match="nested too deeply"):
        decode(msgspec.json.Decoder(), opening + b"[" * 100_000)


def test_the_place_of_a_syntax_error_is_a_line_and_a_column() -> None:
    with pytest.raises(Invalid, match=r"line 2, column 3"):
        decode(_decoder, b"{\n  nope}")
