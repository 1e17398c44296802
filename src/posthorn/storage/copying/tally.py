"""Checksums that two databases can agree on, whatever order they return their rows in. Pure.

A row's canonical encoding is the MessagePack array of its values in the order of `storage/tables.py`
(https://github.com/msgpack/msgpack/blob/master/spec.md: integers in their shortest form, text as UTF-8, bytes as bin).
Each row is hashed to 64 bits, and the sum of the hashes modulo 2**64 is the checksum.
"""

from collections.abc import Iterable
from hashlib import blake2b

from msgspec.msgpack import Encoder

from posthorn.storage.copying.contents import Row

_BITS = 64
_encode = Encoder().encode


class Tally:
    """Counts rows and sums up their hashes."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Count these rows too."""
        hashes = [int.from_bytes(blake2b(_encode(row), digest_size=_BITS // 8).digest()) for row in rows]
        self.rows += len(hashes)
        self._sum = (self._sum + sum(hashes)) % (1 << _BITS)

    @property
    def checksum(self) -> str:
        """The sum as sixteen hexadecimal digits."""
        return f"{self._sum:016x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and (self.rows, self._sum) == (other.rows, other._sum)

    def __hash__(self) -> int:
        return hash((self.rows, self._sum))
