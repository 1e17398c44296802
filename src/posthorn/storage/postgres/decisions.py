"""Settling decisions: what one event changes is committed together."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from posthorn.engine.records import Decided
from posthorn.storage.postgres.append import delivery_columns
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.statements import columns
from posthorn.storage.postgres.writing import MOST_JOURNAL_ROWS, HotWriter

_DECISION = attrgetter(
    "id", "workspace", "automation", "version", "event", "profile", "decided_ms", "outcome", "reason", "detail", "data",
    "delivery",
)  # fmt: skip

Numbered: TypeAlias = tuple[int, Decided]


async def settle_decisions(writer: HotWriter, decided: Sequence[Decided]) -> list[bool]:
    """Commit decisions, counters, firings and deliveries of the events that still wait under a valid epoch."""
    if not decided:
        return []
    waves = _waves(decided)

    async def work(connection: Connection, batch: str | None) -> Sequence[int]:
        refused: list[int] = []
        for wave in waves:
            rows = await writer.run(connection, "settle_decisions", batch, *_arguments(wave))
            refused += rows[0]["refused"]
        return refused

    outcome = await writer.commit(work, is_one_statement=len(waves) == 1)
    applied = [True] * len(decided)
    for number in outcome.refused:
        applied[number] = False
    return applied


def _waves(decided: Sequence[Decided]) -> list[list[Numbered]]:
    """Cut into statements: not too many rows in one, and each event once, so that its first outcome counts."""
    waves: list[list[Numbered]] = [[]]
    seen: set[str] = set()
    rows = 0
    for number, one in enumerate(decided):
        if one.work.id in seen or (waves[-1] and rows + len(one.decisions) > MOST_JOURNAL_ROWS):
            waves.append([])
            seen.clear()
            rows = 0
        waves[-1].append((number, one))
        seen.add(one.work.id)
        rows += len(one.decisions)
    return waves


def _arguments(wave: Sequence[Numbered]) -> list[Any]:
    decisions = [(n, decision) for n, one in wave for decision in one.decisions]
    return [
        *columns(lambda row: (row[0], row[1].work.shard, row[1].work.due_ms, row[1].work.id, row[1].epoch), wave, 5),
        [n for n, _ in decisions],
        *columns(_DECISION, [decision for _, decision in decisions], 12),
        *delivery_columns([(n, delivery) for n, one in wave for delivery in one.deliveries]),
        *columns(tuple, _firings(wave), 6),
        *columns(tuple, _counts(wave), 4),
    ]


def _firings(wave: Sequence[Numbered]) -> list[tuple[Any, ...]]:
    return [
        (n, key.automation, key.profile, key.key, firing.times, firing.last_ms)
        for n, one in wave
        for key, firing in one.firings
    ]


def _counts(wave: Sequence[Numbered]) -> list[tuple[Any, ...]]:
    return [(n, one.work.profile, one.work.event.type, one.work.event.occurred_ms) for n, one in wave if one.count]
