"""Questions about what hangs together with one id, and about what is new since a cursor."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, or_, select, text

from posthorn.engine.journal import TailPage, Thread
from posthorn.engine.records import Attempt, CapturedRequest, Decision, Event
from posthorn.ids import ATTEMPT as ATTEMPT_ID
from posthorn.ids import DECISION as DECISION_ID
from posthorn.ids import DELIVERY as DELIVERY_ID
from posthorn.ids import REQUEST as REQUEST_ID
from posthorn.storage.journal_deliveries import of_event, one_delivery
from posthorn.storage.journal_queries import events_with_payload, one_request
from posthorn.storage.journal_rows import (
    ATTEMPT,
    BARE_EVENT,
    BODY,
    DECISION,
    NO_BODY,
    NO_BYTES,
    REQUEST,
    RESPONSE_BODY,
    to_attempt,
    to_decision,
    to_event,
    to_request,
)
from posthorn.storage.questions import Filtered, Questions, by_id, since_id
from posthorn.storage.tables import attempt, decision, event, request

JournalRow = CapturedRequest | Event | Decision | Attempt

_TAILED: tuple[tuple[Table, list[ColumnElement[Any]], Callable[[Any], JournalRow]], ...] = (
    (request, [*REQUEST, NO_BODY], to_request),
    (event, [*BARE_EVENT], to_event),
    (decision, [*DECISION], to_decision),
    (attempt, [*ATTEMPT, NO_BYTES], to_attempt),
)


def thread(workspace: str, identifier: str) -> Questions[Thread | None]:
    """Ask for what belongs to the event behind an id. A rejected request is a thread of its own."""
    found = yield from _event_of(workspace, identifier)
    if found is None:
        lone = yield from one_request(workspace, identifier)
        return Thread(requests=[lone], event=None, decisions=[], deliveries=[], attempts=[]) if lone else None
    row = yield from by_id(events_with_payload().where(event.c.workspace == workspace), event, found)
    of_it = to_event(row) if row is not None else None
    requests = yield (
        select(*REQUEST, BODY)
        .where(request.c.workspace == workspace, came_with(found, of_it.request if of_it else None))
        .order_by(request.c.seq)
    )
    decisions = yield (
        select(*DECISION)
        .where(decision.c.event == found, since_id(decision, found), decision.c.workspace == workspace)
        .order_by(decision.c.seq)
    )
    deliveries = yield from of_event(workspace, found)
    attempts = yield (
        select(*ATTEMPT, RESPONSE_BODY)
        .where(attempt.c.event == found, since_id(attempt, found), attempt.c.workspace == workspace)
        .order_by(attempt.c.seq)
    )
    return Thread(
        requests=[to_request(row) for row in requests],
        event=of_it,
        decisions=[to_decision(row) for row in decisions],
        deliveries=deliveries,
        attempts=[to_attempt(row) for row in attempts],
    )


def came_with(event_id: str, origin: str | None) -> ColumnElement[bool]:
    """Say that a captured request became this event, or repeated the one that did."""
    # Spelled out, so that the index of the duplicates is used.
    repeats = and_(request.c.event == event_id, text("request.outcome = 'duplicate'"))
    return and_(
        or_(request.c.id == origin, repeats) if origin is not None else repeats,
        since_id(request, event_id),
    )


def _event_of(workspace: str, identifier: str) -> Questions[str | None]:
    prefix = identifier.partition("_")[0]
    if prefix == DELIVERY_ID:
        found = yield from one_delivery(workspace, identifier)
        return found.event if found is not None else None
    table = {REQUEST_ID: request, ATTEMPT_ID: attempt, DECISION_ID: decision}.get(prefix, event)
    column = event.c.id if table is event else table.c.event
    row = yield from by_id(select(column).where(table.c.workspace == workspace), table, identifier)
    return row[0] if row is not None else None


def tail(workspace: str, *, after: int | None, limit: int, before: int | None = None) -> Questions[TailPage]:
    """Ask for the rows of all journal tables behind a cursor, merged by seq; run it over one snapshot of them.

    `before` is a seq from which on rows are not final yet: neither they nor the cursor come so far.
    """
    last = 0 if after is None else after
    for table, _, _ in _TAILED:
        greatest = yield select(func.coalesce(func.max(table.c.seq), 0)).where(table.c.seq > last)
        last = max(last, greatest[0][0])
    if before is not None:
        last = min(last, before - 1)
    if after is None:
        return TailPage(rows=[], cursor=max(last, 0))
    new: list[tuple[int, JournalRow]] = []
    for table, columns, to_row in _TAILED:
        found = yield (
            select(*columns, table.c.seq)
            .where(table.c.seq > after, table.c.seq <= last, Filtered(table.c.workspace) == workspace)
            .order_by(table.c.seq)
            .limit(limit)
        )
        new += [(row[-1], to_row(row)) for row in found]
    new = sorted(new, key=lambda one: one[0])[:limit]
    cursor = new[-1][0] if len(new) == limit else max(after, last)
    return TailPage(rows=[row for _, row in new], cursor=cursor)
