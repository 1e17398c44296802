"""Writing to the registry in one way: store, then bring this node's directory up to date.

The next call on this node therefore sees every write; other nodes follow the registry's changes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeVar, cast

from msgspec import Struct, structs

from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.ports import Cluster, Registry
from posthorn.engine.resources import KINDS, Resource, ResourceQuery
from posthorn.errors import NotFound

R = TypeVar("R", bound=Resource)


class SharedRegistry(Registry, Cluster, Protocol):
    """What people configured, and the nodes that edit it."""


def alone_to_edit(cluster: Cluster) -> AbstractAsyncContextManager[None]:
    """Let one change at a time, of all nodes, read what there is and write it anew. Raises StoreUnavailable."""
    return cluster.alone("editing")


class PageOf(Struct, frozen=True, kw_only=True):
    """What a caller asks for: `after` is exclusive, `backwards` goes to the page before it, in the same order."""

    after: str | None = None
    backwards: bool = False
    descending: bool = False
    limit: int = 50


class Registrar:
    """Reads and writes resources of any kind.

    `editing` is held from the read to the write of a change, so that two changes, also at two nodes, never lose one
    another's fields: a rotated secret that somebody was told must not be undone by a new description.
    """

    def __init__(self, registry: SharedRegistry, directory: Directory, clock: Clock) -> None:
        self._registry = registry
        self._directory = directory
        self._clock = clock
        self._one_here = asyncio.Lock()

    @property
    def editing(self) -> AbstractAsyncContextManager[None]:
        """Hold it while a resource is changed. Raises StoreUnavailable."""
        return self._editing()

    @asynccontextmanager
    async def _editing(self) -> AsyncIterator[None]:
        # Of this node's changes one at a time asks the store for its turn: each that asks costs a connection.
        async with self._one_here, alone_to_edit(self._registry):
            yield

    def now_ms(self) -> int:
        """Tell the time that new records carry."""
        return self._clock.now_ms()

    async def add(self, resource: R) -> R:
        """Store a new resource; raises Conflict when its uid is taken."""
        await self._registry.insert(resource)
        await self._directory.refresh(self._registry)
        return resource

    async def put(self, resource: R) -> R:
        """Overwrite a resource and stamp the time; raises NotFound or Conflict as the registry does."""
        stamped = structs.replace(resource, updated_ms=self.now_ms())
        await self._registry.replace(stamped)
        await self._directory.refresh(self._registry)
        return stamped

    async def remove(self, resource: Resource) -> None:
        """Delete a resource; raises NotFound when somebody else did."""
        gone = await self._registry.delete(KINDS[type(resource)], resource.workspace, resource.id)
        await self._directory.refresh(self._registry)
        if not gone:
            raise NotFound("it was deleted meanwhile")

    async def seek(self, kind: type[R], workspace: str, identifier: str, *, parent: str = "") -> R | None:
        """Find a resource by id or uid."""
        return cast("R | None", await self._registry.get(KINDS[kind], workspace, identifier, parent=parent))

    async def find(self, kind: type[R], workspace: str, identifier: str, *, parent: str = "") -> R:
        """Find a resource by id or uid; raises NotFound."""
        found = await self.seek(kind, workspace, identifier, parent=parent)
        if found is None:
            raise NotFound(f"there is no {KINDS[kind].value.replace('_', ' ')} with this id or uid")
        return found

    async def identify(self, kind: type[R], workspace: str, identifier: str | None) -> str | None:
        """Return the id behind an id or uid; what is not there (any more) stays as it is, to find its traces by."""
        found = await self.seek(kind, workspace, identifier) if identifier is not None else None
        return found.id if found is not None else identifier

    async def page(
        self, kind: type[R], workspace: str, page: PageOf, *, parent: str = "", by_uid: bool = False
    ) -> tuple[list[R], bool]:
        """Return a page of resources and whether nothing follows in its direction."""
        rows = await self._registry.page(
            ResourceQuery(
                kind=KINDS[kind],
                workspace=workspace,
                parent=parent,
                after=page.after,
                backwards=page.backwards,
                descending=page.descending,
                limit=page.limit + 1,
                by_uid=by_uid,
            )
        )
        done = len(rows) <= page.limit
        kept = rows if done else rows[1:] if page.backwards else rows[: page.limit]
        return cast("list[R]", kept), done

    async def every(self, kind: type[R], workspace: str, *, parent: str = "") -> list[R]:
        """Return all resources of a kind under one parent."""
        found: list[R] = []
        page, done = PageOf(limit=250), False
        while not done:
            rows, done = await self.page(kind, workspace, page, parent=parent)
            found += rows
            page = PageOf(limit=250, after=rows[-1].id if rows else None)
        return found

    async def everywhere(self, kind: type[R], workspace: str) -> list[R]:
        """Return all resources of a kind, whatever their parents are, with what other nodes have changed."""
        await self._directory.refresh(self._registry)
        return [one for one in self._directory.every(kind) if one.workspace == workspace]
