"""Long random histories on the real stores, with crashes, end as the reference model says.

EXACTNESS_EVENTS says how many events and lets each run draw its history, EXACTNESS_SEED draws that one again.
"""

import os
import secrets
from pathlib import Path

import pytest
from exact_nodes import SteppingClock
from exact_world import ExactWorld
from random_histories import Happen, SeededDice, a_move, an_event
from random_rules import KINDS, some_rules

from posthorn.engine.ports import Store
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.memory import MemoryStore

pytestmark = pytest.mark.exactness

_SMALL = 3_000
EVENTS = int(os.environ.get("EXACTNESS_EVENTS", _SMALL))
_USERS = 12  # at a time; now and then the first of them leaves, and a new one comes
_EVENTS_OF_A_USER = 40
_EVENTS_OF_RULES = 2_000  # then other rules come into force, so that many are tried
_MOST_IN_MEMORY = 5_000  # that store looks through all rows for each answer


def _seed() -> int:
    drawn = secrets.randbelow(1_000_000) if EVENTS != _SMALL else 1
    return int(os.environ.get("EXACTNESS_SEED", drawn))


async def _go_through(store: Store, clock: SteppingClock, seed: int, most: int = EVENTS) -> None:
    print(f"EXACTNESS_SEED={seed} EXACTNESS_EVENTS={most}")  # noqa: T201 - what is needed to see a failure again
    dice = SeededDice(seed)
    world = ExactWorld(store, clock, some_rules(dice))
    await world.begin()
    events = generation = 0
    while events < most:
        if events // _EVENTS_OF_RULES > generation:
            generation += 1
            await world.renew_rules(some_rules(dice, generation))
        move = a_move(dice, _USERS, len(KINDS), first=events // _EVENTS_OF_A_USER)
        await world.go_through(move)
        if isinstance(move, Happen):
            more = dice.pick((0, 0, 4, 25))
            for _ in range(more):
                user = events // _EVENTS_OF_A_USER + dice.upto(_USERS - 1)
                await world.go_through(an_event(dice, user))
            events += 1 + more
    await world.settle_down()
    judge = world.judge
    found = (judge.works, len(judge.decisions), len(judge.runs), len(judge.deliveries))
    print("%d works, %d decisions, %d runs, %d requests" % found)  # noqa: T201, UP031 - the measure of the test
    assert len(judge.deliveries) > most // 20


async def test_a_long_history_on_the_store_in_memory_ends_as_the_model_says() -> None:
    clock = SteppingClock()
    await _go_through(MemoryStore(clock), clock, _seed(), min(EVENTS, _MOST_IN_MEMORY))


async def test_a_long_history_on_sqlite_ends_as_the_model_says(tmp_path: Path) -> None:
    clock = SteppingClock()
    store = await SqliteStore.open(tmp_path, clock)
    try:
        await _go_through(store, clock, _seed())
    finally:
        await store.close()


async def test_a_long_history_on_postgresql_ends_as_the_model_says(postgres18_dsn: str) -> None:
    clock = SteppingClock()
    store = await PostgresStore.open(postgres18_dsn, clock)
    try:
        await _go_through(store, clock, _seed())
    finally:
        await store.close()
