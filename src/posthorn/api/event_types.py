"""/api/v1/event-type: event types, wire-compatible with Svix's v1."""

from typing import Any

from litestar import Response, delete, get, patch, post, put
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from posthorn.api.body import ExactJson
from posthorn.api.query import OrderedQuery, Query, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.resources import EventType
from posthorn.errors import Invalid
from posthorn.manage.event_types import EventTypeFields
from posthorn.manage.shapes import Name, given, narrowed


class EventTypeIn(EventTypeFields, frozen=True, kw_only=True):
    """An event type. `featureFlag` is the older form of `featureFlags`."""

    feature_flag: Name | UnsetType | None = UNSET

    def fields(self) -> EventTypeFields:
        """Return what was set, under the present names."""
        flag = self.feature_flag
        if flag is UNSET:
            return narrowed(self, EventTypeFields, older={})
        if self.feature_flags is not UNSET:
            raise Invalid.at("featureFlag", msg="this is the older form of featureFlags; give one of the two")
        values = given(narrowed(self, EventTypeFields, older={}))
        return EventTypeFields(**values, feature_flags=(flag,) if isinstance(flag, str) else None)


class EventTypeOut(Out, frozen=True, kw_only=True):
    """An event type; its schemas only when they were asked for."""

    name: str
    description: str
    archived: bool
    deprecated: bool
    schemas: dict[str, Any] | None
    feature_flags: tuple[str, ...]
    feature_flag: str | None
    group_name: str | None
    retry_schedule_seconds: tuple[int, ...] | None
    created_at: str
    updated_at: str


class EventTypesQuery(OrderedQuery, frozen=True, kw_only=True):
    """Which event types to list. `with_content` includes the schemas."""

    include_archived: bool = False
    with_content: bool = False


class DeleteQuery(Query, frozen=True, kw_only=True):
    """Whether to delete for good; otherwise the event type is archived."""

    expunge: bool = False


def event_type_out(event_type: EventType, *, with_content: bool = True) -> EventTypeOut:
    """Render an event type."""
    return EventTypeOut(
        name=event_type.uid or event_type.id,
        description=event_type.description,
        archived=event_type.archived,
        deprecated=event_type.deprecated,
        schemas=event_type.schemas if with_content else None,
        feature_flags=event_type.feature_flags,
        feature_flag=event_type.feature_flags[0] if event_type.feature_flags else None,
        group_name=event_type.group_name,
        retry_schedule_seconds=event_type.retry_schedule_seconds,
        created_at=iso_text(event_type.created_ms),
        updated_at=iso_text(event_type.updated_ms),
    )


@get("/event-type", operation_class=reads(EventTypesQuery))
async def list_event_types(request: ApiRequest) -> ListOut[EventTypeOut]:
    """List event types, by name."""
    services, workspace = at_desk(request)
    query = read_query(request, EventTypesQuery)
    rows, done = await services.event_types.list(workspace, query.page(), with_archived=query.include_archived)
    return list_out(
        rows,
        lambda row: event_type_out(row, with_content=query.with_content),
        lambda row: row.uid or row.id,
        done=done,
    )


@post("/event-type", dto=ExactJson, return_dto=None)
async def create_event_type(request: ApiRequest, data: JSONBody[EventTypeIn]) -> EventTypeOut:
    """Create an event type, or bring an archived one back."""
    services, workspace = at_desk(request)
    return event_type_out(await services.event_types.create(workspace, data.fields()))


@get("/event-type/{name:str}")
async def get_event_type(request: ApiRequest, name: PathId) -> EventTypeOut:
    """Get an event type by its name."""
    services, workspace = at_desk(request)
    return event_type_out(await services.event_types.get(workspace, name))


@put("/event-type/{name:str}", dto=ExactJson, return_dto=None)
async def replace_event_type(request: ApiRequest, name: PathId, data: JSONBody[EventTypeIn]) -> Response[EventTypeOut]:
    """Create or overwrite an event type: 201 or 200."""
    services, workspace = at_desk(request)
    event_type, is_new = await services.event_types.replace(workspace, name, data.fields())
    return Response(event_type_out(event_type), status_code=201 if is_new else 200)


@patch("/event-type/{name:str}", dto=ExactJson, return_dto=None)
async def change_event_type(request: ApiRequest, name: PathId, data: JSONBody[EventTypeIn]) -> EventTypeOut:
    """Change what is given of an event type; null clears a field."""
    services, workspace = at_desk(request)
    return event_type_out(await services.event_types.change(workspace, name, data.fields()))


@delete("/event-type/{name:str}", operation_class=reads(DeleteQuery))
async def delete_event_type(request: ApiRequest, name: PathId) -> None:
    """Archive an event type, or delete it for good."""
    services, workspace = at_desk(request)
    if read_query(request, DeleteQuery).expunge:
        await services.event_types.delete(workspace, name)
    else:
        await services.event_types.archive(workspace, name)


ROUTES = [
    list_event_types,
    create_event_type,
    get_event_type,
    replace_event_type,
    change_event_type,
    delete_event_type,
]
