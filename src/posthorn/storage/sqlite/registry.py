"""The registry over SQLite."""

import sqlite3

from posthorn.engine.resources import KINDS, Change, Kind, Resource, ResourceQuery
from posthorn.errors import NotFound
from posthorn.storage import resource_queries
from posthorn.storage.sqlite.database import Database, run, spelled
from posthorn.storage.sqlite.writer import Transaction


class SqliteRegistry:
    """Implements the Registry port."""

    _database: Database

    async def insert(self, resource: Resource) -> None:
        """Store a new resource; raises Conflict when its id or uid is taken."""
        await self._database.write(lambda transaction: _insert(transaction, resource))

    async def replace(self, resource: Resource) -> None:
        """Overwrite a resource; raises NotFound or Conflict."""
        await self._database.write(lambda transaction: _replace(transaction, resource))

    async def delete(self, kind: Kind, workspace: str, identifier: str) -> bool:
        """Remove a resource by id."""
        return await self._database.write(lambda transaction: _delete(transaction, kind, workspace, identifier))

    async def get(self, kind: Kind, workspace: str, identifier: str, *, parent: str = "") -> Resource | None:
        """Find one by id or uid."""
        rows = self._database.look(*spelled(resource_queries.find(kind, workspace, identifier, parent)))
        return resource_queries.decode(kind, rows[0][0]) if rows else None

    async def page(self, query: ResourceQuery) -> list[Resource]:
        """List resources after or before a given place in the order."""
        statement = resource_queries.page(query)

        def read(connection: sqlite3.Connection) -> list[Resource]:
            return resource_queries.to_page(query, run(connection, statement).fetchall())

        return await self._database.read(read)

    async def all(self, kind: Kind) -> list[Resource]:
        """Every resource of a kind."""

        def read(connection: sqlite3.Connection) -> list[Resource]:
            rows = run(connection, resource_queries.everything(kind))
            return [resource_queries.decode(kind, row[0]) for row in rows]

        return await self._database.read(read)

    async def changes(self, after: int) -> list[Change]:
        """What was written since a change."""
        rows = self._database.look(*spelled(resource_queries.changes(after)))
        return [resource_queries.to_change(row) for row in rows]

    async def last_change(self) -> int:
        """The number of the newest change."""
        number: int = self._database.look(*spelled(resource_queries.LAST_CHANGE))[0][0]
        return number

    async def meta(self, key: str) -> str | None:
        """A value that the installation remembers about itself."""
        rows = self._database.look(*spelled(resource_queries.remembered(key)))
        return rows[0][0] if rows else None

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a value about the installation."""

        def job(transaction: Transaction) -> None:
            transaction.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

        await self._database.write(job)


def _insert(transaction: Transaction, resource: Resource) -> None:
    document = resource_queries.encode(resource)
    try:
        run(transaction.connection, resource_queries.insertion(resource, document))
    except sqlite3.IntegrityError:
        raise resource_queries.taken(resource) from None
    _record(transaction, KINDS[type(resource)], resource.id, document)


def _replace(transaction: Transaction, resource: Resource) -> None:
    kind = KINDS[type(resource)]
    document = resource_queries.encode(resource)
    try:
        touched = run(transaction.connection, resource_queries.replacement(resource, document)).rowcount
    except sqlite3.IntegrityError:
        raise resource_queries.taken(resource) from None
    if not touched:
        raise NotFound(f"no {kind.value} {resource.id}")
    _record(transaction, kind, resource.id, document)


def _delete(transaction: Transaction, kind: Kind, workspace: str, identifier: str) -> bool:
    if not run(transaction.connection, resource_queries.deletion(kind, workspace, identifier)).rowcount:
        return False
    _record(transaction, kind, identifier, None)
    return True


def _record(transaction: Transaction, kind: Kind, identifier: str, document: bytes | None) -> None:
    run(transaction.connection, resource_queries.record(kind, identifier, document))
