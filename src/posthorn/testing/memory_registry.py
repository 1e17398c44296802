"""The store in memory: what people configure."""

from posthorn.engine.resources import KINDS, Change, Kind, Resource, ResourceQuery
from posthorn.errors import Conflict, NotFound
from posthorn.testing.memory_tables import TableReader


class MemoryRegistry(TableReader):
    """Resources by kind, the numbered list of changes, and the installation's own values."""

    async def insert(self, resource: Resource) -> None:
        """Store a resource; raises Conflict for an id taken anywhere, a uid taken under the same parent."""
        kind = KINDS[type(resource)]
        if resource.id in self._tables.resources[kind]:
            raise Conflict(f"there is already a {kind} {resource.id}")
        self._write(kind, resource)

    async def replace(self, resource: Resource) -> None:
        """Overwrite a resource of the same workspace; raises NotFound, or Conflict for a taken uid."""
        kind = KINDS[type(resource)]
        old = self._tables.resources[kind].get(resource.id)
        if old is None or old.workspace != resource.workspace:
            raise NotFound(f"there is no {kind} {resource.id}")
        self._write(kind, resource)

    def _write(self, kind: Kind, resource: Resource) -> None:
        twin = self._by_uid(kind, resource.workspace, resource.parent, resource.uid)
        if twin is not None and twin.id != resource.id:
            raise Conflict(f"the uid {resource.uid} is taken by the {kind} {twin.id}; choose another")
        self._tables.resources[kind][resource.id] = resource
        self._record(kind, resource.id, resource)

    def _record(self, kind: Kind, identifier: str, resource: Resource | None) -> None:
        self._tables.commits += 1
        number = len(self._tables.changes) + 1
        self._tables.changes.append(Change(number=number, kind=kind, id=identifier, resource=resource))

    async def delete(self, kind: Kind, workspace: str, identifier: str) -> bool:
        """Remove a resource by its id, never by its uid. What it contains stays."""
        resource = self._tables.resources[kind].get(identifier)
        if resource is None or resource.workspace != workspace:
            return False
        del self._tables.resources[kind][identifier]
        self._record(kind, identifier, None)
        return True

    async def get(self, kind: Kind, workspace: str, identifier: str, *, parent: str = "") -> Resource | None:
        """Find one under its parent by id, then by uid."""
        resource = self._tables.resources[kind].get(identifier)
        if resource is not None and (resource.workspace, resource.parent) == (workspace, parent):
            return resource
        return self._by_uid(kind, workspace, parent, identifier)

    def _by_uid(self, kind: Kind, workspace: str, parent: str, uid: str | None) -> Resource | None:
        if uid is None:
            return None
        place = (workspace, parent, uid)
        resources = self._tables.resources[kind].values()
        return next((one for one in resources if (one.workspace, one.parent, one.uid) == place), None)

    async def page(self, query: ResourceQuery) -> list[Resource]:
        """List in the asked order; `after` is an id, or a uid when the order is by uid, and need not exist.

        Backwards gives the rows next before `after`, still in the asked order; without `after` the last ones.
        """
        keyed = [
            ((resource.uid or "") if query.by_uid else resource.id, resource)
            for resource in self._tables.resources[query.kind].values()
            if (resource.workspace, resource.parent) == (query.workspace, query.parent)
        ]
        upwards = query.descending == query.backwards
        keyed.sort(key=lambda pair: pair[0], reverse=not upwards)
        if query.after is not None:
            keyed = [(key, one) for key, one in keyed if (key > query.after if upwards else key < query.after)]
        rows = [resource for _, resource in keyed[: query.limit]]
        return rows[::-1] if query.backwards else rows

    async def all(self, kind: Kind) -> list[Resource]:
        """Every resource of a kind, over all workspaces."""
        return list(self._tables.resources[kind].values())

    async def changes(self, after: int) -> list[Change]:
        """Every write since, each with the resource as that write left it. Numbers start at 1."""
        return [change for change in self._tables.changes if change.number > after]

    async def last_change(self) -> int:
        """Return the number of the newest change, 0 when there is none."""
        return self._tables.changes[-1].number if self._tables.changes else 0

    async def meta(self, key: str) -> str | None:
        """Return a value that the installation remembers about itself."""
        return self._tables.meta.get(key)

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a value about the installation, in place of an older one."""
        self._tables.meta[key] = value
        self._tables.commits += 1
