"""Keeping this node's directory up to date with what other nodes configure."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.ports import Registry
from posthorn.errors import NotFound, StoreUnavailable, Unauthenticated
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

POLL_SECONDS = 0.4
_STORE_PAUSE_SECONDS = 1.0
_SPACING_SECONDS = 0.02


Found = TypeVar("Found")
CatchUp = Callable[[], Awaitable[bool]]  #: returns whether anything was new


async def nothing_new() -> bool:
    """Stand for a directory that nobody else writes to."""
    return False


async def found(look: Callable[[], Found], catch_up: CatchUp) -> Found:
    """Return what `look` finds; when it is unknown here, look once more after catching up with other nodes.

    Raises what `look` raises: NotFound or Unauthenticated stand for "unknown".
    """
    try:
        return look()
    except (NotFound, Unauthenticated):
        if not await catch_up():
            raise
    return look()


class Follower(Service):
    """Reads the registry's changes a few times a second, and at once when somebody asks for what is not known here.

    A change that was answered by another node is in force here within a second. Whoever is named a key, an address or
    an application that this node does not know calls `catch_up` before it says so.
    """

    def __init__(
        self, *, registry: Registry, directory: Directory, clock: Clock, telemetry: Telemetry, is_shared: bool = True
    ) -> None:
        super().__init__(name="follower", telemetry=telemetry, clock=clock)
        self._registry = registry
        self._directory = directory
        self._is_shared = is_shared
        self._next: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()
        self._refreshed_at = -_SPACING_SECONDS

    async def run_once(self) -> float | None:
        """Apply what was written since the last turn. With the store to itself, a node wrote all changes itself."""
        if not self._is_shared:
            return None
        try:
            await self._directory.refresh(self._registry)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            return _STORE_PAUSE_SECONDS
        return POLL_SECONDS

    async def catch_up(self) -> bool:
        """Apply everything that was committed before this call; return whether anything was new.

        Callers that come while one waits share a read of the store, and reads keep a distance: a flood of wrong
        addresses costs the store fifty small questions a second and no more. Behind a store that hangs nobody waits
        for more than the read under way and one more. Raises StoreUnavailable.
        """
        if not self._is_shared:
            return False
        before = self._directory.version
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._refresh_soon())
        await asyncio.shield(self._next)
        return self._directory.version != before

    async def _refresh_soon(self) -> None:
        await asyncio.sleep(max(self._refreshed_at + _SPACING_SECONDS - self._clock.monotonic(), 0.0))
        async with self._reading:
            # Whoever comes from now on may need what this read does not see any more.
            self._next = None
            self._refreshed_at = self._clock.monotonic()
            await self._directory.refresh(self._registry)
