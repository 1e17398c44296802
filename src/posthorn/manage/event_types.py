"""Event types: names with a description and JSON Schemas, found by name."""

from typing import Any

from msgspec import UNSET, UnsetType, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.resources import EventType
from posthorn.errors import Conflict, Invalid
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry
from posthorn.manage.shapes import (
    Description,
    EventTypeName,
    Fields,
    Name,
    RetrySchedule,
    checked_uid,
    cleared,
    given,
    required,
    settable_defaults,
)


class EventTypeExists(Conflict):
    """There is an event type of this name, and it is not archived."""

    code = "event_type_exists"


class EventTypeFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of an event type."""

    name: EventTypeName | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    archived: bool | UnsetType | None = UNSET
    deprecated: bool | UnsetType | None = UNSET
    schemas: dict[str, Any] | UnsetType | None = UNSET
    feature_flags: tuple[Name, ...] | UnsetType | None = UNSET
    group_name: Name | UnsetType | None = UNSET
    retry_schedule_seconds: RetrySchedule | UnsetType | None = UNSET


class EventTypes:
    """Creates, changes, archives and deletes event types."""

    def __init__(self, registry: SharedRegistry, directory: Directory, clock: Clock) -> None:
        self._registrar = Registrar(registry, directory, clock)

    async def get(self, workspace: str, name: str) -> EventType:
        """Find an event type by name; raises NotFound."""
        return await self._registrar.find(EventType, workspace, name)

    async def create(self, workspace: str, fields: EventTypeFields) -> EventType:
        """Make an event type, or bring an archived one back with what is given.

        Raises Invalid, and EventTypeExists when one of this name is in use.
        """
        values = cleared(EventType, given(fields))
        required(values, "name")
        name = values.pop("name")
        async with self._registrar.editing:
            existing = await self._registrar.seek(EventType, workspace, name)
            if existing is None:
                return await self._add(workspace, name, values)
            if not existing.archived:
                raise EventTypeExists("there is an event type of this name")
            return await self._registrar.put(structs.replace(existing, **(settable_defaults(EventType) | values)))

    async def _add(self, workspace: str, name: str, values: dict[str, Any]) -> EventType:
        now_ms = self._registrar.now_ms()
        return await self._registrar.add(
            EventType(
                id=ids.new_id(ids.EVENT_TYPE, now_ms),
                workspace=workspace,
                uid=name,
                created_ms=now_ms,
                updated_ms=now_ms,
                **values,
            )
        )

    async def replace(self, workspace: str, name: str, fields: EventTypeFields) -> tuple[EventType, bool]:
        """Create or overwrite an event type; True says that it is new. What is not given takes its default."""
        values = _without_name(fields)
        async with self._registrar.editing:
            existing = await self._registrar.seek(EventType, workspace, name)
            if existing is None:
                return await self._add(workspace, checked_uid(name), values), True
            changed = structs.replace(existing, **(settable_defaults(EventType) | values))
            return await self._registrar.put(changed), False

    async def change(self, workspace: str, name: str, fields: EventTypeFields) -> EventType:
        """Change what is given; raises NotFound, Invalid."""
        values = _without_name(fields)
        async with self._registrar.editing:
            existing = await self.get(workspace, name)
            return await self._registrar.put(structs.replace(existing, **values))

    async def archive(self, workspace: str, name: str) -> None:
        """Take an event type out of use; endpoints that filter on it keep doing so. Raises NotFound."""
        async with self._registrar.editing:
            existing = await self.get(workspace, name)
            await self._registrar.put(structs.replace(existing, archived=True))

    async def delete(self, workspace: str, name: str) -> None:
        """Delete an event type for good; raises NotFound."""
        async with self._registrar.editing:
            await self._registrar.remove(await self.get(workspace, name))

    async def list(self, workspace: str, page: PageOf, *, with_archived: bool = False) -> tuple[list[EventType], bool]:
        """Return a page of event types in the order of their names; `page.after` is a name."""
        found: list[EventType] = []
        done = False
        after = page.after
        while not done and len(found) <= page.limit:
            rows, done = await self._registrar.page(
                EventType, workspace, structs.replace(page, after=after), by_uid=True
            )
            kept = [row for row in rows if with_archived or not row.archived]
            found = kept + found if page.backwards else found + kept
            after = (rows[0].uid if page.backwards else rows[-1].uid) if rows else after
        cut = found[-page.limit :] if page.backwards else found[: page.limit]
        return cut, done and len(cut) == len(found)


def _without_name(fields: EventTypeFields) -> dict[str, Any]:
    values = cleared(EventType, given(fields))
    if "name" in values:
        raise Invalid.at("name", msg="an event type keeps its name; create another one instead", type="unknown_field")
    return values
