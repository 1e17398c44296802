"""A delivery's state, pieced together: queued rows are pending, others end in their last attempt or were cancelled.

Queued and cancelled rows do not name their workspace. Their event tells it, and when that is gone their automation.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, literal, or_, select

from posthorn.engine.journal import DeliveryQuery, DeliveryRow, Page
from posthorn.engine.lanes import lane_shard, owner_of
from posthorn.engine.records import DeliveryState
from posthorn.engine.resources import Kind
from posthorn.ids import DELIVERY, EPOCH_MS, first_id
from posthorn.storage.journal_pages import instant_of, is_upwards, page_of
from posthorn.storage.journal_queries import events_of
from posthorn.storage.questions import (
    EARLIEST_MS,
    AnySelect,
    Position,
    Questions,
    between,
    by_id,
    has,
    lacks,
    since_id,
)
from posthorn.storage.tables import attempt, cancelled, delivery, event, resources

_LAST_ID_MS = EPOCH_MS + (2**32 - 1) * 1000  # ids count seconds in 32 bits, up to the year 2150
_LAST_SEQ_MS = 2**43 - 1

_automation = resources[Kind.AUTOMATION]
_ENDED = (DeliveryState.DELIVERED, DeliveryState.EXHAUSTED)
_QUEUED = [delivery.c.id, delivery.c.event, delivery.c.endpoint, delivery.c.attempts, delivery.c.due_ms]
_STOPPED = [cancelled.c.delivery, cancelled.c.event, cancelled.c.endpoint, cancelled.c.reason]
_TRIED = [
    attempt.c.delivery, attempt.c.event, attempt.c.endpoint, attempt.c.workspace, attempt.c.application,
    attempt.c.state, attempt.c.number,
]  # fmt: skip


def one_delivery(workspace: str, identifier: str) -> Questions[DeliveryRow | None]:
    """Ask for one delivery as it stands. Each place is looked at after those that it may have come from."""
    queued = yield select(*_QUEUED).where(delivery.c.id == identifier)
    if queued:
        application = yield from _application_in(workspace, queued[0][1], [queued[0][2]])
        return _pending(queued[0], workspace, *application) if application else None
    stopped = yield select(*_STOPPED).where(cancelled.c.delivery == identifier)
    tried = yield (
        select(*_TRIED).where(attempt.c.delivery == identifier, since_id(attempt, identifier)).order_by(attempt.c.seq)
    )
    if stopped:
        application = yield from _application_in(workspace, stopped[0][1], [stopped[0][2]])
        return _cancelled(stopped[0], workspace, *application, tried[-1][6] if tried else 0) if application else None
    if not tried or tried[-1][3] != workspace or tried[-1][5] not in _ENDED:
        return None
    return _ended(tried[-1])


def deliveries(query: DeliveryQuery) -> Questions[Page[DeliveryRow]]:
    """Ask for a page of all deliveries, ordered by delivery id. Raises Invalid for a wrong iterator."""
    after = _place_of(query)
    if query.event is not None:
        of_it = yield from of_event(query.workspace, query.event)
        rows = [row for row in of_it if _is_wanted(row, query, after)]
    else:
        rows = []
        for state, piece in ((DeliveryState.PENDING, _all_pending), (DeliveryState.CANCELLED, _all_cancelled)):
            if query.state in (None, state):
                rows += yield from piece(query, after)
        if query.state is None or query.state in _ENDED:
            ended = yield _all_ended(query, after)
            rows += [_ended(row) for row in ended]
    # A delivery that moved on between two questions counts where it was seen last.
    places = {row.id: row for row in rows}
    ordered = sorted(places.values(), key=lambda row: row.id, reverse=not is_upwards(query))
    return page_of(ordered, query)


def of_event(workspace: str, identifier: str) -> Questions[list[DeliveryRow]]:
    """Ask for an event's deliveries, in id order."""
    queued = yield select(*_QUEUED).where(delivery.c.event == identifier)
    stopped = yield select(*_STOPPED).where(cancelled.c.event == identifier)
    application = yield from _application_in(workspace, identifier, [row[2] for row in (*queued, *stopped)])
    tried = yield (
        select(*_TRIED)
        .where(attempt.c.event == identifier, since_id(attempt, identifier), attempt.c.workspace == workspace)
        .order_by(attempt.c.seq)
    )
    last = {row[0]: row for row in tried}
    rows = [_ended(row) for row in last.values() if row[5] in _ENDED]
    others = {row[0] for row in (*queued, *stopped)}
    rows = [row for row in rows if row.id not in others]
    if application:
        rows += [_pending(row, workspace, *application) for row in queued]
        waiting = {row[0] for row in queued}
        counts = {identifier: row[6] for identifier, row in last.items()}
        rows += [
            _cancelled(row, workspace, *application, counts.get(row[0], 0)) for row in stopped if row[0] not in waiting
        ]
    return sorted(rows, key=lambda row: row.id)


