"""Retention: whole days go at once where nothing in them is needed, other old rows in small batches."""

from posthorn.clock import HOUR_MS
from posthorn.ids import DELIVERY, first_id
from posthorn.storage.postgres.batches import oldest_batch
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database
from posthorn.storage.postgres.days import drop_days
from posthorn.storage.postgres.statements import statement
from posthorn.storage.postgres.writing import HotWriter
from posthorn.storage.sequence import seq_at

_DELETES = (
    "prune_attempts",
    "prune_decisions",
    "prune_events",
    "prune_requests",
)
_SLACK_MS = HOUR_MS
_AHEAD_MS = 48 * HOUR_MS


async def prune(writer: HotWriter, database: Database, *, before_ms: int, most: int) -> int:
    """Drop the days that ended before `before_ms`, then delete up to `most` rows older than it."""
    gone = await drop_days(database, before_ms)
    if gone >= most:
        return gone

    async def job(connection: Connection, _: object) -> int:
        await writer.prepare(connection, ahead_ms=_AHEAD_MS)
        database.count(len(_DELETES) + 3)
        return await _delete(connection, before_ms=before_ms, most=most - gone)

    return gone + await database.write(job)


async def _delete(connection: Connection, *, before_ms: int, most: int) -> int:
    gone = 0
    # Rows are committed a little after they happen; the slack only widens what the index has to look at.
    edge = seq_at(before_ms + _SLACK_MS)
    for name in _DELETES:
        gone += _count(await connection.execute(statement(name), before_ms, edge, most - gone))
        if gone >= most:
            return gone
    first = first_id(DELIVERY, before_ms)
    gone += _count(await connection.execute(statement("prune_rendered"), first, most - gone))
    if gone < most:
        gone += _count(await connection.execute(statement("prune_cancelled"), first, before_ms, most - gone))
    if gone < most:
        gone += _count(await connection.execute(statement("prune_runs"), before_ms, most - gone))
    return gone


async def forget_claims(database: Database, *, now_ms: int, most: int) -> int:
    """Delete up to `most` expired claims, and old batches."""

    async def job(connection: Connection, _: object) -> int:
        await connection.execute(statement("forget_batches"), oldest_batch(now_ms))
        return _count(await connection.execute(statement("forget_claims"), now_ms, most))

    database.count(2)
    return await database.write(job)


def _count(tag: str) -> int:
    """Read the number of rows from a command's tag, such as `DELETE 3`."""
    return int(tag.rpartition(" ")[2])
