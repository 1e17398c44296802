"""Compressed bodies, unpacked to no more than they may be. Pure."""

import zlib
from enum import StrEnum

_GZIP = 16 + zlib.MAX_WBITS


class NotInflated(StrEnum):
    """Why a body could not be unpacked."""

    UNKNOWN = "unsupported_encoding"
    BROKEN = "invalid_gzip"
    TOO_LARGE = "payload_too_large"


def inflated(body: bytes, encoding: bytes | None, *, limit_bytes: int) -> bytes | NotInflated:
    """Unpack a body as its Content-Encoding says; never more than `limit_bytes` are made of it."""
    if encoding is None or (encoding := encoding.strip().lower()) in {b"", b"identity"}:
        return body
    if encoding not in {b"gzip", b"x-gzip"}:
        return NotInflated.UNKNOWN
    parts: list[bytes] = []
    room = limit_bytes
    rest = body
    try:
        while rest:  # RFC 1952: a file is one member after another
            unpacking = zlib.decompressobj(_GZIP)
            part = unpacking.decompress(rest, room + 1)
            if len(part) > room:
                return NotInflated.TOO_LARGE
            if not unpacking.eof:
                return NotInflated.BROKEN
            parts.append(part)
            room -= len(part)
            rest = unpacking.unused_data
    except zlib.error:
        return NotInflated.BROKEN
    return b"".join(parts) if parts else NotInflated.BROKEN
