"""The end of taken deliveries: settled in batches, queued by hand, cancelled."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec.structs import replace

from posthorn.engine.records import NewDelivery, Settlement, Trigger
from posthorn.errors import NotFound
from posthorn.ids import time_of
from posthorn.storage.people_rows import timer_row, to_rendered, told
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.statements import columns, statement, whole
from posthorn.storage.postgres.writing import MOST_JOURNAL_ROWS, HotWriter
from posthorn.storage.questions import EARLIEST_MS
from posthorn.storage.sequence import seq_at

_ATTEMPT = attrgetter(
    "id", "workspace", "application", "delivery", "event", "endpoint", "number", "trigger", "state", "started_ms",
    "next_ms", "method", "url", "request_headers", "response_status", "response_headers", "error", "detail", "dns_us",
    "connect_us", "tls_us", "wait_us", "total_us", "response_body",
)  # fmt: skip

Numbered: TypeAlias = tuple[int, Settlement]


async def settle(writer: HotWriter, settlements: Sequence[Settlement]) -> list[bool]:
    """Apply the settlements whose row is unchanged and whose epoch holds."""
    if not settlements:
        return []
    waves = _waves(settlements)

    async def work(connection: Connection, batch: str | None) -> Sequence[int]:
        refused: list[int] = []
        for wave in waves:
            told_now = _told(wave)
            name = whole("settle") if told_now else "settle"
            arguments = _arguments(wave) + (list(columns(tuple, told_now, 7)) if told_now else [])
            rows = await writer.run(connection, name, batch, *arguments)
            refused += rows[0]["refused"]
        return refused

    outcome = await writer.commit(work, is_one_statement=len(waves) == 1)
    applied = [True] * len(settlements)
    for number in outcome.refused:
        applied[number] = False
    return applied


def _waves(settlements: Sequence[Settlement]) -> list[list[Numbered]]:
    """Cut into statements: not too many rows in one, and each piece of work once, so that the first outcome counts."""
    waves: list[list[Numbered]] = [[]]
    seen: set[str] = set()
    for number, settlement in enumerate(settlements):
        if settlement.work.id in seen or len(waves[-1]) >= MOST_JOURNAL_ROWS:
            waves.append([])
            seen.clear()
        waves[-1].append((number, settlement))
        seen.add(settlement.work.id)
    return waves


def _arguments(wave: Sequence[Numbered]) -> list[Any]:
    attempts = [(n, s.attempt) for n, s in wave if s.attempt is not None]
    return [
        *columns(_wish, wave, 12),
        [n for n, _ in attempts],
        *columns(_ATTEMPT, [attempt for _, attempt in attempts], 24),
    ]


def _told(wave: Sequence[Numbered]) -> list[tuple[Any, ...]]:
    """Spell out what the deliveries that end for good tell."""
    ended = [(n, s.work.rendered.tells) for n, s in wave if s.next_due_ms is None and s.work.rendered is not None]
    return [(n, t.id, t.shard, t.profile, t.kind, t.about, t.data) for n, t in ended if t is not None]


def _wish(numbered: Numbered) -> tuple[Any, ...]:
    number, settlement = numbered
    work, is_tried = settlement.work, settlement.attempt is not None
    return (
        number,
        work.shard,
        work.endpoint,
        work.due_ms,
        work.id,
        settlement.epoch,
        settlement.next_due_ms,
        settlement.next_step,
        work.attempts + is_tried,
        Trigger.SCHEDULED if is_tried else work.trigger,
        work.event,
        settlement.cancelled,
    )


async def enqueue(writer: HotWriter, delivery: NewDelivery) -> None:
    """Queue a delivery by hand: anew when it is finished, right now when it is pending."""

    async def work(connection: Connection, _: object) -> Sequence[int]:
        if await connection.fetchval(statement("keep_event"), delivery.event, _earliest(delivery.event)) is None:
            raise NotFound(f"the event {delivery.event} is not kept any more, so there is nothing to deliver")
        pending = await connection.fetchrow(statement("dequeue"), delivery.id)
        if pending is None:
            attempts, step = await connection.fetchval(statement("attempts_made"), delivery.id), 0
        else:
            attempts, step = pending["attempts"], pending["step"]
        place = (delivery.shard, delivery.endpoint, delivery.due_ms, delivery.id, delivery.event)
        await connection.execute(statement("requeue"), *place, attempts, step)
        if delivery.rendered is not None:
            rendered = delivery.rendered
            row = (delivery.id, rendered.shown, rendered.sealed, told(rendered.tells))
            await connection.execute(statement("put_rendered"), *row)
        writer.count(4)
        return ()

    await writer.commit(work, is_one_statement=False)


def _earliest(event: str) -> int:
    """Return the `seq` before which an event was not committed."""
    at_ms = time_of(event)
    return seq_at(at_ms - EARLIEST_MS) if at_ms is not None else 0


async def cancel(writer: HotWriter, delivery: str, reason: str) -> bool:
    """Take a pending delivery off the queue."""

    async def work(connection: Connection, _: object) -> Sequence[int]:
        writer.count(3)
        row = await connection.fetchrow(statement("dequeue"), delivery)
        if row is None:
            return (0,)
        ended = (delivery, row["event"], row["endpoint"], reason, writer.stamps.now_ms())
        await connection.execute(statement("remember_cancelled"), *ended)
        for _, shown, sealed, tells in await connection.fetch(statement("rendered"), [delivery]):
            timer = to_rendered(shown, sealed, tells).tells
            if timer is not None:
                await connection.execute(statement("tell"), *timer_row(replace(timer, due_ms=ended[-1])))
        return ()

    return not (await writer.commit(work, is_one_statement=False)).refused
