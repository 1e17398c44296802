"""/api/v1/request, event, decision, delivery, attempt, thread: everything that happened."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Response, get, post
from msgspec import Meta

from posthorn.api.journal_rows import (
    AttemptOut,
    DecisionOut,
    DeliveryOut,
    EventOut,
    RequestOut,
    ThreadOut,
    attempt_out,
    decision_out,
    delivery_out,
    event_out,
    request_out,
    thread_out,
)
from posthorn.api.query import OrderedQuery, in_ms, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery, EventQuery, RequestQuery
from posthorn.engine.records import DecisionOutcome, DeliveryState, RequestOutcome

# What strangers sent must never run in the console's origin, whatever type it claims to have.
_HARMLESS = {
    "content-disposition": "attachment",
    "content-security-policy": "sandbox; default-src 'none'",
}


class JournalQueryString(OrderedQuery, frozen=True, kw_only=True):
    """A page of the journal, the newest first; `since` is inclusive, `before` exclusive."""

    since: datetime | None = None
    before: datetime | None = None

    def shared(self, workspace: str) -> dict[str, Any]:
        """Return what all questions to the journal have."""
        return {
            "workspace": workspace,
            "after": self.after_id,
            "backwards": self.is_backwards,
            "ascending": self.order == "ascending",
            "limit": self.limit,
            "since_ms": in_ms(self.since),
            "before_ms": in_ms(self.before),
        }


class RequestsQuery(JournalQueryString, frozen=True, kw_only=True):
    """Captured requests, by source (id or uid) and outcome."""

    source: str | None = None
    outcome: RequestOutcome | None = None


class EventsQuery(JournalQueryString, frozen=True, kw_only=True):
    """Events, by types, application and source (ids or uids), user, channel."""

    type: tuple[str, ...] = ()
    application: str | None = None
    source: str | None = None
    user: str | None = None
    channel: str | None = None
    with_content: bool = False


class DecisionsQuery(JournalQueryString, frozen=True, kw_only=True):
    """Decisions, by event, automation (id or uid), profile, outcome."""

    event: str | None = None
    automation: str | None = None
    profile: str | None = None
    outcome: DecisionOutcome | None = None


class DeliveriesQuery(JournalQueryString, frozen=True, kw_only=True):
    """Deliveries, by event, endpoint (its id), state."""

    event: str | None = None
    endpoint: str | None = None
    state: DeliveryState | None = None


class AttemptsQuery(JournalQueryString, frozen=True, kw_only=True):
    """Attempts. `status_class` is the first digit of the response's status, 0 for no response."""

    event: str | None = None
    endpoint: str | None = None
    delivery: str | None = None
    application: str | None = None
    succeeded: bool | None = None
    state: DeliveryState | None = None
    status_class: Annotated[int, Meta(ge=0, le=5)] | None = None
    type: tuple[str, ...] = ()
    channel: str | None = None
    with_content: bool = False


class ReplayOut(Out, frozen=True, kw_only=True):
    """The deliveries that are queued again."""

    deliveries: list[str]


@get("/request", operation_class=reads(RequestsQuery))
async def list_requests(request: ApiRequest) -> ListOut[RequestOut]:
    """List captured requests, without their bodies."""
    services, workspace = at_desk(request)
    query = read_query(request, RequestsQuery)
    source = await services.sources.identify(workspace, query.source)
    page = await services.history.requests(
        RequestQuery(**query.shared(workspace), source=source, outcome=query.outcome)
    )
    return list_out(page.rows, request_out, lambda row: row.id, done=page.done)


@get("/request/{request_id:str}")
async def get_request(request: ApiRequest, request_id: PathId) -> RequestOut:
    """Get a captured request, whole."""
    services, workspace = at_desk(request)
    return request_out(await services.history.request(workspace, request_id))


@get("/request/{request_id:str}/body")
async def get_request_body(request: ApiRequest, request_id: PathId) -> Response[bytes]:
    """Get the bytes of a captured request's body, to be saved and never shown by a browser."""
    services, workspace = at_desk(request)
    captured = await services.history.request(workspace, request_id)
    return Response(captured.body, media_type="application/octet-stream", headers=_HARMLESS)


