"""/api/v1/app/{app}/endpoint: endpoints, wire-compatible with Svix's v1."""

from typing import Annotated

from litestar import Response, delete, get, patch, post, put
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from posthorn.api.body import ExactJson
from posthorn.api.query import OrderedQuery, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.resources import Endpoint
from posthorn.manage.endpoints import EndpointFields
from posthorn.manage.shapes import EventTypeNames, ThrottleRate, narrowed

_OLDER = {"filter_types": "event_types", "rate_limit": "throttle_rate"}


class EndpointChangeIn(EndpointFields, frozen=True, kw_only=True):
    """An endpoint to replace or change. `filterTypes` and `rateLimit` are older names; `version` can only be 1."""

    filter_types: EventTypeNames | UnsetType | None = UNSET
    rate_limit: ThrottleRate | UnsetType | None = UNSET
    version: Annotated[int, Meta(ge=1, le=1)] | UnsetType | None = UNSET

    def fields(self) -> EndpointFields:
        """Return what was set, under the present names."""
        return narrowed(self, EndpointFields, older=_OLDER)


class EndpointIn(EndpointChangeIn, frozen=True, kw_only=True):
    """A new endpoint. Without a secret one is made."""

    secret: str | None = None
    headers: dict[str, str] | None = None


class EndpointOut(Out, frozen=True, kw_only=True):
    """An endpoint. `disabledReason` is set when Posthorn disabled it."""

    id: str
    uid: str | None
    url: str
    description: str
    metadata: dict[str, str]
    event_types: tuple[str, ...] | None
    filter_types: tuple[str, ...] | None
    channels: tuple[str, ...] | None
    disabled: bool
    disabled_reason: str | None
    throttle_rate: int | None
    rate_limit: int | None
    retry_schedule_seconds: tuple[int, ...] | None
    deadline_seconds: float | None
    version: int = 1
    created_at: str
    updated_at: str


def endpoint_out(endpoint: Endpoint) -> EndpointOut:
    """Render an endpoint, without its secrets and headers."""
    return EndpointOut(
        id=endpoint.id,
        uid=endpoint.uid,
        url=endpoint.url,
        description=endpoint.description,
        metadata=endpoint.metadata,
        event_types=endpoint.event_types,
        filter_types=endpoint.event_types,
        channels=endpoint.channels,
        disabled=endpoint.disabled,
        disabled_reason=endpoint.disabled_reason,
        throttle_rate=endpoint.throttle_rate,
        rate_limit=endpoint.throttle_rate,
        retry_schedule_seconds=endpoint.retry_schedule_seconds,
        deadline_seconds=endpoint.deadline_seconds,
        created_at=iso_text(endpoint.created_ms),
        updated_at=iso_text(endpoint.updated_ms),
    )


@get("/app/{app_id:str}/endpoint", operation_class=reads(OrderedQuery))
async def list_endpoints(request: ApiRequest, app_id: PathId) -> ListOut[EndpointOut]:
    """List an application's endpoints, the newest first."""
    services, workspace = at_desk(request)
    query = read_query(request, OrderedQuery)
    application = await services.applications.get(workspace, app_id)
    rows, done = await services.endpoints.list(application, query.page(descending=True))
    return list_out(rows, endpoint_out, lambda row: row.id, done=done)


@post("/app/{app_id:str}/endpoint", dto=ExactJson, return_dto=None)
async def create_endpoint(request: ApiRequest, app_id: PathId, data: JSONBody[EndpointIn]) -> EndpointOut:
    """Create an endpoint."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    created = await services.endpoints.create(application, data.fields(), secret=data.secret, headers=data.headers)
    return endpoint_out(created)


@get("/app/{app_id:str}/endpoint/{endpoint_id:str}")
async def get_endpoint(request: ApiRequest, app_id: PathId, endpoint_id: PathId) -> EndpointOut:
    """Get an endpoint by id or uid."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    return endpoint_out(await services.endpoints.get(application, endpoint_id))


@put("/app/{app_id:str}/endpoint/{endpoint_id:str}", dto=ExactJson, return_dto=None)
async def replace_endpoint(
    request: ApiRequest, app_id: PathId, endpoint_id: PathId, data: JSONBody[EndpointChangeIn]
) -> Response[EndpointOut]:
    """Create or overwrite an endpoint: 201 or 200. Secrets and headers are kept."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    endpoint, is_new = await services.endpoints.replace(application, endpoint_id, data.fields())
    return Response(endpoint_out(endpoint), status_code=201 if is_new else 200)


@patch("/app/{app_id:str}/endpoint/{endpoint_id:str}", dto=ExactJson, return_dto=None)
async def change_endpoint(
    request: ApiRequest, app_id: PathId, endpoint_id: PathId, data: JSONBody[EndpointChangeIn]
) -> EndpointOut:
    """Change what is given of an endpoint; null clears a field."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    return endpoint_out(await services.endpoints.change(application, endpoint_id, data.fields()))


@delete("/app/{app_id:str}/endpoint/{endpoint_id:str}")
async def delete_endpoint(request: ApiRequest, app_id: PathId, endpoint_id: PathId) -> None:
    """Delete an endpoint; its pending deliveries are cancelled."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    await services.endpoints.delete(application, endpoint_id)


ROUTES = [
    list_endpoints,
    create_endpoint,
    get_endpoint,
    replace_endpoint,
    change_endpoint,
    delete_endpoint,
]
