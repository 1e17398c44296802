"""Settling decisions: what one event or timer changes is committed together."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from posthorn.engine.records import Decided, DecisionWork
from posthorn.engine.runs import Timer
from posthorn.engine.shards import shard_of
from posthorn.storage.people_rows import profile_row, run_row, timer_row
from posthorn.storage.postgres.append import delivery_columns, event_columns
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.statements import columns, statement, whole
from posthorn.storage.postgres.writing import MOST_JOURNAL_ROWS, HotWriter
from posthorn.storage.waves import Numbered, changing_more, waves

_DECISION = attrgetter(
    "id", "workspace", "automation", "version", "event", "profile", "decided_ms", "outcome", "reason", "detail", "data",
    "delivery",
)  # fmt: skip
_STAYS = (None,) * 6


async def settle_decisions(writer: HotWriter, decided: Sequence[Decided]) -> list[bool]:
    """Commit what each event or timer changes, of those that still wait under a valid epoch."""
    if not decided:
        return []
    cut = waves(decided, most_rows=MOST_JOURNAL_ROWS)

    async def work(connection: Connection, batch: str | None) -> Sequence[int]:
        refused: list[int] = []
        for wave in cut:
            refused += await _settle_wave(writer, connection, batch, wave)
        return refused

    is_absorbing = any(one.absorbs is not None for one in decided)
    outcome = await writer.commit(work, is_one_statement=len(cut) == 1 and not is_absorbing)
    applied = [True] * len(decided)
    for number in outcome.refused:
        applied[number] = False
    return applied


async def _settle_wave(
    writer: HotWriter, connection: Connection, batch: str | None, wave: Sequence[Numbered]
) -> list[int]:
    name = "settle_decisions"
    arguments = _arguments(wave)
    if changing_more([one for _, one in wave]):
        name = whole(name)
        arguments += _more_arguments(wave)
    rows = await writer.run(connection, name, batch, *arguments)
    refused: list[int] = rows[0]["refused"]
    for number, one in wave[:1]:  # whoever absorbs is alone in its wave
        if one.absorbs not in {None, one.work.profile} and number not in refused:
            for adding in ("absorb_firings", "absorb_counts"):
                await connection.execute(statement(adding), one.work.profile, one.absorbs)
            writer.count(2)
    return refused


def _arguments(wave: Sequence[Numbered]) -> list[Any]:
    events = [each for each in wave if isinstance(each[1].work, DecisionWork) and each[1].moved_to is None]
    decisions = [(n, decision) for n, one in wave for decision in one.decisions if one.moved_to is None]
    deliveries = [(n, delivery) for n, one in wave for delivery in one.deliveries if one.moved_to is None]
    return [
        *columns(lambda row: (row[0], row[1].work.shard, row[1].work.due_ms, row[1].work.id, row[1].epoch), events, 5),
        [n for n, _ in decisions],
        *columns(_DECISION, [decision for _, decision in decisions], 12),
        *delivery_columns(deliveries),
        *columns(tuple, _firings(wave), 6),
        *columns(tuple, _counts(wave), 4),
        sorted({one.work.shard for _, one in wave}),
    ]


def _firings(wave: Sequence[Numbered]) -> list[tuple[Any, ...]]:
    return [
        (n, key.automation, key.profile, key.key, firing.times, firing.last_ms)
        for n, one in wave
        if one.moved_to is None
        for key, firing in one.firings
    ]


def _counts(wave: Sequence[Numbered]) -> list[tuple[Any, ...]]:
    return [
        (n, one.work.profile, one.work.event.type, one.work.event.occurred_ms)
        for n, one in wave
        if one.count and one.moved_to is None and isinstance(one.work, DecisionWork)
    ]


def _more_arguments(wave: Sequence[Numbered]) -> list[Any]:
    others = [each for each in wave if isinstance(each[1].work, Timer) or each[1].moved_to is not None]
    kept = [each for each in wave if each[1].moved_to is None]
    events = [(n, new) for n, one in kept for new in one.events]
    waiting = [
        (n, shard_of(new.profile), new.event.received_ms, new.event.id, new.profile)
        for n, new in events
        if new.profile is not None
    ]
    profiles = [(n, *profile_row(profile)) for n, one in kept for profile in one.profiles]
    members = [
        (n, each.segment, each.profile, each.is_in, each.since_ms) for n, one in kept for each in one.memberships
    ]
    runs = [(n, *run_row(run)) for n, one in kept for run in one.runs]
    return [
        *columns(_other, others, 12),
        *event_columns([(n, new.event) for n, new in events]),
        *columns(tuple, waiting, 5),
        *columns(tuple, profiles, 8),
        *columns(tuple, members, 5),
        *columns(tuple, runs, 12),
        *columns(tuple, _timers(kept), 8),
    ]


def _other(numbered: Numbered) -> tuple[Any, ...]:
    """Spell out a timer, or an event that moves: where it is, and where it will be, if anywhere."""
    number, one = numbered
    work = one.work
    own = next((timer for timer in reversed(one.timers) if timer.id == work.id), None)
    there: tuple[Any, ...] = _STAYS
    if one.moved_to is not None:
        there = (shard_of(one.moved_to), work.due_ms, one.moved_to, None, None, None)
    elif own is not None and isinstance(work, Timer):
        there = (own.shard, own.due_ms, own.profile, own.kind, own.about, own.data)
    return number, isinstance(work, Timer), work.shard, work.due_ms, work.id, one.epoch, *there


def _timers(kept: Sequence[Numbered]) -> list[tuple[Any, ...]]:
    """Spell out the timers that outcomes take off or queue, without their own: those move in their place."""
    rows: list[tuple[Any, ...]] = []
    for n, one in kept:
        own = one.work.id if isinstance(one.work, Timer) else None
        rows += [(n, 0, identifier, 0, "", None, None, None) for identifier in one.unwanted if identifier != own]
        rows += [(n, *timer_row(timer)) for timer in one.timers if timer.id != own]
    return rows
