"""The deciding queue: which events and timers wait, and what deciding them has to know."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from heapq import merge
from typing import Any

from posthorn.engine.records import DecisionWork, EligibilityKey, Event, Firing, Recall, Recalled
from posthorn.engine.runs import Timer
from posthorn.storage.journal_rows import to_attempt
from posthorn.storage.people_rows import to_count, to_profile, to_run, to_timer
from posthorn.storage.sqlite.database import Database
from posthorn.storage.sqlite.statements import chunks, for_list, for_rows

_MOST_BYTES = 16 * 1024 * 1024


def take_decisions(
    database: Database,
    shards: Sequence[int],
    *,
    room: int,
    now_ms: int,
    held: AbstractSet[str],
    since_ms: int | None,
) -> list[DecisionWork | Timer]:
    """Read the oldest events and timers, right here: the loop does nothing else meanwhile."""
    found: list[DecisionWork | Timer] = []
    if room <= 0:
        return found
    size = 0
    parameters = [*shards, since_ms or 0, now_ms, room + len(held)]
    timers = database.look(for_list("take_timers", len(shards)), parameters)
    with closing(database.walk(for_list("take_decisions", len(shards)), parameters)) as rows:
        waiting: Iterator[DecisionWork | Timer] = map(_to_work, rows)
        if timers:
            waiting = merge(waiting, filter(None, map(to_timer, timers)), key=_place)
        for one in waiting:
            if one.id in held:
                continue
            found.append(one)
            if isinstance(one, DecisionWork):
                size += len(one.event.payload or b"")
            if len(found) == room or size >= _MOST_BYTES:
                break
    return found


def _place(one: DecisionWork | Timer) -> tuple[int, str]:
    return one.due_ms, one.id


def _to_work(row: tuple) -> DecisionWork:  # type: ignore[type-arg]
    event = Event(
        id=row[0],
        workspace=row[4],
        type=row[5],
        occurred_ms=row[6],
        received_ms=row[7],
        user=row[8],
        uid=row[9],
        source=row[10],
        request=row[11],
        application=row[12],
        channels=tuple(row[13].split(",")) if row[13] else (),
        content_type=row[14],
        content_encoding=row[15],
        payload=row[16],
        context=row[18],
    )
    return DecisionWork(id=row[0], shard=row[1], profile=row[2], due_ms=row[3], event=event, head=row[17])


def recall(database: Database, wanted: Recall) -> Recalled:
    """Read what is remembered, right here."""
    firings = [(key.automation, key.profile, key.key) for key in wanted.firings]
    runs = _by_names(database, "active_runs", wanted.active_runs) + _by_names(database, "runs", wanted.runs)
    answers = map(to_attempt, _by_names(database, "answers", wanted.answers))
    return Recalled(
        firings={
            EligibilityKey(automation=row[0], profile=row[1], key=row[2]): Firing(times=row[3], last_ms=row[4])
            for row in _by_rows(database, "firings", 3, firings)
        },
        counts={(row[0], row[1]): to_count(row) for row in _by_rows(database, "counts", 2, list(wanted.counts))},
        profiles={key: to_profile(document) for key, document in _by_names(database, "profiles", wanted.profiles)},
        runs={run.id: run for run in map(to_run, runs)},
        answers={attempt.delivery: attempt for attempt in answers},
    )


def _by_names(database: Database, name: str, wanted: AbstractSet[str]) -> list[Any]:
    return _asked(database, list(wanted), lambda length: for_list(name, length), lambda one: (one,))


def _by_rows(database: Database, name: str, width: int, wanted: Sequence[tuple[str, ...]]) -> list[Any]:
    return _asked(database, wanted, lambda length: for_rows(name, width, length), lambda row: row)


def _asked(
    database: Database,
    wanted: Sequence[Any],
    spelled: Callable[[int], str],
    fields: Callable[[Any], Iterable[str]],
) -> list[Any]:
    rows: list[Any] = []
    for chunk in chunks(wanted):
        rows += database.look(spelled(len(chunk)), [field for one in chunk for field in fields(one)])
    return rows
