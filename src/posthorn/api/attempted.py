"""What an endpoint was owed, and to whom a message went. Wire-compatible with Svix's v1."""

from datetime import datetime

from litestar import get
from msgspec import Raw, structs

from posthorn.api.messages import message_out
from posthorn.api.query import PageQuery, in_ms, read_query, reads, refuse_tag
from posthorn.api.rendering import ListOut, Out, iso_or_none, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.api.statuses import STATES, MessageStatus, status_of_delivery
from posthorn.clock import iso_text
from posthorn.engine.journal import DeliveryQuery, DeliveryRow
from posthorn.engine.resources import Endpoint
from posthorn.manage.history import History, Owed

_MOST_SCANNED = 2000


class EndpointMessagesQuery(PageQuery, frozen=True, kw_only=True):
    """Which of an endpoint's messages to list."""

    channel: str | None = None
    tag: str | None = None
    status: MessageStatus | None = None
    before: datetime | None = None
    after: datetime | None = None
    with_content: bool = True
    expanded_statuses: bool = False
    event_types: tuple[str, ...] = ()


class EndpointMessageOut(Out, frozen=True, kw_only=True):
    """A message, and where its delivery to the endpoint stands."""

    id: str
    event_id: str | None
    event_type: str
    payload: Raw
    payload_base64: str | None
    channels: tuple[str, ...] | None
    tags: tuple[str, ...] | None
    timestamp: str
    status: int
    status_text: str
    next_attempt: str | None


class MessageEndpointOut(Out, frozen=True, kw_only=True):
    """An endpoint, and where the message's delivery to it stands."""

    id: str
    uid: str | None
    url: str
    description: str
    event_types: tuple[str, ...] | None
    filter_types: tuple[str, ...] | None
    channels: tuple[str, ...] | None
    disabled: bool
    throttle_rate: int | None
    rate_limit: int | None
    version: int = 1
    created_at: str
    updated_at: str
    status: int
    status_text: str
    next_attempt: str | None


@get("/app/{app_id:str}/endpoint/{endpoint_id:str}/msg", operation_class=reads(EndpointMessagesQuery))
async def list_attempted_messages(
    request: ApiRequest, app_id: PathId, endpoint_id: PathId
) -> ListOut[EndpointMessageOut]:
    """List what an endpoint was owed, the newest first; the iterator is a delivery's id.

    One call looks at up to 2,000 deliveries. When filters leave few of them, the page is short (or empty) and not
    `done`; the iterator goes on from there.
    """
    services, workspace = at_desk(request)
    query = read_query(request, EndpointMessagesQuery)
    refuse_tag(query.tag)
    application = await services.applications.get(workspace, app_id)
    endpoint = await services.endpoints.get(application, endpoint_id)
    return await _scan(services.history, query, endpoint)


async def _scan(history: History, query: EndpointMessagesQuery, endpoint: Endpoint) -> ListOut[EndpointMessageOut]:
    question = DeliveryQuery(
        workspace=endpoint.workspace,
        endpoint=endpoint.id,
        state=None if query.status is None else STATES[query.status],
        since_ms=in_ms(query.after),
        before_ms=in_ms(query.before),
        after=query.after_id,
        backwards=query.is_backwards,
        limit=query.limit,
    )
    kept: list[Owed] = []
    seen: list[DeliveryRow] = []
    done = False
    while not done and len(kept) < query.limit and len(seen) < _MOST_SCANNED:
        page = await history.owed(structs.replace(question, limit=query.limit - len(kept)))
        rows = [row.delivery for row in page.rows]
        wanted = [row for row in page.rows if _is_wanted(row, query)]
        seen = rows + seen if query.is_backwards else seen + rows
        kept = wanted + kept if query.is_backwards else kept + wanted
        done = page.done
        if rows:
            question = structs.replace(question, after=(rows[0] if query.is_backwards else rows[-1]).id)
    return ListOut(
        data=[_endpoint_message_out(row, query) for row in kept],
        iterator=seen[-1].id if seen else None,
        prev_iterator=f"-{seen[0].id}" if seen else None,
        done=done,
    )


def _is_wanted(row: Owed, query: EndpointMessagesQuery) -> bool:
    if row.event is None:
        return False
    if query.status is not None and status_of_delivery(row.delivery, expanded=True) is not query.status:
        return False
    if query.event_types and row.event.type not in query.event_types:
        return False
    return query.channel is None or query.channel in row.event.channels


def _endpoint_message_out(row: Owed, query: EndpointMessagesQuery) -> EndpointMessageOut:
    if row.event is None:
        raise AssertionError("rows without an event are left out")
    message = message_out(row.event, with_content=query.with_content)
    status = status_of_delivery(row.delivery, expanded=query.expanded_statuses)
    return EndpointMessageOut(
        id=message.id,
        event_id=message.event_id,
        event_type=message.event_type,
        payload=message.payload,
        payload_base64=message.payload_base64,
        channels=message.channels,
        tags=None,
        timestamp=message.timestamp,
        status=status.value,
        status_text=status.name.lower(),
        next_attempt=iso_or_none(row.delivery.next_ms),
    )


@get("/app/{app_id:str}/msg/{msg_id:str}/endpoint", operation_class=reads(PageQuery))
async def list_attempted_destinations(
    request: ApiRequest, app_id: PathId, msg_id: PathId
) -> ListOut[MessageEndpointOut]:
    """List the endpoints that a message went or goes to. Deleted endpoints are left out."""
    services, workspace = at_desk(request)
    query = read_query(request, PageQuery)
    application = await services.applications.get(workspace, app_id)
    event = await services.history.message(application, msg_id)
    page = await services.history.deliveries(
        DeliveryQuery(
            workspace=workspace,
            event=event.id,
            after=query.after_id,
            backwards=query.is_backwards,
            ascending=True,
            limit=query.limit,
        )
    )
    endpoints = {row.id: await services.endpoints.seek(application, row.endpoint) for row in page.rows}
    found = [(row, endpoint) for row in page.rows if (endpoint := endpoints[row.id]) is not None]
    return list_out(found, lambda pair: _message_endpoint_out(*pair), lambda pair: pair[0].id, done=page.done)


def _message_endpoint_out(row: DeliveryRow, endpoint: Endpoint) -> MessageEndpointOut:
    status = status_of_delivery(row, expanded=True)
    return MessageEndpointOut(
        id=endpoint.id,
        uid=endpoint.uid,
        url=endpoint.url,
        description=endpoint.description,
        event_types=endpoint.event_types,
        filter_types=endpoint.event_types,
        channels=endpoint.channels,
        disabled=endpoint.disabled,
        throttle_rate=endpoint.throttle_rate,
        rate_limit=endpoint.throttle_rate,
        created_at=iso_text(endpoint.created_ms),
        updated_at=iso_text(endpoint.updated_ms),
        status=status.value,
        status_text=status.name.lower(),
        next_attempt=iso_or_none(row.next_ms),
    )


ROUTES = [list_attempted_messages, list_attempted_destinations]
