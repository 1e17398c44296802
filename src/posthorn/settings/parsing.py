"""Texts to values: one pure parser per kind of setting. Its ValueError says the way out."""

from collections.abc import Callable
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network
Choice = TypeVar("Choice", bound=StrEnum)

ROLES = ("receive", "decide", "deliver")
_SHORTEST_API_KEY = 16
_LARGEST_PORT = 65_535


def parse_path(text: str) -> Path:
    """Read a directory; `~` stands for the home directory."""
    return Path(text).expanduser()


def parse_host(text: str) -> str:
    """Read a name or address to listen on, without scheme, port or path."""
    if "://" in text or "/" in text or any(character.isspace() for character in text):
        raise ValueError("expected a host name or an address such as 127.0.0.1 or 0.0.0.0, nothing around it")
    return text.removeprefix("[").removesuffix("]")


def parse_port(text: str) -> int:
    """Read a TCP port; 0 stands for any free one."""
    if text.startswith("tcp://"):
        raise ValueError(
            "this is an address that Kubernetes injects for a Service of the same name; "
            "set enableServiceLinks: false in the pod's specification"
        )
    return parse_whole(0, _LARGEST_PORT)(text)


def parse_whole(least: int, most: int) -> Callable[[str], int]:
    """Make the parser of a whole number within [least, most]."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return number

    return parse


def parse_seconds(least: float, most: float) -> Callable[[str], float]:
    """Make the parser of a number of seconds within [least, most]."""

    def parse(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        # A comparison with NaN is false, so NaN is refused here too.
        if not least <= seconds <= most:
            raise ValueError(f"expected seconds from {least:g} to {most:g}")
        return seconds

    return parse


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read networks in CIDR notation, separated by commas; a bare address is a network of one."""
    return tuple(_parse_network(part.strip()) for part in text.split(",") if part.strip())


def _parse_network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        try:
            nearest = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no network; expected CIDR such as 10.1.0.0/16 or fd00::/8") from error
        raise ValueError(f"{text!r} has bits set after its prefix; did you mean {nearest}?") from error


def parse_api_key(text: str) -> str:
    """Read an API key. The text never appears in the message."""
    if len(text) < _SHORTEST_API_KEY or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"expected at least {_SHORTEST_API_KEY} printable ASCII characters without spaces")
    return text


def parse_master_key(text: str) -> str:
    """Take the keys that seal secrets; `posthorn.vault` decodes them. An empty text is refused.

    Ignoring it could make a new key file where somebody believed to have given the key.
    """
    if not text.strip():
        raise ValueError("it is empty; give the key, or unset it to use the key file")
    return text


def parse_database(text: str) -> str:
    """Read a PostgreSQL address (RFC 3986 form of libpq). The text, which may hold a password, is in no message."""
    parts = urlsplit(text)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ValueError(
            "expected postgresql://user:password@host:5432/name; several hosts are separated by commas; "
            "leave it out to use the embedded store in the data directory"
        )
    return text


def parse_roles(text: str) -> tuple[str, ...]:
    """Read the roles of a node, separated by commas, in any order."""
    wanted = [part.strip().lower() for part in text.split(",") if part.strip()]
    unknown = sorted(set(wanted) - set(ROLES))
    if unknown or not wanted:
        raise ValueError(f"expected some of {', '.join(ROLES)}, separated by commas" + _not_known(unknown))
    return tuple(role for role in ROLES if role in wanted)


def _not_known(unknown: list[str]) -> str:
    return f"; {', '.join(map(repr, unknown))} is none of them" if unknown else ""


def parse_base_url(text: str) -> str:
    """Read an absolute http or https address without query and fragment; a slash at its end is dropped."""
    parts = urlsplit(text)
    _ = parts.port  # Raises for a port that is no port.
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError("expected an address such as https://hooks.example.org, without query or credentials")
    return text.rstrip("/")


def parse_choice(choices: type[Choice]) -> Callable[[str], Choice]:
    """Make the parser of one of the named values."""

    def parse(text: str) -> Choice:
        try:
            return choices(text.lower())
        except ValueError:
            raise ValueError(f"expected one of {', '.join(choices)}") from None

    return parse
