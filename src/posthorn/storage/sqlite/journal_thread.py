"""The thread from a request to its attempts, the live tail, and erasing payloads."""

import sqlite3
from typing import Any

from sqlalchemy import or_, select, text

from posthorn.engine.journal import TailPage, Thread
from posthorn.engine.records import Attempt, CapturedRequest, Decision, Event
from posthorn.ids import ATTEMPT as ATTEMPT_ID
from posthorn.ids import DECISION as DECISION_ID
from posthorn.ids import DELIVERY as DELIVERY_ID
from posthorn.ids import REQUEST as REQUEST_ID
from posthorn.storage.sqlite import journal_deliveries
from posthorn.storage.sqlite.database import run
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
from posthorn.storage.sqlite.writer import Transaction
from posthorn.storage.tables import attempt, decision, event, request

_TAILED = (
    (request, [*REQUEST, NO_BODY], to_request),
    (event, [*EVENT, NO_BODY], lambda row: to_event((*row[:13], None))),
    (decision, DECISION, to_decision),
    (attempt, [*ATTEMPT, NO_BODY], to_attempt),
)


def thread(connection: sqlite3.Connection, workspace: str, identifier: str) -> Thread | None:
    """Gather what belongs to the event behind an id. A rejected request is a thread of its own."""
    found = _event_of(connection, workspace, identifier)
    if found is None:
        return _lone_request(connection, workspace, identifier)
    columns = select(*EVENT, PAYLOAD).select_from(event.outerjoin(request, request.c.id == event.c.request))
    rows = run(connection, columns.where(event.c.id == found, event.c.workspace == workspace)).fetchall()
    attempts = select(*ATTEMPT, RESPONSE_BODY).where(attempt.c.event == found, attempt.c.workspace == workspace)
    decisions = select(*DECISION).where(decision.c.event == found, decision.c.workspace == workspace)
    origin = to_event(rows[0]).request if rows else None
    requests = select(*REQUEST, BODY).where(
        or_(request.c.id == origin, (request.c.event == found) & text("request.outcome = 'duplicate'")),
        request.c.workspace == workspace,
    )
    return Thread(
        requests=[to_request(row) for row in run(connection, requests.order_by(request.c.seq))],
        event=to_event(rows[0]) if rows else None,
        decisions=[to_decision(row) for row in run(connection, decisions.order_by(decision.c.seq))],
        deliveries=[d for d in journal_deliveries.of_event(connection, found) if d.workspace == workspace],
        attempts=[to_attempt(row) for row in run(connection, attempts.order_by(attempt.c.seq))],
    )


def _event_of(connection: sqlite3.Connection, workspace: str, identifier: str) -> str | None:
    prefix = identifier.partition("_")[0]
    if prefix == DELIVERY_ID:
        row = journal_deliveries.delivery(connection, workspace, identifier)
        return row.event if row is not None else None
    table = {REQUEST_ID: request, ATTEMPT_ID: attempt, DECISION_ID: decision}.get(prefix)
    if table is None:
        query = select(event.c.id).where(event.c.id == identifier, event.c.workspace == workspace)
    else:
        query = select(table.c.event).where(table.c.id == identifier, table.c.workspace == workspace)
    row = run(connection, query).fetchone()
    return row[0] if row is not None else None


def _lone_request(connection: sqlite3.Connection, workspace: str, identifier: str) -> Thread | None:
    query = select(*REQUEST, BODY).where(request.c.id == identifier, request.c.workspace == workspace)
    row = run(connection, query).fetchone()
    if row is None:
        return None
    return Thread(requests=[to_request(row)], event=None, decisions=[], deliveries=[], attempts=[])


def tail(connection: sqlite3.Connection, workspace: str, *, after: int | None, limit: int) -> TailPage:
    """Merge the journal tables by seq."""
    connection.execute("BEGIN")  # one snapshot, so that no table is read later than another
    try:
        if after is None:
            return TailPage(rows=[], cursor=_last_seq(connection))
        rows: list[tuple[int, CapturedRequest | Event | Decision | Attempt]] = []
        for table, columns, to_row in _TAILED:
            query = (
                select(*columns, table.c.seq)
                .where(table.c.seq > after, table.c.workspace == workspace)
                .order_by(table.c.seq)
                .limit(limit)
            )
            found: list[Any] = run(connection, query).fetchall()
            rows += [(row[-1], to_row(row)) for row in found]
        rows = sorted(rows, key=lambda row: row[0])[:limit]
        cursor = rows[-1][0] if len(rows) == limit else max(after, _last_seq(connection))
        return TailPage(rows=[row for _, row in rows], cursor=cursor)
    finally:
        connection.execute("COMMIT")


def _last_seq(connection: sqlite3.Connection) -> int:
    return int(
        max(
            connection.execute(f"SELECT coalesce(max(seq), 0) FROM {table.name}").fetchone()[0]  # noqa: S608 - our own names
            for table, _, _ in _TAILED
        )
    )


def forget_payload(transaction: Transaction, workspace: str, event_id: str) -> bool:
    """Erase the bytes of an event wherever they are stored."""
    row = transaction.execute(
        "UPDATE event SET payload = x'' WHERE id = ? AND workspace = ? RETURNING request",
        (event_id, workspace),
    ).fetchone()
    if row is None:
        return False
    transaction.execute("UPDATE request SET body = x'' WHERE id = ? OR event = ?", (row[0], event_id))
    return True


def forget_response(transaction: Transaction, workspace: str, attempt_id: str) -> bool:
    """Erase what an attempt was answered."""
    return (
        transaction.execute(
            "UPDATE attempt SET response_body = NULL WHERE id = ? AND workspace = ?", (attempt_id, workspace)
        ).rowcount
        > 0
    )
