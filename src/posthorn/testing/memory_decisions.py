"""The store in memory: the queue of decisions and timers, and what settling them changes."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.profiles import workspace_of
from posthorn.engine.records import Decided, DecisionWork, Event, EventCount, Firing, NewEvent
from posthorn.engine.runs import Timer
from posthorn.engine.shards import shard_of
from posthorn.testing.memory_tables import TableReader, Undecided


class MemoryDecisions(TableReader):
    """Take and settle decision work and timers; read counters."""

    async def take_decisions(
        self, shards: Sequence[int], *, room: int, now_ms: int, held: AbstractSet[str], since_ms: int | None = None
    ) -> list[DecisionWork | Timer]:
        """Read undecided events and timers by due, then id.

        The work of an event has the event's id; it is due at the instant when that was received.
        """

        def is_due(row: Undecided | Timer) -> bool:
            return row.shard in shards and (since_ms or 0) <= row.due_ms <= now_ms and row.id not in held

        queue: list[Undecided | Timer] = [*self._tables.undecided.values(), *self._tables.timers.values()]
        rows = list(filter(is_due, queue))
        rows.sort(key=lambda row: (row.due_ms, row.id))
        return [self._decision_work(row) if isinstance(row, Undecided) else row for row in rows[:room]]

    def _decision_work(self, row: Undecided) -> DecisionWork:
        # Retention never takes an undecided event, so it is there.
        event = self._tables.events[row.id].row
        request = self._tables.requests.get(event.request) if event.request is not None else None
        return DecisionWork(
            id=row.id,
            shard=row.shard,
            profile=row.profile,
            due_ms=row.due_ms,
            event=self._tables.with_payload(event),
            head=request.row.head if request is not None else None,
        )

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        """Commit in order, each outcome whole or not at all; each finds what those before it in the batch left.

        The row of an event or a timer is unchanged while it has the same due in the same shard. Within one outcome the
        unwanted timers go before the new ones are queued, and what it absorbs is added to what it put and counted.
        Emitted events are numbered before the decisions of the batch. A delivery may be of an event that is gone.
        """
        applied = [self._decide_one(one) for one in decided]
        kept = [one for one, done in zip(decided, applied, strict=True) if done and one.moved_to is None]
        self._tables.commit(
            events=[new.event for one in kept for new in one.events],
            decisions=[decision for one in kept for decision in one.decisions],
        )
        for one in kept:
            workspace = workspace_of(one.work.profile)
            for delivery in one.deliveries:
                self._tables.deliveries[delivery.id] = self._tables.new_delivery(delivery, workspace=workspace)
        return applied

    def _decide_one(self, decided: Decided) -> bool:
        work = decided.work
        queue: dict[str, Undecided] | dict[str, Timer] = (
            self._tables.timers if isinstance(work, Timer) else self._tables.undecided
        )
        row = queue.get(work.id)
        if row is None or (row.shard, row.due_ms) != (work.shard, work.due_ms):
            return False
        if not self._tables.holds(Stage.DECIDE, row.shard, decided.epoch):
            return False
        if decided.moved_to is not None:
            moved = replace(row, profile=decided.moved_to, shard=shard_of(decided.moved_to))
            queue[row.id] = moved  # type: ignore[assignment]  # a row of the same kind
            return True
        del queue[row.id]
        self._put(decided)
        if decided.absorbs is not None:
            self._absorb(decided.absorbs, row.profile)
        return True

    def _put(self, decided: Decided) -> None:
        tables = self._tables
        tables.firings |= dict(decided.firings)
        if decided.count and isinstance(decided.work, DecisionWork):
            self._count(decided.work.profile, tables.events[decided.work.id].row)
        tables.profiles |= {profile.key: profile for profile in decided.profiles}
        for member in decided.memberships:
            tables.members.pop((member.segment, member.profile), None)
            if member.is_in:
                tables.members[member.segment, member.profile] = member.since_ms
        tables.runs |= {run.id: run for run in decided.runs}
        for timer in decided.unwanted:
            tables.timers.pop(timer, None)
        tables.timers |= {timer.id: timer for timer in decided.timers}
        tables.undecided |= {new.event.id: _undecided(new) for new in decided.events if new.profile is not None}

    def _count(self, profile: str, event: Event) -> None:
        at_ms = event.occurred_ms
        self._add(EventCount(profile=profile, type=event.type, count=1, first_ms=at_ms, last_ms=at_ms))

    def _add(self, more: EventCount) -> None:
        place = (more.profile, more.type)
        old = self._tables.counts.get(place)
        self._tables.counts[place] = (
            more
            if old is None
            else replace(
                old,
                count=old.count + more.count,
                first_ms=min(old.first_ms, more.first_ms),
                last_ms=max(old.last_ms, more.last_ms),
            )
        )

    def _absorb(self, old: str, profile: str) -> None:
        tables = self._tables
        for place in [place for place in tables.counts if place[0] == old]:
            self._add(replace(tables.counts.pop(place), profile=profile))
        for key in [key for key in tables.firings if key.profile == old]:
            more, theirs = tables.firings.pop(key), replace(key, profile=profile)
            known = tables.firings.get(theirs, Firing(times=0, last_ms=more.last_ms))
            tables.firings[theirs] = Firing(times=known.times + more.times, last_ms=max(known.last_ms, more.last_ms))

    async def event_counts(self, profile: str) -> list[EventCount]:
        """Return the profile's counters in order of type."""
        counts = [count for count in self._tables.counts.values() if count.profile == profile]
        return sorted(counts, key=lambda count: count.type)


def _undecided(new: NewEvent) -> Undecided:
    assert new.profile is not None  # noqa: S101 - the caller asks only for these
    return Undecided(event=new.event.id, shard=shard_of(new.profile), profile=new.profile, due_ms=new.event.received_ms)
