"""The 256 fixed shards that spread work over nodes."""

from zlib import crc32

SHARDS = 256


def shard_of(key: str) -> int:
    """Return the shard of an endpoint or a profile: the same on every node, in every release."""
    return crc32(key.encode()) & 0xFF
