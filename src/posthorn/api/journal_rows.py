"""The rows of the journal as JSON.

A body or payload that is JSON is given as it stands, byte for byte; any other is given as base64 in the field with
`Base64` at the end of its name. A response's body is given as text, because it may have been cut short.
"""

from litestar.params import JSONBody
from msgspec import Raw

from posthorn.api.encoding import json_or_base64, text_or_base64
from posthorn.api.rendering import Out, header_pairs, iso_or_none
from posthorn.clock import iso_text
from posthorn.engine.journal import DeliveryRow, Thread
from posthorn.engine.records import Attempt, CapturedRequest, Decision, Event


class RequestOut(Out, frozen=True, kw_only=True):
    """A captured request. `headers` are in the order and case in which they came."""

    id: str
    source_id: str
    received_at: str
    method: str
    target: str
    http_version: str
    headers: list[tuple[str, str]]
    body: Raw | None
    body_base64: str | None
    peer: str
    duration_us: int
    outcome: str
    cause: str | None
    detail: str | None
    answer_status: int
    event_id: str | None


class EventOut(Out, frozen=True, kw_only=True):
    """An event."""

    id: str
    type: str
    occurred_at: str
    received_at: str
    user_id: str | None
    uid: str | None
    source_id: str | None
    request_id: str | None
    application_id: str | None
    channels: tuple[str, ...]
    content_type: str
    content_encoding: str | None
    payload: Raw | None
    payload_base64: str | None


class DecisionOut(Out, frozen=True, kw_only=True):
    """A decision. `data` holds what `reason` and `detail` speak of."""

    id: str
    automation_id: str
    version: int
    event_id: str
    profile: str
    decided_at: str
    outcome: str
    reason: str
    detail: str
    data: JSONBody[Raw | None]
    delivery_id: str | None


class DeliveryOut(Out, frozen=True, kw_only=True):
    """A delivery. `endpointId` of an automation's delivery names the automation and the host it sends to."""

    id: str
    event_id: str
    endpoint_id: str
    application_id: str | None
    state: str
    attempts: int
    next_attempt_at: str | None
    reason: str | None


class TimingsOut(Out, frozen=True, kw_only=True):
    """How long each phase took, in microseconds."""

    dns_us: int
    connect_us: int
    tls_us: int
    wait_us: int
    total_us: int


class AttemptOut(Out, frozen=True, kw_only=True):
    """An attempt. Secrets in `requestHeaders` are masked; the response body is cut after 16 KiB."""

    id: str
    delivery_id: str
    event_id: str
    endpoint_id: str
    application_id: str | None
    number: int
    trigger: str
    state: str
    started_at: str
    next_attempt_at: str | None
    method: str
    url: str
    request_headers: Raw | None
    response_status: int | None
    response_headers: Raw | None
    response_body: str | None
    response_body_base64: str | None
    error: str | None
    detail: str | None
    timings: TimingsOut


class ThreadOut(Out, frozen=True, kw_only=True):
    """Everything that hangs together with one event."""

    requests: list[RequestOut]
    event: EventOut | None
    decisions: list[DecisionOut]
    deliveries: list[DeliveryOut]
    attempts: list[AttemptOut]


def request_out(row: CapturedRequest) -> RequestOut:
    """Render a captured request."""
    body, encoded = json_or_base64(row.body)
    return RequestOut(
        id=row.id,
        source_id=row.source,
        received_at=iso_text(row.received_ms),
        method=row.method,
        target=row.target.decode("latin-1"),
        http_version=row.http_version,
        headers=header_pairs(row.head),
        body=body,
        body_base64=encoded,
        peer=row.peer,
        duration_us=row.duration_us,
        outcome=row.outcome,
        cause=row.cause,
        detail=row.detail,
        answer_status=row.answer_status,
        event_id=row.event,
    )


def event_out(row: Event) -> EventOut:
    """Render an event."""
    payload, encoded = json_or_base64(row.payload)
    return EventOut(
        id=row.id,
        type=row.type,
        occurred_at=iso_text(row.occurred_ms),
        received_at=iso_text(row.received_ms),
        user_id=row.user,
        uid=row.uid,
        source_id=row.source,
        request_id=row.request,
        application_id=row.application,
        channels=row.channels,
        content_type=row.content_type or "application/json",
        content_encoding=row.content_encoding,
        payload=payload,
        payload_base64=encoded,
    )


def decision_out(row: Decision) -> DecisionOut:
    """Render a decision."""
    return DecisionOut(
        id=row.id,
        automation_id=row.automation,
        version=row.version,
        event_id=row.event,
        profile=row.profile,
        decided_at=iso_text(row.decided_ms),
        outcome=row.outcome,
        reason=row.reason,
        detail=row.detail,
        data=_raw(row.data),
        delivery_id=row.delivery,
    )


def delivery_out(row: DeliveryRow) -> DeliveryOut:
    """Render a delivery."""
    return DeliveryOut(
        id=row.id,
        event_id=row.event,
        endpoint_id=row.endpoint,
        application_id=row.application,
        state=row.state,
        attempts=row.attempts,
        next_attempt_at=iso_or_none(row.next_ms),
        reason=row.reason,
    )


def attempt_out(row: Attempt) -> AttemptOut:
    """Render an attempt."""
    body, encoded = text_or_base64(row.response_body)
    return AttemptOut(
        id=row.id,
        delivery_id=row.delivery,
        event_id=row.event,
        endpoint_id=row.endpoint,
        application_id=row.application,
        number=row.number,
        trigger=row.trigger,
        state=row.state,
        started_at=iso_text(row.started_ms),
        next_attempt_at=iso_or_none(row.next_ms),
        method=row.method,
        url=row.url,
        request_headers=_raw(row.request_headers),
        response_status=row.response_status,
        response_headers=_raw(row.response_headers),
        response_body=body,
        response_body_base64=encoded,
        error=row.error,
        detail=row.detail,
        timings=TimingsOut(
            dns_us=row.dns_us,
            connect_us=row.connect_us,
            tls_us=row.tls_us,
            wait_us=row.wait_us,
            total_us=row.total_us,
        ),
    )


def thread_out(thread: Thread) -> ThreadOut:
    """Render a whole thread."""
    return ThreadOut(
        requests=[request_out(row) for row in thread.requests],
        event=event_out(thread.event) if thread.event is not None else None,
        decisions=[decision_out(row) for row in thread.decisions],
        deliveries=[delivery_out(row) for row in thread.deliveries],
        attempts=[attempt_out(row) for row in thread.attempts],
    )


def _raw(stored: bytes | None) -> Raw | None:
    """Return JSON that Posthorn wrote itself."""
    return Raw(stored) if stored else None
