"""Segments: named conditions over people. Who is in one is kept up to date by the owners of their profiles."""

from typing import Any

from msgspec import UNSET, UnsetType, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.listening import published_type
from posthorn.engine.profiles import automation_profile
from posthorn.engine.resources import Automation, Segment
from posthorn.errors import Conflict, Invalid
from posthorn.manage.appending import Appender
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry
from posthorn.manage.segment_rules import check_person_conditions, segments_named_by, segments_used_by
from posthorn.manage.shapes import Fields, Name, Uid, check_uid, cleared, given, required, settled_uid


class SegmentFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of a segment. `conditions` is a tree of JSON values."""

    name: Name | UnsetType = UNSET
    uid: Uid | UnsetType | None = UNSET
    conditions: Any = UNSET


class Segments:
    """Creates, changes and deletes segments.

    New conditions are a reason to look at everybody: they hold as soon as deciding has gone through all people.
    """

    def __init__(self, registry: SharedRegistry, directory: Directory, clock: Clock, appender: Appender) -> None:
        self._registrar = Registrar(registry, directory, clock)
        self._appender = appender

    async def get(self, workspace: str, identifier: str) -> Segment:
        """Find a segment by id or uid; raises NotFound."""
        return await self._registrar.find(Segment, workspace, identifier)

    async def list(self, workspace: str, page: PageOf) -> tuple[list[Segment], bool]:
        """Return a page of segments, and whether nothing follows in its direction."""
        return await self._registrar.page(Segment, workspace, page)

    async def identify(self, workspace: str, identifier: str | None) -> str | None:
        """Return the id behind an id or uid, to filter by; see `Registrar.identify`."""
        return await self._registrar.identify(Segment, workspace, identifier)

    async def create(self, workspace: str, fields: SegmentFields) -> Segment:
        """Make a segment; raises Invalid with every mistake of its conditions, Conflict for a taken uid."""
        values = cleared(Segment, given(fields))
        required(values, "name", "conditions")
        now_ms = self._registrar.now_ms()
        segment = Segment(
            id=ids.new_id(ids.SEGMENT, now_ms), workspace=workspace, created_ms=now_ms, updated_ms=now_ms, **values
        )
        check_uid(segment.uid, ids.SEGMENT)
        await self._check(segment)
        return await self._published(await self._registrar.add(segment))

    async def replace(self, workspace: str, identifier: str, fields: SegmentFields) -> tuple[Segment, bool]:
        """Create or overwrite a segment; True says that it is new."""
        async with self._registrar.editing:
            existing = await self._registrar.seek(Segment, workspace, identifier)
            if existing is None:
                uid = settled_uid(identifier, fields.uid, ids.SEGMENT)
                return await self.create(workspace, structs.replace(fields, uid=uid)), True
            values = cleared(Segment, given(fields))
            required(values, "name", "conditions")
            return await self._change(existing, values), False

    async def change(self, workspace: str, identifier: str, fields: SegmentFields) -> Segment:
        """Change what is given; raises NotFound, Invalid, Conflict."""
        async with self._registrar.editing:
            existing = await self.get(workspace, identifier)
            values = cleared(Segment, given(fields))
            required({"name": existing.name, "conditions": existing.conditions} | values, "name", "conditions")
            return await self._change(existing, values)

    async def _change(self, existing: Segment, values: dict[str, Any]) -> Segment:
        changed = structs.replace(existing, **values)
        if changed.uid != existing.uid:
            check_uid(changed.uid, ids.SEGMENT)
            await self._refuse_used(existing, {existing.uid}, "a new uid")
        if "conditions" not in values:
            return await self._registrar.put(changed)
        await self._check(changed)
        return await self._published(await self._registrar.put(changed))

    async def _published(self, segment: Segment) -> Segment:
        """Tell deciding to look at everybody, page by page: who is in it is not known yet."""
        profile = automation_profile(segment.workspace, segment.id)
        await self._appender.append(segment.workspace, published_type(segment.id), profile, b"{}")
        return segment

    async def delete(self, workspace: str, identifier: str) -> None:
        """Delete a segment; raises NotFound, and Conflict while an automation or a segment names it."""
        async with self._registrar.editing:
            segment = await self.get(workspace, identifier)
            await self._refuse_used(segment, {segment.id, segment.uid}, "being deleted")
            await self._registrar.remove(segment)

    async def _refuse_used(self, segment: Segment, names: set[str | None], what: str) -> None:
        """Refuse to take these names away from a segment while something refers to it by one of them."""
        for automation in await self._registrar.every(Automation, segment.workspace):
            if names & segments_used_by(automation):
                raise Conflict(f"the automation {automation.name!r} looks at this segment and stands against {what}")
        for other in await self._registrar.every(Segment, segment.workspace):
            if other.id != segment.id and names & segments_named_by(other.conditions):
                raise Conflict(f"the segment {other.name!r} looks at this segment and stands against {what}")

    async def _check(self, segment: Segment) -> None:
        """Refuse conditions that look at an event, at no segment of ours, or at themselves in the end."""
        for named in check_person_conditions(segment.conditions, "conditions"):
            found = await self._registrar.seek(Segment, segment.workspace, named.name)
            if named.name in {segment.id, segment.uid} or (found is not None and await self._leads_to(found, segment)):
                raise Invalid.at(*named.at, msg="the segment would depend on itself")
            if found is None:
                raise Invalid.at(*named.at, msg="there is no segment with this id or uid", type="unknown_segment")

    async def _leads_to(self, start: Segment, segment: Segment) -> bool:
        waiting, seen = [start], {start.id}
        while waiting:
            one = waiting.pop()
            if one.id == segment.id:
                return True
            for name in segments_named_by(one.conditions):
                found = await self._registrar.seek(Segment, segment.workspace, name)
                if found is not None and found.id not in seen:
                    seen.add(found.id)
                    waiting.append(found)
        return False
