"""Settling decisions: what one event changes is committed together."""

from collections.abc import Sequence

import msgspec

from posthorn.engine.records import Decided, Decision
from posthorn.storage.sqlite.append import insert_deliveries
from posthorn.storage.sqlite.statements import chunks, for_list, for_rows
from posthorn.storage.sqlite.writer import Transaction


def settle_decisions(transaction: Transaction, decided: Sequence[Decided]) -> list[bool]:
    """Commit decisions, counters, firings and deliveries of the events that still wait under a valid epoch."""
    live = _live(transaction, decided)
    applied = [d for number, d in enumerate(decided) if number in live]
    for chunk in chunks(applied):
        transaction.execute(for_list("delete_decision_work", len(chunk)), [d.work.id for d in chunk])
    _insert_decisions(transaction, [decision for d in applied for decision in d.decisions])
    insert_deliveries(transaction, [delivery for d in applied for delivery in d.deliveries])
    _put_firings(transaction, applied)
    _add_counts(transaction, [d for d in applied if d.count])
    return [number in live for number in range(len(decided))]


def _live(transaction: Transaction, decided: Sequence[Decided]) -> set[int]:
    live: set[int] = set()
    rows = [(n, d.work.due_ms, d.work.id, d.work.shard, d.epoch) for n, d in enumerate(decided)]
    for chunk in chunks(rows):
        parameters = [field for row in chunk for field in row]
        found = transaction.execute(for_rows("live_decisions", 5, len(chunk)), parameters).fetchone()[0]
        live.update(msgspec.json.decode(found))
    first: dict[str, int] = {}
    for number in sorted(live):  # one piece of work may be settled only once, also within a batch
        first.setdefault(decided[number].work.id, number)
    return set(first.values())


def _insert_decisions(transaction: Transaction, decisions: Sequence[Decision]) -> None:
    seq = transaction.next_seq(len(decisions))
    for chunk in chunks(decisions):
        parameters: list[object] = []
        for d in chunk:
            parameters += (
                seq, d.id, d.workspace, d.automation, d.version, d.event, d.profile, d.decided_ms, d.outcome, d.reason,
                d.detail, d.data, d.delivery,
            )  # fmt: skip
            seq += 1
        transaction.execute(for_rows("insert_decisions", 13, len(chunk)), parameters)


def _put_firings(transaction: Transaction, decided: Sequence[Decided]) -> None:
    latest = {key: firing for d in decided for key, firing in d.firings}
    rows = [(key.automation, key.profile, key.key, firing.times, firing.last_ms) for key, firing in latest.items()]
    for chunk in chunks(rows):
        transaction.execute(for_rows("put_firings", 5, len(chunk)), [field for row in chunk for field in row])


def _add_counts(transaction: Transaction, decided: Sequence[Decided]) -> None:
    counts: dict[tuple[str, str], list[int]] = {}
    for d in decided:
        at_ms = d.work.event.occurred_ms
        known = counts.setdefault((d.work.profile, d.work.event.type), [0, at_ms, at_ms])
        known[0] += 1
        known[1] = min(known[1], at_ms)
        known[2] = max(known[2], at_ms)
    rows = [(*key, *values) for key, values in counts.items()]
    for chunk in chunks(rows):
        transaction.execute(for_rows("add_counts", 5, len(chunk)), [field for row in chunk for field in row])
