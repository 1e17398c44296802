"""The journal over SQLite. Long reads run in reader threads."""

import sqlite3
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from posthorn.engine.journal import (
    AttemptQuery,
    AttemptRow,
    DecisionQuery,
    DeliveryQuery,
    DeliveryRow,
    EventQuery,
    Page,
    RequestQuery,
    TailPage,
    Thread,
)
from posthorn.engine.records import CapturedRequest, Decision, DeliveryState, Event
from posthorn.storage.sqlite import journal_deliveries, journal_thread
from posthorn.storage.sqlite.database import Database, run
from posthorn.storage.sqlite.journal_pages import read_page
from posthorn.storage.sqlite.journal_rows import (
    ATTEMPT,
    BODY,
    DECISION,
    EVENT,
    NO_BODY,
    PAYLOAD,
    REQUEST,
    RESPONSE_BODY,
    to_attempt,
    to_decision,
    to_event,
    to_request,
)
from posthorn.storage.tables import attempt, decision, event, request


class SqliteJournal:
    """Implements the Journal port."""

    _database: Database

    async def request(self, workspace: str, identifier: str) -> CapturedRequest | None:
        """One captured request, whole."""
        query = select(*REQUEST, BODY).where(request.c.id == identifier, request.c.workspace == workspace)
        row = await self._one(query)
        return to_request(row) if row is not None else None

    async def requests(self, query: RequestQuery) -> Page[CapturedRequest]:
        """Captured requests without their bodies."""
        statement = select(*REQUEST, NO_BODY).where(request.c.workspace == query.workspace)
        if query.source is not None:
            statement = statement.where(request.c.source == query.source)
        if query.outcome is not None:
            statement = statement.where(request.c.outcome == query.outcome)
        return await self._database.read(
            lambda connection: read_page(connection, statement, request, request.c.received_ms, query, to_request)
        )

    async def event(self, workspace: str, identifier: str, *, application: str | None = None) -> Event | None:
        """One event with its payload, by id, or by uid within its application."""
        place = event.c.application.is_(None) if application is None else event.c.application == application
        statement = (
            _events_with_payload()
            .where(event.c.workspace == workspace)
            .where(or_(event.c.id == identifier, and_(event.c.uid == identifier, place)))
            .order_by((event.c.id == identifier).desc(), event.c.seq.desc())
            .limit(1)
        )
        if application is not None:
            statement = statement.where(place)
        row = await self._one(statement)
        return to_event(row) if row is not None else None

    async def events(self, query: EventQuery) -> Page[Event]:
        """Events; payloads only when the query asks for them."""
        statement = _events_with_payload() if query.with_payload else select(*EVENT, NO_BODY)
        statement = statement.where(event.c.workspace == query.workspace)
        if query.types:
            statement = statement.where(event.c.type.in_(query.types))
        for column, wanted in (
            (event.c.application, query.application),
            (event.c.source, query.source),
            (event.c.user, query.user),
        ):
            if wanted is not None:
                statement = statement.where(column == wanted)
        if query.channel is not None:
            statement = statement.where(_has_channel(query.channel))
        with_payload = query.with_payload

        def to_row(row: Any) -> Event:
            return to_event(row if with_payload else (*row[:13], None))

        return await self._database.read(
            lambda connection: read_page(connection, statement, event, event.c.received_ms, query, to_row)
        )

    async def delivery(self, workspace: str, identifier: str) -> DeliveryRow | None:
        """One delivery with its present state."""
        return await self._database.read(
            lambda connection: journal_deliveries.delivery(connection, workspace, identifier)
        )

    async def deliveries(self, query: DeliveryQuery) -> Page[DeliveryRow]:
        """Deliveries by event, endpoint or state."""
        return await self._database.read(lambda connection: journal_deliveries.deliveries(connection, query))

    async def attempt(self, workspace: str, identifier: str) -> AttemptRow | None:
        """One attempt, whole, with its event."""
        statement = select(*ATTEMPT, RESPONSE_BODY).where(attempt.c.id == identifier, attempt.c.workspace == workspace)
        row = await self._one(statement)
        if row is None:
            return None
        found = to_attempt(row)
        return AttemptRow(attempt=found, event=await self.event(workspace, found.event))

    async def attempts(self, query: AttemptQuery) -> Page[AttemptRow]:
        """Attempts by event, endpoint, delivery, status."""
        statement = _attempts(query)
        width = len(ATTEMPT) + 1

        def to_row(row: Any) -> AttemptRow:
            found = to_event(row[width:]) if query.with_event and row[width] is not None else None
            return AttemptRow(attempt=to_attempt(row), event=found)

        return await self._database.read(
            lambda connection: read_page(connection, statement, attempt, attempt.c.started_ms, query, to_row)
        )

    async def decisions(self, query: DecisionQuery) -> Page[Decision]:
        """Decisions by event, automation or outcome."""
        statement = select(*DECISION).where(decision.c.workspace == query.workspace)
        for column, wanted in (
            (decision.c.event, query.event),
            (decision.c.automation, query.automation),
            (decision.c.profile, query.profile),
            (decision.c.outcome, query.outcome),
        ):
            if wanted is not None:
                statement = statement.where(column == wanted)
        return await self._database.read(
            lambda connection: read_page(connection, statement, decision, decision.c.decided_ms, query, to_decision)
        )

    async def thread(self, workspace: str, identifier: str) -> Thread | None:
        """Everything that hangs together with one id."""
        return await self._database.read(lambda connection: journal_thread.thread(connection, workspace, identifier))

    async def tail(self, workspace: str, *, after: int | None, limit: int) -> TailPage:
        """What was committed after a cursor, in commit order."""
        return await self._database.read(
            lambda connection: journal_thread.tail(connection, workspace, after=after, limit=limit)
        )

    async def forget_payload(self, workspace: str, event: str) -> bool:
        """Erase an event's payload, and the body of the request that it came with."""
        return await self._database.write(
            lambda transaction: journal_thread.forget_payload(transaction, workspace, event)
        )

    async def forget_response(self, workspace: str, attempt: str) -> bool:
        """Erase an attempt's response body."""
        return await self._database.write(
            lambda transaction: journal_thread.forget_response(transaction, workspace, attempt)
        )

    async def _one(self, statement: Select[Any]) -> Any:
        def read(connection: sqlite3.Connection) -> Any:
            return run(connection, statement).fetchone()

        return await self._database.read(read)


