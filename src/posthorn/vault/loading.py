"""Where master keys come from: POSTHORN_MASTER_KEY, or a key file that only its owner may read.

The environment value holds keys separated by commas; the file holds one key per line, with "#" comments. A
key is base64 (or base64url) of 32 bytes, as `openssl rand -base64 32` prints it. The first key seals, all
open. No message ever repeats what was read.
"""

import os
import secrets
import stat
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterable
from pathlib import Path

from posthorn.errors import StartRefused
from posthorn.vault.keyring import KEY_BYTES, KeyRing, key_id

ENVIRONMENT_NAME = "POSTHORN_MASTER_KEY"

_MAX_FILE_BYTES = 65_536
_OWNER_ONLY = 0o600
_OTHERS = 0o077
_TO_STANDARD = str.maketrans("-_", "+/")
_HEADING = (
    "# Posthorn master keys: the first seals, all open. Whoever has this file and the store reads every\n"
    "# secret, and without it no secret can be read: keep a copy, apart from the backups of the store.\n"
)


def load_key_ring(*, key_file: Path, environment_value: str | None, may_create: bool) -> KeyRing:
    """Load the ring from the environment value, else from the file, else make a new file.

    `may_create` says that the store holds nothing sealed yet, so that a new key can hurt nobody.
    Raises StartRefused, saying the way out, when the keys are missing, malformed or readable by others.
    """
    if environment_value is not None:
        return _from_environment(environment_value)
    if may_create:
        _create_if_absent(key_file)
    return _from_file(key_file)


def new_master_key() -> str:
    """Draw a new master key in its textual form."""
    return b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")


def _from_environment(value: str) -> KeyRing:
    parts = value.split(",")
    return _ring((f"key {number} of {ENVIRONMENT_NAME}", part) for number, part in enumerate(parts, start=1))


def _from_file(path: Path) -> KeyRing:
    lines = enumerate(_read(path).splitlines(), start=1)
    keys = [
        (f"line {number} of {path}", line)
        for number, line in lines
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not keys:
        raise StartRefused(
            f"the key file {path} holds no key: restore it from a copy, or set {ENVIRONMENT_NAME}. "
            "Delete it only when the store is new: then a new key is made"
        )
    return _ring(keys)


def _ring(places: Iterable[tuple[str, str]]) -> KeyRing:
    keys: list[bytes] = []
    seen: dict[str, str] = {}
    for place, text in places:
        key = _decoded(place, text.strip())
        identifier = key_id(key)
        if identifier in seen:
            raise StartRefused(f"{place} repeats {seen[identifier]}: remove one of them")
        seen[identifier] = place
        keys.append(key)
    return KeyRing(keys)


def _decoded(place: str, text: str) -> bytes:
    if not text:
        # Ignoring it could make a new key file where somebody believed to have given the key.
        raise StartRefused(f"{place} is empty: give the key, or unset {ENVIRONMENT_NAME} to use the key file")
    try:
        key = a2b_base64(text.translate(_TO_STANDARD) + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        # No "from": the decoder's error must not carry the text along into a log.
        raise StartRefused(
            f"{place} is not the base64 of {KEY_BYTES} bytes: copy the key again, or make a new one with "
            f"`openssl rand -base64 {KEY_BYTES}` if the store is new"
        )
    return key


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise StartRefused(
            f"the store has data sealed with a master key, but {path} is missing: restore the file or set "
            f"{ENVIRONMENT_NAME} to the key that was in use"
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        _check_kind(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StartRefused(f"the key file {path} is no regular file: name the file that holds the keys")
    if status.st_mode & _OTHERS:
        raise StartRefused(f"the key file {path} is open to other users: run `chmod 600 {path}`")
    if status.st_size > _MAX_FILE_BYTES:
        raise StartRefused(f"the key file {path} is too large to be one: name the file that holds the keys")


def _create_if_absent(path: Path) -> None:
    """Make the file durable before anything is sealed with it: file first, then its name."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY)
    except FileExistsError:
        return
    except OSError as error:
        raise _uncreatable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _OWNER_ONLY)
            file.write(f"{_HEADING}{new_master_key()}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        # Half a key file would stop the next start, although nothing was sealed with it.
        path.unlink(missing_ok=True)
        raise _uncreatable(path, error) from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError) -> StartRefused:
    return StartRefused(
        f"the key file {path} cannot be read ({error.strerror}): make it readable for the user that runs "
        f"Posthorn and nobody else, or set {ENVIRONMENT_NAME}"
    )


def _uncreatable(path: Path, error: OSError) -> StartRefused:
    return StartRefused(
        f"the key file {path} cannot be made ({error.strerror}): make its directory writable for the user "
        f"that runs Posthorn, or set {ENVIRONMENT_NAME}"
    )
