"""Bytes on the wire: JSON as it stands, anything else as base64."""

from base64 import b64encode

import msgspec
from msgspec import Raw


def json_or_none(body: bytes) -> Raw | None:
    """Return bytes as they are when they are JSON, so that not a digit of a number changes; None when they are not."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Raw(body)


def base64_of(body: bytes) -> str:
    """Encode bytes that are no JSON."""
    return b64encode(body).decode("ascii")


def json_or_base64(body: bytes | None) -> tuple[Raw | None, str | None]:
    """Return bytes as JSON when they are, else as base64; nothing for none."""
    if not body:
        return None, None
    raw = json_or_none(body)
    return (raw, None) if raw is not None else (None, base64_of(body))


def text_or_base64(body: bytes | None) -> tuple[str | None, str | None]:
    """Return bytes as text when they are UTF-8, else as base64; nothing for none."""
    if body is None:
        return None, None
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64_of(body)
