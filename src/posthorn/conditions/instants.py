"""Times as they stand in facts and in conditions, read as instants."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from posthorn.clock import SECOND_MS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MOST_CHARACTERS: Final = 40
# A number from here on counts milliseconds, and one below it seconds: as seconds it were the year 5138, as
# milliseconds it is March 1973.
_FIRST_MILLISECONDS: Final = 100_000_000_000
_LAST_MS: Final = 253_402_300_800_000  # the end of the year 9999, where ISO 8601 text ends too


def instant_ms(value: object) -> int | None:
    """Read a time: ISO 8601 text (a date is its midnight, no zone means UTC) or a Unix time in seconds or ms.

    None when it is neither. Fractions of a millisecond are cut off.
    """
    if type(value) is str:
        return _of_text(value) if len(value) <= _MOST_CHARACTERS else None
    if type(value) is int:
        instant = value if abs(value) >= _FIRST_MILLISECONDS else value * SECOND_MS
        return instant if abs(instant) < _LAST_MS else None
    if type(value) is float and abs(value) < _LAST_MS:  # a float that is no number or infinite is not less
        return int(value) if abs(value) >= _FIRST_MILLISECONDS else int(value * SECOND_MS)
    return None


@lru_cache(maxsize=4096)
def _of_text(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
        zoned = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        return (zoned - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None
