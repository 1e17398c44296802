"""The delivery queue: which lanes are ready, what is at their head, and how taken work ends or goes on."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from posthorn.engine.records import Attempt, NewDelivery, RenderedRequest, Settlement, Trigger
from posthorn.errors import NotFound
from posthorn.storage.people_rows import TIMER_COLUMNS, timer_row, to_rendered, told
from posthorn.storage.sqlite.statements import chunks, for_list, for_rows
from posthorn.storage.sqlite.writer import Transaction


def settle(transaction: Transaction, settlements: Sequence[Settlement]) -> list[bool]:
    """Apply the settlements whose row is unchanged and whose epoch holds."""
    live = _live(transaction, settlements)
    applied = [settlement for number, settlement in enumerate(settlements) if number in live]
    _insert_attempts(transaction, [s.attempt for s in applied if s.attempt is not None])
    _delete(transaction, applied)
    _queue_again(transaction, [s for s in applied if s.next_due_ms is not None])
    _remember_cancelled(transaction, [s for s in applied if s.cancelled is not None])
    _tell(transaction, [s.work.rendered for s in applied if s.next_due_ms is None and s.work.rendered is not None])
    return [number in live for number in range(len(settlements))]


def _live(transaction: Transaction, settlements: Sequence[Settlement]) -> set[int]:
    live: set[int] = set()
    rows = [(n, s.work.shard, s.work.endpoint, s.work.due_ms, s.work.id, s.epoch) for n, s in enumerate(settlements)]
    for chunk in chunks(rows):
        parameters = [field for row in chunk for field in row]
        found = transaction.execute(for_rows("live_deliveries", 6, len(chunk)), parameters).fetchone()[0]
        live.update(msgspec.json.decode(found))
    first: dict[str, int] = {}
    for number in sorted(live):  # one piece of work may be settled only once, also within a batch
        first.setdefault(settlements[number].work.id, number)
    return set(first.values())


def _insert_attempts(transaction: Transaction, attempts: Sequence[Attempt]) -> None:
    seq = transaction.next_seq(len(attempts))
    for chunk in chunks(attempts):
        parameters: list[object] = []
        for a in chunk:
            parameters += (
                seq, a.id, a.workspace, a.application, a.delivery, a.event, a.endpoint, a.number, a.trigger, a.state,
                a.started_ms, a.next_ms, a.method, a.url, a.request_headers, a.response_status, a.response_headers,
                a.error, a.detail, a.dns_us, a.connect_us, a.tls_us, a.wait_us, a.total_us, a.response_body,
            )  # fmt: skip
            seq += 1
        transaction.execute(for_rows("insert_attempts", 25, len(chunk)), parameters)


def _delete(transaction: Transaction, settlements: Sequence[Settlement]) -> None:
    for chunk in chunks(settlements):
        transaction.execute(for_list("delete_deliveries", len(chunk)), [s.work.id for s in chunk])


def _queue_again(transaction: Transaction, settlements: Sequence[Settlement]) -> None:
    for chunk in chunks(settlements):
        parameters: list[object] = []
        for s in chunk:
            attempts = s.work.attempts + (s.attempt is not None)
            trigger = s.work.trigger if s.attempt is None else Trigger.SCHEDULED
            parameters += (
                s.work.shard, s.work.endpoint, s.next_due_ms, s.work.id, s.work.event, attempts, s.next_step, trigger,
            )  # fmt: skip
        transaction.execute(for_rows("insert_deliveries", 8, len(chunk)), parameters)


def _remember_cancelled(transaction: Transaction, settlements: Sequence[Settlement]) -> None:
    now_ms = transaction.now_ms()
    for chunk in chunks(settlements):
        parameters: list[object] = []
        for s in chunk:
            parameters += (s.work.id, s.work.event, s.work.endpoint, s.cancelled, now_ms)
        transaction.execute(for_rows("insert_cancelled", 5, len(chunk)), parameters)


def _tell(transaction: Transaction, ended: Sequence[RenderedRequest]) -> None:
    now_ms = transaction.now_ms()
    rows = [timer_row(replace(each.tells, due_ms=now_ms)) for each in ended if each.tells is not None]
    transaction.put("tell_timers", TIMER_COLUMNS, rows)


def enqueue(transaction: Transaction, delivery: NewDelivery) -> None:
    """Queue a delivery by hand: anew when it is finished, right now when it is pending."""
    if transaction.execute("SELECT 1 FROM event WHERE id = ?", (delivery.event,)).fetchone() is None:
        raise NotFound(f"the event {delivery.event} is not kept any more, so there is nothing to deliver")
    pending = transaction.execute(
        "DELETE FROM delivery WHERE id = ? RETURNING attempts, step", (delivery.id,)
    ).fetchone()
    if pending is None:
        made = "SELECT coalesce(max(number), 0) FROM attempt WHERE delivery = ?"
        attempts, step = transaction.execute(made, (delivery.id,)).fetchone()[0], 0
    else:
        attempts, step = pending
    transaction.execute("DELETE FROM cancelled WHERE delivery = ?", (delivery.id,))
    row = (
        delivery.shard, delivery.endpoint, delivery.due_ms, delivery.id, delivery.event, attempts, step, Trigger.MANUAL,
    )  # fmt: skip
    transaction.execute(for_rows("insert_deliveries", 8, 1), row)
    if delivery.rendered is not None:
        transaction.execute(
            "INSERT OR REPLACE INTO rendered (delivery, shown, sealed, tells) VALUES (?, ?, ?, ?)",
            (delivery.id, delivery.rendered.shown, delivery.rendered.sealed, told(delivery.rendered.tells)),
        )


def cancel(transaction: Transaction, delivery: str, reason: str) -> bool:
    """Take a pending delivery off the queue."""
    row = transaction.execute("DELETE FROM delivery WHERE id = ? RETURNING event, endpoint", (delivery,)).fetchone()
    if row is None:
        return False
    event, endpoint = row
    transaction.execute(for_rows("insert_cancelled", 5, 1), (delivery, event, endpoint, reason, transaction.now_ms()))
    rendered = transaction.execute(for_list("rendered", 1), (delivery,)).fetchall()
    _tell(transaction, [to_rendered(shown, sealed, tells) for _, shown, sealed, tells in rendered])
    return True
