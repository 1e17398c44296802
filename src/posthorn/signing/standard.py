"""Standard Webhooks 1.0.0 keys and signatures, for what we send.

Owns the textual forms of secrets (`whsec_`, `whsk_`, `whpk_`) and the value of the signature header.
Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md, "Signature scheme".

    v1   HMAC-SHA256   secret `whsec_` + base64 of 24 to 75 random bytes
    v1a  Ed25519       secret `whsk_` + base64 of seed (32 bytes) and public key (32 bytes),
                       published as `whpk_` + base64 of the public key

The specification stops at 64 bytes for v1; Svix takes 75, and a secret moved over from there must keep
working. No repr shows key material.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hmac import digest
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from posthorn.errors import Invalid
from posthorn.signing.encoding import from_base64, to_base64, utf8

SYMMETRIC_PREFIX = "whsec_"
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
_PREFIXES = (SYMMETRIC_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX)

_SYMMETRIC_MIN_BYTES = 24
_SYMMETRIC_MAX_BYTES = 75
_SYMMETRIC_NEW_BYTES = 32
_ED25519_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SymmetricKey:
    """A shared secret: signs and verifies `v1`."""

    raw: bytes = field(repr=False)

    def signature(self, content: bytes) -> str:
        """Return `v1,` and the base64 of the HMAC-SHA256 of the content."""
        return "v1," + to_base64(digest(self.raw, content, "sha256"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AsymmetricKey:
    """A key pair: signs `v1a`. Two are equal when their public halves are."""

    private: Ed25519PrivateKey = field(repr=False, compare=False)
    public: bytes

    def signature(self, content: bytes) -> str:
        """Return `v1a,` and the base64 of the Ed25519 signature of the content."""
        return "v1a," + to_base64(self.private.sign(content))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """The public half of a key pair: verifies `v1a`. Two are equal when their bytes are."""

    verifier: Ed25519PublicKey = field(repr=False, compare=False)
    raw: bytes


Key: TypeAlias = SymmetricKey | AsymmetricKey
VerifyingKey: TypeAlias = SymmetricKey | PublicKey


def sign(keys: Sequence[Key], message_id: str, timestamp_seconds: int, body: bytes) -> str:
    """Return the value of the signature header: one signature per key, joined by spaces.

    `timestamp_seconds` is the Unix time of the attempt, in seconds. The id must come from us and hold no ".":
    otherwise a sender could move the boundary between id, time and body. Raises ValueError without any key,
    because an unsigned delivery must never leave by accident.
    """
    if not keys:
        raise ValueError("at least one key is needed to sign")
    content = f"{message_id}.{timestamp_seconds}.".encode() + body
    if len(keys) == 1:
        return keys[0].signature(content)
    return " ".join([key.signature(content) for key in keys])


def new_symmetric_secret() -> str:
    """Draw a new `whsec_` secret of 32 random bytes."""
    return SYMMETRIC_PREFIX + to_base64(secrets.token_bytes(_SYMMETRIC_NEW_BYTES))


def new_asymmetric_secret() -> str:
    """Draw a new `whsk_` secret: seed and public key."""
    private = Ed25519PrivateKey.generate()
    return PRIVATE_PREFIX + to_base64(private.private_bytes_raw() + private.public_key().public_bytes_raw())


def parse_secret(text: str) -> SymmetricKey | AsymmetricKey:
    """Read a secret that signs: `whsec_…`, `whsk_…`, or bare base64, which Svix's API takes for a `whsec_`.

    Raises Invalid at ("secret",); the message never repeats the secret.
    """
    text = text.strip()
    if text.startswith(PUBLIC_PREFIX):
        raise _invalid("this is a public key, which verifies but cannot sign: give the private key (whsk_…)")
    if text.startswith(PRIVATE_PREFIX):
        return _asymmetric(text.removeprefix(PRIVATE_PREFIX))
    return _symmetric(text)


def parse_verifying_secret(text: str) -> VerifyingKey:
    """Read a secret that verifies: `whsec_…` for v1, `whpk_…` for v1a, or bare base64 for v1.

    Raises Invalid at ("secret",); the message never repeats the secret.
    """
    text = text.strip()
    if text.startswith(PRIVATE_PREFIX):
        raise _invalid("this is the sender's private key: keep it there and give its public key (whpk_…) here")
    if text.startswith(PUBLIC_PREFIX):
        return _public(text.removeprefix(PUBLIC_PREFIX))
    return _symmetric(text)


def public_form(secret_text: str) -> str:
    """Return what the receiver verifies with: `whpk_…` of a `whsk_` secret, a symmetric secret as `whsec_…`.

    Raises Invalid as `parse_secret` does.
    """
    key = parse_secret(secret_text)
    if isinstance(key, AsymmetricKey):
        return PUBLIC_PREFIX + to_base64(key.public)
    return SYMMETRIC_PREFIX + secret_text.strip().removeprefix(SYMMETRIC_PREFIX)


def _symmetric(text: str) -> SymmetricKey:
    if text.startswith(("v1,", "v1a,")):
        raise _invalid('leave out the "v1," or "v1a," at the front: it belongs to signatures; start with whsec_')
    if "_" in text and not text.startswith(SYMMETRIC_PREFIX):
        raise _invalid(f"a secret starts with one of {', '.join(_PREFIXES)}")
    raw = _decoded(text.removeprefix(SYMMETRIC_PREFIX), after=SYMMETRIC_PREFIX)
    if not _SYMMETRIC_MIN_BYTES <= len(raw) <= _SYMMETRIC_MAX_BYTES:
        raise _invalid(
            f"a whsec_ secret holds {_SYMMETRIC_MIN_BYTES} to {_SYMMETRIC_MAX_BYTES} bytes, "
            f"this one holds {len(raw)}: give whsec_ and the base64 of 32 random bytes"
        )
    return SymmetricKey(raw=raw)


def _asymmetric(text: str) -> AsymmetricKey:
    raw = _decoded(text, after=PRIVATE_PREFIX)
    if len(raw) != 2 * _ED25519_BYTES:
        raise _invalid(f"a whsk_ secret holds 64 bytes (seed and public key), this one holds {len(raw)}")
    private = Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_BYTES])
    public = private.public_key().public_bytes_raw()
    if public != raw[_ED25519_BYTES:]:
        raise _invalid("the two halves of this whsk_ secret do not belong together: copy the whole secret again")
    return AsymmetricKey(private=private, public=public)


def _public(text: str) -> PublicKey:
    raw = _decoded(text, after=PUBLIC_PREFIX)
    if len(raw) != _ED25519_BYTES:
        raise _invalid(f"a whpk_ public key holds {_ED25519_BYTES} bytes, this one holds {len(raw)}")
    return PublicKey(verifier=Ed25519PublicKey.from_public_bytes(raw), raw=raw)


def _decoded(text: str, *, after: str) -> bytes:
    # Secrets drawn as random base64 characters have arbitrary last bits, and every library ignores those.
    raw = from_base64(utf8(text), canonical=False)
    if raw is None:
        raise _invalid(
            f"after {after} comes base64 with the characters A-Z a-z 0-9 + / (and = at the end only), "
            "without spaces: copy the whole secret again"
        )
    return raw


def _invalid(msg: str) -> Invalid:
    return Invalid.at("secret", msg=msg)
