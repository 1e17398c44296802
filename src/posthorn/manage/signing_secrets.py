"""The secrets that outgoing requests are signed with: made, sealed, shown as the receiver needs them, rotated."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from posthorn.engine.resources import SealedSecret
from posthorn.errors import Invalid
from posthorn.manage.rotation import DEFAULT_GRACE_SECONDS, LONGEST_GRACE_SECONDS, rotated
from posthorn.manage.shapes import Fields
from posthorn.signing import new_symmetric_secret, parse_secret, public_form
from posthorn.vault import KeyRing


class NewSecret(Fields, frozen=True, kw_only=True):
    """A secret to rotate to; one is made when none is given."""

    key: str | None = None
    grace_period_seconds: Annotated[int, Meta(ge=0, le=LONGEST_GRACE_SECONDS)] | None = None


class SigningSecrets:
    """Seals secrets for their owner, an endpoint or an automation, by its id."""

    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring

    def sealed(self, owner: str, secret: str | None, field: str, now_ms: int) -> SealedSecret:
        """Seal a given secret, or a new one. Raises Invalid at `field`."""
        text = new_symmetric_secret() if secret is None else secret
        try:
            parse_secret(text)
        except Invalid as error:
            raise Invalid.at(field, msg=error.problems[0].msg) from None
        return SealedSecret(sealed=self._keyring.seal(text.strip().encode(), context=owner), created_ms=now_ms)

    def public(self, owner: str, secrets: Sequence[SealedSecret]) -> str:
        """Return what the receiver verifies with: the current `whsec_…`, or the `whpk_…` of a key pair."""
        return public_form(self._keyring.open(secrets[0].sealed, context=owner).decode())

    def rotated(
        self, owner: str, secrets: Sequence[SealedSecret], new: NewSecret, now_ms: int
    ) -> tuple[SealedSecret, ...]:
        """Put a new secret first; the present ones sign too until the grace period ends. Raises Invalid."""
        grace = new.grace_period_seconds
        return rotated(
            secrets,
            self.sealed(owner, new.key, "key", now_ms),
            grace_seconds=DEFAULT_GRACE_SECONDS if grace is None else grace,
            now_ms=now_ms,
        )
