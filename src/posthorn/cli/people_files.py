"""Rows of people in CSV and JSONL files, one after the other: what each sets of whom, or what is wrong with it."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, TextIO

import msgspec

from posthorn.cli.failures import CommandFailed
from posthorn.cli.people_cells import CellType, WrongCell, cell_value, type_of
from posthorn.cli.texts import _
from posthorn.engine.people import ProfileChange, Subscription
from posthorn.errors import Invalid
from posthorn.receive.people import LONGEST_USER, check_change, user_text

LONGEST_LINE = 1024 * 1024
_DELIMITERS = (",", ";", "\t", "|")
_ATTRIBUTES = "attributes."
_SUBSCRIPTIONS = "subscriptions."
_ZONES = ("timeZone", "time_zone")
_LONGEST_NAME = 256
_DEEPEST = 10
# What an export says beside what can be set again.
_ONLY_TOLD = frozenset({"aliases", "segments", "counters", "createdAt", "updatedAt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodRow:
    """A row that can be imported: `change` is a profile change as the API takes it."""

    line: int
    user: str
    change: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that cannot be imported, and why."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file is to be read. `delimiter` None: the one that the header has most of."""

    user_column: str = "user"
    types: Mapping[str, CellType] = field(default_factory=dict)
    delimiter: str | None = None


class _Lines:
    """Hands lines on, never more than a megabyte at once, and keeps those of the row that is being read."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0
        self.kept: list[str] = []

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LONGEST_LINE):
            self.number += 1
            if len(self.kept) < 100:  # an unclosed quote may swallow many lines, until the parser gives up
                self.kept.append(line)
            yield line

    def take(self) -> str:
        text = "".join(self.kept).rstrip("\r\n")
        self.kept.clear()
        return text


def read_csv(file: TextIO, reading: Reading) -> Iterator[GoodRow | BadRow]:
    """Read rows under a header. The file is opened with `newline=""`. Raises CommandFailed for a broken header."""
    lines = _Lines(file)
    source = iter(lines)
    first = next(source, "")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # what Excel writes for itself
        reading = Reading(
            user_column=reading.user_column, types=reading.types, delimiter=reading.delimiter or first.strip()[4]
        )
        lines.kept.clear()
        first = next(source, "")
    if not first.strip():
        raise CommandFailed(_("The file is empty: its first line must name the columns."))
    reader = csv.reader(_from(first, source), delimiter=reading.delimiter or _delimiter_of(first))
    setters = _columns(_header(reader), reading)
    lines.take()
    while True:
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(line=line, reason=str(error), text=lines.take())
            continue
        text = lines.take()
        if any(cell.strip() for cell in cells):
            yield _row(line, text, partial(_from_cells, cells, setters))


def read_jsonl(file: TextIO, reading: Reading) -> Iterator[GoodRow | BadRow]:
    """Read one JSON object a line: a person as `export` writes it, or an object of attributes with a user column."""
    number = 0
    while text := file.readline(LONGEST_LINE):
        number += 1
        if len(text) == LONGEST_LINE and not text.endswith("\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith("\n"):
                pass
            reason = _("a line has at most {most} characters").format(most=LONGEST_LINE)
            yield BadRow(line=number, reason=reason, text=text[:1000])
        elif text.strip():
            yield _row(number, text.strip(), partial(_from_json, text, reading))


Setter = Callable[[dict[str, Any], str], None]


def _from(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter_of(header: str) -> str:
    unquoted = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=unquoted.count)


def _header(reader: Any) -> list[str]:
    try:
        return [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise CommandFailed(_("The first line cannot be read: {reason}.").format(reason=error)) from None


def _columns(header: Sequence[str], reading: Reading) -> list[Setter | None]:
    """Make for each column what its cells set; None for the user's."""
    if reading.user_column not in header:
        text = _("There is no column {column!r}; --user-column names the one with the user ids. There are: {columns}.")
        raise CommandFailed(text.format(column=reading.user_column, columns=", ".join(header)))
    for number, name in enumerate(header, 1):
        if not name:
            raise CommandFailed(_("Column {number} has no name.").format(number=number))
        if name in header[: number - 1]:
            raise CommandFailed(_("The column {name!r} is there twice.").format(name=name))
    unknown = set(reading.types) - {*header, "*"}
    if unknown:
        raise CommandFailed(_("--types names {names}, which are no columns.").format(names=", ".join(sorted(unknown))))
    return [None if name == reading.user_column else _setter(name, type_of(name, reading.types)) for name in header]


