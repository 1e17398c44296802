"""Statements of the registry: resources as JSON documents, one table a kind, every write a numbered change."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Delete, Insert, Update, and_, case, delete, func, insert, or_, select, update

from posthorn.engine.resources import KINDS, TYPES, Change, Kind, Resource, ResourceQuery
from posthorn.errors import Conflict
from posthorn.storage.questions import AnySelect
from posthorn.storage.tables import change, meta, resources

LAST_CHANGE = select(func.coalesce(func.max(change.c.number), 0))


def find(kind: Kind, workspace: str, identifier: str, parent: str) -> AnySelect:
    """Select a document by id or uid, the id first."""
    table = resources[kind]
    return (
        select(table.c.document)
        .where(table.c.workspace == workspace, table.c.parent == parent)
        .where(or_(table.c.id == identifier, table.c.uid == identifier))
        .order_by(case((table.c.id == identifier, 0), else_=1))
        .limit(1)
    )


def page(query: ResourceQuery) -> AnySelect:
    """Select documents after or before a given place in the order; backwards pages come in reverse."""
    table = resources[query.kind]
    key = table.c.uid if query.by_uid else table.c.id
    statement = select(table.c.document).where(table.c.workspace == query.workspace, table.c.parent == query.parent)
    downwards = is_downwards(query)
    if query.after is not None:
        statement = statement.where(key < query.after if downwards else key > query.after)
    return statement.order_by(key.desc() if downwards else key.asc()).limit(query.limit)


def is_downwards(query: ResourceQuery) -> bool:
    """Tell whether the rows have to be read from the greatest on."""
    return query.descending != query.backwards


def to_page(query: ResourceQuery, rows: Sequence[Any]) -> list[Resource]:
    """Read a page's documents into the asked order."""
    found = [decode(query.kind, row[0]) for row in rows]
    return found[::-1] if query.backwards else found


def everything(kind: Kind) -> AnySelect:
    """Select all documents of a kind."""
    return select(resources[kind].c.document)


def changes(after: int) -> AnySelect:
    """Select what was written since a change, the oldest first."""
    columns = (change.c.number, change.c.kind, change.c.id, change.c.document)
    return select(*columns).where(change.c.number > after).order_by(change.c.number)


def to_change(row: Any) -> Change:
    """Read a row of `changes`."""
    number, name, identifier, document = row
    kind = Kind(name)
    resource = decode(kind, document) if document is not None else None
    return Change(number=number, kind=kind, id=identifier, resource=resource)


def remembered(key: str) -> AnySelect:
    """Select a value that the installation remembers about itself."""
    return select(meta.c.value).where(meta.c.key == key)


def decode(kind: Kind, document: bytes) -> Resource:
    """Read a document."""
    return msgspec.json.decode(document, type=TYPES[kind])


def encode(resource: Resource) -> bytes:
    """Write a document."""
    return msgspec.json.encode(resource)


def insertion(resource: Resource, document: bytes) -> Insert:
    """Insert a resource."""
    return insert(resources[KINDS[type(resource)]]).values(_row(resource, document))


def replacement(resource: Resource, document: bytes) -> Update:
    """Overwrite a resource of the same workspace."""
    table = resources[KINDS[type(resource)]]
    place = and_(table.c.id == resource.id, table.c.workspace == resource.workspace)
    return update(table).where(place).values(_row(resource, document))


def deletion(kind: Kind, workspace: str, identifier: str) -> Delete:
    """Delete a resource by id."""
    table = resources[kind]
    return delete(table).where(table.c.id == identifier, table.c.workspace == workspace)


def record(kind: Kind, identifier: str, document: bytes | None) -> Insert:
    """Record a change: the resource as it is now, or that it is gone."""
    return insert(change).values(kind=kind.value, id=identifier, document=document)


def taken(resource: Resource) -> Conflict:
    """Say that a resource's uid or id is taken."""
    name = KINDS[type(resource)].value.replace("_", " ")
    return Conflict(f"a {name} with the uid {resource.uid!r} (or this id) exists already")


def _row(resource: Resource, document: bytes) -> dict[str, object]:
    return {
        "id": resource.id,
        "workspace": resource.workspace,
        "parent": resource.parent,
        "uid": resource.uid,
        "created_ms": resource.created_ms,
        "updated_ms": resource.updated_ms,
        "document": document,
    }
