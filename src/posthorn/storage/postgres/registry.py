"""The registry over PostgreSQL.

Writes take a lock that lasts until their commit is seen: changes become visible in the order of their numbers, and
whoever follows them never passes one over.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # It ships no types.
from msgspec import structs
from sqlalchemy import Executable, Insert, Select, Update, func, select, update
from sqlalchemy.dialects.postgresql import insert

from posthorn.engine.resources import KINDS, Change, Kind, Resource, ResourceQuery
from posthorn.errors import NotFound
from posthorn.storage import resource_queries
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database, spelled
from posthorn.storage.postgres.journal_texts import is_storable, place_above, place_below
from posthorn.storage.tables import change, meta

_WRITES = "SELECT pg_advisory_xact_lock(8101821198098589545)"  # "post" and "Regi", as partitions.py has its own


class PostgresRegistry:
    """Implements the Registry port."""

    _database: Database

    async def insert(self, resource: Resource) -> None:
        """Store a new resource; raises Conflict when its id or uid is taken."""
        kind, document = KINDS[type(resource)], resource_queries.encode(resource)

        async def job(connection: Connection, again: bool) -> None:  # noqa: FBT001 - the database calls it
            await _lock(self._database, connection)
            if again and await _was_recorded(self._database, connection, kind, resource.id, document):
                return
            await _put(self._database, connection, resource_queries.insertion(resource, document), resource)
            await _fetched(self._database, connection, resource_queries.record(kind, resource.id, document))

        await self._database.write(job)

    async def replace(self, resource: Resource) -> None:
        """Overwrite a resource; raises NotFound or Conflict."""
        kind, document = KINDS[type(resource)], resource_queries.encode(resource)

        async def job(connection: Connection, again: bool) -> None:  # noqa: FBT001 - the database calls it
            await _lock(self._database, connection)
            if again and await _was_recorded(self._database, connection, kind, resource.id, document):
                return
            if not await _put(self._database, connection, resource_queries.replacement(resource, document), resource):
                raise NotFound(f"no {kind.value} {resource.id}")
            await _fetched(self._database, connection, resource_queries.record(kind, resource.id, document))

        await self._database.write(job)

    async def delete(self, kind: Kind, workspace: str, identifier: str) -> bool:
        """Remove a resource by id."""
        if not (is_storable(workspace) and is_storable(identifier)):
            return False

        async def job(connection: Connection, again: bool) -> bool:  # noqa: FBT001 - the database calls it
            await _lock(self._database, connection)
            if again and await _was_recorded(self._database, connection, kind, identifier, None):
                return True
            deletion = resource_queries.deletion(kind, workspace, identifier)
            if not await _fetched(self._database, connection, deletion.returning(deletion.table.c.id)):
                return False
            await _fetched(self._database, connection, resource_queries.record(kind, identifier, None))
            return True

        return await self._database.write(job)

    async def get(self, kind: Kind, workspace: str, identifier: str, *, parent: str = "") -> Resource | None:
        """Find one by id or uid."""
        rows = await _looked_up(self._database, resource_queries.find(kind, workspace, identifier, parent))
        return resource_queries.decode(kind, rows[0][0]) if rows else None

    async def page(self, query: ResourceQuery) -> list[Resource]:
        """List resources after or before a given place in the order."""
        rows = await _read(self._database, resource_queries.page(_placed(query)))
        return resource_queries.to_page(query, rows)

    async def all(self, kind: Kind) -> list[Resource]:
        """Every resource of a kind."""
        return [
            resource_queries.decode(kind, row[0])
            for row in await _read(self._database, resource_queries.everything(kind))
        ]

    async def changes(self, after: int) -> list[Change]:
        """What was written since a change."""
        return [
            resource_queries.to_change(row) for row in await _looked_up(self._database, resource_queries.changes(after))
        ]

    async def last_change(self) -> int:
        """The number of the newest change."""
        return int((await _looked_up(self._database, resource_queries.LAST_CHANGE))[0][0])

    async def meta(self, key: str) -> str | None:
        """A value that the installation remembers about itself."""
        rows = await _looked_up(self._database, resource_queries.remembered(key))
        return rows[0][0] if rows else None

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a value about the installation."""
        put = insert(meta).values(key=key, value=value)
        put = put.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": put.excluded.value})

        async def job(connection: Connection, again: bool) -> None:  # noqa: ARG001, FBT001 - done twice, it is the same
            await _fetched(self._database, connection, put)

        await self._database.write(job)


async def _lock(database: Database, connection: Connection) -> None:
    await connection.execute(_WRITES)
    database.count(1)


async def _put(database: Database, connection: Connection, statement: Insert | Update, resource: Resource) -> bool:
    try:
        return bool(await _fetched(database, connection, statement.returning(statement.table.c.id)))
    except asyncpg.UniqueViolationError:
        raise resource_queries.taken(resource) from None


async def _was_recorded(
    database: Database, connection: Connection, kind: Kind, identifier: str, document: bytes | None
) -> bool:
    """Tell whether this is the last that was recorded of a resource: then an earlier try was committed.

    It writes the row anew, so that this transaction too is durable only once the standbys have it.
    """
    last = select(func.max(change.c.number)).where(change.c.kind == kind.value, change.c.id == identifier)
    again = update(change).where(change.c.number == last.scalar_subquery()).values(id=identifier)
    rows = await _fetched(database, connection, again.returning(change.c.document))
    return bool(rows) and rows[0][0] == document


async def _looked_up(database: Database, query: Executable) -> Sequence[Any]:
    async def job(connection: Connection) -> Sequence[Any]:
        return await _fetched(database, connection, query)

    return await database.look(job)


async def _read(database: Database, query: Executable) -> Sequence[Any]:
    async def job(connection: Connection) -> Sequence[Any]:
        return await _fetched(database, connection, query)

    return await database.read(job)


async def _fetched(database: Database, connection: Connection, statement: Executable) -> Sequence[Any]:
    sql, arguments = spelled(statement)
    if isinstance(statement, Select) and not all(map(is_storable, arguments)):
        return []  # Texts that cannot be stored are only ever compared for being equal, save those of `_placed`.
    database.count(1)
    rows: Sequence[Any] = await connection.fetch(sql, *arguments)
    return rows


def _placed(query: ResourceQuery) -> ResourceQuery:
    """Go on from a place in the order that can be asked for."""
    if query.after is None:
        return query
    place = place_below if resource_queries.is_downwards(query) else place_above
    return structs.replace(query, after=place(query.after))
