"""The payload that load carries: a number and the instant it was due to be sent, at fixed places."""

import struct

HEAD = b'{"n":"%010d","t":"%016d","pad":"'
TAIL = b'"}'
_NUMBER_AT = 6
_TIME_AT = 23


def payload(number: int, due_ns: int, size: int) -> bytes:
    """Build a JSON payload of exactly `size` bytes."""
    head = HEAD % (number, due_ns // 1000)
    return head + b"x" * max(0, size - len(head) - len(TAIL)) + TAIL


def read(body: bytes, at: int) -> tuple[int, int]:
    """Return the number and the due time (µs) of a payload that begins at `at`."""
    return int(body[at + _NUMBER_AT : at + _NUMBER_AT + 10]), int(body[at + _TIME_AT : at + _TIME_AT + 16])


RECORD = struct.Struct("<IQI")  # number, receive time in µs, latency in µs
