"""Rotating secrets: the new one comes first, the old ones stay valid for a while. Pure."""

from collections.abc import Sequence

from posthorn.clock import SECOND_MS
from posthorn.engine.resources import SealedSecret
from posthorn.errors import Invalid

DEFAULT_GRACE_SECONDS = 86_400
LONGEST_GRACE_SECONDS = 7 * 86_400
MOST_OLD_SECRETS = 10


def valid(secrets: Sequence[SealedSecret], now_ms: int) -> tuple[SealedSecret, ...]:
    """Return the secrets that have not expired."""
    return tuple(secret for secret in secrets if secret.expires_ms is None or secret.expires_ms > now_ms)


def rotated(
    secrets: Sequence[SealedSecret], new: SealedSecret, *, grace_seconds: int, now_ms: int
) -> tuple[SealedSecret, ...]:
    """Put a new secret first and let the current ones expire after the grace period.

    Old secrets keep the earlier of their two ends. Raises Invalid when more than ten old ones would be valid.
    """
    ends_ms = now_ms + grace_seconds * SECOND_MS
    old = valid(
        [
            SealedSecret(
                sealed=secret.sealed,
                created_ms=secret.created_ms,
                expires_ms=ends_ms if secret.expires_ms is None else min(secret.expires_ms, ends_ms),
            )
            for secret in secrets
        ],
        now_ms,
    )
    if len(old) > MOST_OLD_SECRETS:
        raise Invalid.at(
            "gracePeriodSeconds",
            msg=f"{MOST_OLD_SECRETS} old secrets are still valid; wait until one expires, or give 0 to end them now",
        )
    return (new, *old)
