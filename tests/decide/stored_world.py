"""The deciding side over each of the stores: what it shows was read through the ports, after every turn."""

from collections.abc import Sequence
from typing import Any

import msgspec
from deciding_world import World

from posthorn.decide.footprints import track_of
from posthorn.engine.journal import DecisionQuery
from posthorn.engine.people import Profile, ProfileQuery
from posthorn.engine.ports import Store
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Decided, Decision, DeliveryWork, Event, LaneRead, OutgoingRequest
from posthorn.engine.runs import Run, RunQuery, Timer
from posthorn.engine.shards import SHARDS
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import WORKSPACE
from posthorn.testing.memory import MemoryStore

_EVERY_SHARD = list(range(SHARDS))
_FOREVER_MS = 9_000_000_000_000
_PAGE = 250


class _Noting:
    """A store that notes in which order deliveries were queued: ids of one instant are in no order."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.order: dict[str, int] = {}

    async def settle_decisions(self, decided: Sequence[Decided]) -> list[bool]:
        applied: list[bool] = await super().settle_decisions(decided)  # type: ignore[misc]
        for one, is_applied in zip(decided, applied, strict=True):
            for delivery in one.deliveries if is_applied else ():
                self.order[delivery.id] = len(self.order)
        return applied


class NotingMemory(_Noting, MemoryStore):
    """The store in memory."""


class NotingSqlite(_Noting, SqliteStore):
    """The embedded store."""


class NotingPostgres(_Noting, PostgresStore):
    """The store of many nodes."""


class StoredWorld(World):
    """A world that knows nothing of a store but its ports."""

    def __init__(self, store: Any, clock: ManualClock) -> None:
        super().__init__(store, clock)
        self._runs: list[Run] = []
        self._decisions: list[Decision] = []
        self._people: dict[str, Profile] = {}
        self._queued: dict[str, DeliveryWork] = {}

    async def decide_all(self) -> None:
        await super().decide_all()
        await self.read()

    async def read(self) -> None:
        """Read what there is now. What leaves the queue of deliveries stays known."""
        store: Store = self.store
        self._runs = await _runs(store)
        self._decisions = await _decisions(store)
        self._people = {person.key: person for person in await _people(store)}
        ready = await store.ready(_EVERY_SHARD, after_ms=None, now_ms=_FOREVER_MS)
        reads = [LaneRead(shard=lane.shard, endpoint=lane.endpoint, room=1000) for lane in ready]
        for taken in await store.take(reads, now_ms=_FOREVER_MS):
            self._queued |= {work.id: work for work in taken.works}

    async def timers(self) -> list[Timer]:
        """List what will wake, with what is due much later."""
        works = await self.store.take_decisions(_EVERY_SHARD, room=1000, now_ms=_FOREVER_MS, held=frozenset())
        return [work for work in works if isinstance(work, Timer)]

    async def members(self, segment: str) -> list[str]:
        """List who is in a segment, by user id."""
        return [person.user for person in await _people(self.store, segment)]

    def all_runs(self) -> list[Run]:
        return self._runs

    def runs(self) -> list[tuple[str, str]]:
        return sorted((run.key, run.state.value) for run in self._runs)

    def footprints(self) -> list[str]:
        [run] = self._runs
        return [footprint.what for footprint in track_of(run).path]

    def person(self, user: str = "u1") -> Profile:
        return self._people[user_profile(WORKSPACE, user)]

    def decisions(self, event: Event | None = None) -> list[Decision]:
        return [row for row in self._decisions if event is None or row.event == event.id]

    def deliveries(self) -> list[DeliveryWork]:
        """List what was queued, in that order."""
        order = self.store.order
        return [self._queued[name] for name in sorted(self._queued, key=order.__getitem__)]

    def requests(self) -> list[OutgoingRequest]:
        shown = [work.rendered.shown for work in self.deliveries() if work.rendered is not None]
        return [msgspec.json.decode(one, type=OutgoingRequest) for one in shown]


async def _runs(store: Store) -> list[Run]:
    rows: list[Run] = []
    more = True
    while more:
        after = rows[-1].id if rows else None
        page = await store.runs(RunQuery(workspace=WORKSPACE, after=after, limit=_PAGE))
        rows, more = [*rows, *page.runs], page.more
    return rows


async def _people(store: Store, segment: str | None = None) -> list[Profile]:
    rows: list[Profile] = []
    more = True
    while more:
        after = rows[-1].user if rows else None
        query = ProfileQuery(workspace=WORKSPACE, segment=segment, after=after, limit=_PAGE)
        page = await store.profiles(query)
        rows, more = [*rows, *page.profiles], page.more
    return rows


async def _decisions(store: Store) -> list[Decision]:
    rows: list[Decision] = []
    done = False
    while not done:
        after = rows[-1].id if rows else None
        page = await store.decisions(DecisionQuery(workspace=WORKSPACE, ascending=True, after=after, limit=_PAGE))
        rows, done = [*rows, *page.rows], page.done
    return rows
