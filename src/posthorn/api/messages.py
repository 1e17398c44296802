"""/api/v1/app/{app}/msg: messages, wire-compatible with Svix's v1. Creating one is the hot path of `receive`."""

from datetime import datetime

from litestar import delete, get, post
from litestar.params import JSONBody
from msgspec import Raw, Struct

from posthorn.api.body import ExactJson
from posthorn.api.encoding import base64_of, json_or_none
from posthorn.api.query import PageQuery, Query, in_ms, read_query, reads, refuse_tag
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.journal import EventQuery
from posthorn.engine.records import Event
from posthorn.manage.shapes import Channel, EventTypeName

_NO_CONTENT = Raw(b"{}")
_EXPIRED = Raw(b'{"expired":true}')


class MessageOut(Out, frozen=True, kw_only=True):
    """A message.

    `payload` is the JSON object as it was sent, byte for byte; `{}` without content, `{"expired":true}` once it was
    erased. A payload that is no JSON object is in `payloadBase64`, and `payload` is `{}`.
    """

    id: str
    event_id: str | None
    event_type: str
    payload: Raw
    payload_base64: str | None = None
    channels: tuple[str, ...] | None
    tags: tuple[str, ...] | None = None
    timestamp: str


class MessagesQuery(PageQuery, frozen=True, kw_only=True):
    """Which messages to list. Tags are not supported."""

    channel: str | None = None
    before: datetime | None = None
    after: datetime | None = None
    with_content: bool = True
    event_types: tuple[str, ...] = ()
    tag: str | None = None


class ContentQuery(Query, frozen=True, kw_only=True):
    """Whether to include the payload."""

    with_content: bool = True


class PrecheckIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A message that may be sent."""

    event_type: EventTypeName
    channels: tuple[Channel, ...] | None = None


class PrecheckOut(Out, frozen=True, kw_only=True):
    """Whether any endpoint would receive it."""

    active: bool


def message_out(event: Event, *, with_content: bool) -> MessageOut:
    """Render a message."""
    payload, encoded = _payload(event.payload, with_content=with_content)
    return MessageOut(
        id=event.id,
        event_id=event.uid,
        event_type=event.type,
        payload=payload,
        payload_base64=encoded,
        channels=event.channels or None,
        timestamp=iso_text(event.received_ms),
    )


def _payload(payload: bytes | None, *, with_content: bool) -> tuple[Raw, str | None]:
    if not with_content:
        return _NO_CONTENT, None
    if not payload:
        return _EXPIRED, None
    raw = json_or_none(payload) if payload.lstrip()[:1] == b"{" else None
    return (raw, None) if raw is not None else (_NO_CONTENT, base64_of(payload))


@get("/app/{app_id:str}/msg", operation_class=reads(MessagesQuery))
async def list_messages(request: ApiRequest, app_id: PathId) -> ListOut[MessageOut]:
    """List an application's messages, the newest first."""
    services, workspace = at_desk(request)
    query = read_query(request, MessagesQuery)
    refuse_tag(query.tag)
    application = await services.applications.get(workspace, app_id)
    page = await services.history.events(
        EventQuery(
            workspace=workspace,
            application=application.id,
            types=query.event_types,
            channel=query.channel,
            since_ms=in_ms(query.after),
            before_ms=in_ms(query.before),
            after=query.after_id,
            backwards=query.is_backwards,
            limit=query.limit,
            with_payload=query.with_content,
        )
    )
    return list_out(
        page.rows,
        lambda row: message_out(row, with_content=query.with_content),
        lambda row: row.id,
        done=page.done,
    )


@get("/app/{app_id:str}/msg/{msg_id:str}", operation_class=reads(ContentQuery))
async def get_message(request: ApiRequest, app_id: PathId, msg_id: PathId) -> MessageOut:
    """Get a message by its id or eventId."""
    services, workspace = at_desk(request)
    query = read_query(request, ContentQuery)
    application = await services.applications.get(workspace, app_id)
    return message_out(await services.history.message(application, msg_id), with_content=query.with_content)


@delete("/app/{app_id:str}/msg/{msg_id:str}/content")
async def expunge_content(request: ApiRequest, app_id: PathId, msg_id: PathId) -> None:
    """Erase a message's payload; it cannot be sent again."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    await services.history.forget_payload(application, msg_id)


@post("/app/{app_id:str}/msg/precheck/active", dto=ExactJson, return_dto=None, status_code=200)
async def precheck(request: ApiRequest, app_id: PathId, data: JSONBody[PrecheckIn]) -> PrecheckOut:
    """Tell whether any endpoint would receive such a message."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    return PrecheckOut(active=services.replay.is_wanted(application, data.event_type, data.channels or ()))


ROUTES = [list_messages, get_message, expunge_content, precheck]
