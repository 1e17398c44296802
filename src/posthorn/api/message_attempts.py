"""/api/v1/app/{app}/attempt: attempts of messages, wire-compatible with Svix's v1."""

from datetime import datetime

from litestar import delete, get, post
from msgspec import structs

from posthorn.api.messages import MessageOut, message_out
from posthorn.api.query import PageQuery, Query, in_ms, read_query, reads, refuse_tag
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.api.statuses import MessageStatus, StatusCodeClass, status_of_attempt, trigger_number
from posthorn.clock import iso_text
from posthorn.engine.journal import AttemptQuery, AttemptRow, Page
from posthorn.engine.resources import Application

_NEVER = (MessageStatus.PENDING, MessageStatus.SENDING, MessageStatus.CANCELED)


class AttemptsQuery(PageQuery, frozen=True, kw_only=True):
    """Which attempts to list. An attempt succeeded (0) or failed (2); the other statuses are those of deliveries."""

    status: MessageStatus | None = None
    status_code_class: StatusCodeClass | None = None
    channel: str | None = None
    tag: str | None = None
    before: datetime | None = None
    after: datetime | None = None
    with_content: bool = True
    expanded_statuses: bool = False
    event_types: tuple[str, ...] = ()


class EndpointAttemptsQuery(AttemptsQuery, frozen=True, kw_only=True):
    """Attempts of one endpoint, with their messages when asked."""

    with_msg: bool = False


class MessageAttemptsQuery(AttemptsQuery, frozen=True, kw_only=True):
    """Attempts of one message, of one endpoint when asked."""

    endpoint_id: str | None = None


class AttemptQueryString(Query, frozen=True, kw_only=True):
    """One attempt. An attempt is never cancelled, so that expanding statuses changes nothing."""

    expanded_statuses: bool = False


class MessageAttemptOut(Out, frozen=True, kw_only=True):
    """An attempt. `response` is the body, or why there was none; empty without content."""

    id: str
    msg_id: str
    endpoint_id: str
    url: str
    response: str
    response_status_code: int
    response_duration_ms: int
    status: int
    status_text: str
    trigger_type: int
    timestamp: str
    msg: MessageOut | None = None


def attempt_out(row: AttemptRow, *, with_content: bool = True, with_msg: bool = False) -> MessageAttemptOut:
    """Render an attempt; its message never includes the payload."""
    attempt = row.attempt
    status = status_of_attempt(attempt)
    response = (attempt.response_body or b"").decode("utf-8", "replace")
    if attempt.response_status is None:
        response = attempt.detail or attempt.error or ""
    return MessageAttemptOut(
        id=attempt.id,
        msg_id=attempt.event,
        endpoint_id=attempt.endpoint,
        url=attempt.url,
        response=response if with_content else "",
        response_status_code=attempt.response_status or 0,
        response_duration_ms=attempt.total_us // 1000,
        status=status.value,
        status_text=status.name.lower(),
        trigger_type=trigger_number(attempt.trigger),
        timestamp=iso_text(attempt.started_ms),
        msg=message_out(row.event, with_content=False) if with_msg and row.event is not None else None,
    )


def _question(query: AttemptsQuery, application: Application) -> AttemptQuery:
    refuse_tag(query.tag)
    return AttemptQuery(
        workspace=application.workspace,
        application=application.id,
        succeeded=None if query.status is None else query.status is MessageStatus.SUCCESS,
        status_class=None if query.status_code_class is None else query.status_code_class.value // 100,
        types=query.event_types,
        channel=query.channel,
        since_ms=in_ms(query.after),
        before_ms=in_ms(query.before),
        after=query.after_id,
        backwards=query.is_backwards,
        limit=query.limit,
        with_content=query.with_content,
    )


async def _answer(request: ApiRequest, query: AttemptsQuery, question: AttemptQuery) -> ListOut[MessageAttemptOut]:
    services, _ = at_desk(request)
    if query.status in _NEVER:
        page: Page[AttemptRow] = Page(rows=[], done=True)
    else:
        page = await services.history.attempts(question)
    return list_out(
        page.rows,
        lambda row: attempt_out(row, with_content=query.with_content, with_msg=question.with_event),
        lambda row: row.attempt.id,
        done=page.done,
    )


@get("/app/{app_id:str}/attempt/endpoint/{endpoint_id:str}", operation_class=reads(EndpointAttemptsQuery))
async def list_by_endpoint(request: ApiRequest, app_id: PathId, endpoint_id: PathId) -> ListOut[MessageAttemptOut]:
    """List an endpoint's attempts, the newest first."""
    services, workspace = at_desk(request)
    query = read_query(request, EndpointAttemptsQuery)
    application = await services.applications.get(workspace, app_id)
    endpoint = await services.endpoints.get(application, endpoint_id)
    question = structs.replace(_question(query, application), endpoint=endpoint.id, with_event=query.with_msg)
    return await _answer(request, query, question)


@get("/app/{app_id:str}/attempt/msg/{msg_id:str}", operation_class=reads(MessageAttemptsQuery))
async def list_by_msg(request: ApiRequest, app_id: PathId, msg_id: PathId) -> ListOut[MessageAttemptOut]:
    """List a message's attempts, the newest first."""
    services, workspace = at_desk(request)
    query = read_query(request, MessageAttemptsQuery)
    application = await services.applications.get(workspace, app_id)
    event = await services.history.message(application, msg_id)
    question = structs.replace(_question(query, application), event=event.id)
    if query.endpoint_id is not None:
        endpoint = await services.endpoints.get(application, query.endpoint_id)
        question = structs.replace(question, endpoint=endpoint.id)
    return await _answer(request, query, question)


@get("/app/{app_id:str}/msg/{msg_id:str}/attempt/{attempt_id:str}", operation_class=reads(AttemptQueryString))
async def get_message_attempt(
    request: ApiRequest, app_id: PathId, msg_id: PathId, attempt_id: PathId
) -> MessageAttemptOut:
    """Get one attempt of a message."""
    services, workspace = at_desk(request)
    read_query(request, AttemptQueryString)
    application = await services.applications.get(workspace, app_id)
    event = await services.history.message(application, msg_id)
    return attempt_out(await services.history.message_attempt(application, event, attempt_id))


@delete("/app/{app_id:str}/msg/{msg_id:str}/attempt/{attempt_id:str}/content")
async def expunge_response(request: ApiRequest, app_id: PathId, msg_id: PathId, attempt_id: PathId) -> None:
    """Erase an attempt's response body."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    await services.history.forget_response(application, msg_id, attempt_id)


@post("/app/{app_id:str}/msg/{msg_id:str}/endpoint/{endpoint_id:str}/resend", status_code=202)
async def resend(request: ApiRequest, app_id: PathId, msg_id: PathId, endpoint_id: PathId) -> dict[str, str]:
    """Send a message to an endpoint again; when it fails, its retries begin anew."""
    services, workspace = at_desk(request)
    application = await services.applications.get(workspace, app_id)
    event = await services.history.message(application, msg_id)
    endpoint = await services.endpoints.get(application, endpoint_id)
    await services.replay.resend(event, endpoint)
    return {}


ROUTES = [list_by_endpoint, list_by_msg, get_message_attempt, expunge_response, resend]
