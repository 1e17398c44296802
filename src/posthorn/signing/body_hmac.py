"""Proof of origin by an HMAC of the raw body in one header: the `hmac` and `github` schemes."""

import hmac
from collections.abc import Iterator, Sequence

from posthorn.signing import diagnosis
from posthorn.signing.encoding import from_base64, from_hex, utf8
from posthorn.signing.headers import Headers, ambiguous, values_of
from posthorn.signing.schemes import HmacVerification, Verdict, accepted, rejected

GITHUB = HmacVerification(header="X-Hub-Signature-256", algorithm="sha256", encoding="hex", prefix="sha256=")

_DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
_ACCEPTED = accepted("The signature matches the body.")


def check(scheme: HmacVerification, secrets: Sequence[str], headers: Headers, body: bytes) -> Verdict:
    """Compare the signature header with the body under each secret (never empty here)."""
    name = utf8(scheme.header).lower()
    values = values_of(headers, name)
    if not values:
        came = diagnosis.what_came_instead(headers, name)
        return rejected("signature_missing", f"The header {scheme.header} is missing: {came}.")
    if len(values) > 1:
        return rejected("signature_malformed", ambiguous(scheme.header))
    given = _decoded(scheme, values[0])
    if given is None:
        return rejected("signature_malformed", _wrong_form(scheme, values[0]))
    matches = False
    for secret in secrets:
        matches |= hmac.compare_digest(hmac.digest(utf8(secret), body, scheme.algorithm), given)
    return _ACCEPTED if matches else rejected("signature_mismatch", _mismatch(scheme, secrets, given, body))


def _decoded(scheme: HmacVerification, value: bytes) -> bytes | None:
    """Return the signature's bytes, or None unless prefix, encoding and length are as declared."""
    prefix = utf8(scheme.prefix)
    if not value.startswith(prefix):
        return None
    text = value[len(prefix) :].strip()
    raw = from_hex(text) if scheme.encoding == "hex" else from_base64(text, url_safe=scheme.encoding == "base64url")
    return raw if raw is not None and len(raw) == _DIGEST_BYTES[scheme.algorithm] else None


def _wrong_form(scheme: HmacVerification, value: bytes) -> str:
    prefix = utf8(scheme.prefix)
    size_bytes = _DIGEST_BYTES[scheme.algorithm]
    expected = f"the {size_bytes} bytes of an HMAC-{scheme.algorithm.upper()} in {scheme.encoding}"
    if not value.startswith(prefix):
        return (
            f'{scheme.header} does not start with "{scheme.prefix}" but has {diagnosis.shape_of(value)}; '
            f"this source expects that prefix and then {expected}: "
            "the sender uses another scheme, or the prefix set here is wrong."
        )
    came = diagnosis.shape_of(value[len(prefix) :].strip())
    return (
        f"{scheme.header} has {came}; this source expects {expected}: "
        "the sender uses another algorithm, encoding or prefix than the one set here."
    )


def _mismatch(scheme: HmacVerification, secrets: Sequence[str], given: bytes, body: bytes) -> str:
    likely = (
        diagnosis.first_match(scheme.algorithm, [given], _attempts(secrets, body))
        or "the sender signs with another secret, or something on the way changes the body"
    )
    which = "the secret" if len(secrets) == 1 else f"any of the {len(secrets)} secrets"
    return (
        f"{scheme.header} has the right form, but it is not the HMAC-{scheme.algorithm.upper()} "
        f"of this body of {len(body)} bytes under {which} of this source: {likely}."
    )


def _attempts(secrets: Sequence[str], body: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    for reason, key in diagnosis.secret_variants(secrets):
        yield reason, key, body
    for reason, variant in diagnosis.body_variants(body):
        for secret in secrets[:2]:
            yield reason, utf8(secret), variant
