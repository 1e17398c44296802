"""Deliveries whose events are gone: they never come, and nothing behind them has to wait for that."""

import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from itertools import chain
from pathlib import Path

import asyncpg
import pytest

from posthorn import ids
from posthorn.engine.lanes import lane_shard
from posthorn.engine.ports import TAKE_BYTES, Store
from posthorn.engine.records import GONE_PAYLOAD, Event, LaneRead, NewDelivery, Taken
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import ENDPOINT, OTHER_ENDPOINT, a_delivery, a_unit
from posthorn.testing.memory import MemoryStore

_BIG_BYTES = 3 * 1024 * 1024
_TWO_HOURS_SECONDS = 2 * 3600


class Place:
    """Where a store keeps its rows, from which events can be torn out."""

    def __init__(self, folder: Path, dsn: str | None) -> None:
        self._folder = folder
        self._dsn = dsn

    async def open(self, clock: ManualClock) -> Store:
        if self._dsn is not None:
            return await PostgresStore.open(self._dsn, clock)
        return await SqliteStore.open(self._folder, clock)

    async def tear_out(self, events: Sequence[str]) -> None:
        if self._dsn is not None:
            connection = await asyncpg.connect(self._dsn)
            await connection.execute("DELETE FROM event WHERE id = ANY ($1::text[])", list(events))
            await connection.close()
            return
        connection = sqlite3.connect(self._folder / DATABASE)
        connection.executemany("DELETE FROM event WHERE id = ?", [(event,) for event in events])
        connection.commit()
        connection.close()


class Ruin:
    """A world in which events get lost that deliveries still wait for."""

    def __init__(self, place: Place, world: World) -> None:
        self._place = place
        self.world = world

    async def queue(self, count: int, *, endpoint: str = ENDPOINT, payload: bytes = b"{}") -> list[NewDelivery]:
        """Queue deliveries of an event each, one behind the other."""
        units = []
        for _ in range(count):
            event = self.world.event(payload=payload)
            units.append(a_unit(event, deliveries=(a_delivery(event, endpoint=endpoint),)))
        await self.world.append(*units)
        return [unit.deliveries[0] for unit in units]

    async def lose(self, deliveries: Sequence[NewDelivery]) -> None:
        """Lose the events of these deliveries, and whatever the store remembers of any event."""
        await self.world.store.close()
        await self._place.tear_out([delivery.event for delivery in deliveries])
        self.world.store = await self._place.open(self.world.clock)

    async def take(self, *reads: LaneRead) -> list[Taken]:
        return await self.world.store.take(reads, now_ms=self.world.now_ms)

    async def deliver_all(self, endpoint: str = ENDPOINT) -> list[list[str]]:
        """Take and deliver until nothing more is left; what each take brought."""
        brought: list[list[str]] = []
        for _ in range(50):
            (taken,) = await self.take(_read(endpoint))
            brought.append(_ids(taken))
            await self.world.settle(*(self.world.delivered(work) for work in taken.works))
            if not taken.more:
                return brought
        pytest.fail("the lane does not come to an end")


def _read(endpoint: str = ENDPOINT, room: int = 100, **fields: object) -> LaneRead:
    return LaneRead(shard=lane_shard(endpoint), endpoint=endpoint, room=room, **fields)


def _ids(taken: Taken) -> list[str]:
    return [work.id for work in taken.works]


def _named(deliveries: Sequence[NewDelivery]) -> list[str]:
    return [delivery.id for delivery in deliveries]


