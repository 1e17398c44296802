"""What a source expects of its senders, as declarative data, and the verdict of looking at a request.

The structs are the wire form of a source's `verification` (camelCase, tagged by `type`). They hold no secret:
secrets come beside them, because they are stored sealed and rotate.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec

# RFC 9110 section 5.6.2 "token". `(?![\s\S])` is the end of the text; a "$" would allow a newline after it.
HeaderName: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}(?![\s\S])")]
# RFC 7617 section 2: a user name holds no colon and no control characters.
BasicUsername: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[^:\x00-\x1f\x7f]{0,256}(?![\s\S])")]
SignaturePrefix: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(?:[!-~][ -~]{0,63})?(?![\s\S])")]
ToleranceSeconds: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=86_400)]

Algorithm: TypeAlias = Literal["sha1", "sha256", "sha384", "sha512"]
Encoding: TypeAlias = Literal["hex", "base64", "base64url"]


class _Scheme(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="type",
):
    """The settings that all schemes share."""


class NoVerification(_Scheme, frozen=True, kw_only=True, tag="none"):
    """Anybody who knows the address may send."""


class BasicVerification(_Scheme, frozen=True, kw_only=True, tag="basic"):
    """`Authorization: Basic` (RFC 7617) in UTF-8; the secret is the password."""

    username: BasicUsername


class BearerVerification(_Scheme, frozen=True, kw_only=True, tag="bearer"):
    """`Authorization: Bearer` (RFC 6750); the secret is the token."""


class HeaderTokenVerification(_Scheme, frozen=True, kw_only=True, tag="header_token"):
    """A header whose whole value is the secret, as GitLab's `X-Gitlab-Token`."""

    header: HeaderName


class HmacVerification(_Scheme, frozen=True, kw_only=True, tag="hmac"):
    """A header of `prefix` and the encoded HMAC of the raw body; the secret is used as UTF-8 text."""

    header: HeaderName
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: SignaturePrefix = ""


class GitHubVerification(_Scheme, frozen=True, kw_only=True, tag="github"):
    """`X-Hub-Signature-256: sha256=<hex>`; the older SHA-1 header is never accepted.

    Source: docs.github.com, "Validating webhook deliveries".
    """


class StandardWebhooksVerification(_Scheme, frozen=True, kw_only=True, tag="standard_webhooks"):
    """Standard Webhooks 1.0.0 under `webhook-*` or `svix-*` headers.

    Secrets are `whsec_…` (v1) or `whpk_…` (v1a). The time stamp may differ from now by `tolerance_seconds` in
    either direction.
    """

    tolerance_seconds: ToleranceSeconds = 300


Verification: TypeAlias = (
    NoVerification
    | BasicVerification
    | BearerVerification
    | HeaderTokenVerification
    | HmacVerification
    | GitHubVerification
    | StandardWebhooksVerification
)

Cause: TypeAlias = Literal[
    "signature_missing",
    "signature_malformed",
    "signature_mismatch",
    "timestamp_missing",
    "timestamp_malformed",
    "timestamp_out_of_tolerance",
    "credentials_missing",
    "credentials_mismatch",
    "secret_missing",
]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a request is from whom the source trusts, and if not, why.

    `cause` is a stable code, None when accepted. `detail` is one English sentence for the people of the
    workspace; it holds no secret and no expected signature, but it helps to guess, so it is never answered
    to the sender.
    """

    accepted: bool
    cause: Cause | None = None
    detail: str


def accepted(detail: str) -> Verdict:
    """Build the verdict for a request that proved its origin."""
    return Verdict(accepted=True, detail=detail)


def rejected(cause: Cause, detail: str) -> Verdict:
    """Build the verdict for a request that did not."""
    return Verdict(accepted=False, cause=cause, detail=detail)
