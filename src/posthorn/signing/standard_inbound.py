"""Proof of origin by Standard Webhooks signatures, v1 and v1a, under `webhook-*` or `svix-*` headers.

Stricter than the reference libraries in three points: the time stamp is plain decimal seconds (the Python
library takes "1e9" and "1.5"); the id holds no "." (the specification warns of it: moving the boundary
between id, time and body would let a signature cover other content); at most 16 signatures are tried.
"""

import hmac
import re
from collections.abc import Iterator, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature

from posthorn.errors import Invalid
from posthorn.signing import diagnosis
from posthorn.signing.encoding import from_base64
from posthorn.signing.headers import Headers, ambiguous, values_of_many
from posthorn.signing.schemes import StandardWebhooksVerification, Verdict, accepted, rejected
from posthorn.signing.standard import PublicKey, SymmetricKey, parse_verifying_secret

MAX_SIGNATURES = 16

_FAMILIES = {
    "webhook": (b"webhook-id", b"webhook-timestamp", b"webhook-signature"),
    "svix": (b"svix-id", b"svix-timestamp", b"svix-signature"),
}
_NAMES = frozenset(name for names in _FAMILIES.values() for name in names)
_SECONDS = re.compile(rb"(?:0|[1-9][0-9]{0,11})")
_SIGNATURE_BYTES = {b"v1": 32, b"v1a": 64}
_ACCEPTED = accepted("A signature matches id, time stamp and body, and the time stamp is fresh.")


class _Keys(msgspec.Struct, frozen=True, kw_only=True):
    symmetric: list[SymmetricKey]
    public: list[PublicKey]


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    family: str
    message_id: bytes
    timestamp: bytes
    signature: bytes

    def content(self, body: bytes) -> bytes:
        return b"%b.%b.%b" % (self.message_id, self.timestamp, body)


class _Signatures(msgspec.Struct, frozen=True, kw_only=True):
    """The signatures that our keys can check, and whether others came that do not even decode."""

    v1: list[bytes]
    v1a: list[bytes]
    has_malformed: bool


def check(
    scheme: StandardWebhooksVerification, secrets: Sequence[str], headers: Headers, body: bytes, now_ms: int
) -> Verdict:
    """Check signature first and time second, so that the detail names the true obstacle."""
    keys = _usable(secrets)
    if not keys.symmetric and not keys.public:
        return rejected(
            "secret_missing",
            "This source has no usable secret: set one that starts with whsec_ (v1) or whpk_ (v1a).",
        )
    envelope = _envelope(headers)
    if isinstance(envelope, Verdict):
        return envelope
    signatures = _signatures(envelope.signature, keys)
    if not signatures.v1 and not signatures.v1a:
        return _nothing_to_check(envelope, signatures, keys)
    if not _matches(keys, signatures, envelope.content(body)):
        return rejected("signature_mismatch", _mismatch(envelope, secrets, keys, signatures.v1, body))
    return _in_time(scheme, envelope, now_ms)


def _usable(secrets: Sequence[str]) -> _Keys:
    keys = _Keys(symmetric=[], public=[])
    for secret in secrets:
        try:
            key = parse_verifying_secret(secret)
        except Invalid:
            # Refused when it was configured; here it must not stop the other secrets from being tried.
            continue
        if isinstance(key, SymmetricKey):
            keys.symmetric.append(key)
        else:
            keys.public.append(key)
    return keys


def _envelope(headers: Headers) -> _Envelope | Verdict:
    found = values_of_many(headers, _NAMES)
    # One family is taken whole: an id of one and a signature of the other were never signed together.
    family = next((family for family, names in _FAMILIES.items() if names[-1] in found), None)
    if family is None:
        came = diagnosis.what_came_instead(headers, b"webhook-signature")
        return rejected("signature_missing", f"Neither webhook-signature nor svix-signature came: {came}.")
    parts: list[bytes] = []
    for name in _FAMILIES[family]:
        values = found.get(name, [])
        if len(values) != 1 or not values[0]:
            return _unclear(name.decode("ascii"), has_several=len(values) > 1)
        parts.append(values[0])
    return _well_formed(_Envelope(family=family, message_id=parts[0], timestamp=parts[1], signature=parts[2]))


def _unclear(name: str, *, has_several: bool) -> Verdict:
    is_timestamp = name.endswith("timestamp")
    if has_several:
        return rejected("timestamp_malformed" if is_timestamp else "signature_malformed", ambiguous(name))
    return rejected(
        "timestamp_missing" if is_timestamp else "signature_missing",
        f"{name} is missing or empty, but the signature covers it: a proxy drops the header, "
        "or the sender follows Standard Webhooks only in part.",
    )