@get("/event", operation_class=reads(EventsQuery))
async def list_events(request: ApiRequest) -> ListOut[EventOut]:
    """List events; their payloads with `with_content=true`."""
    services, workspace = at_desk(request)
    query = read_query(request, EventsQuery)
    page = await services.history.events(
        EventQuery(
            **query.shared(workspace),
            types=query.type,
            application=await services.applications.identify(workspace, query.application),
            source=await services.sources.identify(workspace, query.source),
            user=query.user,
            channel=query.channel,
            with_payload=query.with_content,
        )
    )
    return list_out(page.rows, event_out, lambda row: row.id, done=page.done)


@get("/event/{event_id:str}")
async def get_event(request: ApiRequest, event_id: PathId) -> EventOut:
    """Get an event with its payload."""
    services, workspace = at_desk(request)
    return event_out(await services.history.event(workspace, event_id))


@get("/decision", operation_class=reads(DecisionsQuery))
async def list_decisions(request: ApiRequest) -> ListOut[DecisionOut]:
    """List decisions."""
    services, workspace = at_desk(request)
    query = read_query(request, DecisionsQuery)
    page = await services.history.decisions(
        DecisionQuery(
            **query.shared(workspace),
            event=query.event,
            automation=await services.automations.identify(workspace, query.automation),
            profile=query.profile,
            outcome=query.outcome,
        )
    )
    return list_out(page.rows, decision_out, lambda row: row.id, done=page.done)


@get("/delivery", operation_class=reads(DeliveriesQuery))
async def list_deliveries(request: ApiRequest) -> ListOut[DeliveryOut]:
    """List deliveries."""
    services, workspace = at_desk(request)
    query = read_query(request, DeliveriesQuery)
    page = await services.history.deliveries(
        DeliveryQuery(**query.shared(workspace), event=query.event, endpoint=query.endpoint, state=query.state)
    )
    return list_out(page.rows, delivery_out, lambda row: row.id, done=page.done)


@get("/delivery/{delivery_id:str}")
async def get_delivery(request: ApiRequest, delivery_id: PathId) -> DeliveryOut:
    """Get a delivery as it stands."""
    services, workspace = at_desk(request)
    return delivery_out(await services.history.delivery(workspace, delivery_id))


@post("/delivery/{delivery_id:str}/cancel", status_code=200)
async def cancel_delivery(request: ApiRequest, delivery_id: PathId) -> DeliveryOut:
    """Take a pending delivery off the queue for good."""
    services, workspace = at_desk(request)
    await services.replay.cancel(workspace, delivery_id)
    return delivery_out(await services.history.delivery(workspace, delivery_id))


@get("/attempt", operation_class=reads(AttemptsQuery))
async def list_attempts(request: ApiRequest) -> ListOut[AttemptOut]:
    """List attempts; their response bodies with `with_content=true`."""
    services, workspace = at_desk(request)
    query = read_query(request, AttemptsQuery)
    page = await services.history.attempts(
        AttemptQuery(
            **query.shared(workspace),
            event=query.event,
            endpoint=query.endpoint,
            delivery=query.delivery,
            application=await services.applications.identify(workspace, query.application),
            succeeded=query.succeeded,
            state=query.state,
            status_class=query.status_class,
            types=query.type,
            channel=query.channel,
            with_content=query.with_content,
        )
    )
    return list_out(page.rows, lambda row: attempt_out(row.attempt), lambda row: row.attempt.id, done=page.done)


@get("/attempt/{attempt_id:str}")
async def get_attempt(request: ApiRequest, attempt_id: PathId) -> AttemptOut:
    """Get an attempt, whole."""
    services, workspace = at_desk(request)
    return attempt_out((await services.history.attempt(workspace, attempt_id)).attempt)


@get("/thread/{identifier:str}")
async def get_thread(request: ApiRequest, identifier: PathId) -> ThreadOut:
    """Get everything that hangs together with a request, event, decision, delivery or attempt."""
    services, workspace = at_desk(request)
    return thread_out(await services.history.thread(workspace, identifier))


@post("/replay/{identifier:str}", status_code=202)
async def replay(request: ApiRequest, identifier: PathId) -> ReplayOut:
    """Send again what an id stands for: a delivery, or all deliveries of an event or request."""
    services, workspace = at_desk(request)
    return ReplayOut(deliveries=await services.replay.replay(workspace, identifier))


ROUTES = [
    list_requests,
    get_request,
    get_request_body,
    list_events,
    get_event,
    list_decisions,
    list_deliveries,
    get_delivery,
    cancel_delivery,
    list_attempts,
    get_attempt,
    get_thread,
    replay,
]