def _setter(column: str, kind: CellType) -> Setter:
    if column in _ZONES or column == "locale":
        key = "locale" if column == "locale" else "timeZone"
        return lambda change, cell: _put(change, key, cell.strip() or None)
    if column.startswith(_SUBSCRIPTIONS):
        return partial(_subscribe, column)
    path = column.removeprefix(_ATTRIBUTES)
    if not all(path.split(".")) or path.count(".") >= _DEEPEST or len(path) > _LONGEST_NAME:
        text = _("The column {name!r} cannot be an attribute: at most {deepest} parts between dots, none empty.")
        raise CommandFailed(text.format(name=column, deepest=_DEEPEST))

    def set_attribute(change: dict[str, Any], cell: str) -> None:
        try:
            _put_in(change, "set", path, cell_value(cell, kind))
        except WrongCell as error:
            raise WrongCell(_("column {name}: {reason}").format(name=column, reason=error)) from None

    return set_attribute


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    if value is not None:
        values[name] = value


def _subscribe(column: str, change: dict[str, Any], cell: str) -> None:
    state = cell.strip()
    if state and state not in list(Subscription):
        text = _("column {name}: {state!r} is none of {known}")
        raise WrongCell(text.format(name=column, state=state[:100], known=", ".join(Subscription)))
    _put_in(change, "subscriptions", column.removeprefix(_SUBSCRIPTIONS), state or None)


def _put_in(change: dict[str, Any], part: str, name: str, value: Any) -> None:
    if value is not None:
        change.setdefault(part, {})[name] = value


def _row(line: int, text: str, read: Callable[[], tuple[str, dict[str, Any]]]) -> GoodRow | BadRow:
    """Check a row as the server would."""
    try:
        user, change = read()
        (text + user).encode()
        check_change(msgspec.convert(change, ProfileChange), user)
    except UnicodeEncodeError:
        return BadRow(line=line, reason=_("not in the file's encoding; --encoding names another one"), text=text)
    except (WrongCell, msgspec.ValidationError) as error:
        return BadRow(line=line, reason=str(error), text=text)
    except Invalid as error:
        return BadRow(line=line, reason=str(error).lstrip(": "), text=text)
    return GoodRow(line=line, user=user, change=change, text=text)


def _from_cells(cells: Sequence[str], setters: Sequence[Setter | None]) -> tuple[str, dict[str, Any]]:
    if len(cells) != len(setters):
        text = _("{cells} cells where the header has {columns}")
        raise WrongCell(text.format(cells=len(cells), columns=len(setters)))
    user = ""
    change: dict[str, Any] = {}
    for cell, setter in zip(cells, setters, strict=True):
        if setter is None:
            user = cell.strip()
        else:
            setter(change, cell)
    return _checked(user), change


def _from_json(text: str, reading: Reading) -> tuple[str, dict[str, Any]]:
    try:
        row = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise WrongCell(_("not JSON: {reason}").format(reason=error)) from None
    except RecursionError:
        raise WrongCell(_("the JSON is nested too deeply")) from None
    if not isinstance(row, dict):
        raise WrongCell(_("a line holds one JSON object"))
    user = user_text(row.pop(reading.user_column, None))
    if user is None:
        raise WrongCell(_("there is no user id in {column!r}").format(column=reading.user_column))
    if isinstance(row.get("attributes"), dict):
        return _checked(user), _from_export(row)
    return _checked(user), {"set": {name: value for name, value in row.items() if value is not None}}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(_("{name} is no JSON number").format(name=name))


def _checked(user: str) -> str:
    if not user:
        raise WrongCell(_("there is no user id"))
    if "\0" in user or len(user) > LONGEST_USER:
        raise WrongCell(_("a user id has 1 to {most} characters, none of them U+0000").format(most=LONGEST_USER))
    return user


def _from_export(row: dict[str, Any]) -> dict[str, Any]:
    change: dict[str, Any] = {
        "set": {name: value for name, value in row.pop("attributes").items() if value is not None}
    }
    for name in ("subscriptions", "timeZone", "locale", "devices"):
        _put(change, name, row.pop(name, None))
    unknown = row.keys() - _ONLY_TOLD
    if unknown:
        text = _("beside attributes, {names} is not known here")
        raise WrongCell(text.format(names=", ".join(map(repr, sorted(unknown)))))
    return change
