"""Is this request from whom the source trusts? One question, seven schemes, no clock, no store.

Rules that hold for every scheme:

- The raw body is looked at before anything parses it; decoded bytes are compared, in constant time.
- A scheme that needs a secret refuses everything while it has none (`secret_missing`).
- During rotation a request may match any of the secrets; all of them are always checked.
- A header that came with differing values proves nothing (see `headers`).
- Hex in either case and base64 without padding are accepted (see `encoding`).
"""

from collections.abc import Sequence
from typing import assert_never

from posthorn.errors import Invalid
from posthorn.signing import body_hmac, credentials, standard_inbound
from posthorn.signing.headers import Headers
from posthorn.signing.schemes import (
    BasicVerification,
    BearerVerification,
    GitHubVerification,
    HeaderTokenVerification,
    HmacVerification,
    NoVerification,
    StandardWebhooksVerification,
    Verdict,
    Verification,
    accepted,
    rejected,
)
from posthorn.signing.standard import parse_verifying_secret

_NOT_ASKED = accepted("This source asks for no proof of origin.")
_NO_SECRET = rejected(
    "secret_missing",
    "This source has no secret to check the request with, so it accepts nothing: set its secret.",
)


def verify(verification: Verification, secrets: Sequence[str], headers: Headers, body: bytes, now_ms: int) -> Verdict:
    """Judge a request. Never raises, whatever came.

    `secrets` are the live ones, several during rotation. Header names may have any case. `body` is what came
    over the wire, before any Content-Encoding is undone. `now_ms` is the time of arrival.
    """
    if isinstance(verification, NoVerification):
        return _NOT_ASKED
    usable = [secret for secret in secrets if secret.strip()]
    if not usable:
        return _NO_SECRET
    match verification:
        case HmacVerification():
            return body_hmac.check(verification, usable, headers, body)
        case GitHubVerification():
            return body_hmac.check(body_hmac.GITHUB, usable, headers, body)
        case StandardWebhooksVerification():
            return standard_inbound.check(verification, usable, headers, body, now_ms)
        case _:
            return _check_credentials(verification, usable, headers)


def _check_credentials(
    verification: BasicVerification | BearerVerification | HeaderTokenVerification,
    secrets: Sequence[str],
    headers: Headers,
) -> Verdict:
    match verification:
        case BasicVerification():
            return credentials.check_basic(verification, secrets, headers)
        case BearerVerification():
            return credentials.check_bearer(secrets, headers)
        case HeaderTokenVerification():
            return credentials.check_header_token(verification, secrets, headers)


def needs_secret(verification: Verification) -> bool:
    """Tell whether the scheme refuses everything until it has a secret."""
    return not isinstance(verification, NoVerification)


def check_secret(verification: Verification, secret: str) -> None:
    """Refuse a secret that could never match, when it is configured.

    Raises Invalid at ("secret",); the message never repeats the secret.
    """
    match verification:
        case NoVerification():
            return
        case StandardWebhooksVerification():
            parse_verifying_secret(secret)
        case HmacVerification() | GitHubVerification() | BasicVerification():
            _check_text(secret)
        case HeaderTokenVerification():
            _check_text(secret)
            _check_header_text(secret)
        case BearerVerification():
            _check_text(secret)
            _check_header_text(secret)
            if not secret.isascii() or " " in secret:
                raise _invalid("a bearer token consists of ASCII characters without spaces")
        case _ as unknown:
            assert_never(unknown)


def _check_text(secret: str) -> None:
    if not secret:
        raise _invalid("the secret is empty")
    if secret != secret.strip():
        raise _invalid("the secret starts or ends with white space, which no sender means: paste it without")
    if any("\ud800" <= character <= "\udfff" for character in secret):
        raise _invalid("the secret holds half a surrogate pair, which no sender can send")


def _check_header_text(secret: str) -> None:
    if any(character < " " or character == "\x7f" for character in secret):
        raise _invalid("the secret holds a control character, which no header can carry")


def _invalid(msg: str) -> Invalid:
    return Invalid.at("secret", msg=msg)