def _application_in(workspace: str, identifier: str, lanes: Collection[str]) -> Questions[tuple[str | None] | None]:
    """Ask for the application of an event, in a tuple of its own; None when its deliveries are of another workspace.

    When the event is gone, the automation whose lanes they are in tells the workspace, and there is no application.
    """
    statement = select(event.c.application).where(event.c.workspace == workspace)
    row = yield from by_id(statement, event, identifier)
    if row is not None:
        return (row[0],)
    return (None,) if (yield from _automations_in(workspace, lanes)) else None


def _automations_in(workspace: str, lanes: Collection[str]) -> Questions[frozenset[str]]:
    """Ask which of the automations that lanes belong to are of a workspace."""
    if not lanes:
        return frozenset()
    named = {owner_of(lane) for lane in lanes}
    found = yield (
        select(_automation.c.id).where(_automation.c.workspace == workspace, _automation.c.id.in_(sorted(named)))
    )
    return frozenset(row[0] for row in found)


def _all_pending(query: DeliveryQuery, after: str | None) -> Questions[list[DeliveryRow]]:
    statement = _cut(select(*_QUEUED), delivery.c.id, query, after)
    if query.endpoint is None:
        statement = statement.where(_of_workspace(delivery.c.event, delivery.c.endpoint, query))
    else:
        # All are of the endpoint's own workspace. Whether that is the asked one is seen by the events of one page:
        # a lane is sorted whole, and looking up the event of each would take a second for every 50,000.
        shard = lane_shard(query.endpoint)
        statement = statement.where(delivery.c.shard == shard, delivery.c.endpoint == query.endpoint)
    found = yield statement
    return (yield from _with_application(found, query, _pending))


def _all_cancelled(query: DeliveryQuery, after: str | None) -> Questions[list[DeliveryRow]]:
    attempts = select(func.coalesce(func.max(attempt.c.number), 0)).where(attempt.c.delivery == cancelled.c.delivery)
    statement = select(*_STOPPED, attempts.scalar_subquery()).where(
        _of_workspace(cancelled.c.event, cancelled.c.endpoint, query)
    )
    statement = _cut(statement, cancelled.c.delivery, query, after)
    if query.endpoint is not None:
        statement = statement.where(cancelled.c.endpoint == query.endpoint)
    found = yield statement

    def to_row(row: Any, workspace: str, application: str | None) -> DeliveryRow:
        return _cancelled(row, workspace, application, row[4])

    return (yield from _with_application(found, query, to_row))


def _all_ended(query: DeliveryQuery, after: str | None) -> AnySelect:
    later = attempt.alias("later")
    statement = (
        select(*_TRIED)
        .where(attempt.c.workspace == query.workspace)
        .where(attempt.c.state == query.state if query.state is not None else _is_ended())
        .where(
            lacks(select(delivery.c.id).where(delivery.c.id == attempt.c.delivery)),
            lacks(select(cancelled.c.delivery).where(cancelled.c.delivery == attempt.c.delivery)),
            lacks(select(later.c.seq).where(later.c.delivery == attempt.c.delivery, later.c.seq > attempt.c.seq)),
        )
    )
    if query.endpoint is not None:
        statement = statement.where(attempt.c.endpoint == query.endpoint)
    floors = [query.since_ms] if query.since_ms is not None else []
    if after is not None and is_upwards(query):
        floors.append(instant_of(after))
    if floors:
        # An attempt is never older than its delivery.
        statement = statement.where(between(attempt.c.seq, max(floors) - EARLIEST_MS, _LAST_SEQ_MS))
    return _cut(statement, attempt.c.delivery, query, after)


