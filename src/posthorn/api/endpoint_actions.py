"""What can be done with an endpoint: secrets, headers, counts, examples, recovering. Svix's v1."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Response, get, patch, post, put
from litestar.params import JSONBody
from msgspec import Meta, Struct

from posthorn import ids
from posthorn.api.body import ExactJson
from posthorn.api.messages import MessageOut, message_out
from posthorn.api.query import Query, in_ms, read_query, reads
from posthorn.api.rendering import Out
from posthorn.api.services import ApiRequest, ApiServices, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.resources import Application, Endpoint
from posthorn.manage.replay import Requeued
from posthorn.manage.shapes import EventTypeName
from posthorn.manage.signing_secrets import NewSecret


class In(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A body."""


class SecretOut(Out, frozen=True, kw_only=True):
    """What the receiver verifies with."""

    key: str


class HeadersIn(In, frozen=True, kw_only=True):
    """All added headers."""

    headers: dict[str, str]


class HeadersChangeIn(In, frozen=True, kw_only=True):
    """Headers to set, and names to remove; null removes one too."""

    headers: dict[str, str | None] = {}
    delete_headers: tuple[str, ...] | None = None


class HeadersOut(Out, frozen=True, kw_only=True):
    """Added headers; of the sensitive ones only the names."""

    headers: dict[str, str]
    sensitive: tuple[str, ...]


class RangeQuery(Query, frozen=True, kw_only=True):
    """A range of time of at most 28 days."""

    since: datetime | None = None
    until: datetime | None = None


class StatsOut(Out, frozen=True, kw_only=True):
    """Deliveries by where they stand; `sending` failed and will be tried again."""

    success: int
    pending: int
    sending: int
    fail: int
    canceled: int


class AttemptStatsOut(Out, frozen=True, kw_only=True):
    """Attempts by how they ended."""

    success: int
    fail: int
    canceled: int


class SinceIn(In, frozen=True, kw_only=True):
    """A range of time."""

    since: datetime
    until: datetime | None = None


class TaskOut(Out, frozen=True, kw_only=True):
    """A task, finished inside of the call. `data.more` says that another call is needed for the rest."""

    id: str
    status: str
    task: str
    data: dict[str, Any]
    updated_at: str


class ExampleIn(In, frozen=True, kw_only=True):
    """Which example to send."""

    event_type: EventTypeName
    example_index: Annotated[int, Meta(ge=0)] | None = None
    payload: dict[str, Any] | None = None


async def _found(request: ApiRequest, app_id: PathId, endpoint_id: PathId) -> tuple[ApiServices, Application, Endpoint]:
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    return services, application, await services.endpoints.get(application, endpoint_id)


@get("/app/{app_id:str}/endpoint/{endpoint_id:str}/secret")
async def get_secret(request: ApiRequest, app_id: PathId, endpoint_id: PathId) -> SecretOut:
    """Get what the receiver verifies an endpoint's requests with."""
    services, application, endpoint = await _found(request, app_id, endpoint_id)
    return SecretOut(key=await services.endpoints.secret(application, endpoint.id))


@post("/app/{app_id:str}/endpoint/{endpoint_id:str}/secret/rotate", dto=ExactJson, return_dto=None, status_code=200)
async def rotate_secret(
    request: ApiRequest, app_id: PathId, endpoint_id: PathId, data: JSONBody[NewSecret | None] = None
) -> SecretOut:
    """Sign an endpoint's requests with a new secret.

    The old one signs too until the grace period (24 hours, at most 7 days) ends.
    """
    services, application, endpoint = await _found(request, app_id, endpoint_id)
    key = await services.endpoints.rotate_secret(application, endpoint.id, data or NewSecret())
    return SecretOut(key=key)


@get("/app/{app_id:str}/endpoint/{endpoint_id:str}/headers")
async def get_headers(request: ApiRequest, app_id: PathId, endpoint_id: PathId) -> HeadersOut:
    """Get an endpoint's added headers."""
    services, application, endpoint = await _found(request, app_id, endpoint_id)
    shown = await services.endpoints.headers(application, endpoint.id)
    return HeadersOut(headers=shown.headers, sensitive=shown.sensitive)


@put("/app/{app_id:str}/endpoint/{endpoint_id:str}/headers", dto=ExactJson, return_dto=None, status_code=204)
async def set_headers(request: ApiRequest, app_id: PathId, endpoint_id: PathId, data: JSONBody[HeadersIn]) -> None:
    """Replace an endpoint's added headers."""
    services, application, endpoint = await _found(request, app_id, endpoint_id)
    await services.endpoints.set_headers(application, endpoint.id, data.headers)


