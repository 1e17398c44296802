"""Why a request was refused: the likely mistake, for the people who set the source up.

Runs only after a refusal and never turns one into acceptance. It tries what people get wrong most often: the
secret taken as text instead of decoded, a line feed at its end, a body that was re-serialised on the way.
"""

import hmac
import json
from collections.abc import Iterable, Iterator, Sequence

from posthorn.signing.encoding import from_base64, from_hex, utf8
from posthorn.signing.headers import Headers, first_present

_MAX_BODY_BYTES = 16_384  # Refusals must stay cheap: anybody can cause them.
_MAX_SECRETS = 2
_VENDOR_HEADERS = {
    b"x-hub-signature-256": "X-Hub-Signature-256 came, as GitHub and Meta send it",
    b"x-hub-signature": "X-Hub-Signature came, which older senders sign with SHA-1",
    b"webhook-signature": "webhook-signature came, as Standard Webhooks senders send it",
    b"svix-signature": "svix-signature came, as Svix sends it",
    b"stripe-signature": "Stripe-Signature came, as Stripe sends it",
    b"x-slack-signature": "X-Slack-Signature came, as Slack sends it",
    b"x-shopify-hmac-sha256": "X-Shopify-Hmac-Sha256 came, as Shopify sends it",
    b"x-gitlab-token": "X-Gitlab-Token came, as GitLab sends it",
    b"authorization": "an Authorization header came",
}
_NOTHING_CAME = "the sender has no secret configured, or a proxy drops the header"
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")
_BASE64_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
_DIGEST_NAMES = {16: "MD5", 20: "SHA-1", 32: "SHA-256", 48: "SHA-384", 64: "SHA-512"}


def what_came_instead(headers: Headers, expected: bytes) -> str:
    """Say which other proof of origin the request carries, as a clause without a full stop."""
    other = first_present(headers, (name for name in _VENDOR_HEADERS if name != expected))
    if other is None:
        return _NOTHING_CAME
    return f"{_VENDOR_HEADERS[other]}, so another verification may be the right one"


def shape_of(text: bytes) -> str:
    """Describe the form of a signature without repeating it: "40 hex characters, as SHA-1 has"."""
    if not text:
        return "nothing"
    if b"," in text or b" " in text:
        return "several parts joined by commas or spaces"
    if _HEX_DIGITS.issuperset(text):
        return f"{len(text)} hex characters{_as_digest(len(text) // 2)}"
    bare = text.rstrip(b"=")
    if _BASE64_ALPHABET.issuperset(bare):
        return f"{len(text)} base64 characters{_as_digest(len(bare) * 3 // 4)}"
    if b"=" in text:
        return 'something in front of a "=" sign'
    return f"{len(text)} characters that are neither hex nor base64"


def _as_digest(size_bytes: int) -> str:
    name = _DIGEST_NAMES.get(size_bytes)
    return f", as {name} has" if name else ""


def first_match(algorithm: str, given: Sequence[bytes], attempts: Iterable[tuple[str, bytes, bytes]]) -> str | None:
    """Return the reason of the first attempt (reason, key, content) whose HMAC came, or None."""
    for reason, key, content in attempts:
        expected = hmac.digest(key, content, algorithm)
        if any(hmac.compare_digest(expected, candidate) for candidate in given):
            return reason
    return None


def secret_variants(secrets: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (reason, key) for other readings of text secrets."""
    for secret in secrets[:_MAX_SECRETS]:
        raw = utf8(secret)
        yield "the sender's secret ends in a line feed", raw + b"\n"
        bare = raw.removeprefix(b"whsec_")
        decoded = from_base64(bare, canonical=False)
        if decoded:
            yield "the sender signs with the base64-decoded secret, as Standard Webhooks does", decoded
        if bare != raw:
            yield 'the sender signs with the secret without "whsec_"', bare
        decoded = from_hex(raw)
        if decoded:
            yield "the sender signs with the hex-decoded secret", decoded


def text_variants(secrets: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (reason, key) for readings of `whsec_` secrets as text."""
    for secret in secrets[:_MAX_SECRETS]:
        raw = utf8(secret)
        yield "the sender uses the whole secret as text instead of decoding it", raw
        yield (
            'the sender uses what follows "whsec_" as text instead of decoding it',
            raw.removeprefix(b"whsec_"),
        )


def body_variants(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (reason, body) for what programs on the way make of a body; nothing when it is large."""
    if not body or len(body) > _MAX_BODY_BYTES:
        return
    yield "the sender signs an empty body", b""
    if body.endswith(b"\n"):
        yield "something on the way adds a line feed to the body", body.rstrip(b"\r\n")
    else:
        yield "something on the way removes a line feed from the body", body + b"\n"
    try:
        document = json.loads(body)
        compact = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        spaced = json.dumps(document)
    except (ValueError, RecursionError):
        return
    reason = "something on the way parses the JSON body and writes it anew"
    yield reason, utf8(compact)
    yield reason, utf8(spaced)