@pytest.fixture(params=["postgres", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.getfixturevalue("postgres18_dsn") if request.param == "postgres" else None)


@pytest.fixture
async def ruin(place: Place) -> AsyncIterator[Ruin]:
    clock = ManualClock()
    world = World(await place.open(clock), clock)
    await world.own()
    yield Ruin(place, world)
    await world.store.close()


@pytest.mark.parametrize("room", [1, 2, 3, 4, 5, 100])
async def test_what_stands_behind_deliveries_whose_events_are_gone_comes(ruin: Ruin, room: int) -> None:
    lane = await ruin.queue(7)
    await ruin.lose(lane[:4])
    (taken,) = await ruin.take(_read(room=room))
    assert _ids(taken) == _named(lane[4:])[:room]
    assert taken.more or room >= 3
    assert not taken.more or room <= 3


@pytest.mark.parametrize("room", [1, 4, 100])
async def test_a_lane_of_which_all_events_are_gone_is_at_its_end(ruin: Ruin, room: int) -> None:
    lane = await ruin.queue(4)
    theirs = await ruin.queue(2, endpoint=OTHER_ENDPOINT)
    await ruin.lose(lane)
    mine, other = await ruin.take(_read(room=room), _read(OTHER_ENDPOINT))
    assert (mine.works, mine.more) == ([], False)
    assert (_ids(other), other.more) == (_named(theirs), False)


async def test_a_delivery_whose_event_comes_into_sight_again_is_still_there(ruin: Ruin) -> None:
    lane = await ruin.queue(2)
    (event,) = [work.event for work in (await ruin.take(_read(room=1)))[0].works]
    await ruin.lose(lane[:1])
    assert [_ids(taken) for taken in await ruin.take(_read())] == [[lane[1].id]]
    await ruin.world.append(a_unit(ruin.world.event(id=event), deliveries=()))
    assert [_ids(taken) for taken in await ruin.take(_read())] == [_named(lane)]


async def test_whichever_events_are_gone_each_read_brings_the_first_of_the_others(ruin: Ruin) -> None:
    chance = random.Random(7)
    lanes = {endpoint: await ruin.queue(24, endpoint=endpoint) for endpoint in (ENDPOINT, OTHER_ENDPOINT)}
    lost = {row.id: row for lane in lanes.values() for row in lane if chance.random() < 0.6}
    await ruin.lose(list(lost.values()))
    for _ in range(60):
        reads, expected = [], []
        for endpoint in chance.choices(list(lanes), k=3):
            lane = lanes[endpoint]
            start = chance.choice([0, 0, chance.randrange(24)])
            held = frozenset(row.id for row in lane if row.id not in lost and chance.random() < 0.3)
            after = (lane[start - 1].due_ms, lane[start - 1].id) if start else None
            reads.append(_read(endpoint, room=chance.choice([1, 2, 3, 5, 24]), held=held, after=after))
            expected.append([row.id for row in lane[start:] if row.id not in lost and row.id not in held])
        for read, taken, due in zip(reads, await ruin.take(*reads), expected, strict=True):
            assert _ids(taken) == due[: read.room]
            assert taken.more or len(due) <= read.room
            assert not taken.more or len(due) >= read.room


async def test_many_that_are_gone_do_not_cost_a_read_each(ruin: Ruin) -> None:
    lane = await ruin.queue(1500)
    await ruin.lose(lane[:-2])
    before = ruin.world.store.figures()["statements"]
    (taken,) = await ruin.take(_read(room=1))
    assert _ids(taken) == [lane[-2].id]
    assert ruin.world.store.figures()["statements"] - before < 60


@pytest.mark.parametrize("gone", [(0,), (0, 1, 4, 6), (3, 4), (0, 2, 4, 6, 7)])
async def test_payloads_that_are_cut_by_size_hide_none_that_are_gone(ruin: Ruin, gone: tuple[int, ...]) -> None:
    lane = await ruin.queue(8, payload=b"\x00" * _BIG_BYTES)
    await ruin.lose([lane[number] for number in gone])
    brought = await ruin.deliver_all()
    # Each take comes forward as far as its bytes go: none brings nothing, and none passes over what was left out.
    assert list(chain.from_iterable(brought)) == [row.id for number, row in enumerate(lane) if number not in gone]
    assert all(1 <= len(each) <= 3 for each in brought[:-1])


async def test_one_that_is_not_where_its_id_says_is_not_taken_for_gone_when_bytes_run_out(ruin: Ruin) -> None:
    world = ruin.world
    payload = b"\x00" * _BIG_BYTES
    future_ms = world.now_ms + 1000 * _TWO_HOURS_SECONDS
    odd: list[Event] = [world.event(id=ids.new_id(ids.EVENT, future_ms + n), payload=payload) for n in range(2)]
    early = [a_delivery(event) for event in odd]
    await world.append(*(a_unit(e, deliveries=(d,)) for e, d in zip(odd, early, strict=True)))
    world.later(_TWO_HOURS_SECONDS)
    lane = early + await ruin.queue(5, payload=payload)
    await ruin.lose([lane[0], lane[2]])
    assert list(chain.from_iterable(await ruin.deliver_all())) == _named([lane[1], *lane[3:]])


async def test_bytes_that_were_read_count_when_a_lane_is_read_on(ruin: Ruin) -> None:
    lane = await ruin.queue(6, payload=b"\x00" * _BIG_BYTES)
    await ruin.lose([lane[0], lane[2]])
    (taken,) = await ruin.take(_read(room=4))
    assert sum(len(work.payload.body) for work in taken.works) < TAKE_BYTES + _BIG_BYTES
    assert (_ids(taken), taken.more) == (_named([lane[1], *lane[3:5]]), True)


async def test_the_store_in_memory_passes_over_them_too() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    world = World(store, clock)
    events = [await world.publish() for _ in range(3)]
    del store._tables.events[events[0].id]
    (taken,) = await store.take([_read(room=2)], now_ms=world.now_ms)
    assert ([work.event for work in taken.works], taken.more) == ([event.id for event in events[1:]], False)


async def test_what_an_automation_rendered_comes_though_its_event_is_gone(ruin: Ruin) -> None:
    lane = await ruin.queue(3, endpoint="auto_1/example.test")
    theirs = await ruin.queue(1)
    await ruin.lose([*lane[:2], *theirs])
    mine, other = await ruin.take(_read("auto_1/example.test"), _read())
    assert _ids(mine) == _named(lane)
    assert [work.payload == GONE_PAYLOAD for work in mine.works] == [True, True, False]
    assert other.works == []
