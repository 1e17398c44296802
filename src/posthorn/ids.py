"""Identifiers: a prefix that names the kind, then 27 characters of base62 that sort by time.

The 27 characters are a KSUID with milliseconds, the layout that Svix's servers use: 4 bytes of seconds since
2014-05-13T16:53:20Z, 1 byte of 4 ms steps, 15 random bytes. Sorting ids as text sorts them by time,
so a range of time is a range of ids.
"""

import os

EPOCH_MS = 1_400_000_000_000
_STEP_MS = 4
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TRIPLE = 62**3
_TRIPLES = [a + b + c for a in _ALPHABET for b in _ALPHABET for c in _ALPHABET]
_NINE = 62**9
_BODY_LENGTH = 27
_RANDOM_BYTES = 15
_POOL_IDS = 256

WORKSPACE = "ws"
API_KEY = "key"
APPLICATION = "app"
ENDPOINT = "ep"
EVENT_TYPE = "evtype"
EVENT = "evt"
MESSAGE = "msg"
SOURCE = "src"
REQUEST = "req"
DELIVERY = "dlv"
ATTEMPT = "atmpt"
AUTOMATION = "auto"
DECISION = "dec"
SECRET = "sec"  # noqa: S105 - a prefix, not a credential
NODE = "node"


class _RandomPool:
    """Draws random bytes for many ids in one system call."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def take(self) -> bytes:
        if self._at >= len(self._bytes):
            self._bytes = os.urandom(_RANDOM_BYTES * _POOL_IDS)
            self._at = 0
        start = self._at
        self._at = start + _RANDOM_BYTES
        return self._bytes[start : self._at]


_pool = _RandomPool()
os.register_at_fork(after_in_child=_pool.__init__)  # type: ignore[misc]  # a child must not repeat its parent's ids


def _base62(number: int) -> str:
    high, low = divmod(number, _NINE)
    high, middle = divmod(high, _NINE)
    return "".join(
        [
            _TRIPLES[part // (_TRIPLE * _TRIPLE)] + _TRIPLES[part // _TRIPLE % _TRIPLE] + _TRIPLES[part % _TRIPLE]
            for part in (high, middle, low)
        ]
    )


def _stamp(at_ms: int) -> int:
    seconds, milliseconds = divmod(max(at_ms - EPOCH_MS, 0), 1000)
    return (seconds & 0xFFFFFFFF) << 8 | milliseconds // _STEP_MS


def new_id(prefix: str, at_ms: int) -> str:
    """Make an id of this kind for this instant."""
    return f"{prefix}_{_base62(_stamp(at_ms) << 120 | int.from_bytes(_pool.take(), 'big'))}"


def first_id(prefix: str, at_ms: int) -> str:
    """Return the smallest id that this instant can have, to start a range of time."""
    return f"{prefix}_{_base62(_stamp(at_ms) << 120)}"


def time_of(identifier: str) -> int | None:
    """Return the instant in an id (ms, 4 ms resolution), or None when it is no id of ours."""
    _, separator, body = identifier.rpartition("_")
    if not separator or len(body) != _BODY_LENGTH:
        return None
    number = 0
    for character in body:
        digit = _ALPHABET.find(character)
        if digit < 0:
            return None
        number = number * 62 + digit
    stamp = number >> 120
    return (stamp >> 8) * 1000 + (stamp & 0xFF) * _STEP_MS + EPOCH_MS
