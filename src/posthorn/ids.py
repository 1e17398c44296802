"""Identifiers: a prefix that names the kind, then 27 characters of base62 that sort by time.

The 27 characters are a KSUID with milliseconds, the layout that Svix's servers use: 4 bytes of seconds since
2014-05-13T16:53:20Z, 1 byte of 4 ms steps, 15 random bytes. Sorting ids as text sorts them by time,
so a range of time is a range of ids.
"""

import os
from functools import lru_cache

EPOCH_MS = 1_400_000_000_000
_STEP_MS = 4
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY_LENGTH = 27
_RANDOM_BITS = 120
_TAIL_LENGTH = 20  # 62 ** 20 is a little less than 2 ** 120, so 20 characters hold almost all of the random part
_TAILS = 62**_TAIL_LENGTH
_POOL_BYTES = 16 * 1024

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
AUTOMATION_VERSION = "autov"
RUN = "run"
SEGMENT = "seg"


class _RandomText:
    """Draws random base62 text for many ids in one system call."""

    # Bytes from 248 on are thrown away: they would make the first eight characters likelier than the others.
    _SPELLED = bytes(ord(_ALPHABET[byte % 62]) for byte in range(256))
    _UNFAIR = bytes(range(248, 256))

    def __init__(self) -> None:
        self._text = ""
        self._at = 0

    def take(self) -> str:
        """Return the next 20 characters."""
        start = self._at
        if start + _TAIL_LENGTH > len(self._text):
            self._text = os.urandom(_POOL_BYTES).translate(self._SPELLED, self._UNFAIR).decode()
            start = 0
        self._at = start + _TAIL_LENGTH
        return self._text[start : self._at]


_random = _RandomText()
os.register_at_fork(after_in_child=_random.__init__)  # type: ignore[misc]  # a child must not repeat its parent's ids


def _base62(number: int) -> str:
    digits = []
    for _ in range(_BODY_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _stamp(at_ms: int) -> int:
    seconds, milliseconds = divmod(max(at_ms - EPOCH_MS, 0), 1000)
    return (seconds & 0xFFFFFFFF) << 8 | milliseconds // _STEP_MS


@lru_cache(maxsize=64)
def _head(stamp: int) -> str | None:
    """Return the 7 leading characters under which any 20 characters stay within this stamp, None when there are none.

    A stamp spans 2 ** 120 numbers, that is 1.89 times the numbers of 20 characters: in nine of ten stamps one whole
    block of them fits. An id is then two pieces of text put together, with no arithmetic on 160-bit numbers.
    """
    block = -(-(stamp << _RANDOM_BITS) // _TAILS)
    if (block + 1) * _TAILS > (stamp + 1) << _RANDOM_BITS:
        return None
    return _base62(block * _TAILS)[: _BODY_LENGTH - _TAIL_LENGTH]


def new_id(prefix: str, at_ms: int) -> str:
    """Make an id of this kind for this instant."""
    stamp = _stamp(at_ms)
    head = _head(stamp)
    if head is None:
        return f"{prefix}_{_base62(stamp << _RANDOM_BITS | int.from_bytes(os.urandom(15), 'big'))}"
    return f"{prefix}_{head}{_random.take()}"


def first_id(prefix: str, at_ms: int) -> str:
    """Return the smallest id that this instant can have, to start a range of time."""
    return f"{prefix}_{_base62(_stamp(at_ms) << _RANDOM_BITS)}"


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
    stamp = number >> _RANDOM_BITS
    if stamp >> 40:
        return None  # 27 characters can spell more than the 160 bits of an id
    return (stamp >> 8) * 1000 + (stamp & 0xFF) * _STEP_MS + EPOCH_MS
