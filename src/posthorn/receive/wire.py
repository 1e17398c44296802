"""Decoding JSON bodies strictly, with errors that name the place."""

import re
from typing import TypeVar

import msgspec

from posthorn.errors import Invalid

T = TypeVar("T")

# A backslash that is escaped itself, a whole pair, or half a pair, which is no character (RFC 8259, section 8.2).
_SURROGATES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)

TOO_DEEP = "the JSON is nested too deeply"

_AT = re.compile(r" - at `(.*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[(\.\.\.)\]")
_UNKNOWN = re.compile(r"unknown field `(.+?)`")
_MISSING = re.compile(r"missing required field `(.+?)`")
_OFFSET = re.compile(r"\(byte (\d+)\)")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a body. Raises Invalid with the place of the first problem."""
    try:
        decoded = decoder.decode(body)
        check_text(body)
    except msgspec.ValidationError as error:
        raise validation_problem(error) from None
    except msgspec.DecodeError as error:
        raise syntax_problem(error, body) from None
    except UnicodeDecodeError as error:
        msg = f"the body is not UTF-8: {error.reason} at byte {error.start}"
        raise Invalid.at("body", msg=msg, type="json_invalid") from None
    except RecursionError:
        raise Invalid.at("body", msg=TOO_DEEP, type="json_invalid") from None
    return decoded


def with_whole_characters(body: bytes) -> bytes:
    """Replace half surrogate pairs by U+FFFD: browsers write them where a text was cut within an emoji."""
    return _SURROGATES.sub(lambda found: b"\\ufffd" if found.group(1) else found.group(), body)


def check_text(body: bytes) -> None:
    """Look into what `msgspec.Raw` leaves unread: raises UnicodeDecodeError when it is not UTF-8, and so no JSON."""
    if not body.isascii():
        body.decode()


def validation_problem(error: msgspec.ValidationError, *prefix: str | int) -> Invalid:
    """Turn msgspec's message and its path into a located problem."""
    text = str(error)
    loc: list[str | int] = list(prefix) or ["body"]
    at = _AT.search(text)
    if at is not None:
        text = text[: at.start()]
        for name, index, _ in _STEP.findall(at.group(1)):
            loc.append(int(index) if index else name or "...")
    kind = "value_error"
    unknown, missing = _UNKNOWN.search(text), _MISSING.search(text)
    if unknown is not None:
        loc.append(unknown.group(1))
        text, kind = f"unknown field {unknown.group(1)!r}", "extra_forbidden"
    elif missing is not None:
        loc.append(missing.group(1))
        text, kind = "this field is required", "missing"
    return Invalid.at(*loc, msg=text, type=kind)


def syntax_problem(error: msgspec.DecodeError, body: bytes) -> Invalid:
    """Say where JSON breaks, as line and column."""
    offset = _OFFSET.search(str(error))
    at = int(offset.group(1)) if offset is not None else len(body)
    before = body[:at]
    line = before.count(b"\n") + 1
    column = at - (before.rfind(b"\n") + 1) + 1
    text = _OFFSET.sub("", str(error)).strip()
    return Invalid.at("body", msg=f"not JSON: {text} (line {line}, column {column})", type="json_invalid")
