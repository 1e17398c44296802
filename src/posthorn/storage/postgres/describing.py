"""What a database says of itself. It is only read."""

from typing import Any

from msgspec import structs

from posthorn.engine.cluster import Node, Role
from posthorn.storage.copying.mark import COPYING
from posthorn.storage.description import JournalDays, SchemaStanding, StoreDescription, day_text
from posthorn.storage.postgres.address import Address
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.contracting import waiting
from posthorn.storage.postgres.migrate import HEAD, Standing, standing_of
from posthorn.storage.postgres.partitions import JOURNAL, day_of
from posthorn.storage.tables import metadata

_NODES = """SELECT id, name, version, roles, started_ms, seen_ms, until_ms FROM node
WHERE until_ms > extract(epoch FROM clock_timestamp()) * 1000 ORDER BY id"""
# A table that was never analyzed has -1 rows in the catalogue; then the counters of the running server are asked.
_ROWS = """SELECT c.relname AS part, p.relname AS whole,
    (CASE WHEN c.reltuples >= 0 THEN c.reltuples ELSE pg_stat_get_live_tuples(c.oid) END)::bigint AS rows
FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid LEFT JOIN pg_class AS p ON p.oid = i.inhparent
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"""


async def describe(connection: Connection, address: Address) -> StoreDescription:
    """Describe the store in a database. Raises StartRefused when its tables are not ours."""
    standing = await standing_of(connection)
    description = StoreDescription(
        kind="postgresql",
        place=address.shown,
        server_version=await connection.fetchval("SHOW server_version"),
        schema=_schema(standing),
        is_copying=False,
        in_use_by=None,
        rows_are_estimates=True,
        size_bytes=await connection.fetchval("SELECT pg_database_size(current_database())"),
    )
    return description if standing.version is None else await _with_contents(connection, description)


def _schema(standing: Standing) -> SchemaStanding:
    return SchemaStanding(
        revision=standing.version,
        known=HEAD,
        oldest=standing.oldest,
        migrating=standing.migrating,
        contracts=waiting(standing),
    )


async def _with_contents(connection: Connection, description: StoreDescription) -> StoreDescription:
    rows = dict.fromkeys(map(str, metadata.tables), 0)
    days: dict[str, list[int]] = {table: [] for table in JOURNAL}
    for part, whole, count in await connection.fetch(_ROWS):
        table = part if whole is None else whole
        if table in rows:
            rows[table] += count
        if table in days and (day := day_of(table, part)) is not None:
            days[table].append(day)
    mark = await connection.fetchval("SELECT value FROM meta WHERE key = $1", COPYING)
    return structs.replace(
        description,
        is_copying=mark is not None,
        nodes=tuple([_to_node(row) for row in await connection.fetch(_NODES)]),
        days=tuple(_journal_days(table, present) for table, present in days.items()),
        rows=rows,
    )


def _journal_days(table: str, days: list[int]) -> JournalDays:
    return JournalDays(
        table=table,
        partitions=len(days),
        oldest=day_text(min(days)) if days else None,
        newest=day_text(max(days)) if days else None,
    )


def _to_node(row: Any) -> Node:
    return Node(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        roles=tuple(Role(role) for role in row["roles"].split(",") if role),
        started_ms=row["started_ms"],
        seen_ms=row["seen_ms"],
        until_ms=row["until_ms"],
    )
