"""A whole Posthorn in this process, over either store, with a clock of the story and vendors that are doubles.

Run as a program it serves in a process of its own, on the machine's clock, until it is killed.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vendor_street import LOOPBACK, StreetTransport

from posthorn.clock import Clock, SystemClock
from posthorn.engine.cluster import ALONE, SHARED
from posthorn.engine.membership import Leaving
from posthorn.engine.shards import SHARDS
from posthorn.lifecycle import Supervisor
from posthorn.server.assembly import Listeners, _doors
from posthorn.server.founding import found
from posthorn.server.opening import OpenStore
from posthorn.server.parts import Parts
from posthorn.settings import Settings
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.telemetry import Telemetry

API_KEY = "story-key-0123456789"
_DRAIN_SECONDS = 10.0
_EVERYWHERE = list(range(SHARDS))


class StoryNode:
    """One node with everything: doors, deciding, delivering."""

    def __init__(self, *, data: Path, dsn: str | None, clock: Clock, ports: Mapping[str, int], ca_file: Path) -> None:
        """Make one; `ports` may grow while it runs."""
        self.settings = Settings(
            data=data, port=0, inbox_port=0, allow_targets=(LOOPBACK,), extra_ca_file=ca_file, api_key=API_KEY
        )
        self.clock = clock
        self.troubles: list[Mapping[str, object]] = []
        self._dsn = dsn
        self._ports = ports
        self._ca_file = ca_file
        self._telemetry = Telemetry(strict=True)
        self._telemetry.subscribe(lambda _, facts: self.troubles.append(facts), "error.unexpected")

    async def start(self) -> None:
        store: Any
        if self._dsn is None:
            store, tempo = await SqliteStore.open(self.settings.data, self.clock), ALONE
        else:
            self.settings.data.mkdir(parents=True, exist_ok=True)
            store, tempo = await PostgresStore.open(self._dsn, self.clock), SHARED
        self._store = store
        self._listeners = Listeners.bind(self.settings)
        try:
            await self._start(OpenStore(store=store, clock=self.clock, tempo=tempo))
        except BaseException:
            await self._close()
            raise

    async def _start(self, opened: OpenStore) -> None:
        founding = await found(opened.store, self.settings, self.clock)
        self.url = self._listeners.api_url(self.settings)
        parts = Parts(
            opened=opened,
            founding=founding,
            settings=self.settings,
            inbox_url=self._listeners.inbox_url(self.settings),
            telemetry=self._telemetry,
        )
        await parts.transport.close()
        parts.transport = StreetTransport(self._ports, ca_file=self._ca_file, clock=self.clock)
        services = [*parts.services(), *_doors(parts, self.settings, self._listeners), Leaving(parts.membership)]
        self._parts = parts
        self._supervisor = Supervisor(services, telemetry=self._telemetry, drain_seconds=_DRAIN_SECONDS)
        await self._supervisor.start()

    async def _close(self) -> None:
        for listener in (self._listeners.private, self._listeners.public):
            if listener is not None:
                listener.close()
        await self._store.close()

    async def stop(self) -> None:
        await self._supervisor.stop()
        await self._parts.transport.close()
        await self._close()

    async def undecided(self) -> Sequence[Any]:
        """Return something that is due to be decided, if there is anything."""
        return await self._store.take_decisions(_EVERYWHERE, room=1, now_ms=self.clock.now_ms(), held=frozenset())

    async def undelivered(self) -> Sequence[Any]:
        """Return the lanes with deliveries that are due or under way."""
        return await self._store.ready(_EVERYWHERE, after_ms=None, now_ms=self.clock.now_ms())

    async def renew(self) -> None:
        """Renew the leases now: a leap of the clock let them run out."""
        await self._parts.membership.run_once()


async def _serve(data: Path, dsn: str | None, ports: Mapping[str, int], ca_file: Path) -> None:
    node = StoryNode(data=data, dsn=dsn, clock=SystemClock(), ports=ports, ca_file=ca_file)
    await node.start()
    print(node.url, flush=True)  # noqa: T201 - whoever started this process waits for it
    await asyncio.Event().wait()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    asyncio.run(_serve(Path(given["data"]), given["dsn"], given["ports"], Path(given["caFile"])))
