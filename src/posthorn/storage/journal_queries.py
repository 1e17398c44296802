"""Questions about requests, events, attempts and decisions."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, func, literal, or_, select

from posthorn.engine.journal import AttemptQuery, AttemptRow, DecisionQuery, EventQuery, Page, RequestQuery
from posthorn.engine.records import CapturedRequest, Decision, DeliveryState, Event
from posthorn.storage.journal_pages import page
from posthorn.storage.journal_rows import (
    ATTEMPT,
    BARE_EVENT,
    BODY,
    CONTEXT,
    DECISION,
    EVENT,
    NO_BODY,
    NO_BYTES,
    REQUEST,
    RESPONSE_BODY,
    to_attempt,
    to_decision,
    to_event,
    to_request,
)
from posthorn.storage.questions import (
    AnySelect,
    Filtered,
    Position,
    Questions,
    beside,
    by_id,
    has,
    near_ids,
    not_after,
    since_id,
)
from posthorn.storage.tables import attempt, decision, decision_work, event, request


def one_request(workspace: str, identifier: str) -> Questions[CapturedRequest | None]:
    """Ask for one captured request, whole."""
    statement = select(*REQUEST, BODY).where(request.c.workspace == workspace)
    row = yield from by_id(statement, request, identifier)
    return to_request(row) if row is not None else None


def requests(query: RequestQuery) -> Questions[Page[CapturedRequest]]:
    """Ask for captured requests without their bodies."""
    statement = select(*REQUEST, NO_BODY).where(request.c.workspace == query.workspace)
    statement = _narrowed(statement, (request.c.source, query.source), (request.c.outcome, query.outcome))
    return (yield from page(statement, request, request.c.received_ms, query, to_request))


def one_event(workspace: str, identifier: str, application: str | None) -> Questions[Event | None]:
    """Ask for one event with its payload, by id, or by uid within its application; the newest of a uid."""
    place = Filtered(event.c.application)
    in_place = place.is_(None) if application is None else place == application
    statement = events_with_payload()
    by_its_id = statement.where(Filtered(event.c.workspace) == workspace)
    row = yield from by_id(by_its_id if application is None else by_its_id.where(in_place), event, identifier)
    if row is None:
        by_uid = statement.where(event.c.workspace == workspace, event.c.uid == identifier, in_place)
        # All few of them are read: to find one alone, PostgreSQL may walk through the journal from its end.
        rows = yield by_uid.order_by(event.c.seq.desc())
        row = rows[0] if rows else None
    return to_event(row) if row is not None else None


def events(query: EventQuery) -> Questions[Page[Event]]:
    """Ask for events; their payloads only when the query does."""
    statement = events_with_payload() if query.with_payload else select(*BARE_EVENT)
    # The indexes that begin with the workspace keep the order of commits for one user or one type.
    is_indexed = query.user is not None or (len(query.types) == 1 and query.application is None)
    workspace = event.c.workspace if is_indexed else Filtered(event.c.workspace)
    statement = _narrowed(
        statement.where(workspace == query.workspace),
        (event.c.application, query.application),
        (event.c.source, query.source),
        (event.c.user, query.user),
    )
    statement = _of_kind(statement, query.types, query.channel)
    return (yield from page(statement, event, event.c.received_ms, query, to_event))


def events_of(workspace: str, identifiers: Collection[str], *, with_payload: bool) -> Questions[dict[str, Event]]:
    """Ask for several events by id. Those that are gone, or another workspace's, are absent."""
    statement = events_with_payload() if with_payload else select(*BARE_EVENT)
    statement = statement.where(event.c.workspace == workspace)
    found: dict[str, Event] = {}
    for is_near in (True, False):
        missing = [identifier for identifier in dict.fromkeys(identifiers) if identifier not in found]
        near = near_ids(event, missing)
        if missing and (near is not None or not is_near):
            asked = statement.where(event.c.id.in_(_padded(missing)))
            rows = yield asked.where(near) if is_near and near is not None else asked
            found |= {row[0]: to_event(row) for row in rows}
    return found


def one_attempt(workspace: str, identifier: str) -> Questions[AttemptRow | None]:
    """Ask for one attempt, whole, with its event."""
    statement = select(*ATTEMPT, RESPONSE_BODY).where(attempt.c.workspace == workspace)
    row = yield from by_id(statement, attempt, identifier)
    if row is None:
        return None
    found = to_attempt(row)
    of_it = yield from events_of(workspace, [found.event], with_payload=True)
    return AttemptRow(attempt=found, event=of_it.get(found.event))


