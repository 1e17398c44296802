"""The workspace itself: its name, the time zone of people whose own is unknown, caps on messages, content blocks."""

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, UnsetType, structs

from posthorn.calendars import zone
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.resources import Cap, Workspace
from posthorn.errors import Invalid, Problem
from posthorn.manage.block_rules import BlockRules
from posthorn.manage.registrar import Registrar, SharedRegistry
from posthorn.manage.shapes import Fields, Name, cleared, given, required

Caps: TypeAlias = Annotated[tuple[Cap, ...], Meta(max_length=50)]


class WorkspaceFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of a workspace. `caps` replaces all of them.

    Of `content_blocks` those that are named are set, or removed by null; the others stay.
    """

    name: Name | UnsetType = UNSET
    time_zone: str | UnsetType | None = UNSET
    caps: Caps | UnsetType | None = UNSET
    content_blocks: dict[str, str | None] | UnsetType | None = UNSET


class Workspaces:
    """Shows and changes a workspace."""

    def __init__(self, registry: SharedRegistry, directory: Directory, clock: Clock) -> None:
        self._registrar = Registrar(registry, directory, clock)
        self._blocks = BlockRules(self._registrar, directory)

    async def get(self, workspace: str) -> Workspace:
        """Find a workspace by its id; raises NotFound."""
        return await self._registrar.find(Workspace, workspace, workspace)

    async def change(self, workspace: str, fields: WorkspaceFields) -> Workspace:
        """Change what is given; raises Invalid, and Conflict when a content block would break an automation."""
        async with self._registrar.editing:
            existing = await self.get(workspace)
            values = cleared(Workspace, given(fields))
            required({"name": existing.name} | values, "name")
            if "time_zone" in values:
                values["time_zone"] = _zone_name(values["time_zone"])
            _check_caps(values.get("caps", ()))
            if not isinstance(fields.content_blocks, UnsetType):
                values["content_blocks"] = await self._blocks.changed(existing, fields.content_blocks)
            return await self._registrar.put(structs.replace(existing, **values))


def _zone_name(name: str) -> str:
    """Return the name as the time zone database spells it."""
    try:
        return zone(name).name if name else zone("?").name
    except Invalid as error:
        raise Invalid.at("timeZone", msg=error.problems[0].msg) from None


def _check_caps(caps: tuple[Cap, ...]) -> None:
    problems: list[Problem] = []
    for number, cap in enumerate(caps):
        at = ("caps", number)
        if (cap.seconds is None) == (cap.period is None):
            problems.append(Problem(loc=at, msg="give either seconds or period"))
        if cap.channel is not None and cap.tag is not None:
            problems.append(Problem(loc=at, msg="give a channel or a tag, or neither for all messages"))
        problems += [
            Problem(loc=(*at, name), msg="must not be empty")
            for name, value in (("channel", cap.channel), ("tag", cap.tag))
            if value == ""
        ]
        if cap in caps[:number]:
            problems.append(Problem(loc=at, msg="this cap is there twice"))
    if problems:
        raise Invalid(*problems)
