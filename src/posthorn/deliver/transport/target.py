"""A URL taken apart strictly, once, into what a send needs. Pure; does not know what is allowed.

Parsers that disagree about a URL are how private addresses get reached (SSRF), so everything that two parsers
could read in two ways is refused, and the one reading that we check is the one that we connect to.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import idna
import msgspec

from posthorn.deliver.transport.failures import FailureCode, Refusal, refusal

MAX_URL_CHARACTERS = 4096
_MAX_HOST_CHARACTERS = 253
_MEMOISED_URLS = 16_384
_DEFAULT_PORTS = {"http": 80, "https": 443}

# A backslash is a path separator to browsers and an ordinary character to RFC 3986, so it has no one meaning.
_FORBIDDEN_CHARACTER = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_AUTHORITY_END = re.compile(r"[/?#]|$")
_PORT = re.compile(r"[0-9]{1,5}")
# Underscores are not in RFC 952's letters, but real host names (and container names) have them.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


class Target(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a request goes.

    `host` is a lower-case A-label name without trailing dot, or a canonical IP literal without brackets;
    `raw_target` is the path and query as sent; `host_header` the Host value; `origin` the key that
    connections are shared under. Its repr leaves the path out: many receivers put a secret there.
    """

    scheme: str
    host: str
    port: int
    raw_target: bytes
    host_header: bytes
    origin: str
    is_literal: bool

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"

    def __repr__(self) -> str:
        return f"Target({self.origin}/…)"


@lru_cache(maxsize=_MEMOISED_URLS)
def parse_target(url: str) -> Target | Refusal:
    """Parse an absolute http(s) URL (RFC 3986), memoised.

    Refused: other schemes, user info, a fragment (it would never be sent), spaces, control characters and
    backslashes anywhere, an empty or odd port, percent-encoding in the host, zone ids, and every IPv4
    spelling but four plain decimal numbers. Non-ASCII hosts become A-labels (UTS 46), non-ASCII paths
    percent-encoded UTF-8; the path and query are otherwise sent exactly as given.
    """
    problem = _whole_url_problem(url)
    if problem is not None:
        return problem
    scheme_match = _SCHEME.match(url)
    if scheme_match is None:
        return _invalid("Write the whole URL, such as https://example.com/hook.")
    scheme = scheme_match[1].lower()
    if scheme not in _DEFAULT_PORTS:
        return refusal(FailureCode.SCHEME_NOT_ALLOWED)
    authority_end = _AUTHORITY_END.search(url, scheme_match.end())
    split_at = authority_end.start() if authority_end else len(url)
    authority, tail = url[scheme_match.end() : split_at], url[split_at:]
    if "@" in authority:
        return refusal(FailureCode.URL_HAS_CREDENTIALS)
    host_and_port = _split_authority(authority, _DEFAULT_PORTS[scheme])
    if isinstance(host_and_port, Refusal):
        return host_and_port
    host, port = host_and_port
    return _target(scheme, host, port, tail)


def _whole_url_problem(url: str) -> Refusal | None:
    if len(url) > MAX_URL_CHARACTERS:
        return _invalid(f"The URL is longer than {MAX_URL_CHARACTERS} characters.")
    if _FORBIDDEN_CHARACTER.search(url):
        return _invalid("The URL contains a space, control character or backslash; percent-encode it.")
    if "#" in url:
        return _invalid("The URL has a fragment (#…), which is never sent; remove it.")
    return None


def _split_authority(authority: str, default_port: int) -> tuple[str, int] | Refusal:
    if authority.startswith("["):
        literal, bracket, after = authority[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            return _invalid("The IPv6 address is not closed by a bracket.")
        host = _ipv6_host(literal)
        colon, port_text = after[:1], after[1:]
    else:
        name, colon, port_text = authority.partition(":")
        host = _named_host(name)
    if isinstance(host, Refusal):
        return host
    if not colon:
        return host, default_port
    port = int(port_text) if _PORT.fullmatch(port_text) else 0
    if not 1 <= port <= 65_535:
        return _invalid("The port must be a number from 1 to 65535.")
    return host, port


def _ipv6_host(literal: str) -> str | Refusal:
    if "%" in literal:
        return _invalid("The IPv6 address has a zone id, which means something on one machine only.")
    try:
        return IPv6Address(literal).compressed
    except ValueError:
        return _invalid("The address in brackets is not an IPv6 address.")


def _named_host(name: str) -> str | Refusal:
    if not name or "%" in name:
        return _invalid("The URL has no host, or a percent-encoded one; write it in plain characters.")
    if len(name) > _MAX_HOST_CHARACTERS + 1:
        return _invalid("The host name is longer than 253 characters.")
    host = name.lower() if name.isascii() else _a_labels(name)
    if isinstance(host, Refusal):
        return host
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > _MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        return _invalid("The host is not a valid host name.")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        return _ipv4_host(name)
    return host


def _a_labels(name: str) -> str | Refusal:
    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return _invalid("The host is not a valid international host name; write it in its xn-- form.")


def _ipv4_host(name: str) -> str | Refusal:
    # A name whose last label is a number is an address to every C library, in hex, octal, dword or short form
    # (WHATWG URL, "ends in a number"). IPv4Address reads four plain decimal numbers only; digits of other
    # scripts are refused because `name` is the spelling before any mapping.
    try:
        return str(IPv4Address(name)) if name.isascii() else _odd_address()
    except ValueError:
        return _odd_address()


def _odd_address() -> Refusal:
    return _invalid("Write an IPv4 address as four decimal numbers, such as 203.0.113.7.")


def _target(scheme: str, host: str, port: int, tail: str) -> Target:
    bracketed = f"[{host}]" if ":" in host else host
    host_header = bracketed if port == _DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"
    if not tail.startswith("/"):
        tail = f"/{tail}"
    return Target(
        scheme=scheme,
        host=host,
        port=port,
        raw_target=_NOT_ASCII.sub(_percent_encode, tail).encode("ascii"),
        host_header=host_header.encode("ascii"),
        origin=f"{scheme}://{bracketed}:{port}",
        is_literal=":" in host or host.rpartition(".")[2].isdigit(),
    )


def _percent_encode(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8"))


def _invalid(detail: str) -> Refusal:
    return refusal(FailureCode.URL_INVALID, detail)
