import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.calendars import sticky_bucket, sticky_fraction
from posthorn.errors import Invalid


@pytest.mark.parametrize(
    ("seed", "bucket", "fraction"),
    [
        ("", 1652, 0.8894159948913373),  # SHA-256 of nothing starts with e3b0c44298fc1c14
        ("auto_1/split/user-1", 9835, 0.4817970831903019),
        ("Анна", 4257, 0.14826500861754988),
    ],
)
def test_buckets_are_the_same_for_ever(seed: str, bucket: int, fraction: float) -> None:
    assert (sticky_bucket(seed), sticky_fraction(seed)) == (bucket, fraction)


@given(st.text(), st.integers(1, 1_000_000_000))
def test_a_bucket_is_the_first_eight_bytes_of_sha256_by_their_remainder(seed: str, n: int) -> None:
    number = int(hashlib.sha256(seed.encode()).hexdigest()[:16], 16)
    assert sticky_bucket(seed, n) == number % n
    assert 0 <= sticky_fraction(seed) < 1
    assert abs(sticky_fraction(seed) - number / 2**64) < 1e-12


@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_buckets_are_equally_full(n: int) -> None:
    people = 30_000
    counts = Counter(sticky_bucket(f"auto/split/{person}", n) for person in range(people))
    chi_squared = sum((counts[bucket] - people / n) ** 2 / (people / n) for bucket in range(n))
    # Five standard deviations above its mean of n - 1; the seeds are fixed, so that the outcome is too.
    assert chi_squared < (n - 1) + 5 * (2 * (n - 1)) ** 0.5


def test_two_splits_of_the_same_people_are_independent() -> None:
    both = Counter((sticky_bucket(f"a/{person}", 2), sticky_bucket(f"b/{person}", 2)) for person in range(20_000))
    assert all(4_700 < count < 5_300 for count in both.values())


def test_half_a_surrogate_pair_falls_somewhere_too() -> None:
    assert 0 <= sticky_bucket("\ud800") < 10_000


@pytest.mark.parametrize("n", [0, -1, 1_000_000_001])
def test_a_number_of_buckets_that_cannot_be_is_refused(n: int) -> None:
    with pytest.raises(Invalid):
        sticky_bucket("seed", n)
