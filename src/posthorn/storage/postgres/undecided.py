"""The deciding queue: which events wait to be decided, and what automations remember."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from posthorn.engine.records import DecisionWork, EligibilityKey, Event, EventCount, Firing
from posthorn.storage.postgres.database import Database
from posthorn.storage.postgres.payloads import read_events
from posthorn.storage.postgres.statements import statement
from posthorn.storage.postgres.storable import REFUSALS, storable

_MOST_BYTES = 16 * 1024 * 1024


async def take_decisions(
    database: Database,
    shards: Sequence[int],
    *,
    room: int,
    now_ms: int,
    held: AbstractSet[str],
    since_ms: int | None,
) -> list[DecisionWork]:
    """Read the oldest events that wait to be decided."""
    if not shards or room <= 0:
        return []
    limit = room + len(held)
    database.count(1)
    found = await database.look(
        lambda connection: connection.fetch(statement("take_decisions"), list(shards), now_ms, limit, since_ms or 0)
    )
    queue = [row for row in found if row["id"] not in held][:room]
    if not queue:
        return []
    rows = await read_events(database, "decided_events", [row["id"] for row in queue], _MOST_BYTES)
    events = {row["id"]: row for row in rows}
    return [_to_work(row, events[row["id"]]) for row in queue if row["id"] in events]


def _to_work(queued: Any, row: Any) -> DecisionWork:
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
    )
    return DecisionWork(
        id=row["id"],
        shard=queued["shard"],
        profile=queued["profile"],
        due_ms=queued["due_ms"],
        event=event,
        head=row["head"],
    )


async def firings(database: Database, keys: Sequence[EligibilityKey]) -> Mapping[EligibilityKey, Firing]:
    """Return what is remembered of these keys."""
    try:
        return await _firings(database, keys)
    except REFUSALS:
        stored = {key: storable(key) for key in keys}  # A key may be made of an event's data, whatever is in them.
        found = await _firings(database, list(stored.values()))
        return {key: found[written] for key, written in stored.items() if written in found}


async def _firings(database: Database, keys: Sequence[EligibilityKey]) -> dict[EligibilityKey, Firing]:
    if not keys:
        return {}
    wanted = [key.automation for key in keys], [key.profile for key in keys], [key.key for key in keys]
    database.count(1)
    rows = await database.look(lambda connection: connection.fetch(statement("firings"), *wanted))
    return {
        EligibilityKey(automation=automation, profile=profile, key=key): Firing(times=times, last_ms=last_ms)
        for automation, profile, key, times, last_ms in rows
    }


async def event_counts(database: Database, profile: str) -> list[EventCount]:
    """Return a profile's counters, by type."""
    database.count(1)
    rows = await database.look(lambda connection: connection.fetch(statement("event_counts"), profile))
    return [
        EventCount(profile=profile, type=name, count=count, first_ms=first_ms, last_ms=last_ms)
        for name, count, first_ms, last_ms in rows
    ]
