"""Chance that stays the same: a number from a text, for splits, holdouts and jitter.

The number is the first eight bytes of SHA-256 over the UTF-8 text, read as a big-endian integer; a bucket is its
remainder by the number of buckets. It is the same in every process, version and language for ever: people who were
assigned once must stay where they are, and a warehouse must be able to repeat the assignment.
"""

from hashlib import sha256

from posthorn.errors import Invalid

_FRACTION_BITS = 53  # as many as a float holds exactly
_MOST_BUCKETS = 1_000_000_000  # so that the remainder favours no bucket by more than one part in ten billion


def sticky_bucket(seed: str, n: int = 10_000) -> int:
    """Return the bucket from 0 to n - 1 that a seed falls into. Raises Invalid unless n is from 1 to a billion.

    Name in the seed what the draw is for, besides whom: `f"{automation}/{step}/{profile}"`. The same person then
    falls independently in each split.
    """
    if not 1 <= n <= _MOST_BUCKETS:
        raise Invalid.at("n", msg=f"the number of buckets is from 1 to {_MOST_BUCKETS:,}")
    return _number(seed) % n


def sticky_fraction(seed: str) -> float:
    """Return the number from 0 up to, not including, 1 that a seed stands for: jitter that a retry repeats."""
    return (_number(seed) >> 64 - _FRACTION_BITS) / (1 << _FRACTION_BITS)


def _number(seed: str) -> int:
    # JSON can carry half a surrogate pair, and a person whose id does must fall somewhere too.
    return int.from_bytes(sha256(seed.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[:8], "big")
