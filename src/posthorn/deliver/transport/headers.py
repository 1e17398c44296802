"""The request head: which methods and headers may be sent, and how they are written.

Header injection is refused here, for every caller at once: no line break or NUL can leave in a name or value,
and nobody but the transport frames a message (RFC 9112 §6, §9).
"""

import re
from collections.abc import Sequence

import msgspec

from posthorn.deliver.transport.failures import FailureCode, Refusal, refusal
from posthorn.deliver.transport.target import Target

_METHODS = {name: name.encode() for name in ("POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS")}
# RFC 9110 §8.6: these say that they have a body even when it is empty.
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

OWNED_HEADERS = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"upgrade",
        b"expect",
        b"te",
        b"trailer",
    }
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")

_COLON = b": "

# Names seen to be good. Senders use a handful of names for millions of requests; the bound stops a flood of
# generated names from growing it.
_good_names: set[bytes] = set()
_MAX_GOOD_NAMES = 4096


class HeaderBlock(msgspec.Struct, frozen=True, gc=False):
    """Checked header lines, ready for the wire, to be built once and sent often."""

    wire: bytes

    def __repr__(self) -> str:
        return f"HeaderBlock({len(self.wire)} bytes)"


NO_HEADERS = HeaderBlock(b"")


def header_block(headers: Sequence[tuple[bytes, bytes]]) -> HeaderBlock | Refusal:
    """Check header lines that many requests share and write them once."""
    wire = _header_lines(headers)
    return wire if isinstance(wire, Refusal) else HeaderBlock(wire)


def request_head(
    method: str, target: Target, fixed: HeaderBlock, headers: Sequence[tuple[bytes, bytes]], body_length: int
) -> bytes | Refusal:
    """Write everything of a request that goes before its body."""
    verb = _METHODS.get(method)
    if verb is None:
        return refusal(FailureCode.METHOD_NOT_ALLOWED)
    lines = _header_lines(headers)
    if isinstance(lines, Refusal):
        return lines
    start = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (verb, target.raw_target, target.host_header)
    if body_length or method in _METHODS_WITH_BODY:
        return b"%b%b%bContent-Length: %d\r\n\r\n" % (start, fixed.wire, lines, body_length)
    return b"%b%b%b\r\n" % (start, fixed.wire, lines)


def _header_lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes | Refusal:
    for name, _ in headers:
        if name not in _good_names:
            problem = _name_problem(name)
            if problem is not None:
                return problem
    if not headers:
        return b""
    lines = b"\r\n".join(map(_COLON.join, headers))
    # One pass over the whole block instead of one per value: between the lines stand two bytes of ours each.
    if len(lines) - len(lines.translate(None, b"\r\n\0")) != 2 * len(headers) - 2:
        return refusal(FailureCode.HEADER_NOT_ALLOWED, "A header's value contains a line break or NUL; remove it.")
    return lines + b"\r\n"


def _name_problem(name: bytes) -> Refusal | None:
    if not _TOKEN.fullmatch(name):
        return refusal(
            FailureCode.HEADER_NOT_ALLOWED,
            "A header's name is empty, too long, or has characters that a name must not have.",
        )
    if name.lower() in OWNED_HEADERS:
        return refusal(
            FailureCode.HEADER_NOT_ALLOWED,
            f"The header {name.decode('ascii')} is set by Posthorn itself; remove it.",
        )
    if len(_good_names) < _MAX_GOOD_NAMES:
        _good_names.add(name)
    return None
