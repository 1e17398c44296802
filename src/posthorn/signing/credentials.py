"""Proof of origin by a shared credential in a header: the `basic`, `bearer` and `header_token` schemes.

The credential does not cover the body; these schemes are for senders that cannot sign.
"""

from collections.abc import Sequence
from hmac import compare_digest

from posthorn.signing import diagnosis
from posthorn.signing.encoding import from_base64, utf8
from posthorn.signing.headers import Headers, ambiguous, values_of
from posthorn.signing.schemes import (
    BasicVerification,
    HeaderTokenVerification,
    Verdict,
    accepted,
    rejected,
)

_ACCEPTED = accepted("The credentials match.")


def check_basic(scheme: BasicVerification, secrets: Sequence[str], headers: Headers) -> Verdict:
    """Compare user name and password; the first colon ends the user name, so a password may hold more."""
    given = _authorization(headers, "Basic")
    if isinstance(given, Verdict):
        return given
    raw = from_base64(given, canonical=False)
    if raw is None or b":" not in raw:
        return rejected(
            "credentials_mismatch",
            "Authorization: Basic must be followed by the base64 of user name, colon and password, "
            "and is not: the sender builds the header by hand and leaves out a step.",
        )
    username, _, password = raw.partition(b":")
    name_matches = compare_digest(username, utf8(scheme.username))
    password_matches = _is_one_of(password, secrets)
    if name_matches & password_matches:
        return _ACCEPTED
    wrong = "password" if name_matches else "user name" if password_matches else "user name and password"
    return rejected(
        "credentials_mismatch",
        f"Authorization: Basic came with a wrong {wrong} (both are compared as UTF-8): "
        "the sender has other credentials than this source.",
    )


def check_bearer(secrets: Sequence[str], headers: Headers) -> Verdict:
    """Compare the bearer token."""
    given = _authorization(headers, "Bearer")
    if isinstance(given, Verdict):
        return given
    if _is_one_of(given, secrets):
        return _ACCEPTED
    return rejected(
        "credentials_mismatch",
        f"Authorization: Bearer came with a token of {len(given)} bytes that is not the one of this source: "
        "the sender has another token.",
    )


def check_header_token(scheme: HeaderTokenVerification, secrets: Sequence[str], headers: Headers) -> Verdict:
    """Compare the whole value of the header."""
    name = utf8(scheme.header).lower()
    values = values_of(headers, name)
    if not values:
        came = diagnosis.what_came_instead(headers, name)
        return rejected("credentials_missing", f"The header {scheme.header} is missing: {came}.")
    if len(values) > 1:
        return rejected("credentials_mismatch", ambiguous(scheme.header))
    if _is_one_of(values[0], secrets):
        return _ACCEPTED
    _, _, last_word = values[0].rpartition(b" ")
    likely = (
        "the sender puts another word in front of the right value"
        if _is_one_of(last_word, secrets)
        else "the sender has another token"
    )
    return rejected(
        "credentials_mismatch",
        f"{scheme.header} came with a value of {len(values[0])} bytes that is not the one of this source: {likely}.",
    )


def _authorization(headers: Headers, scheme: str) -> bytes | Verdict:
    """Return what follows the scheme (RFC 9110 section 11.4, any case) in the one Authorization header."""
    values = values_of(headers, b"authorization")
    if not values:
        came = diagnosis.what_came_instead(headers, b"authorization")
        return rejected("credentials_missing", f"The header Authorization is missing: {came}.")
    if len(values) > 1:
        return rejected("credentials_mismatch", ambiguous("Authorization"))
    came_scheme, _, given = values[0].partition(b" ")
    if came_scheme.lower() != utf8(scheme).lower():
        return rejected(
            "credentials_missing",
            f'Authorization does not start with "{scheme} ", which this source expects: '
            "the sender uses another way to authenticate, or leaves that word out.",
        )
    return given.strip()


def _is_one_of(given: bytes, secrets: Sequence[str]) -> bool:
    """Compare with every secret, so that the time tells neither which nor whether one matched."""
    matches = False
    for secret in secrets:
        matches |= compare_digest(given, utf8(secret))
    return matches
