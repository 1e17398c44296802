"""/api/v1/app: applications, wire-compatible with Svix's v1."""

from typing import Literal

from litestar import Response, delete, get, patch, post, put
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from posthorn.api.body import ExactJson
from posthorn.api.query import OrderedQuery, Query, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.resources import Application
from posthorn.manage.applications import ApplicationFields, Excluded
from posthorn.manage.shapes import ThrottleRate, narrowed


class ApplicationIn(ApplicationFields, frozen=True, kw_only=True):
    """An application. `rateLimit` is the older name of `throttleRate`."""

    rate_limit: ThrottleRate | UnsetType | None = UNSET

    def fields(self) -> ApplicationFields:
        """Return what was set, under the present names."""
        return narrowed(self, ApplicationFields, older={"rate_limit": "throttle_rate"})


class ApplicationOut(Out, frozen=True, kw_only=True):
    """An application."""

    id: str
    uid: str | None
    name: str
    metadata: dict[str, str]
    throttle_rate: int | None
    rate_limit: int | None
    created_at: str
    updated_at: str


class ApplicationsQuery(OrderedQuery, frozen=True, kw_only=True):
    """Which applications to list."""

    exclude_apps_with_no_endpoints: bool = False
    exclude_apps_with_disabled_endpoints: bool = False
    exclude_apps_with_svix_play_endpoints: bool = False

    def excluded(self) -> Excluded | None:
        """Return what is left out."""
        wanted = Excluded(
            without_endpoints=self.exclude_apps_with_no_endpoints,
            only_disabled=self.exclude_apps_with_disabled_endpoints,
            only_play=self.exclude_apps_with_svix_play_endpoints,
        )
        return None if wanted == Excluded() else wanted


class CreateQuery(Query, frozen=True, kw_only=True):
    """What to do when the uid is taken: return what has it, or refuse."""

    get_if_exists: bool = False


def application_out(application: Application) -> ApplicationOut:
    """Render an application."""
    return ApplicationOut(
        id=application.id,
        uid=application.uid,
        name=application.name,
        metadata=application.metadata,
        throttle_rate=application.throttle_rate,
        rate_limit=application.throttle_rate,
        created_at=iso_text(application.created_ms),
        updated_at=iso_text(application.updated_ms),
    )


@get("/app", operation_class=reads(ApplicationsQuery))
async def list_applications(request: ApiRequest) -> ListOut[ApplicationOut]:
    """List applications, by id."""
    services, workspace = at_desk(request)
    query = read_query(request, ApplicationsQuery)
    rows, done = await services.applications.list(workspace, query.page(), exclude=query.excluded())
    return list_out(rows, application_out, lambda row: row.id, done=done)


@post("/app", dto=ExactJson, return_dto=None, operation_class=reads(CreateQuery))
async def create_application(request: ApiRequest, data: JSONBody[ApplicationIn]) -> Response[ApplicationOut]:
    """Create an application: 201; 200 when it is there and `get_if_exists` is set."""
    services, workspace = at_desk(request)
    query = read_query(request, CreateQuery)
    if query.get_if_exists and isinstance(data.uid, str):
        existing = await services.applications.seek(workspace, data.uid)
        if existing is not None:
            return Response(application_out(existing), status_code=200)
    created = await services.applications.create(workspace, data.fields())
    return Response(application_out(created), status_code=201)


@get("/app/{app_id:str}")
async def get_application(request: ApiRequest, app_id: PathId) -> ApplicationOut:
    """Get an application by id or uid."""
    services, workspace = at_desk(request)
    return application_out(await services.applications.get(workspace, app_id))


@put("/app/{app_id:str}", dto=ExactJson, return_dto=None)
async def replace_application(
    request: ApiRequest, app_id: PathId, data: JSONBody[ApplicationIn]
) -> Response[ApplicationOut]:
    """Create or overwrite an application: 201 or 200."""
    services, workspace = at_desk(request)
    application, is_new = await services.applications.replace(workspace, app_id, data.fields())
    status: Literal[200, 201] = 201 if is_new else 200
    return Response(application_out(application), status_code=status)


@patch("/app/{app_id:str}", dto=ExactJson, return_dto=None)
async def change_application(request: ApiRequest, app_id: PathId, data: JSONBody[ApplicationIn]) -> ApplicationOut:
    """Change what is given of an application; null clears a field."""
    services, workspace = at_desk(request)
    return application_out(await services.applications.change(workspace, app_id, data.fields()))


@delete("/app/{app_id:str}")
async def delete_application(request: ApiRequest, app_id: PathId) -> None:
    """Delete an application with its endpoints."""
    services, workspace = at_desk(request)
    await services.applications.delete(workspace, app_id)


ROUTES = [
    list_applications,
    create_application,
    get_application,
    replace_application,
    change_application,
    delete_application,
]
