"""From the text of a cron schedule to a `Cron`. Every fault is told with its column."""

import re
from dataclasses import dataclass, field
from typing import Final

from posthorn.calendars.cron import EVERY_WEEKDAY, LAST_OF_MONTH, Cron
from posthorn.errors import Invalid, Problem

MAX_LENGTH: Final = 200

_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_TERM: Final = re.compile(
    r"(?P<star>\*)|(?P<last>[Ll])|(?P<first>[0-9]+|[A-Za-z]{3})(?:-(?P<end>[0-9]+|[A-Za-z]{3})|(?P<last_weekday>[Ll])|#(?P<nth>[0-9]+))?"
)
_STEP: Final = re.compile(r"/([0-9]+)")
# The calendar repeats after 400 years, but a year of each kind that starts on each weekday comes within these.
_YEARS_OF_ALL_KINDS: Final = range(2000, 2028)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One of the five: its name, its range, and the names that its numbers have."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_MINUTE: Final = _Field(name="minute", low=0, high=59)
_HOUR: Final = _Field(name="hour", low=0, high=23)
_DAY: Final = _Field(name="day of month", low=1, high=31)
_MONTH: Final = _Field(name="month", low=1, high=12, names=_MONTHS)
_WEEKDAY: Final = _Field(name="day of week", low=0, high=7, names=_WEEKDAYS)
_FIELDS: Final = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)


@dataclass(slots=True)
class _Values:
    """What the terms of one field add up to. Numbers are bits."""

    numbers: int = 0
    nth: list[tuple[int, int]] = field(default_factory=list)
    is_last_day: bool = False


class _Refused(Exception):
    """A fault at an offset in the text."""

    def __init__(self, offset: int, msg: str) -> None:
        self.offset = offset
        self.msg = msg
        super().__init__(msg)


def parse_cron(text: str) -> Cron:
    """Read a cron schedule: minute, hour, day of month, month, day of week.

    Each is a list of `*`, numbers, ranges `a-b` and steps `/n`; months and weekdays have their English names of three
    letters, and Sunday is 0 and 7. Beside these, `L` is the last day of the month, `5L` or `FRIL` the last Friday of
    the month, and `1#2` or `MON#2` its second Monday. `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`,
    `@yearly` and `@annually` are short for what they say. Raises Invalid with a problem for each bad field, whose
    `loc` is (name of the field, column counted from 1), and for a schedule that never comes, such as 31 February.
    """
    if len(text) > MAX_LENGTH:
        raise Invalid.at(msg=f"longer than {MAX_LENGTH} characters")
    words = [(match.start(), match[0]) for match in re.finditer(r"\S+", _spelled_out(text))]
    if len(words) != len(_FIELDS):
        raise Invalid.at(msg=_wrong_number(len(words)))
    values, problems = [], []
    for kind, (start, word) in zip(_FIELDS, words, strict=True):
        try:
            values.append(_parse_field(kind, word, start))
        except _Refused as refused:
            column = refused.offset + 1
            problems.append(Problem(loc=(kind.name, column), msg=f"column {column}, {kind.name}: {refused.msg}"))
    if problems:
        raise Invalid(*problems)
    cron = _assemble(text, values, [word for _, word in words])
    if not _comes(cron):
        raise Invalid(Problem(loc=(_DAY.name, words[2][0] + 1), msg="no such day ever comes in these months"))
    return cron


def _spelled_out(text: str) -> str:
    nickname = text.strip()
    if not nickname.startswith("@"):
        return text
    if nickname.lower() not in _NICKNAMES:
        raise Invalid.at(msg=f"{nickname[:20]!r} is none of {', '.join(_NICKNAMES)}")
    return _NICKNAMES[nickname.lower()]


def _wrong_number(count: int) -> str:
    hint = "; seconds and years have no field here" if count > len(_FIELDS) else ""
    return f"expected five fields, minute, hour, day of month, month, day of week, and found {count}{hint}"


