"""Which headers people may add."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.deliver.transport.failures import Refusal
from posthorn.deliver.transport.headers import header_block
from posthorn.errors import Invalid
from posthorn.manage.header_rules import check_headers


@given(name=st.text(max_size=20), value=st.text(max_size=40))
def test_whatever_is_accepted_can_be_sent(name: str, value: str) -> None:
    try:
        check_headers({name: value}, "headers")
    except Invalid:
        return
    block = header_block([(name.encode("ascii"), value.encode("latin-1"))])
    assert not isinstance(block, Refusal)


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "Webhook-Id",
        "svix-x",
        "posthorn-hops",
        "",
        "a b",
        "a:",
    ],
)
def test_a_header_that_is_not_the_callers_to_set_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        check_headers({name: "x"}, "headers")


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "\x00", " padded", "padded ", "\u20ac", "x" * 4097])
def test_a_value_that_cannot_travel_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        check_headers({"x": value}, "headers")


@pytest.mark.parametrize("value", ["", "a b\tc", "\xe9", "x" * 4096])
def test_a_value_that_can_travel_is_accepted(value: str) -> None:
    check_headers({"x": value}, "headers")


def test_more_headers_than_a_request_should_have_are_refused() -> None:
    with pytest.raises(Invalid):
        check_headers({f"x-{number}": "1" for number in range(65)}, "headers")
