"""The calendar as one would work it out with a watch in the hand: minute by minute, from UTC to the wall only.

What `posthorn.calendars` computes in a few steps is compared with this. It uses none of its code.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

ZONES = [
    "UTC",
    "Africa/Cairo",  # summer time interrupted for Ramadan, changes at midnight
    "Africa/Casablanca",  # winter time during Ramadan, to 2087
    "America/Asuncion",  # midnight is skipped and repeated
    "America/Caracas",  # half an hour at 02:30
    "America/Havana",
    "America/New_York",
    "America/Nuuk",  # the last hour of a Saturday is skipped
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",  # at 00:01 back to 23:01 of the day before, to 2011
    "Antarctica/Casey",  # three hours
    "Antarctica/Troll",  # two hours
    "Antarctica/Vostok",  # seven hours in 1994
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",  # half an hour
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/London",
    "Europe/Moscow",
    "Pacific/Apia",  # no 30 December 2011
    "Pacific/Chatham",
    "Pacific/Kiritimati",  # no 31 December 1994
    "Pacific/Kwajalein",  # no 21 August 1993
]
FIRST_MS = 631_152_000_000  # 1990-01-01
LAST_MS = 4_102_444_800_000  # 2100-01-01
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


def wall(at_ms: int, name: str) -> datetime:
    """Return what the wall clock shows."""
    shown = datetime.fromtimestamp(at_ms // 1000, ZoneInfo(name)).replace(tzinfo=None, fold=0)
    return shown + timedelta(milliseconds=at_ms % 1000)


def at(text: str, name: str = "UTC", *, fold: int = 0) -> int:
    """Return the instant of an ISO text in a zone, for examples."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name), fold=fold).timestamp()) * 1000


def minutes(from_ms: int, to_ms: int) -> Iterator[int]:
    """Give an instant and all whole minutes after it, until another instant."""
    yield from_ms
    yield from range(-(-(from_ms + 1) // MINUTE_MS) * MINUTE_MS, to_ms, MINUTE_MS)


def first_shown(shown: datetime, name: str) -> int:
    """Return the first instant at which the clock shows a whole minute or a later time."""
    as_utc_ms = int(shown.replace(tzinfo=UTC).timestamp()) * 1000
    return next(t for t in minutes(as_utc_ms - 16 * HOUR_MS, as_utc_ms + 50 * HOUR_MS) if wall(t, name) >= shown)


def had(day: date, name: str) -> bool:
    """Whether a zone had a day."""
    noon_ms = int(datetime.combine(day, time(12), UTC).timestamp()) * 1000
    return any(wall(noon_ms + hours * HOUR_MS, name).date() == day for hours in range(-40, 41))


@cache
def changes(name: str) -> tuple[int, ...]:
    """Return the instants at which a zone changes its offset."""
    zone = ZoneInfo(name)
    found = []
    seconds = range(FIRST_MS // 1000, LAST_MS // 1000, 86_400)
    offsets = [datetime.fromtimestamp(second, zone).utcoffset() for second in seconds]
    for index, second in enumerate(seconds[1:]):
        if offsets[index] != offsets[index + 1]:
            inside = range(second - 86_400, second + 1, 60)
            found.append(
                next(t for t in inside if datetime.fromtimestamp(t, zone).utcoffset() != offsets[index]) * 1000
            )
    return tuple(found)


@st.composite
def places(draw: st.DrawFn) -> tuple[str, int]:
    """Draw a zone and an instant, most of them within three days of a change, many within hours."""
    name = draw(st.sampled_from(ZONES))
    if changes(name) and draw(st.integers(0, 9)):
        near = draw(st.sampled_from(changes(name)))
        reach = draw(st.sampled_from([0, 2 * HOUR_MS, 8 * HOUR_MS, 3 * DAY_MS]))
        offset = draw(st.integers(-reach, reach))
        # Whole minutes are where things happen; the ms before and after them must not differ by accident.
        return name, near + (offset if draw(st.booleans()) else offset // MINUTE_MS * MINUTE_MS)
    return name, draw(st.integers(FIRST_MS, LAST_MS))
