"""The work store over SQLite."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.ports import TAKE_BYTES
from posthorn.engine.records import (
    GONE_PAYLOAD,
    Append,
    Appended,
    AppendResult,
    Claim,
    Decided,
    DecisionWork,
    DeliveryWork,
    EventCount,
    LaneRead,
    Lease,
    NewDelivery,
    Payload,
    ReadyEndpoint,
    Recall,
    Recalled,
    RenderedRequest,
    Settlement,
    Taken,
    Trigger,
)
from posthorn.engine.runs import Timer
from posthorn.engine.shards import SHARDS
from posthorn.ids import DELIVERY, first_id
from posthorn.storage.people_rows import to_rendered
from posthorn.storage.sqlite import append, decisions, deliveries, leases, prune, undecided
from posthorn.storage.sqlite.database import Database
from posthorn.storage.sqlite.payloads import Payloads
from posthorn.storage.sqlite.statements import chunks, for_list, statement

_MOST_GONE = 1000  # how far one read looks behind deliveries that cannot be made

_TRIGGERS = {trigger.value: trigger for trigger in Trigger}


class SqliteWorkStore:
    """Implements the WorkStore port."""

    _database: Database
    _payloads: Payloads

    async def append(self, units: Sequence[Append]) -> list[AppendResult]:
        """Commit the units; one result for each."""
        results = await self._database.write(lambda transaction: append.append_units(transaction, units))
        self._payloads.remember(
            unit for unit, result in zip(units, results, strict=True) if isinstance(result, Appended)
        )
        return results

    async def lease(self, node: str, stage: Stage, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
        """Extend and take over shards of a stage."""
        return await self._database.write(
            lambda transaction: leases.lease(transaction, node, stage, now_ms=now_ms, until_ms=until_ms, most=most)
        )

    async def release(self, node: str, stage: Stage, shards: Sequence[int] | None = None) -> None:
        """Give up these shards of this node, or all."""
        await self._database.write(lambda transaction: leases.release(transaction, node, stage, shards))

    async def ready(self, shards: Sequence[int], *, after_ms: int | None, now_ms: int) -> list[ReadyEndpoint]:
        """List lanes with deliveries that became due in a window, or with any due one."""
        if after_ms is None:
            rows = self._database.look(for_list("ready_all", len(shards)), list(shards))
        else:
            rows = self._database.look(statement("ready_window"), (after_ms, now_ms))
        owned = None if len(shards) == SHARDS else set(shards)
        return [
            ReadyEndpoint(shard=shard, endpoint=endpoint, due_ms=due_ms)
            for shard, endpoint, due_ms in rows
            if due_ms <= now_ms and (owned is None or shard in owned)
        ]

    async def take(self, reads: Sequence[LaneRead], *, now_ms: int) -> list[Taken]:
        """Read the heads of lanes with payloads, read right here: the loop does nothing else meanwhile.

        Deliveries whose events are gone are passed over.
        """
        heads = [self._head(read, now_ms) for read in reads]
        payloads = self._payloads.get([row[2] for rows, _ in heads for row in rows], most_bytes=TAKE_BYTES)
        if None in payloads.values():
            heads = [self._fill(read, *head, payloads, now_ms) for read, head in zip(reads, heads, strict=True)]
        # Only automations render requests.
        rendered = self._rendered(
            [row[0] for read, (rows, _) in zip(reads, heads, strict=True) if _is_automation(read) for row in rows]
        )
        return [_taken(read, rows, more, payloads, rendered) for read, (rows, more) in zip(reads, heads, strict=True)]

    def _head(self, read: LaneRead, now_ms: int) -> tuple[list[Any], bool]:
        """Read queue rows that are not held, going on behind those that are, and tell whether more are due."""
        rows: list[Any] = []
        after = read.after
        wanted = read.room + 1  # one too many shows that more are left
        limit = wanted if after is not None else wanted + len(read.held)
        if after is None and read.since_ms is not None:
            after = (read.since_ms, "")
        while True:
            if after is None:
                found = self._database.look(statement("take"), (read.shard, read.endpoint, now_ms, limit))
            else:
                found = self._database.look(statement("take_after"), (read.shard, read.endpoint, *after, now_ms, limit))
            rows += [row for row in found if row[0] not in read.held] if read.held else found
            if len(found) < limit or len(rows) >= wanted:
                return rows[: read.room], len(rows) > read.room
            after = (found[-1][1], found[-1][0])
            limit = wanted - len(rows)

    def _fill(
        self,
        read: LaneRead,
        rows: list[Any],
        more: bool,  # noqa: FBT001 - a column of the caller's table
        payloads: dict[str, Payload | None],
        now_ms: int,
    ) -> tuple[list[Any], bool]:
        """Drop rows whose events are gone and read on behind them, adding to the payloads."""
        kept = _not_gone(read, rows, payloads)
        gone = len(rows) - len(kept)
        while more and len(kept) < read.room:
            spare_bytes = TAKE_BYTES - sum(len(payload.body) for payload in payloads.values() if payload is not None)
            if spare_bytes <= 0:
                break
            # Where some are gone more may be: as many again are looked at together, or each would cost a read.
            room = read.room - len(kept) + min(gone, _MOST_GONE)
            rows, more = self._head(replace(read, room=room, after=(rows[-1][1], rows[-1][0])), now_ms)
            payloads |= self._payloads.get([row[2] for row in rows if row[2] not in payloads], most_bytes=spare_bytes)
            found = _not_gone(read, rows, payloads)
            kept += found
            gone += len(rows) - len(found)
        return kept[: read.room], more or len(kept) > read.room

    def _rendered(self, ids: Sequence[str]) -> dict[str, RenderedRequest]:
        return {
            delivery: to_rendered(shown, sealed, tells)
            for chunk in chunks(ids)
            for delivery, shown, sealed, tells in self._database.look(for_list("rendered", len(chunk)), list(chunk))
        }

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Apply outcomes."""
        return await self._database.write(lambda transaction: deliveries.settle(transaction, settlements))

    async def enqueue(self, delivery: NewDelivery) -> None:
        """Queue a delivery by hand."""
        await self._database.write(lambda transaction: deliveries.enqueue(transaction, delivery))

    async def cancel(self, delivery: str, reason: str) -> bool:
        """Take a pending delivery off the queue."""
        return await self._database.write(lambda transaction: deliveries.cancel(transaction, delivery, reason))

    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        """Read the oldest events that wait to be decided, and timers."""
        return undecided.take_decisions(self._database, shards, room=room, now_ms=now_ms, held=held, since_ms=since_ms)

    async def recall(self, wanted: Recall) -> Recalled:
        """Return what is remembered."""
        return undecided.recall(self._database, wanted)

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        """Commit what each event or timer changes."""
        return await self._database.write(lambda transaction: decisions.settle_decisions(transaction, decided))

    async def event_counts(self, profile: str) -> list[EventCount]:
        """Return a profile's counters, by type."""
        rows = self._database.look(
            "SELECT type, count, first_ms, last_ms FROM event_count WHERE profile = ? ORDER BY type",
            (profile,),
        )
        return [
            EventCount(profile=profile, type=name, count=count, first_ms=first_ms, last_ms=last_ms)
            for name, count, first_ms, last_ms in rows
        ]

    async def claimed(self, scope: str, key: str, *, now_ms: int) -> Claim | None:
        """Return an unexpired claim."""
        rows = self._database.look(statement("find_claim"), (scope, key, now_ms))
        if not rows:
            return None
        fingerprint, status, body, event, expires_ms = rows[0]
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
        """Delete expired claims."""
        return await self._database.write(
            lambda transaction: prune.forget_claims(transaction, now_ms=now_ms, most=most)
        )

    async def prune(self, *, before_ms: int, most: int) -> int:
        """Delete old journal rows."""
        first_delivery = first_id(DELIVERY, before_ms)
        return await self._database.write(
            lambda transaction: prune.prune(transaction, before_ms=before_ms, first_delivery=first_delivery, most=most)
        )