def attempts(query: AttemptQuery) -> Questions[Page[AttemptRow]]:
    """Ask for attempts by event, endpoint, delivery, status."""
    found = yield from page(_attempts(query), attempt, attempt.c.started_ms, query, to_attempt)
    of_them: dict[str, Event] = {}
    if query.with_event:
        identifiers = [row.event for row in found.rows]
        of_them = yield from events_of(query.workspace, identifiers, with_payload=query.with_content)
    return Page(rows=[AttemptRow(attempt=row, event=of_them.get(row.event)) for row in found.rows], done=found.done)


def decisions(query: DecisionQuery) -> Questions[Page[Decision]]:
    """Ask for decisions by event, automation, profile or outcome."""
    statement = _narrowed(
        select(*DECISION).where(decision.c.workspace == query.workspace),
        (decision.c.event, query.event),
        (decision.c.automation, query.automation),
        (decision.c.profile, query.profile),
        (decision.c.outcome, query.outcome),
    )
    if query.event is not None:
        statement = statement.where(since_id(decision, query.event))
    return (yield from page(statement, decision, decision.c.decided_ms, query, to_decision))


def is_undecided(workspace: str, identifier: str) -> Questions[bool]:
    """Ask whether an event of a workspace waits to be decided; the key of its profile begins with the workspace."""
    rows = yield select(decision_work.c.profile).where(decision_work.c.id == identifier)
    return any(row[0].startswith(f"{workspace}/") for row in rows)


def events_with_payload() -> AnySelect:
    """Select events with their bytes, from wherever they are stored, and what came with them."""
    # A value and no join: it is looked up only for an event without bytes of its own, and only for the rows of a page.
    body = select(request.c.body).where(request.c.id == event.c.request, beside(request.c.seq, event.c.seq)).limit(1)
    return select(*EVENT, func.coalesce(event.c.payload, body.scalar_subquery()), CONTEXT)


def _attempts(query: AttemptQuery) -> AnySelect:
    statement = select(*ATTEMPT, RESPONSE_BODY if query.with_content else NO_BYTES)
    if query.types or query.channel is not None:
        its_event = select(event.c.id).where(event.c.id == attempt.c.event, not_after(event.c.seq, attempt.c.seq))
        statement = statement.where(has(_of_kind(its_event, query.types, query.channel)))
    statement = _narrowed(
        statement.where(attempt.c.workspace == query.workspace),
        (attempt.c.event, query.event),
        (attempt.c.endpoint, query.endpoint),
        (attempt.c.delivery, query.delivery),
        (attempt.c.application, query.application),
        (attempt.c.state, query.state),
    )
    for identifier in (query.event, query.delivery):
        if identifier is not None:
            statement = statement.where(since_id(attempt, identifier))
    if query.succeeded is not None:
        delivered = attempt.c.state == DeliveryState.DELIVERED
        statement = statement.where(delivered if query.succeeded else ~delivered)
    if query.status_class is not None:
        statement = statement.where(_is_of_class(attempt.c.response_status, query.status_class))
    return statement


def _is_of_class(status: ColumnElement[int], first_digit: int) -> ColumnElement[bool]:
    # The bare column is compared, so that PostgreSQL knows how many rows are so.
    end = status < literal(first_digit * 100 + 100, BigInteger)
    if first_digit == 0:
        return or_(status.is_(None), end)
    return and_(status >= literal(first_digit * 100, BigInteger), end)


def _narrowed(statement: AnySelect, *filters: tuple[ColumnElement[Any], str | None]) -> AnySelect:
    for column, wanted in filters:
        if wanted is not None:
            statement = statement.where(column == wanted)
    return statement


def _of_kind(statement: AnySelect, types: tuple[str, ...], channel: str | None) -> AnySelect:
    if types:
        statement = statement.where(event.c.type.in_(types))
    if channel is not None:
        statement = statement.where(Position("," + event.c.channels + ",", literal(f",{channel},")) > 0)
    return statement


def _padded(identifiers: list[str]) -> list[str]:
    """Repeat the last one up to a power of two: few lengths are few texts, which stay prepared."""
    wanted = 1 << (len(identifiers) - 1).bit_length()
    return identifiers + identifiers[-1:] * (wanted - len(identifiers))
