"""The delivery queue: which lanes are ready, and what stands at their heads."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import takewhile
from typing import Any

from posthorn.engine.ports import TAKE_BYTES
from posthorn.engine.records import (
    GONE_PAYLOAD,
    DeliveryWork,
    LaneRead,
    Payload,
    ReadyEndpoint,
    RenderedRequest,
    Taken,
    Trigger,
)
from posthorn.storage.people_rows import to_rendered
from posthorn.storage.postgres.database import Database
from posthorn.storage.postgres.payloads import Payloads
from posthorn.storage.postgres.statements import columns, statement

_TRIGGERS = {trigger.value: trigger for trigger in Trigger}
_BEFORE_ALL = (-(2**63), "")
_AUTOMATION = "auto_"
_MOST_GONE = 1000  # how far one read looks behind deliveries that cannot be made


async def ready(database: Database, shards: Sequence[int], *, after_ms: int | None, now_ms: int) -> list[ReadyEndpoint]:
    """List lanes with deliveries that became due in a window, or with any due one."""
    if not shards:
        return []
    name = "ready_all" if after_ms is None else "ready_window"
    bounds = (now_ms,) if after_ms is None else (after_ms, now_ms)
    database.count(1)
    rows = await database.look(lambda connection: connection.fetch(statement(name), list(shards), *bounds))
    return [ReadyEndpoint(shard=shard, endpoint=endpoint, due_ms=due_ms) for shard, endpoint, due_ms in rows]


async def take(database: Database, payloads: Payloads, reads: Sequence[LaneRead], *, now_ms: int) -> list[Taken]:
    """Read the heads of lanes, then the payloads that are not in memory, then what automations rendered.

    Deliveries whose events are gone are passed over. They stay: an event can be out of sight for a moment.
    """
    heads = _Heads(database, reads, now_ms)
    bodies: dict[str, Payload] = {}
    spare_bytes = TAKE_BYTES
    while spare_bytes > 0 and await heads.read():
        events = [row["event"] for head in heads.rows for row in head if row["event"] not in bodies]
        found = await payloads.get(events, most_bytes=spare_bytes)
        bodies |= found.of
        spare_bytes -= found.size_bytes
        heads.keep(bodies, found.left_out)
    rendered = await _rendered(database, reads, heads.rows)
    return [
        Taken(works=_works(read, head, bodies, rendered), more=more)
        for read, head, more in zip(reads, heads.rows, heads.more, strict=True)
    ]


def _works(
    read: LaneRead, head: Sequence[Any], bodies: Mapping[str, Payload], rendered: Mapping[str, RenderedRequest]
) -> list[DeliveryWork]:
    return [
        DeliveryWork(
            id=identifier,
            shard=read.shard,
            endpoint=read.endpoint,
            due_ms=due_ms,
            event=event,
            attempts=attempts,
            step=step,
            trigger=_TRIGGERS[trigger],
            payload=bodies.get(event, GONE_PAYLOAD),
            rendered=rendered.get(identifier),
        )
        for _, identifier, due_ms, event, attempts, step, trigger in head
    ]


class _Heads:
    """The queue rows of each read, without those that are held."""

    def __init__(self, database: Database, reads: Sequence[LaneRead], now_ms: int) -> None:
        self._database = database
        self._reads = reads
        self._now_ms = now_ms
        self._fronts = [_BEFORE_ALL if read.since_ms is None else (read.since_ms, "") for read in reads]
        self._after = [read.after or front for read, front in zip(reads, self._fronts, strict=True)]
        self._gone = [0] * len(reads)
        self.rows: list[list[Any]] = [[] for _ in reads]
        self.more = [True] * len(reads)

    async def read(self) -> bool:
        """Read until each lane has its room filled or has no more. False when that was so before."""
        left = self._unfilled()
        if not left:
            return False
        while left:
            await self._read_on(left)
            left = self._unfilled()
        return True

    def keep(self, bodies: Mapping[str, Payload], left_out: AbstractSet[str]) -> None:
        """Drop deliveries whose events are gone, and end each lane before the first payload that was left out.

        Nothing may come from behind it: whoever goes on behind the last one would pass it over.
        """
        for number, rows in enumerate(self.rows):
            reached = list(takewhile(lambda row: row["event"] not in left_out, rows)) if left_out else rows
            is_rendered = self._reads[number].endpoint.startswith(_AUTOMATION)
            kept = [row for row in reached if is_rendered or row["event"] in bodies]
            self._gone[number] += len(reached) - len(kept)
            self.more[number] = self.more[number] or len(reached) < len(rows)
            self.rows[number] = kept
            self._trim(number, self._reads[number].room)

    def _unfilled(self) -> list[int]:
        return [
            number
            for number, read in enumerate(self._reads)
            if self.more[number] and len(self.rows[number]) < read.room
        ]

    async def _read_on(self, numbers: Sequence[int]) -> None:
        limits = [self._limit(number) for number in numbers]
        wishes = [
            (self._reads[n].shard, self._reads[n].endpoint, *self._after[n], limit)
            for n, limit in zip(numbers, limits, strict=True)
        ]
        lanes = columns(tuple, wishes, 5)
        self._database.count(1)
        found = await self._database.look(lambda connection: connection.fetch(statement("take"), *lanes, self._now_ms))
        of_lane: list[list[Any]] = [[] for _ in numbers]
        for row in found:
            of_lane[row["nth"] - 1].append(row)
        for number, limit, rows in zip(numbers, limits, of_lane, strict=True):
            self._add(number, limit, rows)

    def _limit(self, number: int) -> int:
        """Ask for as many as there is room for, and at the front of the lane for those that are held as well."""
        held = len(self._reads[number].held) if self._after[number] is self._fronts[number] else 0
        return self._most(number) - len(self.rows[number]) + held

    def _most(self, number: int) -> int:
        # Where some are gone more may be: as many again are looked at together, or each would cost a read.
        return self._reads[number].room + min(self._gone[number], _MOST_GONE)

    def _add(self, number: int, limit: int, rows: list[Any]) -> None:
        held = self._reads[number].held
        self.more[number] = len(rows) == limit
        if rows:
            self._after[number] = (rows[-1]["due_ms"], rows[-1]["id"])
        self.rows[number] += [row for row in rows if row["id"] not in held]
        self._trim(number, self._most(number))

    def _trim(self, number: int, most: int) -> None:
        """Leave some for later. Who reads on does so behind the last one kept."""
        kept = self.rows[number]
        if len(kept) > most:
            del kept[most:]
            self.more[number] = True
            self._after[number] = (kept[-1]["due_ms"], kept[-1]["id"])


async def _rendered(
    database: Database, reads: Sequence[LaneRead], heads: Sequence[Sequence[Any]]
) -> dict[str, RenderedRequest]:
    wanted = [
        row["id"]
        for read, head in zip(reads, heads, strict=True)
        if read.endpoint.startswith(_AUTOMATION)
        for row in head
    ]
    if not wanted:
        return {}
    database.count(1)
    rows = await database.look(lambda connection: connection.fetch(statement("rendered"), wanted))
    return {delivery: to_rendered(shown, sealed, tells) for delivery, shown, sealed, tells in rows}
