"""Time zones: which instant a wall clock's time is, and what the wall clock shows at an instant.

The rules come from the IANA database through `zoneinfo`: the system's copy, or that of the `tzdata` package.
Three facts of that database for the years from 1970 on carry the arithmetic here, and a test keeps watch over them:
a zone changes its offset at most once in two days, always on a whole minute, and a repeated span is shorter than a day.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from posthorn.clock import DAY_MS, SECOND_MS
from posthorn.errors import Invalid

# Names that mean what the machine at hand is set to, or nothing: two nodes could read them differently.
_OF_THE_MACHINE = frozenset({"localtime", "Factory", "posixrules"})
_LONGEST_NAME = 64
_OFFSET = re.compile(r"(?:UTC|GMT)?\s?[+-]\d", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone with its IANA name. Make one with `zone`.

    Its methods raise Invalid for instants outside of the years 1 to 9999.
    """

    name: str
    _rules: ZoneInfo = field(repr=False, compare=False)

    def offset_ms(self, at_ms: int) -> int:
        """Return how far the wall clock is ahead of UTC at an instant."""
        try:
            offset = datetime.fromtimestamp(at_ms // SECOND_MS, self._rules).utcoffset()
        except (ValueError, OverflowError, OSError):
            raise Invalid.at(msg="an instant outside of the years 1 to 9999") from None
        # Every zone of the database has an offset at every instant; the type allows for zones that have none.
        return (offset.days * 86_400 + offset.seconds) * SECOND_MS if offset is not None else 0

    def wall_ms(self, at_ms: int) -> int:
        """Return what the wall clock shows at an instant, as a wall time."""
        return at_ms + self.offset_ms(at_ms)

    def instant_ms(self, wall_ms: int) -> int:
        """Return the first instant at which the wall clock shows this time or a later one.

        A time that the clock shows twice gives the first of the two instants, and a time that it skips gives the
        instant at which it jumps.
        """
        # A day before is before any change that touches this time, see the facts above.
        before_ms = self.offset_ms(wall_ms - DAY_MS)
        at_ms = wall_ms - before_ms
        after_ms = self.offset_ms(at_ms)
        if after_ms == before_ms:
            return at_ms
        changed_ms = wall_ms - after_ms
        if self.offset_ms(changed_ms) == after_ms:
            return changed_ms
        return self._change_ms(changed_ms, at_ms)

    def on_day_ms(self, day: int, of_day_ms: int) -> int | None:
        """Return the first instant of a time on a day; None when the zone left out that day as a whole.

        Apia had no 30 December 2011: nothing is due on a day that nobody had.
        """
        at_ms = self.instant_ms(day * DAY_MS + of_day_ms)
        if self.wall_ms(at_ms) == day * DAY_MS + of_day_ms or self.has_day(day):
            return at_ms
        return None

    def has_day(self, day: int) -> bool:
        """Whether any of a day was had here."""
        return self.wall_ms(self.instant_ms(day * DAY_MS)) // DAY_MS == day

    def steady_until_ms(self, at_ms: int) -> int:
        """Return the next change of the offset after an instant, or the instant a day later when that comes first."""
        later_ms = at_ms + DAY_MS
        if self.offset_ms(at_ms) == self.offset_ms(later_ms):
            return later_ms
        return self._change_ms(at_ms, later_ms)

    def _change_ms(self, low_ms: int, high_ms: int) -> int:
        """Return the change of the offset between two instants, of which the first is before it."""
        low, high = low_ms // SECOND_MS, high_ms // SECOND_MS
        after_ms = self.offset_ms(high_ms)
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset_ms(middle * SECOND_MS) == after_ms:
                high = middle
            else:
                low = middle
        return high * SECOND_MS


def zone(name: str | None, default: str = "UTC") -> Zone:
    """Return the zone of an IANA name in any case of letters; that of `default` when there is no name.

    Raises Invalid for a name that the database does not have, with a suggestion when one is near.
    """
    found = zone_if_known(name or default)
    if found is None:
        raise Invalid.at(msg=_explanation((name or default)[:_LONGEST_NAME]))
    return found


@lru_cache(maxsize=1024)
def zone_if_known(name: str) -> Zone | None:
    """Return the zone of an IANA name in any case of letters, None when there is none. Cheap for both."""
    canonical = _names().get(name.lower())
    return _zone(canonical) if canonical is not None else None


def zone_names() -> tuple[str, ...]:
    """Return all names that `zone` takes, sorted, for people to choose from."""
    return tuple(sorted(_names().values()))


@cache
def _zone(name: str) -> Zone:
    return Zone(name, ZoneInfo(name))


@cache
def _names() -> dict[str, str]:
    """Names as the database spells them, by their lower case, in which no two are equal."""
    return {name.lower(): name for name in available_timezones() - _OF_THE_MACHINE}


@cache
def _cities() -> dict[str, str]:
    """Full names by the lower case of their last part, the shortest name first choice."""
    ordered = sorted(_names().values(), key=lambda name: (-len(name), name))
    return {name.rpartition("/")[2].lower(): name for name in ordered}


@lru_cache(maxsize=256)
def _explanation(name: str) -> str:
    """Say why a name is none. Looking for what is near takes milliseconds, and bad names come in swarms."""
    if _OFFSET.match(name):
        return f"{name!r} is an offset and knows no summer time; name a zone such as Europe/Berlin"
    near = _suggestion(name.strip().lower().replace(" ", "_"))
    hint = f"did you mean {near}?" if near else "use an IANA name such as Europe/Berlin"
    return f"there is no time zone {name!r}; {hint}"


def _suggestion(spelled: str) -> str | None:
    names, cities = _names(), _cities()
    if spelled in names:
        return names[spelled]
    if spelled.rpartition("/")[2] in cities:
        return cities[spelled.rpartition("/")[2]]
    if near := get_close_matches(spelled, names, n=1, cutoff=0.75):
        return names[near[0]]
    if near := get_close_matches(spelled, cities, n=1, cutoff=0.75):
        return cities[near[0]]
    return None