def _well_formed(envelope: _Envelope) -> _Envelope | Verdict:
    if _SECONDS.fullmatch(envelope.timestamp) is None:
        return rejected(
            "timestamp_malformed",
            f"{envelope.family}-timestamp must be a whole number of seconds since 1970 in plain digits, and "
            f"{_timestamp_shape(envelope.timestamp)}.",
        )
    if b"." in envelope.message_id:
        return rejected(
            "signature_malformed",
            f'{envelope.family}-id holds a ".", which Standard Webhooks does not allow because it also '
            "separates id, time stamp and body: the sender must use other ids.",
        )
    return envelope


def _timestamp_shape(text: bytes) -> str:
    if text.isdigit():
        return "has too many digits or a leading zero: the sender may count milliseconds"
    if b"T" in text or b":" in text:
        return "looks like a date: the sender must send Unix time"
    return "holds something else than digits: the sender must send Unix time without sign, fraction or exponent"


def _signatures(header: bytes, keys: _Keys) -> _Signatures:
    """Pick what our keys can check from the list; other versions are ignored, as the specification asks."""
    result: dict[bytes, list[bytes]] = {b"v1": [], b"v1a": []}
    wanted = {b"v1": bool(keys.symmetric), b"v1a": bool(keys.public)}
    has_malformed = False
    picked = 0
    for entry in header.split():
        version, comma, text = entry.partition(b",")
        if comma and not wanted.get(version, False):
            continue
        picked += 1
        if picked > MAX_SIGNATURES:
            break
        raw = from_base64(text) if comma else None
        if raw is None or len(raw) != _SIGNATURE_BYTES[version]:
            has_malformed = True
        else:
            result[version].append(raw)
    return _Signatures(v1=result[b"v1"], v1a=result[b"v1a"], has_malformed=has_malformed)


def _nothing_to_check(envelope: _Envelope, signatures: _Signatures, keys: _Keys) -> Verdict:
    versions = " or ".join([name for name, held in (("v1", keys.symmetric), ("v1a", keys.public)) if held])
    if signatures.has_malformed:
        return rejected(
            "signature_malformed",
            f"{envelope.family}-signature must be a list, separated by spaces, of {versions} signatures "
            '(as "v1,<base64 of 32 bytes>"), and is not: '
            "the sender encodes it in another way, or a proxy changes it.",
        )
    return rejected(
        "signature_missing",
        f"{envelope.family}-signature holds no {versions} signature, which is what the secret of this source "
        "can check: v1 needs a whsec_ secret and v1a a whpk_ public key.",
    )


def _matches(keys: _Keys, signatures: _Signatures, content: bytes) -> bool:
    """Compare every signature under every key, so that the time tells neither which nor whether."""
    matches = False
    for secret in keys.symmetric:
        expected = hmac.digest(secret.raw, content, "sha256")
        for signature in signatures.v1:
            matches |= hmac.compare_digest(expected, signature)
    for key in keys.public:
        for signature in signatures.v1a:
            matches |= _verifies(key, signature, content)
    return matches


def _verifies(key: PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verifier.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _in_time(scheme: StandardWebhooksVerification, envelope: _Envelope, now_ms: int) -> Verdict:
    late_ms = now_ms - int(envelope.timestamp) * 1000
    if abs(late_ms) <= scheme.tolerance_seconds * 1000:
        return _ACCEPTED
    direction, likely = (
        ("behind", "the request was held back or replayed, or one of the clocks is wrong")
        if late_ms > 0
        else ("ahead of", "one of the clocks is wrong")
    )
    return rejected(
        "timestamp_out_of_tolerance",
        f"The signature is right, but {envelope.family}-timestamp is {abs(late_ms) // 1000} s {direction} "
        f"our clock and {scheme.tolerance_seconds} s are allowed: {likely}.",
    )


def _mismatch(envelope: _Envelope, secrets: Sequence[str], keys: _Keys, given: list[bytes], body: bytes) -> str:
    likely = (
        diagnosis.first_match("sha256", given, _attempts(envelope, secrets, keys, body)) if given else None
    ) or "the sender signs with another secret, or something on the way changes the body or the id"
    count = len(keys.symmetric) + len(keys.public)
    which = "the secret" if count == 1 else f"any of the {count} secrets"
    return (
        f"{envelope.family}-signature has the right form, but no signature in it covers this id, time stamp "
        f"and body of {len(body)} bytes under {which} of this source: {likely}."
    )


def _attempts(
    envelope: _Envelope, secrets: Sequence[str], keys: _Keys, body: bytes
) -> Iterator[tuple[str, bytes, bytes]]:
    for reason, text in diagnosis.text_variants(secrets):
        yield reason, text, envelope.content(body)
    for key in keys.symmetric[:2]:
        yield "the sender signs the body alone, without id and time stamp", key.raw, body
        for reason, variant in diagnosis.body_variants(body):
            yield reason, key.raw, envelope.content(variant)
