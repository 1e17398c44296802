"""Which headers people may add to what is sent and answered."""

import re
from collections.abc import Mapping

from posthorn.deliver.transport.headers import OWNED_HEADERS
from posthorn.errors import Invalid

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
# RFC 9110 section 5.5: visible characters, spaces and tabs inside; never a line break or NUL.
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_VALUE_MOST_CHARACTERS = 4096
_MOST_HEADERS = 64
_OWNED = frozenset(name.decode() for name in OWNED_HEADERS)
# The proof of origin and the loop counter are Posthorn's word; nobody else may write them.
_RESERVED_PREFIXES = ("webhook-", "svix-", "posthorn-")

# Headers that usually carry credentials are never shown again (the list of Svix's servers, and cookies).
SENSITIVE = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authenticate",
        "proxy-authorization",
        "www-authenticate",
        "x-api-key",
        "x-auth-token",
    }
)


def check_headers(headers: Mapping[str, str], *at: str | int, signed: bool = True, literal: bool = True) -> None:
    """Refuse header names and values that must not or cannot be sent.

    `signed` says that the request carries our signature, whose header names are then reserved; `literal` that the
    values are sent as they stand, and are no templates. Raises Invalid at `at` and the header's name.
    """
    if len(headers) > _MOST_HEADERS:
        raise Invalid.at(*at, msg=f"at most {_MOST_HEADERS} headers may be added")
    seen: set[str] = set()
    for name, value in headers.items():
        lower = name.lower()
        problem = _name_problem(name, lower, signed=signed)
        if problem is None and lower in seen:
            problem = "this header is given twice; names are compared without case"
        if problem is None and literal and not _is_value(value):
            problem = (
                f"a value has at most {_VALUE_MOST_CHARACTERS} visible characters and spaces, without line breaks "
                "and without spaces at its ends"
            )
        if problem is not None:
            raise Invalid.at(*at, name, msg=problem)
        seen.add(lower)


def _name_problem(name: str, lower: str, *, signed: bool) -> str | None:
    if not _TOKEN.fullmatch(name):
        return "a header's name has 1 to 128 letters, digits and !#$%&'*+-.^_`|~, nothing else"
    if lower in _OWNED:
        return "this header is set by Posthorn itself"
    if signed and lower.startswith(_RESERVED_PREFIXES):
        return "headers that start with webhook-, svix- or posthorn- are reserved"
    return None


def _is_value(value: str) -> bool:
    return len(value) <= _VALUE_MOST_CHARACTERS and _VALUE.fullmatch(value) is not None
