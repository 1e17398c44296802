"""Dates as they stand in people's attributes: a birthday from whatever a system wrote down for it.

Only what can be read in one way is read. `05/06/1990` is May to some and June to others, and gets a reason instead.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from posthorn.calendars.anniversaries import MonthDay
from posthorn.calendars.days import date_of, is_leap
from posthorn.calendars.zones import Zone
from posthorn.clock import DAY_MS, SECOND_MS

_LONGEST_TEXT: Final = 64
_DATE: Final = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})")
_YEARLESS: Final = re.compile(r"(?:--)?([0-9]{2})-([0-9]{2})|--([0-9]{2})([0-9]{2})")
_DATETIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)?"
    r" ?(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2})?)?"
)
_NUMBER: Final = re.compile(r"-?[0-9]{9,14}(?:\.0*)?")
# Read as ms, a count of seconds lies in the weeks around 1 January 1970, and read as seconds, a count of ms lies
# millennia away: a number is taken where one reading is within a lifetime of now and the other is such nonsense.
_SECONDS: Final = (100_000_000, 4_102_444_800)  # March 1973 to the end of 2099; before 1970 by the minus sign
_MILLISECONDS: Final = (100_000_000_000, 4_102_444_800_000)
_HOW: Final = "write YYYY-MM-DD, MM-DD or an ISO 8601 time"


@dataclass(frozen=True, slots=True, kw_only=True)
class DateRead:
    """A date that was read. `year` is None when the attribute did not tell it."""

    date: MonthDay
    year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDate:
    """Why a value is no date, in words for people."""

    reason: str


def read_date(value: object, zone: Zone) -> DateRead | NoDate:
    """Read a date attribute: ISO 8601 date or time, `MM-DD`, `--MM-DD`, or seconds or ms since 1970.

    A time with an offset, and a number, is an instant: its date is the one on the wall in `zone`. But exactly
    midnight as written (UTC for a number) is how systems store a date alone, and is that date in every zone. A time
    without an offset is the date as written. A year 0000 is no year. Numbers between 1966 and 1973 are not read,
    because their seconds could be other numbers' ms.
    """
    if isinstance(value, str):
        return _read_text(value.strip(), zone)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NoDate(reason=f"neither text nor number; {_HOW}")
    if not math.isfinite(value):
        return NoDate(reason="not a finite number")
    return _read_number(math.floor(value), zone)


def _read_text(text: str, zone: Zone) -> DateRead | NoDate:
    if len(text) > _LONGEST_TEXT:
        return NoDate(reason=f"too long for a date; {_HOW}")
    if match := _DATE.fullmatch(text):
        year, month, day = map(int, match.groups())
        return _checked(year, month, day)
    if match := _YEARLESS.fullmatch(text):
        return _checked(0, int(match[1] or match[3]), int(match[2] or match[4]))
    if match := _DATETIME.fullmatch(text):
        return _read_time(match, zone)
    if _NUMBER.fullmatch(text):
        return _read_number(int(text.partition(".")[0]), zone)
    return NoDate(reason=f"{text[:20]!r} cannot be read in one way only; {_HOW}" if text else "empty")


def _checked(year: int, month: int, day: int) -> DateRead | NoDate:
    found = MonthDay(month, day)
    if not found.is_valid or (found == (2, 29) and not is_leap(year)):
        return NoDate(reason=f"the calendar has no {year:04d}-{month:02d}-{day:02d}")
    return DateRead(date=found, year=year or None)


def _read_time(match: re.Match[str], zone: Zone) -> DateRead | NoDate:
    year, month, day = (int(part) for part in match[1].split("-"))
    hour, minute, second = int(match[2]), int(match[3]), int(match[4] or 0)
    written = _checked(year, month, day)
    if isinstance(written, NoDate):
        return written
    if hour > 23 or minute > 59 or second > 60:
        return NoDate(reason=f"the clock has no {hour:02d}:{minute:02d}:{second:02d}")
    is_instant = match[5] or match[6]
    if not is_instant or written.year is None or not (hour or minute or second):
        return written
    offset_minutes = int(match[7] or 0) * 60 + int(match[8] or 0)
    if offset_minutes >= 24 * 60:
        return NoDate(reason="an offset of a day or more")
    if match[6] == "-":
        offset_minutes = -offset_minutes
    since_midnight = timedelta(hours=hour, minutes=minute - offset_minutes, seconds=second)
    try:
        at = datetime(year, month, day, tzinfo=UTC) + since_midnight
    except OverflowError:
        return written
    return _on_wall(int(at.timestamp()) * SECOND_MS, zone)


def _read_number(number: int, zone: Zone) -> DateRead | NoDate:
    if _SECONDS[0] <= abs(number) <= _SECONDS[1]:
        at_ms = number * SECOND_MS
    elif _MILLISECONDS[0] <= abs(number) <= _MILLISECONDS[1]:
        at_ms = number
    else:
        return NoDate(reason=f"a number that is surely neither seconds nor ms since 1970; {_HOW}")
    return _as_read(date_of(at_ms // DAY_MS)) if at_ms % DAY_MS == 0 else _on_wall(at_ms, zone)


def _on_wall(at_ms: int, zone: Zone) -> DateRead:
    return _as_read(date_of(zone.wall_ms(at_ms) // DAY_MS))


def _as_read(found: date) -> DateRead:
    return DateRead(date=MonthDay(found.month, found.day), year=found.year)
