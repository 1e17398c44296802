"""Settling decisions: what one event or timer changes is committed together."""

from collections.abc import Iterable, Sequence

import msgspec

from posthorn.engine.people import Membership
from posthorn.engine.records import Decided, Decision, DecisionWork
from posthorn.engine.runs import Timer
from posthorn.engine.shards import shard_of
from posthorn.storage.people_rows import (
    PROFILE_COLUMNS,
    RUN_COLUMNS,
    TIMER_COLUMNS,
    latest_profiles,
    latest_runs,
    latest_timers,
    profile_row,
    run_row,
    timer_row,
)
from posthorn.storage.sqlite.append import insert_decision_work, insert_deliveries, insert_events
from posthorn.storage.sqlite.statements import chunks, for_list, for_rows, statement
from posthorn.storage.sqlite.writer import Transaction
from posthorn.storage.waves import Numbered, changing_more, waves

_MOST_ROWS = 1_000_000  # No statement here has all rows of a wave.


def settle_decisions(transaction: Transaction, decided: Sequence[Decided]) -> list[bool]:
    """Commit what each event or timer changes, of those that still wait under a valid epoch."""
    applied: set[int] = set()
    for wave in waves(decided, most_rows=_MOST_ROWS):
        applied |= _settle_wave(transaction, wave)
    return [number in applied for number in range(len(decided))]


def _settle_wave(transaction: Transaction, wave: Sequence[Numbered]) -> set[int]:
    if changing_more([one for _, one in wave]):
        return _settle_more(transaction, wave)
    live = _live(transaction, "live_decisions", wave)
    applied = [one for number, one in wave if number in live]
    _delete_events(transaction, applied)
    _put_decisions(transaction, applied)
    return live


def _settle_more(transaction: Transaction, wave: Sequence[Numbered]) -> set[int]:
    """Settle outcomes of which some are of timers, or change people, runs and timers."""
    events = [each for each in wave if isinstance(each[1].work, DecisionWork)]
    timers = [each for each in wave if isinstance(each[1].work, Timer)]
    live = _live(transaction, "live_decisions", events) | _live(transaction, "live_timers", timers)
    applied = [one for number, one in wave if number in live and one.moved_to is None]
    _move(transaction, [one for number, one in wave if number in live and one.moved_to is not None])
    _delete_events(transaction, [one for one in applied if isinstance(one.work, DecisionWork)])
    _delete_timers(transaction, [one.work.id for one in applied if isinstance(one.work, Timer)])
    insert_events(transaction, [new.event for one in applied for new in one.events])
    _put_decisions(transaction, applied)
    _put_people(transaction, applied)
    return live


def _put_decisions(transaction: Transaction, applied: Sequence[Decided]) -> None:
    _insert_decisions(transaction, [decision for one in applied for decision in one.decisions])
    insert_deliveries(transaction, [delivery for one in applied for delivery in one.deliveries])
    _put_firings(transaction, applied)
    _add_counts(transaction, [one for one in applied if one.count])


def _live(transaction: Transaction, name: str, wave: Sequence[Numbered]) -> set[int]:
    live: set[int] = set()
    for chunk in chunks(wave):
        parameters: list[object] = []
        for number, one in chunk:
            parameters += (number, one.work.due_ms, one.work.id, one.work.shard, one.epoch)
        found = transaction.execute(for_rows(name, 5, len(chunk)), parameters).fetchone()[0]
        live.update(msgspec.json.decode(found))
    return live


def _move(transaction: Transaction, decided: Sequence[Decided]) -> None:
    for one in decided:
        name = "move_timer" if isinstance(one.work, Timer) else "move_decision_work"
        profile = one.moved_to or ""
        transaction.execute(statement(name), (shard_of(profile), profile, one.work.due_ms, one.work.id))


def _delete_events(transaction: Transaction, decided: Sequence[Decided]) -> None:
    for chunk in chunks(decided):
        transaction.execute(for_list("delete_decision_work", len(chunk)), [one.work.id for one in chunk])


def _delete_timers(transaction: Transaction, timers: Sequence[str]) -> None:
    for chunk in chunks(timers):
        transaction.execute(for_list("delete_timers", len(chunk)), chunk)


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
    transaction.put("put_firings", 5, rows)


def _add_counts(transaction: Transaction, decided: Sequence[Decided]) -> None:
    counts: dict[tuple[str, str], list[int]] = {}
    for one in decided:
        if isinstance(one.work, Timer):
            continue
        at_ms = one.work.event.occurred_ms
        known = counts.setdefault((one.work.profile, one.work.event.type), [0, at_ms, at_ms])
        known[0] += 1
        known[1] = min(known[1], at_ms)
        known[2] = max(known[2], at_ms)
    transaction.put("add_counts", 5, [(*key, *values) for key, values in counts.items()])


def _put_people(transaction: Transaction, decided: Sequence[Decided]) -> None:
    transaction.put("put_profiles", PROFILE_COLUMNS, [profile_row(profile) for profile in latest_profiles(decided)])
    _put_members(transaction, [member for one in decided for member in one.memberships])
    transaction.put("put_runs", RUN_COLUMNS, [run_row(run) for run in latest_runs(decided)])
    timers = latest_timers(decided)
    _delete_timers(transaction, [identifier for identifier, timer in timers.items() if timer is None])
    transaction.put("put_timers", TIMER_COLUMNS, [timer_row(timer) for timer in timers.values() if timer is not None])
    waiting = [(new.event, new.profile) for one in decided for new in one.events if new.profile is not None]
    insert_decision_work(transaction, waiting)
    for one in decided:
        if one.absorbs is not None and one.absorbs != one.work.profile:
            _absorb(transaction, one.absorbs, one.work.profile)


def _put_members(transaction: Transaction, memberships: Iterable[Membership]) -> None:
    latest = {(each.segment, each.profile): each for each in memberships}
    for place, each in latest.items():
        if not each.is_in:
            transaction.execute(statement("delete_member"), place)
    transaction.put("put_members", 3, [(*place, each.since_ms) for place, each in latest.items() if each.is_in])


def _absorb(transaction: Transaction, old: str, profile: str) -> None:
    for name in ("absorb_firings", "absorb_counts"):
        transaction.execute(statement(name), (profile, old))
    for name in ("forget_firings", "forget_counts"):
        transaction.execute(statement(name), (old,))
