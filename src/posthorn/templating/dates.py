"""Instants in templates: reading, formatting and moving them to a time zone. No clock, no zone of the machine."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from posthorn.templating.context import ABSENT, Context
from posthorn.templating.failures import Fault
from posthorn.templating.printing import ZonedText, liquid_text

_MAX_DATE_FORMAT_CHARACTERS: Final = 256
_MAX_DATE_CHARACTERS: Final = 64
_OWN_DIRECTIVE: Final = re.compile(r"%(%|s|L|N|:z)")
_SECONDS: Final = re.compile(r"-?\d{1,12}(\.\d{1,9})?")
_OFFSET: Final = re.compile(r"([+-])(\d{2}):?(\d{2})")
_NOW: Final = ("now", "today")

_RUBY_ZONE: Final = re.compile(r"\s*(?:UTC|GMT|Z)$", re.IGNORECASE)
_SPACED_OFFSET: Final = re.compile(r"\s+([+-]\d{2}):?(\d{2})$")
_ONE_DIGIT_HOUR: Final = re.compile(r"(?<=[T ])(\d):")
_MIDNIGHT: Final = re.compile(r"(?<=[T ])24:00(:00)?")
_WRITTEN_OUT: Final = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%a, %d %b %Y %H:%M:%S", "%Y/%m/%d")


def date(value: object, form: object, *, context: Context) -> str:
    """Format an instant in its own time zone; UTC where it names none. `now` is the caller's variable."""
    return _formatted(_instant(_resolved(value, context)), form)


def lenient_date(value: object, form: object = "", *, context: Context) -> object:
    """Format like Braze and Liquid for Ruby: what is no date is returned as it is."""
    read = _read_leniently(_resolved(value, context))
    return value if read is None or not liquid_text(form) else _formatted(read, form)


def time_zone(value: object, zone: object, *, context: Context) -> ZonedText:
    """Move an instant to a time zone (IANA name or ±HHMM); prints as ISO 8601."""
    moved = _instant(_resolved(value, context)).astimezone(_zone(zone))
    return _zoned(moved.isoformat(), moved)


def lenient_time_zone(value: object, zone: object = "", *, context: Context) -> object:
    """Move an instant as Braze does: without a zone to UTC, printed as `2021-08-04 02:00:00 -0700`."""
    read = _read_leniently(_resolved(value, context))
    if read is None:
        return value
    moved = read.astimezone(_zone(zone) if liquid_text(zone) else UTC)
    return _zoned(f"{moved:%Y-%m-%d %H:%M:%S %z}", moved)


def _zoned(text: str, instant: datetime) -> ZonedText:
    made = ZonedText(text)
    made.instant = instant
    return made


def _resolved(value: object, context: Context) -> object:
    if not isinstance(value, str) or value not in _NOW:
        return value
    # Not through the scope: a template of the Braze dialect may have a variable of its own named `now`.
    now = context.globals.get("now", ABSENT)
    if now is ABSENT:
        raise Fault("'now' is unknown here")
    return now


def _formatted(instant: datetime, form: object) -> str:
    pattern = liquid_text(form)
    if len(pattern) > _MAX_DATE_FORMAT_CHARACTERS:
        raise Fault("the date format is too long")
    return instant.strftime(_OWN_DIRECTIVE.sub(lambda found: _own_directive(found[1], instant), pattern))


def _own_directive(directive: str, instant: datetime) -> str:
    """Print what the C library lacks, or would print in the machine's time zone (`%s`)."""
    match directive:
        case "s":
            return str(int(instant.timestamp()))
        case "L":
            return f"{instant.microsecond // 1000:03}"
        case "N":
            return f"{instant.microsecond:06}000"
        case ":z":
            offset = f"{instant:%z}"
            return f"{offset[:3]}:{offset[3:5]}"
        case _:
            return "%%"


def _instant(value: object) -> datetime:
    if isinstance(value, ZonedText):
        return value.instant
    if isinstance(value, datetime):
        read = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    elif isinstance(value, str) and _SECONDS.fullmatch(value):
        return datetime.fromtimestamp(float(value), UTC)
    elif isinstance(value, str):
        read = datetime.fromisoformat(value)
    else:
        raise Fault("'date' reads ISO 8601 text or seconds since 1970")
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _read_leniently(value: object) -> datetime | None:
    """Read what Ruby's Time.parse would, of the forms that are not ambiguous."""
    if not isinstance(value, str):
        return _instant(value) if isinstance(value, (int, float, datetime)) and not isinstance(value, bool) else None
    try:
        return _instant(value)
    except ValueError:
        if len(value) > _MAX_DATE_CHARACTERS:
            return None
    text = _ONE_DIGIT_HOUR.sub(r"0\1:", value.strip())
    text, midnights = _MIDNIGHT.subn("00:00", _SPACED_OFFSET.sub(r"\1:\2", _RUBY_ZONE.sub("+00:00", text)))
    try:
        return _instant(text) + timedelta(days=midnights)
    except (ValueError, OverflowError):
        return _written_out(value.strip())


def _written_out(text: str) -> datetime | None:
    for form in _WRITTEN_OUT:
        try:
            return datetime.strptime(_RUBY_ZONE.sub("", text), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _zone(zone: object) -> timezone | ZoneInfo:
    name = f"{zone:+05d}" if isinstance(zone, int) else liquid_text(zone)
    offset = _OFFSET.fullmatch(name)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    found = _named_zone(name)
    if found is None:
        raise Fault("unknown time zone")
    return found


@lru_cache(maxsize=1024)
def _named_zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