def _is_ended() -> ColumnElement[bool]:
    return or_(*(attempt.c.state == state for state in _ENDED))


def _of_workspace(its_event: ColumnElement[str], lane: ColumnElement[str], query: DeliveryQuery) -> ColumnElement[bool]:
    """Say that a delivery's event is of the workspace, or the automation when the event is gone."""
    owner = func.substr(lane, 1, Position(lane + "/", literal("/")) - 1)
    return or_(
        has(select(event.c.id).where(event.c.id == its_event, event.c.workspace == query.workspace)),
        has(select(_automation.c.id).where(_automation.c.id == owner, _automation.c.workspace == query.workspace)),
    )


def _cut(statement: AnySelect, key: ColumnElement[str], query: DeliveryQuery, after: str | None) -> AnySelect:
    upwards = is_upwards(query)
    if query.since_ms is not None:
        statement = statement.where(key >= first_id(DELIVERY, min(query.since_ms, _LAST_ID_MS)))
    if query.before_ms is not None:
        statement = statement.where(key < first_id(DELIVERY, min(query.before_ms, _LAST_ID_MS)))
    if after is not None:
        statement = statement.where(key > after if upwards else key < after)
    return statement.order_by(key.asc() if upwards else key.desc()).limit(query.limit + 1)


def _is_wanted(row: DeliveryRow, query: DeliveryQuery, after: str | None) -> bool:
    since = first_id(DELIVERY, min(query.since_ms, _LAST_ID_MS)) if query.since_ms is not None else ""
    before = first_id(DELIVERY, min(query.before_ms, _LAST_ID_MS)) if query.before_ms is not None else None
    return (
        query.endpoint in (None, row.endpoint)
        and query.state in (None, row.state)
        and row.id >= since
        and (before is None or row.id < before)
        and (after is None or (row.id > after if is_upwards(query) else row.id < after))
    )


def _place_of(query: DeliveryQuery) -> str | None:
    """Return the delivery id to go on from: another kind of id stands for the instant in it."""
    if query.after is None:
        return None
    at_ms = instant_of(query.after)
    is_own = query.after.rpartition("_")[0] == DELIVERY
    return query.after if is_own else first_id(DELIVERY, at_ms)


def _with_application(
    found: Sequence[Any], query: DeliveryQuery, to_row: Callable[[Any, str, str | None], DeliveryRow]
) -> Questions[list[DeliveryRow]]:
    events = yield from events_of(query.workspace, [row[1] for row in found], with_payload=False)
    automations = yield from _automations_in(query.workspace, [row[2] for row in found if row[1] not in events])
    return [
        to_row(row, query.workspace, events[row[1]].application if row[1] in events else None)
        for row in found
        if row[1] in events or owner_of(row[2]) in automations
    ]


def _pending(row: Any, workspace: str, application: str | None) -> DeliveryRow:
    return DeliveryRow(
        id=row[0],
        workspace=workspace,
        event=row[1],
        endpoint=row[2],
        application=application,
        state=DeliveryState.PENDING,
        attempts=row[3],
        next_ms=row[4],
    )


def _cancelled(row: Any, workspace: str, application: str | None, attempts: int) -> DeliveryRow:
    return DeliveryRow(
        id=row[0],
        workspace=workspace,
        event=row[1],
        endpoint=row[2],
        application=application,
        state=DeliveryState.CANCELLED,
        attempts=attempts,
        next_ms=None,
        reason=row[3],
    )


def _ended(row: Any) -> DeliveryRow:
    return DeliveryRow(
        id=row[0],
        workspace=row[3],
        event=row[1],
        endpoint=row[2],
        application=row[4],
        state=DeliveryState(row[5]),
        attempts=row[6],
        next_ms=None,
    )
