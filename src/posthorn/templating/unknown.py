"""Which variables of a template nobody will fill in: for warnings when an automation is published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Union

from posthorn.templating.specialise import FactPath
from posthorn.templating.template import Template

# True: anything may stand below. False: a value with nothing below. A mapping: these names and no others.
KnownNames = Mapping[str, Union[bool, "KnownNames"]]

EVERY_ELEMENT: Final = "[]"  #: the key for what every element of an array holds
_OF_EVERY_VALUE: Final = frozenset({"size", "first", "last"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownVariable:
    """A variable that a template reads and nobody provides: as its author wrote it, with its place from 1.

    `is_optional` tells that rendering does not fail: there is a `default`, or the dialect prints nothing.
    """

    name: str
    line: int
    column: int
    is_optional: bool


def unknown_variables(template: Template, known: KnownNames) -> tuple[UnknownVariable, ...]:
    """Return what a template reads that is not in a tree of known facts; each name once, at its first place.

    The tree is the same for both dialects: `{"event": {"data": {"total": False}}, "profile": True}`.
    """
    found: dict[str, UnknownVariable] = {}
    for read in template.reads:
        if read.alternatives and not any(_is_known(path, known) for path in read.alternatives):
            unknown = UnknownVariable(
                name=read.written, line=read.line, column=read.column, is_optional=read.is_optional
            )
            found.setdefault(read.written, unknown)
    return tuple(found.values())


def _is_known(path: FactPath, known: KnownNames) -> bool:
    below: bool | KnownNames = known
    for segment in path:
        if below is True or segment is None:
            return True
        if segment in _OF_EVERY_VALUE and (below is False or segment not in below):
            # What follows the first or last element is as open as the array.
            return below is False or segment == "size" or EVERY_ELEMENT in below
        if below is False:
            return False
        key = EVERY_ELEMENT if isinstance(segment, int) else segment
        if key not in below:
            return False
        below = below[key]
    return True