def _not_gone(read: LaneRead, rows: Sequence[Any], payloads: Mapping[str, Payload | None]) -> list[Any]:
    return [row for row in rows if _is_automation(read) or payloads.get(row[2], row) is not None]


def _is_automation(read: LaneRead) -> bool:
    return read.endpoint.startswith("auto_")


def _taken(
    read: LaneRead,
    rows: Sequence[Any],
    more: bool,  # noqa: FBT001 - a column of the caller's table
    payloads: Mapping[str, Payload | None],
    rendered: Mapping[str, RenderedRequest],
) -> Taken:
    """Put the rows of a lane whose events are not gone and payloads together, up to the first that was not read."""
    works: list[DeliveryWork] = []
    for identifier, due_ms, event, attempts, step, trigger in rows:
        payload = payloads.get(event)
        if payload is None and event in payloads and _is_automation(read):
            payload = GONE_PAYLOAD
        if payload is None:
            return Taken(works=works, more=True)
        works.append(
            DeliveryWork(
                id=identifier,
                shard=read.shard,
                endpoint=read.endpoint,
                due_ms=due_ms,
                event=event,
                attempts=attempts,
                step=step,
                trigger=_TRIGGERS[trigger],
                payload=payload,
                rendered=rendered.get(identifier),
            )
        )
    return Taken(works=works, more=more)
