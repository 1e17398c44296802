"""The registry over SQLite: resources as JSON documents, one table a kind, every write a numbered change."""

import sqlite3

import msgspec
from sqlalchemy import Select, and_, delete, insert, or_, select, update

from posthorn.engine.resources import KINDS, TYPES, Change, Kind, Resource, ResourceQuery
from posthorn.errors import Conflict, NotFound
from posthorn.storage.sqlite.database import Database, run, spelled
from posthorn.storage.sqlite.writer import Transaction
from posthorn.storage.tables import change, meta, resources


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
        table = resources[kind]
        query = (
            select(table.c.document)
            .where(table.c.workspace == workspace, table.c.parent == parent)
            .where(or_(table.c.id == identifier, table.c.uid == identifier))
            .order_by((table.c.id == identifier).desc())
            .limit(1)
        )
        rows = self._database.look(*spelled(query))
        return _decode(kind, rows[0][0]) if rows else None

    async def page(self, query: ResourceQuery) -> list[Resource]:
        """List resources after or before a given place in the order."""
        statement = _page(query)

        def read(connection: sqlite3.Connection) -> list[Resource]:
            found = [_decode(query.kind, row[0]) for row in run(connection, statement)]
            return found[::-1] if query.backwards else found

        return await self._database.read(read)

    async def all(self, kind: Kind) -> list[Resource]:
        """Every resource of a kind."""
        query = select(resources[kind].c.document)
        return await self._database.read(lambda connection: [_decode(kind, row[0]) for row in run(connection, query)])

    async def changes(self, after: int) -> list[Change]:
        """What was written since a change."""
        query = select(change).where(change.c.number > after).order_by(change.c.number)
        return [
            Change(
                number=number,
                kind=Kind(kind),
                id=identifier,
                resource=_decode(Kind(kind), document) if document is not None else None,
            )
            for number, kind, identifier, document in self._database.look(*spelled(query))
        ]

    async def last_change(self) -> int:
        """The number of the newest change."""
        number: int = self._database.look("SELECT coalesce(max(number), 0) FROM change", ())[0][0]
        return number

    async def meta(self, key: str) -> str | None:
        """A value that the installation remembers about itself."""
        rows = self._database.look(*spelled(select(meta.c.value).where(meta.c.key == key)))
        return rows[0][0] if rows else None

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a value about the installation."""

        def job(transaction: Transaction) -> None:
            transaction.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

        await self._database.write(job)


def _decode(kind: Kind, document: bytes) -> Resource:
    return msgspec.json.decode(document, type=TYPES[kind])


def _row(resource: Resource) -> dict[str, object]:
    return {
        "id": resource.id,
        "workspace": resource.workspace,
        "parent": resource.parent,
        "uid": resource.uid,
        "created_ms": resource.created_ms,
        "updated_ms": resource.updated_ms,
        "document": msgspec.json.encode(resource),
    }


def _record_change(transaction: Transaction, kind: Kind, identifier: str, document: object) -> None:
    run(transaction.connection, insert(change).values(kind=kind.value, id=identifier, document=document))


def _insert(transaction: Transaction, resource: Resource) -> None:
    kind = KINDS[type(resource)]
    row = _row(resource)
    try:
        run(transaction.connection, insert(resources[kind]).values(row))
    except sqlite3.IntegrityError:
        raise _taken(kind, resource) from None
    _record_change(transaction, kind, resource.id, row["document"])


def _replace(transaction: Transaction, resource: Resource) -> None:
    kind = KINDS[type(resource)]
    table = resources[kind]
    row = _row(resource)
    place = and_(table.c.id == resource.id, table.c.workspace == resource.workspace)
    try:
        touched = run(transaction.connection, update(table).where(place).values(row)).rowcount
    except sqlite3.IntegrityError:
        raise _taken(kind, resource) from None
    if not touched:
        raise NotFound(f"no {kind.value} {resource.id}")
    _record_change(transaction, kind, resource.id, row["document"])


def _delete(transaction: Transaction, kind: Kind, workspace: str, identifier: str) -> bool:
    table = resources[kind]
    place = and_(table.c.id == identifier, table.c.workspace == workspace)
    if not run(transaction.connection, delete(table).where(place)).rowcount:
        return False
    _record_change(transaction, kind, identifier, None)
    return True


def _taken(kind: Kind, resource: Resource) -> Conflict:
    return Conflict(f"a {kind.value.replace('_', ' ')} with the uid {resource.uid!r} (or this id) exists already")


def _page(query: ResourceQuery) -> Select[tuple[bytes]]:
    table = resources[query.kind]
    key = table.c.uid if query.by_uid else table.c.id
    statement = select(table.c.document).where(table.c.workspace == query.workspace, table.c.parent == query.parent)
    downwards = query.descending != query.backwards
    if query.after is not None:
        statement = statement.where(key < query.after if downwards else key > query.after)
    return statement.order_by(key.desc() if downwards else key.asc()).limit(query.limit)
