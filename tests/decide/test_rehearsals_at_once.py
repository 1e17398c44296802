"""Simulations share the process with everything else: few at a time, and none that nobody waits for."""

import asyncio
from typing import Any

import pytest
from deciding_world import World
from rehearsing_desk import rehearsing

from posthorn.engine.flows import Once
from posthorn.engine.journal import EventQuery, Page
from posthorn.engine.records import Event, Recall, Recalled
from posthorn.manage.rehearsals import SimulationOf
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import WORKSPACE
from posthorn.testing.memory import MemoryStore


class SlowStore(MemoryStore):
    """Answers when it is let to."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.paging, self.recalling, self.asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.paging.set()
        self.recalling.set()
        self.pages = 0
        self.recalls = 0

    async def events(self, query: EventQuery) -> Page[Event]:
        self.pages += 1
        await self.paging.wait()
        return await super().events(query)

    async def recall(self, wanted: Recall) -> Recalled:
        self.recalls += 1
        self.asked.set()
        await self.recalling.wait()
        return await super().recall(wanted)


async def prepared(users: int) -> tuple[World, Any]:
    clock = ManualClock()
    store = SlowStore(clock)
    world = World(store, clock)
    await world.automation(eligibility=Once())
    for number in range(users):
        await world.happen(user=f"u{number}")
    await world.decide_all()
    store.recalls = 0
    store.asked.clear()
    return world, store


async def test_two_simulations_are_made_at_a_time_and_the_others_wait() -> None:
    world, store = await prepared(1)
    _, rehearsals = rehearsing(world)
    store.paging.clear()
    asked = [asyncio.ensure_future(rehearsals.simulate(WORKSPACE, "auto_1", SimulationOf())) for _ in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert store.pages == 2
    store.paging.set()
    assert [found.requests for found in await asyncio.gather(*asked)] == [1] * 5


async def test_a_simulation_that_nobody_waits_for_any_more_ends() -> None:
    world, store = await prepared(600)
    _, rehearsals = rehearsing(world)
    store.recalling.clear()
    asked = asyncio.ensure_future(rehearsals.simulate(WORKSPACE, "auto_1", SimulationOf()))
    await store.asked.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    store.recalling.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # it waits for the thread
    assert store.recalls == 3  # twice for the people, and for the first of three lots of events
