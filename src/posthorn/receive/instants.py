"""Times as senders write them. Pure."""

import re
from datetime import UTC, datetime, timedelta, timezone

from posthorn.clock import SECOND_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST = 40
_FIRST_MS = -2_208_988_800_000  # 1900: outside of these years a time is a mistake, such as another unit
_LAST_MS = 7_258_118_400_000  # 2200
_FEWEST_AS_MS = 100_000_000_000  # read as seconds, this would be the year 5138
# What fromisoformat refuses and senders write: Braze's documentation has `+1:00` and `ss:SSSZ`, Segment's `2015-2-02`.
_LOOSE = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})[Tt ](\d{1,2}):(\d{2}):(\d{2})"
    r"(?:[.,:](\d{1,9}))?\s*(?:([Zz])|([+-])(\d{1,2}):?(\d{2}))?"
)


def instant_of(value: object) -> int | None:
    """Read an instant (ms): ISO 8601 text, or a number of seconds or milliseconds since 1970, also as text.

    A time without an offset is UTC. None when it is no time, or one outside of the years 1900 to 2199.
    """
    if isinstance(value, str):
        at_ms = _from_text(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        at_ms = _from_number(value)
    else:
        return None
    return at_ms if at_ms is not None and _FIRST_MS <= at_ms < _LAST_MS else None


def happened_ms(told_ms: int | None, received_ms: int) -> int:
    """Tell when an event happened: when its sender says so, or now; never later than now.

    A time that lies ahead is that of a wrong clock, or a wrong unit. Kept, it would stand as the last time of its type
    and take a place in windows until it comes.
    """
    return received_ms if told_ms is None else min(told_ms, received_ms)


def _from_text(text: str) -> int | None:
    if len(text) > _LONGEST:
        return None
    try:
        at = datetime.fromisoformat(text) if len(text) > 8 else None  # fewer digits are a number
    except ValueError:
        at = None
    if at is None or "-" not in text:
        return _from_digits(text) if text.replace(".", "", 1).isdigit() else _from_loose(text)
    return ((at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def _from_digits(text: str) -> int | None:
    return _from_number(float(text)) if text.isascii() else None


def _from_number(value: float) -> int | None:
    if not abs(value) <= _LAST_MS:  # also what is no number
        return None
    return int(value) if abs(value) >= _FEWEST_AS_MS else int(value * SECOND_MS)


def _from_loose(text: str) -> int | None:
    found = _LOOSE.fullmatch(text.strip())
    if found is None:
        return None
    *whole, fraction, _, sign, hours, minutes = found.groups()
    try:
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        zone = timezone(-offset if sign == "-" else offset)
        at = datetime(*map(int, whole), int(f"{fraction or 0:0<6}"[:6]), tzinfo=zone)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    return (at - _EPOCH) // _MILLISECOND