@patch("/app/{app_id:str}/endpoint/{endpoint_id:str}/headers", dto=ExactJson, return_dto=None, status_code=204)
async def change_headers(
    request: ApiRequest, app_id: PathId, endpoint_id: PathId, data: JSONBody[HeadersChangeIn]
) -> None:
    """Set some of an endpoint's added headers, remove others."""
    services, application, endpoint = await _found(request, app_id, endpoint_id)
    await services.endpoints.change_headers(
        application, endpoint.id, headers=data.headers, remove=data.delete_headers or ()
    )


@get("/app/{app_id:str}/endpoint/{endpoint_id:str}/stats", operation_class=reads(RangeQuery))
async def get_stats(request: ApiRequest, app_id: PathId, endpoint_id: PathId) -> StatsOut:
    """Count the endpoint's deliveries by where they stand."""
    query = read_query(request, RangeQuery)
    services, _, endpoint = await _found(request, app_id, endpoint_id)
    counts = await services.statistics.deliveries(endpoint, since_ms=in_ms(query.since), until_ms=in_ms(query.until))
    return StatsOut(
        success=counts.success,
        pending=counts.pending,
        sending=counts.sending,
        fail=counts.fail,
        canceled=counts.canceled,
    )


@get("/app/{app_id:str}/endpoint/{endpoint_id:str}/attempt-stats", operation_class=reads(RangeQuery))
async def get_attempt_stats(request: ApiRequest, app_id: PathId, endpoint_id: PathId) -> AttemptStatsOut:
    """Count the endpoint's attempts by how they ended."""
    query = read_query(request, RangeQuery)
    services, _, endpoint = await _found(request, app_id, endpoint_id)
    counts = await services.statistics.attempts(endpoint, since_ms=in_ms(query.since), until_ms=in_ms(query.until))
    return AttemptStatsOut(success=counts.success, fail=counts.fail, canceled=counts.canceled)


@post("/app/{app_id:str}/endpoint/{endpoint_id:str}/send-example", dto=ExactJson, return_dto=None, status_code=202)
async def send_example(
    request: ApiRequest, app_id: PathId, endpoint_id: PathId, data: JSONBody[ExampleIn]
) -> MessageOut:
    """Send an example of an event type to this endpoint, whatever its filters say."""
    services, application, endpoint = await _found(request, app_id, endpoint_id)
    event = await services.examples.send(
        application, endpoint, data.event_type, index=data.example_index or 0, payload=data.payload
    )
    return message_out(event, with_content=True)


@post("/app/{app_id:str}/endpoint/{endpoint_id:str}/recover", dto=ExactJson, return_dto=None, status_code=202)
async def recover(
    request: ApiRequest, app_id: PathId, endpoint_id: PathId, data: JSONBody[SinceIn]
) -> Response[TaskOut]:
    """Send again what failed for good since a time, at most 10,000 deliveries in one call."""
    services, _, endpoint = await _found(request, app_id, endpoint_id)
    requeued = await services.replay.recover(endpoint, since_ms=in_ms(data.since) or 0, until_ms=in_ms(data.until))
    return _task(request, "endpoint.recover", requeued)


@post("/app/{app_id:str}/endpoint/{endpoint_id:str}/replay-missing", dto=ExactJson, return_dto=None, status_code=202)
async def replay_missing(
    request: ApiRequest, app_id: PathId, endpoint_id: PathId, data: JSONBody[SinceIn]
) -> Response[TaskOut]:
    """Send what the endpoint wants and never was owed since a time, at most 10,000 messages in one call."""
    services, application, endpoint = await _found(request, app_id, endpoint_id)
    requeued = await services.replay.replay_missing(
        application, endpoint, since_ms=in_ms(data.since) or 0, until_ms=in_ms(data.until)
    )
    return _task(request, "endpoint.replay", requeued)


def _task(request: ApiRequest, task: str, requeued: Requeued) -> Response[TaskOut]:
    services, _ = at_desk(request)
    now_ms = services.replay.now_ms()
    return Response(
        TaskOut(
            id=ids.new_id("qtask", now_ms),
            status="finished",
            task=task,
            data={"messagesSent": requeued.deliveries, "more": requeued.more},
            updated_at=iso_text(now_ms),
        ),
        status_code=202,
    )


ROUTES = [
    get_secret,
    rotate_secret,
    get_headers,
    set_headers,
    change_headers,
    get_stats,
    get_attempt_stats,
    send_example,
    recover,
    replay_missing,
]
