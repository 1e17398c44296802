"""How a URL is taken apart, and which are refused because they could be read in two ways."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from posthorn.deliver.transport import FailureCode, Refusal, Target, parse_target

FULL_WIDTH_LOOPBACK = "１２７.０.０.１"
CIRCLED_LOOPBACK = "①②⑦.⓪.⓪.①"


@pytest.mark.parametrize(
    ("url", "origin", "host_header", "raw_target"),
    [
        ("http://example.com", "http://example.com:80", b"example.com", b"/"),
        ("HTTPS://Example.COM/", "https://example.com:443", b"example.com", b"/"),
        ("https://example.com:443/a", "https://example.com:443", b"example.com", b"/a"),
        ("https://example.com:80/a", "https://example.com:80", b"example.com:80", b"/a"),
        ("http://example.com?x=1", "http://example.com:80", b"example.com", b"/?x=1"),
        ("http://example.com./", "http://example.com:80", b"example.com", b"/"),
        ("http://a.test/b/../c//d;e?x=%2F%zz&y=a+b", "http://a.test:80", b"a.test", b"/b/../c//d;e?x=%2F%zz&y=a+b"),
        ("http://a.test/ü?ключ=✓", "http://a.test:80", b"a.test", b"/%C3%BC?%D0%BA%D0%BB%D1%8E%D1%87=%E2%9C%93"),
        ("http://bücher.example/", "http://xn--bcher-kva.example:80", b"xn--bcher-kva.example", b"/"),
        ("http://BÜCHER。example/", "http://xn--bcher-kva.example:80", b"xn--bcher-kva.example", b"/"),
        ("http://my_service:8000/", "http://my_service:8000", b"my_service:8000", b"/"),
        ("http://8.8.8.8:8080/", "http://8.8.8.8:8080", b"8.8.8.8:8080", b"/"),
        ("http://[2606:4700:0:0:0:0:0:1111]:81/", "http://[2606:4700::1111]:81", b"[2606:4700::1111]:81", b"/"),
        ("http://1and1.example/@x:y", "http://1and1.example:80", b"1and1.example", b"/@x:y"),
    ],
)  # fmt: skip
def test_a_good_url_is_taken_apart(url: str, origin: str, host_header: bytes, raw_target: bytes) -> None:
    target = parse_target(url)
    assert isinstance(target, Target), target
    assert (target.origin, target.host_header, target.raw_target) == (origin, host_header, raw_target)
    assert target.is_tls is origin.startswith("https")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/", FailureCode.SCHEME_NOT_ALLOWED),
        ("file:///etc/passwd", FailureCode.SCHEME_NOT_ALLOWED),
        ("gopher://example.com:6379/_SET", FailureCode.SCHEME_NOT_ALLOWED),
        ("javascript://example.com/%0aalert(1)", FailureCode.SCHEME_NOT_ALLOWED),
        ("http://user@example.com/", FailureCode.URL_HAS_CREDENTIALS),
        ("http://user:secret@example.com/", FailureCode.URL_HAS_CREDENTIALS),
        ("http://good.example@10.0.0.1/", FailureCode.URL_HAS_CREDENTIALS),
        ("http://@example.com/", FailureCode.URL_HAS_CREDENTIALS),
        *(
            (url, FailureCode.URL_INVALID)
            for url in (
                "", "example.com", "//example.com/", "http:/example.com", "http:example.com", "http://", "http:///x",
                "http://?x", "http://:80/", "http://example.com:/", "http://example.com:0/", "http://example.com:65536/",
                "http://example.com:8o/", "http://example.com:+80/", "http://example.com:٨٠/", "http://example.com:80:81/",
                "http://example.com/#top", "http://example.com#@10.0.0.1/", "http://exa mple.com/",
                "http://example.com/a b",
               " http://example.com/", "http://example.com/\r\nX: 1", "http://example.com/\t", "http://example.com/\0",
                "http://example.com\\@10.0.0.1/", "http://example.com/a\\b", "http://example.com/\ud800",
                "http://example.com/\x7f", "http://example.com/\x85", "http://example.com/\xa0",
                "http://%31%32%37.0.0.1/", "http://example%2ecom/", "http://exa..mple.com/", "http://.example.com/",
                "http://example.com../", "http://-example.com/", "http://example-.com/", "http://exa!mple.com/",
                "http://" + "a" * 64 + ".com/", "http://" + "a." * 127 + "com/", "http://example.com/" + "a" * 4096,
                # Odd spellings of addresses, which the C library would happily connect to.
                "http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/",
                "http://0177.0.0.1/", "http://127.0.0.01/", "http://0/", "http://0x/", "http://127.0.0.1.1/",
                "http://256.0.0.1/", "http://1.2.3.0x4/", "http://example.com.1/", "http://8.8.8.8./",
                "http://127.0.0.1./", "http://127.0.0.1../",
                f"http://{FULL_WIDTH_LOOPBACK}/", f"http://{CIRCLED_LOOPBACK}/", "http://127。0。0。1/",
                "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[::1", "http://[::1]x/", "http://[]/",
                "http://[127.0.0.1]/", "http://[v1.a]/", "http://::1/", "http://[::1]:x/", "http://☃☃\u200d.example/",
            )
        ),
    ],
)  # fmt: skip
def test_a_url_with_two_readings_is_refused(url: str, code: FailureCode) -> None:
    refused = parse_target(url)
    assert isinstance(refused, Refusal), refused
    assert refused.code is code
    assert refused.detail.endswith(".")


@given(st.text(max_size=40) | st.from_regex(r"https?://[^ ]{0,30}", fullmatch=True))
@example("http://0X7F.1/")
def test_any_text_is_parsed_or_refused_and_what_is_parsed_is_safe_to_send(text: str) -> None:
    target = parse_target(text)
    if isinstance(target, Refusal):
        return
    assert target.scheme in {"http", "https"}
    assert 1 <= target.port <= 65_535
    assert target.raw_target.startswith(b"/")
    for sent in (target.raw_target, target.host_header):
        assert not any(byte <= 0x20 or byte >= 0x7F for byte in sent)


@given(st.text(alphabet="0123456789abcdefxX.", min_size=1, max_size=16))
def test_a_host_that_the_c_library_reads_as_an_address_is_that_address_or_refused(host: str) -> None:
    target = parse_target(f"http://{host}/")
    try:
        meant = socket.inet_ntoa(socket.inet_aton(host.removesuffix(".")))
    except OSError:
        return
    assert isinstance(target, Refusal) or (target.is_literal and target.host == meant)


@given(st.ip_addresses())
def test_an_address_is_canonical_and_marked_as_literal(address: IPv4Address | IPv6Address) -> None:
    host = f"[{address.exploded}]" if address.version == 6 else str(address)
    target = parse_target(f"http://{host}:8080/")
    assert isinstance(target, Target)
    assert target.is_literal
    assert ip_address(target.host) == address


@given(
    st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,3}", fullmatch=True),
    st.integers(1, 65_535),
    st.text("abc/?=&%.-", max_size=20),
)
def test_plain_urls_are_read_as_the_standard_library_reads_them(host: str, port: int, tail: str) -> None:
    url = f"http://{host}:{port}/{tail}"
    target, split = parse_target(url), urlsplit(url)
    assert isinstance(target, Target)
    assert (target.host, target.port) == (split.hostname, split.port)
    assert target.raw_target.decode() == url.partition(f":{port}")[2]


def test_neither_repr_nor_str_shows_a_path_that_may_be_a_secret() -> None:
    target = parse_target("https://hooks.example.com/services/T0/s3cr3t")
    assert "s3cr3t" not in f"{target} {target!r}"
