"""The way into the store: group commit, then hints to whoever works on what came in."""

import asyncio
import sys
import time
from collections.abc import Sequence

from posthorn.engine.groupcommit import GroupCommit
from posthorn.engine.hints import Hints
from posthorn.engine.ports import WorkStore
from posthorn.engine.records import Append, Appended, AppendResult, Claim
from posthorn.engine.shards import shard_of
from posthorn.errors import Overloaded
from posthorn.telemetry import Telemetry

_LINGER_SECONDS = 0.002
_MOST_PER_COMMIT = 500
_BACKLOG = 20_000


class Intake:
    """Accepts units of intake. When `accept` returns, the unit is on disk."""

    def __init__(
        self, *, store: WorkStore, to_deliver: Hints, to_decide: Hints, telemetry: Telemetry, backlog: int = _BACKLOG
    ) -> None:
        self._store = store
        self._to_deliver = to_deliver
        self._to_decide = to_decide
        self._telemetry = telemetry
        self._backlog = backlog
        self._batches: GroupCommit[Append, AppendResult] = GroupCommit(
            self._commit, linger_seconds=_LINGER_SECONDS, most=_MOST_PER_COMMIT, backlog=backlog, lanes=2
        )

    async def accept(self, unit: Append) -> AppendResult:
        """Commit a unit together with its neighbours. Raises Overloaded or StoreUnavailable: nothing was written."""
        return await self._batches.submit(unit)

    async def accept_all(self, units: Sequence[Append]) -> list[AppendResult]:
        """Commit many units of one caller, in one or more batches.

        Raises Overloaded before anything is written, StoreUnavailable when not all batches could be.
        """
        if self._batches.waiting + len(units) > self._backlog:
            raise Overloaded(f"more than {self._backlog} events wait for the store; send again a little later")
        return await asyncio.gather(*[self._batches.submit(unit) for unit in units])

    async def claimed(self, scope: str, key: str, *, now_ms: int) -> Claim | None:
        """Return a claim that holds already."""
        return await self._store.claimed(scope, key, now_ms=now_ms)

    async def drain(self) -> None:
        """Return when everything handed in is answered."""
        await self._batches.drain()

    async def _commit(self, units: Sequence[Append]) -> Sequence[AppendResult]:
        started = time.monotonic()
        results = await self._store.append(units)
        self._telemetry.emit(
            "append.committed",
            units=len(units),
            events=sum(unit.event is not None for unit in units),
            seconds=time.monotonic() - started,
        )
        self._hint(units, results)
        return results

    def _hint(self, units: Sequence[Append], results: Sequence[AppendResult]) -> None:
        lanes: set[tuple[int, str]] = set()
        profiles: set[tuple[int, str]] = set()
        due_ms, received_ms = sys.maxsize, sys.maxsize
        for unit, result in zip(units, results, strict=True):
            if not isinstance(result, Appended):
                continue
            for delivery in unit.deliveries:
                lanes.add((delivery.shard, delivery.endpoint))
                due_ms = min(due_ms, delivery.due_ms)
            if unit.profile is not None and unit.event is not None:
                profiles.add((shard_of(unit.profile), unit.profile))
                received_ms = min(received_ms, unit.event.received_ms)
        if lanes:
            self._to_deliver.add(lanes, due_ms=due_ms)
        if profiles:
            self._to_decide.add(profiles, due_ms=received_ms)
