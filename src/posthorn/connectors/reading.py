"""From the text of a connector file to a Connector, or to the line and column that must be mended."""

import re
import tomllib
from difflib import get_close_matches
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from posthorn.connectors.checking import Flaw, check_connector
from posthorn.connectors.connector import Action, Connector, Credential, Input
from posthorn.connectors.failures import ConnectorInvalid
from posthorn.connectors.locating import KeyPlaces, Keys

MOST_FILE_CHARACTERS: Final = 512 * 1024
_AT_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")
_AT_PATH: Final = re.compile(r" - at `\$([^`]*)`\Z")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]+)`")
_STEP: Final = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+)\]|\[\.\.\.\]")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")

S = TypeVar("S", bound=Struct)


def parse_connector(text: str, file: str) -> Connector:
    """Read one connector file. Raises ConnectorInvalid with file, line, column and the way out."""
    return _Reader(text, file).read()


class _Reader:
    """Reads piece by piece, so that every problem is known by its keys."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._places: KeyPlaces | None = None

    def read(self) -> Connector:
        """Return the connector."""
        document = self._document()
        credentials = self._each(document, ("credentials",), Credential)
        actions = {}
        for name, raw in self._tables(document, ("actions",)).items():
            inputs = self._each(raw, ("actions", name, "inputs"), Input)
            action = self._convert({**raw, "inputs": {}}, Action, ("actions", name))
            actions[name] = msgspec.structs.replace(action, inputs=inputs)
        bare = self._convert({**document, "credentials": {}, "actions": {}}, Connector, ())
        connector = msgspec.structs.replace(bare, credentials=credentials, actions=actions)
        flaw = next(check_connector(connector), None)
        if flaw is not None:
            raise self._invalid(flaw)
        return connector

    def _document(self) -> dict[str, Any]:
        if len(self._text) > MOST_FILE_CHARACTERS:
            raise self._at((1, 1), f"the file is longer than {MOST_FILE_CHARACTERS:,} characters")
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            message = str(error)
            found = _AT_PLACE.search(message)
            if found is not None and found[1] is not None:
                place = (int(found[1]), int(found[2]))
            else:
                place = (self._text.count("\n") + 1, 1)
            raise self._at(place, f"this is not TOML: {_AT_PLACE.sub('', message)}") from None
        except RecursionError:
            raise self._at((1, 1), "this is not TOML: it is nested too deeply") from None

    def _tables(self, holder: dict[str, Any], keys: Keys) -> dict[str, Any]:
        tables = holder.get(str(keys[-1]), {})
        if not isinstance(tables, dict):
            raise self._invalid(Flaw(keys, f"must be tables: write [{'.'.join(map(str, keys))}.name]"))
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise self._invalid(Flaw((*keys, name), "must be a table"))
            if _NAME.match(name) is None:
                raise self._invalid(Flaw((*keys, name), "a name is lower-case letters, digits and underscores"))
        return tables

    def _each(self, holder: dict[str, Any], keys: Keys, kind: type[S]) -> dict[str, S]:
        tables = self._tables(holder, keys)
        return {name: self._convert(table, kind, (*keys, name)) for name, table in tables.items()}

    def _convert(self, raw: dict[str, Any], kind: type[S], keys: Keys) -> S:
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            raise self._invalid(_flaw_of(error, kind, keys)) from None

    def _invalid(self, flaw: Flaw) -> ConnectorInvalid:
        self._places = self._places or KeyPlaces(self._text)
        name = ".".join(map(str, flaw.keys))
        return self._at(self._places.find(flaw.keys), f"{name}: {flaw.message}" if name else flaw.message)

    def _at(self, place: tuple[int, int], message: str) -> ConnectorInvalid:
        return ConnectorInvalid(message, file=self._file, line=place[0], column=place[1])


def _flaw_of(error: msgspec.ValidationError, kind: type[Struct], keys: Keys) -> Flaw:
    message = str(error)
    found = _AT_PATH.search(message)
    path = found[1] if found is not None else ""
    inner = tuple(step[1] or int(step[2]) for step in _STEP.finditer(path) if step[1] or step[2])
    message = _AT_PATH.sub("", message)
    unknown = _UNKNOWN.search(message)
    if unknown is None:
        return Flaw((*keys, *inner), message)
    close = get_close_matches(unknown[1], kind.__struct_fields__, n=1) if not inner else []
    hint = f": did you mean `{close[0]}`?" if close else ": take it out, or mend its spelling"
    return Flaw((*keys, *inner, unknown[1]), f"unknown key{hint}")
