"""The deciding queue: which events and timers wait, and what deciding them has to know."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from posthorn.clock import HOUR_MS
from posthorn.engine.records import DecisionWork, EligibilityKey, Event, EventCount, Firing, Recall, Recalled
from posthorn.engine.runs import Timer
from posthorn.ids import time_of
from posthorn.storage.journal_rows import to_attempt
from posthorn.storage.people_rows import to_count, to_profile, to_run, to_timer
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database
from posthorn.storage.postgres.payloads import find_events
from posthorn.storage.postgres.statements import columns, statement
from posthorn.storage.postgres.storable import REFUSALS, storable
from posthorn.storage.sequence import seq_at

Name = TypeVar("Name")
Found = TypeVar("Found")

_MOST_BYTES = 16 * 1024 * 1024
_SLACK_MS = HOUR_MS  # An attempt is never older than its delivery, but clocks of nodes differ a little.


async def take_decisions(
    database: Database,
    shards: Sequence[int],
    *,
    room: int,
    now_ms: int,
    held: AbstractSet[str],
    since_ms: int | None,
) -> list[DecisionWork | Timer]:
    """Read the oldest events that wait to be decided, and timers, as far as the bytes of the events go."""
    if not shards or room <= 0:
        return []
    limit = room + len(held)
    database.count(1)
    found = await database.look(
        lambda connection: connection.fetch(statement("take_decisions"), list(shards), now_ms, limit, since_ms or 0)
    )
    queue = [row for row in found if row["id"] not in held][:room]
    wanted = [row["id"] for row in queue if row["kind"] is None]
    events: dict[str, Any] = {}
    left_out = frozenset[str]()
    if wanted:
        rows, left_out = await find_events(database, "decided_events", wanted, _MOST_BYTES)
        events = {row["id"]: row for row in rows}
    works: list[DecisionWork | Timer] = []
    for row in queue:
        if row["id"] in left_out:
            break  # What stands behind it has to wait for its turn.
        work = to_timer(row) if row["kind"] is not None else _to_work(row, events.get(row["id"]))
        if work is not None:
            works.append(work)
    return works


def _to_work(queued: Any, row: Any) -> DecisionWork | None:
    if row is None:
        return None
    event = Event(
        id=row["id"],
        workspace=row["workspace"],
        type=row["type"],
        occurred_ms=row["occurred_ms"],
        received_ms=row["received_ms"],
        user=row["user"],
        uid=row["uid"],
        source=row["source"],
        request=row["request"],
        application=row["application"],
        channels=tuple(row["channels"].split(",")) if row["channels"] else (),
        content_type=row["content_type"],
        content_encoding=row["content_encoding"],
        payload=row["body"],
        context=row["context"],
    )
    return DecisionWork(
        id=row["id"],
        shard=queued["shard"],
        profile=queued["profile"],
        due_ms=queued["due_ms"],
        event=event,
        head=row["head"],
    )


async def recall(database: Database, wanted: Recall) -> Recalled:
    """Return what is remembered. Keys and user ids may be made of an event's data, whatever is in them."""
    try:
        return await _recall(database, wanted)
    except REFUSALS:
        firings = {key: storable(key) for key in wanted.firings}
        counts = {place: storable(place) for place in wanted.counts}
        profiles = {key: storable(key) for key in wanted.profiles}
        mended = Recall(
            firings=frozenset(firings.values()),
            counts=frozenset(counts.values()),
            profiles=frozenset(profiles.values()),
            active_runs=frozenset(map(storable, wanted.active_runs)),
            runs=frozenset(map(storable, wanted.runs)),
            answers=frozenset(map(storable, wanted.answers)),
        )
    found = await _recall(database, mended)
    return Recalled(
        firings=_under(firings, found.firings),
        counts=_under(counts, found.counts),
        profiles=_under(profiles, found.profiles),
        runs=found.runs,
        answers=found.answers,
    )


def _under(names: Mapping[Name, Name], found: Mapping[Name, Found]) -> dict[Name, Found]:
    """Put what was found under the names that were asked for."""
    return {name: found[stored] for name, stored in names.items() if stored in found}


async def _recall(database: Database, wanted: Recall) -> Recalled:
    parts = {name: list(getattr(wanted, name)) for name in ("profiles", "active_runs", "runs")}

    async def ask(connection: Connection) -> dict[str, list[Any]]:
        rows: dict[str, list[Any]] = {}
        if wanted.firings:
            keys = [(key.automation, key.profile, key.key) for key in wanted.firings]
            rows["firings"] = await connection.fetch(statement("firings"), *columns(tuple, keys, 3))
        if wanted.counts:
            rows["counts"] = await connection.fetch(statement("counts"), *columns(tuple, wanted.counts, 2))
        for name, keys in parts.items():
            if keys:
                rows[name] = await connection.fetch(statement(name), keys)
        if wanted.answers:
            asked = list(wanted.answers)
            rows["answers"] = await connection.fetch(statement("answers"), asked, _since(asked))
        database.count(len(rows))
        return rows

    found = await database.look(ask) if wanted != Recall() else {}
    runs = map(to_run, [*found.get("active_runs", ()), *found.get("runs", ())])
    return Recalled(
        firings={
            EligibilityKey(automation=row[0], profile=row[1], key=row[2]): Firing(times=row[3], last_ms=row[4])
            for row in found.get("firings", ())
        },
        counts={(row[0], row[1]): to_count(row) for row in found.get("counts", ())},
        profiles={row[0]: to_profile(row[1]) for row in found.get("profiles", ())},
        runs={run.id: run for run in runs},
        answers={attempt.delivery: attempt for attempt in map(to_attempt, found.get("answers", ()))},
    )


def _since(deliveries: Sequence[str]) -> int:
    """Return the place in the journal before which no attempt of these deliveries can stand."""
    times = [time_of(delivery) for delivery in deliveries]
    known = [at_ms for at_ms in times if at_ms is not None]
    return seq_at(min(known) - _SLACK_MS) if len(known) == len(times) else 0


async def event_counts(database: Database, profile: str) -> list[EventCount]:
    """Return a profile's counters, by type."""
    database.count(1)
    rows = await database.look(lambda connection: connection.fetch(statement("event_counts"), profile))
    return [
        EventCount(profile=profile, type=name, count=count, first_ms=first_ms, last_ms=last_ms)
        for name, count, first_ms, last_ms in rows
    ]
