"""The owner key that `quickstart` keeps beside its database, and where the client commands look for it."""

import json
import os
import secrets
import string
import tempfile
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from posthorn.cli.failures import CommandFailed
from posthorn.cli.texts import _

FILE_NAME = "credentials.json"
DEFAULT_URL = "http://127.0.0.1:8600"

_KEY_PREFIX = "phk_"
_KEY_CHARACTERS = 43
_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Which server, and the key to it."""

    url: str
    api_key: str | None

    def __repr__(self) -> str:
        return f"Credentials(url={self.url!r})"


def new_api_key() -> str:
    """Draw an API key: 256 random bits in letters and digits."""
    return _KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _unused in range(_KEY_CHARACTERS))


def read_credentials(data: Path) -> Credentials | None:
    """Read what `quickstart` keeps, or None when there is nothing. Raises CommandFailed for a file that is broken."""
    path = data / FILE_NAME
    try:
        stored = json.loads(path.read_text())
        return Credentials(url=str(stored["url"]), api_key=stored["apiKey"])
    except FileNotFoundError:
        return None
    except OSError as error:
        text = _("{path} cannot be read: {reason}.")
        raise CommandFailed(text.format(path=path, reason=error.strerror)) from error
    except (ValueError, KeyError, TypeError) as error:
        text = _("{path} is broken. Remove it, and the next quickstart makes a new key.")
        raise CommandFailed(text.format(path=path)) from error


def write_credentials(data: Path, credentials: Credentials) -> None:
    """Write them whole or not at all, readable by the owner alone. Raises CommandFailed when that is impossible."""
    content = json.dumps({"url": credentials.url, "apiKey": credentials.api_key}, indent=2) + "\n"
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=data, prefix=".credentials-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(content)
            Path(temporary).replace(data / FILE_NAME)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        text = _("The data directory {path} cannot be written: {reason}. Choose another with --data.")
        raise CommandFailed(text.format(path=data, reason=error.strerror)) from error


def choose_credentials(*, url: str | None, api_key: str | None, data: Path) -> Credentials:
    """Return the server and key to use: what was given, else what `quickstart` keeps in `data`.

    The kept key goes only to the server that it was made for: a key for this machine must not travel to
    another one because somebody named its URL and forgot the key.
    """
    if url is not None and api_key is not None:
        return Credentials(url=url, api_key=api_key)
    kept = read_credentials(data)
    if kept is None:
        return Credentials(url=url or DEFAULT_URL, api_key=api_key)
    if api_key is not None:
        return Credentials(url=url or kept.url, api_key=api_key)
    if url is None or _is_same_server(url, kept.url):
        return Credentials(url=url or kept.url, api_key=kept.api_key)
    return Credentials(url=url, api_key=None)


def _is_same_server(one: str, other: str) -> bool:
    try:
        first, second = urlsplit(one), urlsplit(other)
        same_door = (first.scheme, first.port) == (second.scheme, second.port)
    except ValueError:
        return False
    if not same_door:
        return False
    return first.hostname == second.hostname or (_is_loopback(first.hostname) and _is_loopback(second.hostname))


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
