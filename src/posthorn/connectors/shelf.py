"""The catalogue: what ships with Posthorn, and files of one's own beside it."""

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from posthorn.connectors.connector import Action, Connector
from posthorn.connectors.failures import ConnectorInvalid
from posthorn.connectors.reading import parse_connector

_SUFFIX: Final = ".toml"


class _Shelf:
    """The catalogue of this process."""

    __slots__ = ("catalogue",)

    def __init__(self) -> None:
        self.catalogue: Mapping[str, Connector] | None = None


_SHELF: Final = _Shelf()


def load_catalogue() -> Mapping[str, Connector]:
    """Return every connector that there is in this process, by its name."""
    return shipped_catalogue() if _SHELF.catalogue is None else _SHELF.catalogue


def use_catalogue(catalogue: Mapping[str, Connector] | None) -> None:
    """Let this process know these connectors, None: those that ship. To be called before anything is compiled."""
    _SHELF.catalogue = catalogue


@lru_cache(maxsize=1)
def shipped_catalogue() -> Mapping[str, Connector]:
    """Return every connector that ships with Posthorn, by its name. Read once; the files are package data."""
    found = {}
    for entry in sorted(files("posthorn.connectors.catalogue").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(_SUFFIX):
            connector = parse_connector(entry.read_text(encoding="utf-8"), entry.name)
            found[connector.name] = connector
    return MappingProxyType(found)


TEST = "test"
"""The name under which a connector's harmless request goes; no action has it."""


def test_action(connector: Connector) -> Action | None:
    """Return a connector's harmless request as an action, None when it has none."""
    test = connector.test
    if test.request is None:
        return None
    return Action(title=connector.title, request=test.request, answer=test.answer, at_send=test.at_send)


test_action.__test__ = False  # type: ignore[attr-defined]  # its name must not make pytest collect it


def with_files(catalogue: Mapping[str, Connector], texts: Mapping[str, str]) -> Mapping[str, Connector]:
    """Return a catalogue with files of one's own in it: file name → text. One with a known name takes its place.

    Raises ConnectorInvalid for the first file that cannot be used, and for two files of one name.
    """
    own: dict[str, Connector] = {}
    for file, text in sorted(texts.items()):
        connector = parse_connector(text, file)
        if connector.name in own:
            message = f"name: another of these files is named `{connector.name}`: rename one"
            raise ConnectorInvalid(message, file=file, line=1, column=1)
        own[connector.name] = connector
    return MappingProxyType({**catalogue, **own})
