"""The journal's partitions: one for each table and UTC day, made ahead of time."""

from posthorn.clock import DAY_MS
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.sequence import seq_at

JOURNAL = ("request", "event", "attempt", "decision")

_LOCK = 0x706F7374_00000001  # "post": two nodes must not make the same partition at once
_AHEAD_DAYS = 3
_MOST_KNOWN = 64

# Beside the name: what vacuum and analyze need to keep up with tables that only grow.
_CREATE = """CREATE TABLE IF NOT EXISTS {name} (LIKE {table} INCLUDING ALL) WITH (
    autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.1,
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)"""
_ATTACH = "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"
_ATTACHED = """SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = ANY ($1::text[]::regclass[]) AND NOT i.inhdetachpending"""


class Days:
    """Remembers the days that have partitions, so that a write asks the server once a day."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def lacks(self, now_ms: int) -> bool:
        """Whether the partitions of this instant may be missing."""
        return now_ms // DAY_MS not in self._known

    def forget(self) -> None:
        """Trust nothing any more: a row found no partition."""
        self._known.clear()

    async def prepare(self, connection: Connection, now_ms: int) -> None:
        """Make the partitions from the day before to three days ahead, inside the caller's transaction."""
        today = now_ms // DAY_MS
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        attached = {row[0] for row in await connection.fetch(_ATTACHED, list(JOURNAL))}
        days = range(today - 1, today + _AHEAD_DAYS + 1)
        for day in days:
            for table in JOURNAL:
                if partition_name(table, day) not in attached:
                    await _make(connection, table, day)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known.update(days)


async def _make(connection: Connection, table: str, day: int) -> None:
    """Make a table that looks like its parent, then attach it: readers and writers of the others go on meanwhile."""
    await connection.execute(_CREATE.format(name=partition_name(table, day), table=table))
    await attach_partition(connection, table, day)


async def attach_partition(connection: Connection, table: str, day: int) -> None:
    """Make a table the partition of its day."""
    first, end = seq_at(day * DAY_MS), seq_at((day + 1) * DAY_MS)
    name = partition_name(table, day)
    await connection.execute(_ATTACH.format(table=table, name=name, first=first, end=end))


def partition_name(table: str, day: int) -> str:
    """Return the name of a table's partition for a day, counted from 1970."""
    return f"{table}_d{day}"


def day_of(table: str, partition: str) -> int | None:
    """Return the day in the name of a table's partition, None when it is not named like one."""
    prefix, separator, day = partition.rpartition("_d")
    return int(day) if separator and prefix == table and day.isdecimal() else None
