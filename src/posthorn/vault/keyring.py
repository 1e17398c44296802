"""Sealing secrets at rest: AES-256-GCM under a ring of master keys.

A sealed value is text: `v1.<key id>.<base64url of nonce, ciphertext and tag>`. The key id is the first 8 hex
digits of the key's SHA-256. Version, key id and the caller's context are authenticated with the value, so a
row copied to another place does not open there.

Nonces are random (96 bits), which NIST SP 800-38D section 8.3 allows for 2^32 values per key: far beyond what
a store of secrets seals between two rotations.
"""

import hashlib
import os
from base64 import urlsafe_b64encode
from binascii import Error, a2b_base64
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from posthorn.errors import PosthornError, StartRefused

KEY_BYTES = 32

_VERSION = "v1"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_ID_DIGITS = 8
_CANARY_CONTEXT = "posthorn/canary"
_CANARY = b"posthorn master key canary"
_FROM_URL = str.maketrans("-_+/", "+/!!")  # "!" is in neither alphabet: only base64url passes


class VaultError(PosthornError):
    """A sealed value does not open; the message says the way out."""

    code = "vault_error"


class KeyRing:
    """Master keys by id. The first seals, all open; a key is retired once nothing needs it any more."""

    __slots__ = ("_ciphers", "_first")

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take keys of 32 bytes. Raises ValueError for none, a wrong size or a repetition."""
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a master key has {KEY_BYTES} bytes")
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        if not keys or len(self._ciphers) != len(keys):
            raise ValueError("a key ring needs at least one key and no key twice")
        self._first = next(iter(self._ciphers))

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._ciphers)})"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, the sealing one first; they are no secrets."""
        return tuple(self._ciphers)

    def seal(self, plaintext: bytes, *, context: str) -> str:
        """Seal under the first key. `context` names the place of the value and is needed to open it."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, plaintext, _bound(self._first, context))
        return f"{_VERSION}.{self._first}.{urlsafe_b64encode(nonce + sealed).rstrip(b'=').decode('ascii')}"

    def open(self, sealed: str, *, context: str) -> bytes:
        """Open a value sealed under any key of the ring.

        Raises VaultError when the key is not in the ring, and when the value was altered, cut short or sealed
        for another context.
        """
        identifier, box = _taken_apart(sealed)
        cipher = self._ciphers.get(identifier)
        if cipher is None:
            raise VaultError(
                f"the value is sealed under master key {identifier}, and the key ring holds only "
                f"{', '.join(self._ciphers)}: add that key after the first one in POSTHORN_MASTER_KEY "
                "or in the key file"
            )
        raw = _decoded(box)
        if raw is None or len(raw) < _NONCE_BYTES + _TAG_BYTES:
            raise _damaged()
        try:
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound(identifier, context))
        except InvalidTag:
            raise _damaged() from None

    def needs_reseal(self, sealed: str) -> bool:
        """Tell whether a value is sealed under another key than the first.

        Raises VaultError when it is no sealed text.
        """
        identifier, _ = _taken_apart(sealed)
        return identifier != self._first

    def make_canary(self) -> str:
        """Seal a known value, which the store keeps for `check_canary` to prove the key with."""
        return self.seal(_CANARY, context=_CANARY_CONTEXT)

    def check_canary(self, canary: str) -> None:
        """Prove that this ring opens what the store holds. Raises StartRefused when it does not."""
        try:
            matches = self.open(canary, context=_CANARY_CONTEXT) == _CANARY
        except VaultError as error:
            raise StartRefused(
                f"the master key does not fit this store: {error}. Restore the key that was in use when the "
                "store was made, in the key file or in POSTHORN_MASTER_KEY; sealed secrets cannot be read "
                "without it"
            ) from error
        if not matches:
            raise StartRefused("the store's key canary holds an unknown value: restore the store from a backup")


def key_id(key: bytes) -> str:
    """Return the id of a master key: 8 hex digits that do not reveal it."""
    return hashlib.sha256(key).hexdigest()[:_KEY_ID_DIGITS]


def _bound(identifier: str, context: str) -> bytes:
    return f"{_VERSION}.{identifier}.{context}".encode()


def _taken_apart(sealed: str) -> tuple[str, str]:
    version, _, rest = sealed.partition(".")
    identifier, separator, box = rest.partition(".")
    is_key_id = len(identifier) == _KEY_ID_DIGITS and set("0123456789abcdef").issuperset(identifier)
    if version != _VERSION or not separator or not is_key_id:
        raise VaultError(
            "the value is no sealed text of this version (v1.<key id>.<base64url>): restore the row from a "
            "backup, or set the secret anew"
        )
    return identifier, box


def _decoded(box: str) -> bytes | None:
    if not box.isascii():
        return None
    try:
        raw = a2b_base64(box.translate(_FROM_URL) + "=" * (-len(box) % 4), strict_mode=True)
    except Error:
        return None
    # One value has one spelling: padding and stray last bits count as damage.
    return raw if urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") == box else None


def _damaged() -> VaultError:
    return VaultError(
        "the sealed value does not open: it was altered or cut short, or it belongs to another place; "
        "restore the row from a backup, or set the secret anew"
    )