def _assemble(text: str, values: list[_Values], words: list[str]) -> Cron:
    minutes, hours, days, months, weekdays = values
    return Cron(
        text=text,
        minutes=minutes.numbers,
        hours=hours.numbers,
        days=days.numbers,
        months=months.numbers,
        # Sunday is 0 and 7 in cron, and 7 in ISO 8601.
        weekdays=(weekdays.numbers | (weekdays.numbers & 1) << 7) & EVERY_WEEKDAY,
        nth_weekdays=tuple(dict.fromkeys((weekday or 7, nth) for weekday, nth in weekdays.nth)),
        is_last_day=days.is_last_day,
        is_either_day=not words[2].startswith("*") and not words[4].startswith("*"),
        is_interval=words[0].startswith("*") or words[1].startswith("*"),
    )


def _comes(cron: Cron) -> bool:
    """Whether any date ever matches: 28 years hold every kind of year with every weekday to start on."""
    return any(cron.days_of_month(year, month) for year in _YEARS_OF_ALL_KINDS for month in range(1, 13))


def _parse_field(kind: _Field, word: str, start: int) -> _Values:
    values = _Values()
    for term in word.split(","):
        _parse_term(kind, term, start, values)
        start += len(term) + 1
    return values


def _parse_term(kind: _Field, term: str, start: int, values: _Values) -> None:
    match = _TERM.match(term)
    if match is None or "?" in term or (kind is _DAY and "W" in term.upper()):
        raise _Refused(start, _what_is_wrong(kind, term))
    step = _parse_step(term[match.end() :], start + match.end())
    first, end, nth = match["first"], match["end"], match["nth"]
    if match["star"]:
        values.numbers |= _range(kind.low, kind.high, step or 1)
        return
    if match["last"]:
        if kind is not _DAY or step:
            raise _Refused(start, "L stands alone, and only in day of month; the last Friday of a month is FRIL")
        values.is_last_day = True
        return
    number = _number(kind, first, start)
    if match["last_weekday"] or nth:
        if kind is not _WEEKDAY or step:
            raise _Refused(start, f"{term[:10]!r} has a meaning only in day of week, and takes no step")
        values.nth.append((number % 7, _nth(nth, start) if nth else LAST_OF_MONTH))
        return
    high = _number(kind, end, start + match.start("end")) if end else kind.high if step else number
    if kind is _WEEKDAY and end and end.upper() == "SUN" and number:
        high = 7  # FRI-SUN ends with the week
    if high < number:
        raise _Refused(start, f"the range {match[0]} runs backwards; write two ranges with a comma between them")
    values.numbers |= _range(number, high, step or 1)


def _parse_step(text: str, start: int) -> int | None:
    if not text:
        return None
    match = _STEP.fullmatch(text)
    if match is None:
        raise _Refused(start, f"expected a comma, a step such as /2, or the end here, found {text[:10]!r}")
    if len(match[1]) > 2 or not int(match[1]):
        raise _Refused(start + 1, f"a step is from 1 to 99, not {match[1][:10]}")
    return int(match[1])


def _number(kind: _Field, text: str, start: int) -> int:
    if not text.isdecimal():
        if text.upper() not in kind.names:
            raise _Refused(start, _what_is_wrong(kind, text))
        return kind.names.index(text.upper()) + kind.low
    if len(text) > 2 or not kind.low <= int(text) <= kind.high:
        raise _Refused(start, f"{text[:10]} is not within {kind.low} to {kind.high}")
    return int(text)


def _nth(text: str, start: int) -> int:
    if text not in {"1", "2", "3", "4", "5"}:
        raise _Refused(start, f"a month has its weekdays #1 to #5, not #{text[:10]}")
    return int(text)


def _range(low: int, high: int, step: int) -> int:
    return sum(1 << number for number in range(low, high + 1, step))


def _what_is_wrong(kind: _Field, term: str) -> str:
    if not term:
        return "a value is missing"
    if "?" in term:
        return "write * for ?; and mind that Sunday is 0 or 7 here"
    if "W" in term.upper() and kind is _DAY:
        return "the weekday nearest to a day (W) is not supported"
    names = f", or {kind.names[0]} to {kind.names[-1]}" if kind.names else ""
    return f"{term[:10]!r} is no number from {kind.low} to {kind.high}{names}"
