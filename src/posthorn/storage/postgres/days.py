"""Dropping whole days of the journal: detached beside the running work, looked at once more, then gone."""

import asyncpg  # type: ignore[import-untyped]  # It ships no types.

from posthorn import ids
from posthorn.clock import DAY_MS, HOUR_MS
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database
from posthorn.storage.postgres.failures import FOREIGN, unavailable
from posthorn.storage.postgres.partitions import attach_partition, day_of
from posthorn.storage.postgres.reaching import apart
from posthorn.storage.postgres.statements import statement
from posthorn.storage.sequence import seq_at

_LOCK = 0x706F7374_00000002  # "post": one node at a time
_LOCK_TIMEOUT = "2s"  # Whoever is in the way is more important: the next call tries again.
_ORDER = ("attempt", "decision", "event", "request")  # A request goes after the event whose bytes it keeps.
_SLACK_MS = HOUR_MS
_EXACT_COUNT = 100_000

_ATTACHED, _DETACHING, _DETACHED = "attached", "detaching", "detached"


async def drop_days(database: Database, before_ms: int) -> int:
    """Drop the partitions that end before an instant and that no pending work needs; return how many rows went."""
    database.count(1)
    old = _old(await database.look(lambda connection: connection.fetch(statement("partitions"))), before_ms)
    if not old:
        return 0
    try:
        async with apart(database.address, lock_timeout=_LOCK_TIMEOUT) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                return 0
            return await _drop_all(connection, old)
    except FOREIGN as error:
        raise unavailable(error, database.address.shown) from error


def _old(rows: list[tuple[str, str, str]], before_ms: int) -> list[tuple[int, str, str, str]]:
    """Return day, table, name and state of the partitions that ended before an instant, the oldest day first."""
    found = []
    for table, name, state in rows:
        day = day_of(table, name)
        if day is not None and (day + 1) * DAY_MS <= before_ms:
            found.append((day, table, name, state))
    return sorted(found, key=lambda each: (each[0], _ORDER.index(each[1])))


async def _drop_all(connection: Connection, old: list[tuple[int, str, str, str]]) -> int:
    gone = 0
    kept: set[tuple[str, int]] = set()
    for day, table, name, state in old:
        if table == "request" and ("event", day) in kept:
            continue
        try:
            rows = await _drop(connection, table=table, day=day, name=name, state=state)
        except (asyncpg.LockNotAvailableError, asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.UndefinedTableError):
            rows = None
        if rows is None:
            kept.add((table, day))
        else:
            gone += rows
    return gone


async def _drop(connection: Connection, *, table: str, day: int, name: str, state: str) -> int | None:
    """Drop one partition and return how many rows it had; None when pending work needs it."""
    if state != _DETACHED and await _is_needed(connection, table, day, name):
        return None
    if state == _ATTACHED:
        await connection.execute(f"ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY")
    elif state == _DETACHING:  # An earlier call was cut off in the middle.
        await connection.execute(f"ALTER TABLE {table} DETACH PARTITION {name} FINALIZE")
    if await _is_needed(connection, table, day, name):
        # Somebody queued a delivery of that day by hand while we detached it.
        await attach_partition(connection, table, day)
        return None
    rows = await _rows(connection, name)
    await connection.execute(f"DROP TABLE {name}")
    return rows


async def _is_needed(connection: Connection, table: str, day: int, name: str) -> bool:
    """Tell whether pending work needs a row of a partition. Only work that is as old as the day is looked at."""
    if table == "request":
        return False
    end_ms = (day + 1) * DAY_MS + _SLACK_MS
    if table == "event":
        ends = [ids.first_id(kind, end_ms) for kind in (ids.EVENT, ids.MESSAGE)]
        undecided = f"SELECT EXISTS (SELECT FROM decision_work AS w JOIN {name} AS e ON e.id = w.id)"  # noqa: S608
        pending = (
            f"SELECT EXISTS (SELECT FROM delivery AS d JOIN {name} AS e ON e.id = d.event"  # noqa: S608 - our own name
            " WHERE d.event < $1 OR (d.event > 'evt_~' AND d.event < $2) OR d.event > 'msg_~')"
        )
        return bool(await connection.fetchval(pending, *ends)) or bool(await connection.fetchval(undecided))
    pending = (
        f"SELECT EXISTS (SELECT FROM delivery AS d JOIN {name} AS j ON j.delivery = d.id"  # noqa: S608 - our own name
        " WHERE d.id < $1 OR d.id > 'dlv_~')"
    )
    if await connection.fetchval(pending, ids.first_id(ids.DELIVERY, end_ms)):
        return True
    return table == "decision" and await _lets_in(connection, day, name)


async def _lets_in(connection: Connection, day: int, name: str) -> bool:
    """Tell whether a decision let a person in of whom there are younger attempts: only it says whose they are."""
    younger = (
        f"SELECT EXISTS (SELECT FROM attempt AS a JOIN {name} AS c ON c.event = a.event"  # noqa: S608 - our own name
        " WHERE a.event < $1 AND a.seq >= $2 AND c.outcome = 'fired' AND strpos(c.profile, '/user/') > 0)"
    )
    end_ms = (day + 1) * DAY_MS
    return bool(await connection.fetchval(younger, ids.first_id(ids.EVENT, end_ms + _SLACK_MS), seq_at(end_ms)))


async def _rows(connection: Connection, name: str) -> int:
    """Count a partition's rows; many of them are only estimated, for nobody would read them all to throw them away."""
    estimate = int(await connection.fetchval("SELECT reltuples FROM pg_class WHERE oid = $1::text::regclass", name))
    if estimate > _EXACT_COUNT:
        return estimate
    rows: int = await connection.fetchval(f"SELECT count(*) FROM {name}")  # noqa: S608 - our own name
    return rows