def _events_with_payload() -> Select[Any]:
    body_elsewhere = and_(request.c.id == event.c.request, event.c.payload.is_(None))
    return select(*EVENT, PAYLOAD).select_from(event.outerjoin(request, body_elsewhere))


def _has_channel(channel: str) -> Any:
    return func.instr("," + event.c.channels + ",", f",{channel},") > 0


def _attempts(query: AttemptQuery) -> Select[Any]:
    columns = [*ATTEMPT, RESPONSE_BODY if query.with_content else NO_BODY]
    statement = select(*columns).where(attempt.c.workspace == query.workspace)
    if query.with_event:
        statement = statement.add_columns(*EVENT, PAYLOAD)
    if query.with_event or query.types or query.channel is not None:
        source = attempt.outerjoin(event, event.c.id == attempt.c.event)
        if query.with_event:
            source = source.outerjoin(request, and_(request.c.id == event.c.request, event.c.payload.is_(None)))
        statement = statement.select_from(source)
    for column, wanted in (
        (attempt.c.event, query.event),
        (attempt.c.endpoint, query.endpoint),
        (attempt.c.delivery, query.delivery),
        (attempt.c.application, query.application),
        (attempt.c.state, query.state),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.succeeded is not None:
        delivered = attempt.c.state == DeliveryState.DELIVERED
        statement = statement.where(delivered if query.succeeded else ~delivered)
    if query.status_class is not None:
        status_class = func.coalesce(attempt.c.response_status, 0) / 100
        statement = statement.where(status_class.op("|")(0) == query.status_class)
    if query.types:
        statement = statement.where(event.c.type.in_(query.types))
    if query.channel is not None:
        statement = statement.where(_has_channel(query.channel))
    return statement
