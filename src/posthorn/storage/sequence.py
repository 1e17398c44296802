"""`seq`, which orders journal rows by commit: the time in ms, and 20 bits to count in."""

from posthorn.clock import DAY_MS

LAST_SEQ = 2**63 - 1

_BITS = 20


def seq_at(at_ms: int) -> int:
    """Return the first seq of an instant; of one before 1970 or after 2248, the nearest that there can be."""
    return max(0, min(at_ms << _BITS, LAST_SEQ))


def day_at(seq: int) -> int:
    """Return the UTC day of a seq, counted from 1970."""
    return (seq >> _BITS) // DAY_MS
