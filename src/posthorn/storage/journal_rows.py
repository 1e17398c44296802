"""Turning journal rows into records."""

from typing import Any

from sqlalchemy import ColumnElement, literal, null

from posthorn.engine.records import (
    Attempt,
    CapturedRequest,
    Decision,
    DecisionOutcome,
    DeliveryState,
    Event,
    RequestOutcome,
    Trigger,
)
from posthorn.storage.tables import attempt, decision, event, request

REQUEST = [
    request.c.id, request.c.workspace, request.c.source, request.c.received_ms, request.c.method, request.c.target,
    request.c.http_version, request.c.head, request.c.peer, request.c.duration_us, request.c.outcome, request.c.cause,
    request.c.detail, request.c.answer_status, request.c.event,
]  # fmt: skip
EVENT = [
    event.c.id, event.c.workspace, event.c.type, event.c.occurred_ms, event.c.received_ms, event.c.user, event.c.uid,
    event.c.source, event.c.request, event.c.application, event.c.channels, event.c.content_type,
    event.c.content_encoding,
]  # fmt: skip
DECISION = [
    decision.c.id, decision.c.workspace, decision.c.automation, decision.c.version, decision.c.event,
    decision.c.profile, decision.c.decided_ms, decision.c.outcome, decision.c.reason, decision.c.detail,
    decision.c.data, decision.c.delivery,
]  # fmt: skip
ATTEMPT = [
    attempt.c.id, attempt.c.workspace, attempt.c.application, attempt.c.delivery, attempt.c.event, attempt.c.endpoint,
    attempt.c.number, attempt.c.trigger, attempt.c.state, attempt.c.started_ms, attempt.c.next_ms, attempt.c.method,
    attempt.c.url, attempt.c.request_headers, attempt.c.response_status, attempt.c.response_headers, attempt.c.error,
    attempt.c.detail, attempt.c.dns_us, attempt.c.connect_us, attempt.c.tls_us, attempt.c.wait_us, attempt.c.total_us,
]  # fmt: skip

BODY = request.c.body
CONTEXT = event.c.context
NO_BODY: ColumnElement[Any] = literal(b"")
"""In place of a request's body, which a record has to have."""
NO_BYTES: ColumnElement[Any] = null()
"""In place of a payload or a response body."""
RESPONSE_BODY = attempt.c.response_body
BARE_EVENT = [*EVENT, NO_BYTES, NO_BYTES]
"""An event without what it says: neither payload nor context."""


def to_request(row: Any) -> CapturedRequest:
    """Read REQUEST and the body."""
    return CapturedRequest(
        id=row[0],
        workspace=row[1],
        source=row[2],
        received_ms=row[3],
        method=row[4],
        target=row[5],
        http_version=row[6],
        head=row[7],
        peer=row[8],
        duration_us=row[9],
        outcome=RequestOutcome(row[10]),
        cause=row[11],
        detail=row[12],
        answer_status=row[13],
        event=row[14],
        body=row[15],
    )


def to_event(row: Any) -> Event:
    """Read EVENT and, in columns 13 and 14, payload and context or NULL."""
    return Event(
        id=row[0],
        workspace=row[1],
        type=row[2],
        occurred_ms=row[3],
        received_ms=row[4],
        user=row[5],
        uid=row[6],
        source=row[7],
        request=row[8],
        application=row[9],
        channels=tuple(row[10].split(",")) if row[10] else (),
        content_type=row[11],
        content_encoding=row[12],
        payload=row[13],
        context=row[14],
    )


def to_decision(row: Any) -> Decision:
    """Read DECISION."""
    return Decision(
        id=row[0],
        workspace=row[1],
        automation=row[2],
        version=row[3],
        event=row[4],
        profile=row[5],
        decided_ms=row[6],
        outcome=DecisionOutcome(row[7]),
        reason=row[8],
        detail=row[9],
        data=row[10],
        delivery=row[11],
    )


def to_attempt(row: Any) -> Attempt:
    """Read ATTEMPT and, in column 23, the response body or NULL."""
    return Attempt(
        id=row[0],
        workspace=row[1],
        application=row[2],
        delivery=row[3],
        event=row[4],
        endpoint=row[5],
        number=row[6],
        trigger=Trigger(row[7]),
        state=DeliveryState(row[8]),
        started_ms=row[9],
        next_ms=row[10],
        method=row[11],
        url=row[12],
        request_headers=row[13],
        response_status=row[14],
        response_headers=row[15],
        error=row[16],
        detail=row[17],
        dns_us=row[18],
        connect_us=row[19],
        tls_us=row[20],
        wait_us=row[21],
        total_us=row[22],
        response_body=row[23],
    )
