"""The store in memory: the queue of decisions, firings and counters."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.records import Decided, DecisionWork, EligibilityKey, Event, EventCount, Firing
from posthorn.testing.memory_tables import TableReader, Undecided


class MemoryDecisions(TableReader):
    """Take and settle decision work; read firings and counters."""

    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork]:
        """Read undecided events by due, then id.

        The work's id is its event's; it is due at the instant when that was received.
        """
        due = [
            row
            for row in self._tables.undecided.values()
            if row.shard in shards and (since_ms or 0) <= row.due_ms <= now_ms and row.event not in held
        ]
        due.sort(key=lambda row: (row.due_ms, row.event))
        return [self._decision_work(row) for row in due[:room]]

    def _decision_work(self, row: Undecided) -> DecisionWork:
        # Retention never takes an undecided event, so it is there.
        event = self._tables.events[row.event].row
        request = self._tables.requests.get(event.request) if event.request is not None else None
        return DecisionWork(
            id=row.event,
            shard=row.shard,
            profile=row.profile,
            due_ms=row.due_ms,
            event=self._tables.with_payload(event),
            head=request.row.head if request is not None else None,
        )

    async def firings(self, keys: Sequence[EligibilityKey]) -> Mapping[EligibilityKey, Firing]:
        """Return what is remembered of these keys."""
        known = self._tables.firings
        return {key: known[key] for key in keys if key in known}

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        """Commit in order, each event's outcome whole or not at all. A firing replaces the older one."""
        applied = [self._decide_one(one) for one in decided]
        kept = [one for one, done in zip(decided, applied, strict=True) if done]
        self._tables.commit(
            decisions=[decision for one in kept for decision in one.decisions],
            deliveries=[delivery for one in kept for delivery in one.deliveries],
        )
        return applied

    def _decide_one(self, decided: Decided) -> bool:
        row = self._tables.undecided.get(decided.work.id)
        if row is None or not self._tables.holds(Stage.DECIDE, row.shard, decided.epoch):
            return False
        del self._tables.undecided[row.event]
        self._tables.firings |= dict(decided.firings)
        if decided.count:
            self._count(row.profile, self._tables.events[row.event].row)
        return True

    def _count(self, profile: str, event: Event) -> None:
        at_ms = event.occurred_ms
        new = EventCount(profile=profile, type=event.type, count=0, first_ms=at_ms, last_ms=at_ms)
        old = self._tables.counts.get((profile, event.type), new)
        self._tables.counts[profile, event.type] = replace(
            old, count=old.count + 1, first_ms=min(old.first_ms, at_ms), last_ms=max(old.last_ms, at_ms)
        )

    async def event_counts(self, profile: str) -> list[EventCount]:
        """Return the profile's counters in order of type."""
        counts = [count for count in self._tables.counts.values() if count.profile == profile]
        return sorted(counts, key=lambda count: count.type)
