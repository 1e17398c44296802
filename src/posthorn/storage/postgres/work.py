"""The work store over PostgreSQL."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from posthorn.engine.records import (
    Append,
    Appended,
    AppendResult,
    Claim,
    Decided,
    DecisionWork,
    EventCount,
    LaneRead,
    NewDelivery,
    ReadyEndpoint,
    Recall,
    Recalled,
    Settlement,
    Taken,
)
from posthorn.engine.runs import Timer
from posthorn.storage.postgres import append, decisions, deliveries, prune, taking, undecided
from posthorn.storage.postgres.cluster import PostgresCluster
from posthorn.storage.postgres.payloads import Payloads
from posthorn.storage.postgres.statements import statement
from posthorn.storage.postgres.storable import with_storable
from posthorn.storage.postgres.writing import HotWriter


class PostgresWorkStore(PostgresCluster):
    """Implements the WorkStore port."""

    _writer: HotWriter
    _payloads: Payloads

    async def append(self, units: Sequence[Append]) -> list[AppendResult]:
        """Commit the units; one result for each."""
        results = await with_storable(list(units), lambda units: append.append_units(self._writer, units))
        self._payloads.remember(
            unit for unit, result in zip(units, results, strict=True) if isinstance(result, Appended)
        )
        return results

    async def ready(self, shards: Sequence[int], *, after_ms: int | None, now_ms: int) -> list[ReadyEndpoint]:
        """List lanes with deliveries that became due in a window, or with any due one."""
        return await taking.ready(self._database, shards, after_ms=after_ms, now_ms=now_ms)

    async def take(self, reads: Sequence[LaneRead], *, now_ms: int) -> list[Taken]:
        """Read the heads of lanes."""
        return await taking.take(self._database, self._payloads, reads, now_ms=now_ms)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Apply outcomes."""
        return await with_storable(list(settlements), lambda made: deliveries.settle(self._writer, made))

    async def enqueue(self, delivery: NewDelivery) -> None:
        """Queue a delivery by hand."""
        await with_storable(delivery, lambda made: deliveries.enqueue(self._writer, made))

    async def cancel(self, delivery: str, reason: str) -> bool:
        """Take a pending delivery off the queue."""
        return await with_storable((delivery, reason), lambda made: deliveries.cancel(self._writer, *made))

    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        """Read the oldest events that wait to be decided, and timers."""
        return await undecided.take_decisions(
            self._database, shards, room=room, now_ms=now_ms, held=held, since_ms=since_ms
        )

    async def recall(self, wanted: Recall) -> Recalled:
        """Return what is remembered."""
        return await undecided.recall(self._database, wanted)

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        """Commit what each event or timer changes."""
        return await with_storable(list(decided), lambda made: decisions.settle_decisions(self._writer, made))

    async def event_counts(self, profile: str) -> list[EventCount]:
        """Return a profile's counters, by type."""
        return await with_storable(profile, lambda stored: undecided.event_counts(self._database, stored))

    async def claimed(self, scope: str, key: str, *, now_ms: int) -> Claim | None:
        """Return an unexpired claim."""

        async def find(wanted: tuple[str, str]) -> Any:
            self._database.count(1)
            return await self._database.look(
                lambda connection: connection.fetchrow(statement("find_claim"), *wanted, now_ms)
            )

        row = await with_storable((scope, key), find)
        if row is None:
            return None
        fingerprint, status, body, event, expires_ms = row
        return Claim(
            scope=scope,
            key=key,
            fingerprint=fingerprint,
            answer_status=status,
            answer_body=body,
            event=event,
            expires_ms=expires_ms,
        )

    async def forget_claims(self, *, now_ms: int, most: int) -> int:
        """Delete expired claims, and batches that nobody asks for any more."""
        return await prune.forget_claims(self._database, now_ms=now_ms, most=most)

    async def prune(self, *, before_ms: int, most: int) -> int:
        """Delete old journal rows, whole days at once where that can be."""
        return await prune.prune(self._writer, self._database, before_ms=before_ms, most=most)
