"""A delivery's state, pieced together: queued rows are pending, others end in their last attempt or were cancelled."""

import sqlite3
from typing import Any

from posthorn.engine.journal import DeliveryQuery, DeliveryRow, Page
from posthorn.engine.records import DeliveryState
from posthorn.errors import Invalid
from posthorn.ids import DELIVERY, EPOCH_MS, first_id, time_of
from posthorn.storage.sqlite.journal_pages import page_of

_LAST_ID_MS = EPOCH_MS + (2**32 - 1) * 1000  # ids count seconds in 32 bits, up to the year 2150

_PENDING = """
SELECT d.id, e.workspace, d.event, d.endpoint, e.application, 'pending' AS state, d.attempts, d.due_ms, NULL AS reason
FROM delivery AS d CROSS JOIN event AS e ON e.id = d.event"""

_ENDED = """
SELECT a.delivery AS id, a.workspace, a.event, a.endpoint, a.application, a.state, a.number, NULL, NULL
FROM attempt AS a WHERE a.state IN ('delivered', 'exhausted')
    AND NOT EXISTS (SELECT 1 FROM delivery AS q WHERE q.id = a.delivery)
    AND NOT EXISTS (SELECT 1 FROM cancelled AS c WHERE c.delivery = a.delivery)
    AND NOT EXISTS (SELECT 1 FROM attempt AS later WHERE later.delivery = a.delivery AND later.seq > a.seq)"""

_CANCELLED = """
SELECT c.delivery AS id, e.workspace, c.event, c.endpoint, e.application, 'cancelled' AS state,
    (SELECT coalesce(max(number), 0) FROM attempt AS a WHERE a.delivery = c.delivery), NULL, c.reason
FROM cancelled AS c CROSS JOIN event AS e ON e.id = c.event WHERE true"""


def delivery(connection: sqlite3.Connection, workspace: str, identifier: str) -> DeliveryRow | None:
    """Find one delivery by its id."""
    for part, condition in (
        (_PENDING + " WHERE true", "d.id"),
        (_CANCELLED, "c.delivery"),
        (_ENDED, "a.delivery"),
    ):
        row = connection.execute(f"{part} AND {condition} = ?", (identifier,)).fetchone()
        if row is not None:
            return _to_row(row) if row[1] == workspace else None
    return None


def of_event(connection: sqlite3.Connection, event: str) -> list[DeliveryRow]:
    """List an event's deliveries in id order."""
    rows: list[Any] = []
    for part, column in ((_PENDING + " WHERE true", "d.event"), (_CANCELLED, "c.event"), (_ENDED, "a.event")):
        rows += connection.execute(f"{part} AND {column} = ?", (event,))
    return sorted((_to_row(row) for row in rows), key=lambda row: row.id)


def deliveries(connection: sqlite3.Connection, query: DeliveryQuery) -> Page[DeliveryRow]:
    """Cut a page out of all deliveries, ordered by delivery id."""
    rows: list[DeliveryRow] = []
    upwards = query.ascending != query.backwards
    for state, part, prefix, key in (
        ("pending", _PENDING + " WHERE true", "d", "d.id"),
        ("cancelled", _CANCELLED, "c", "c.delivery"),
        ("ended", _ENDED, "a", "a.delivery"),
    ):
        if not _may_hold(state, query.state):
            continue
        conditions, parameters = _conditions(query, prefix, key, upwards=upwards)
        if query.state in (DeliveryState.DELIVERED, DeliveryState.EXHAUSTED):
            conditions += " AND a.state = ?"
            parameters.append(query.state.value)
        workspace = "a.workspace" if prefix == "a" else "e.workspace"
        sql = f"{part}{conditions} AND {workspace} = ? ORDER BY {key} {'ASC' if upwards else 'DESC'} LIMIT ?"
        found = connection.execute(sql, [*parameters, query.workspace, query.limit + 1])
        rows += [_to_row(row) for row in found]
    rows.sort(key=lambda row: row.id, reverse=not upwards)
    return page_of(rows, query)


def _may_hold(part: str, state: DeliveryState | None) -> bool:
    if state in (DeliveryState.DELIVERED, DeliveryState.EXHAUSTED):
        return part == "ended"
    return state is None or state.value == part


def _conditions(query: DeliveryQuery, prefix: str, key: str, *, upwards: bool) -> tuple[str, list[Any]]:
    conditions, parameters = "", list[Any]()
    for column, wanted in ((f"{prefix}.event", query.event), (f"{prefix}.endpoint", query.endpoint)):
        if wanted is not None:
            conditions += f" AND {column} = ?"
            parameters.append(wanted)
    if query.since_ms is not None:
        conditions += f" AND {key} >= ?"
        parameters.append(first_id(DELIVERY, min(query.since_ms, _LAST_ID_MS)))
    if query.before_ms is not None:
        conditions += f" AND {key} < ?"
        parameters.append(first_id(DELIVERY, min(query.before_ms, _LAST_ID_MS)))
    if query.after is not None:
        if time_of(query.after) is None:
            raise Invalid.at("query", "iterator", msg=f"{query.after!r} is not an iterator that a list answered")
        conditions += f" AND {key} {'>' if upwards else '<'} ?"
        parameters.append(query.after)
    return conditions, parameters


def _to_row(row: Any) -> DeliveryRow:
    return DeliveryRow(
        id=row[0],
        workspace=row[1],
        event=row[2],
        endpoint=row[3],
        application=row[4],
        state=DeliveryState(row[5]),
        attempts=row[6],
        next_ms=row[7],
        reason=row[8],
    )
