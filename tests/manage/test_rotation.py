"""Rotating secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.engine.resources import SealedSecret
from posthorn.errors import Invalid
from posthorn.manage.rotation import MOST_OLD_SECRETS, rotated, valid


def sealed(name: str, expires_ms: int | None = None) -> SealedSecret:
    return SealedSecret(sealed=name, created_ms=0, expires_ms=expires_ms)


def test_the_new_secret_comes_first_and_the_old_one_gets_an_end() -> None:
    assert rotated([sealed("old")], sealed("new"), grace_seconds=60, now_ms=1000) == (
        sealed("new"),
        sealed("old", 61_000),
    )


def test_without_grace_the_old_secret_ends_at_once() -> None:
    assert rotated([sealed("old")], sealed("new"), grace_seconds=0, now_ms=1000) == (sealed("new"),)


def test_an_expired_secret_is_dropped_and_an_earlier_end_is_kept() -> None:
    secrets = [sealed("current"), sealed("soon", 2000), sealed("expired", 1000)]
    assert rotated(secrets, sealed("new"), grace_seconds=60, now_ms=1000) == (
        sealed("new"),
        sealed("current", 61_000),
        sealed("soon", 2000),
    )


def test_too_many_valid_old_secrets_are_refused_unless_they_end_now() -> None:
    secrets = [sealed("current"), *(sealed(str(number), 9000) for number in range(MOST_OLD_SECRETS))]
    with pytest.raises(Invalid):
        rotated(secrets, sealed("new"), grace_seconds=60, now_ms=1000)
    assert rotated(secrets, sealed("new"), grace_seconds=0, now_ms=1000) == (sealed("new"),)


@given(steps=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 600)), max_size=30))
def test_the_newest_secret_always_signs_and_nothing_outlives_its_grace(steps: list[tuple[int, int]]) -> None:
    secrets: tuple[SealedSecret, ...] = (sealed("0"),)
    now_ms = 0
    for number, (pause_seconds, grace_seconds) in enumerate(steps, start=1):
        now_ms += pause_seconds * 1000
        try:
            secrets = rotated(secrets, sealed(str(number)), grace_seconds=grace_seconds, now_ms=now_ms)
        except Invalid:
            assert len(valid(secrets, now_ms)) > MOST_OLD_SECRETS
            continue
        assert secrets[0] == sealed(str(number))
        assert all(
            old.expires_ms is not None and now_ms < old.expires_ms <= now_ms + grace_seconds * 1000
            for old in secrets[1:]
        )
