"""`serve --workers`: several real processes on one folder, killed and ended at random; the promises stay the same."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import psutil
import pytest
from crash_load import ENDPOINTS, Load
from posthorn_process import LOOPBACK, Launch, Posthorn
from raw_http import Api
from recording_receiver import Receiver
from test_crash import LANES, Arrivals, check_stored, report

from posthorn.clock import SystemClock
from posthorn.engine.fairqueue import WIDEST_WINDOW
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.store import SqliteStore

pytestmark = pytest.mark.crash

WORKERS = 3
# A worker that ends five times right after its start ends all, so each of them is hit four times at most.
ROUNDS = min(int(os.environ.get("CRASH_ROUNDS", "20")) // 4 + 1, 4 * WORKERS)
SEED = int(os.environ.get("CRASH_SEED", "0")) or Random().randrange(1, 10**9)
IN_FORCE_SECONDS = 1.0
_DRAIN_SECONDS = 90.0
_LOOK_SECONDS = 0.02


@pytest.fixture
def served(launch: Launch) -> Posthorn:
    posthorn = launch(flags=(*LOOPBACK, "--workers", str(WORKERS)))
    report(f"seed {SEED}")
    posthorn.start()
    return posthorn


@pytest.fixture
def arrivals(receiver: Receiver) -> Arrivals:
    arrivals = Arrivals()
    for path in [*(f"/endpoint/{number}" for number in range(ENDPOINTS)), "/inbox", "/firing"]:
        receiver.behave(path, arrivals.behave)
    return arrivals


def workers_of(posthorn: Posthorn) -> list[psutil.Process]:
    return psutil.Process(posthorn.pid).children()


def oldest_of(posthorn: Posthorn) -> psutil.Process:
    return min(workers_of(posthorn), key=psutil.Process.create_time)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DRAIN_SECONDS):
        while not holds():  # noqa: ASYNC110 - other processes tell by nothing but what they did
            await asyncio.sleep(_LOOK_SECONDS)


async def set_up(load: Load, receiver: Receiver) -> None:
    await load.set_up(receiver)
    await asyncio.sleep(IN_FORCE_SECONDS)  # the promise is a time: until then, a worker may decide as it knew before


async def under_load(load: Load, random: Random, act: Callable[[], object]) -> None:
    """Send, and do something to the server meanwhile, at a moment that varies."""
    enough = asyncio.Event()
    loading = asyncio.create_task(load.run(enough))
    await asyncio.sleep(random.uniform(0.02, 1.2))  # the moment of a power cut is what this test varies
    act()
    await asyncio.sleep(random.uniform(0.02, 0.6))  # the others go on
    enough.set()
    await loading


async def drained(posthorn: Posthorn, load: Load) -> None:
    assert posthorn.is_running, posthorn.errors
    await load.end()
    with closing(sqlite3.connect(posthorn.data / DATABASE)) as connection:
        for queue in ("decision_work", "delivery"):
            count = f"SELECT count(*) FROM {queue}"
            await eventually(lambda count=count: connection.execute(count).fetchone() == (0,))
    assert (await asyncio.to_thread(posthorn.stop)).code == 0


async def check(data: Path, receiver: Receiver, load: Load) -> None:
    store = await SqliteStore.open(data, SystemClock())
    try:
        await check_stored(store, receiver, load)
    finally:
        await store.close()


def test_as_many_processes_serve_as_were_asked_for_and_all_end(served: Posthorn) -> None:
    workers = workers_of(served)
    assert len(workers) == WORKERS
    assert served.stop().code == 0
    assert [worker for worker in workers if worker.is_running()] == []


async def test_killed_workers_lose_nothing_and_double_nothing(
    served: Posthorn, receiver: Receiver, arrivals: Arrivals
) -> None:
    random = Random(SEED)
    load = Load(served, random)
    await set_up(load, receiver)
    for _ in range(ROUNDS):
        await eventually(lambda: len(workers_of(served)) == WORKERS)
        await under_load(load, random, lambda: oldest_of(served).kill())
    await drained(served, load)
    extra = sum(len(lives) - 1 for lives in arrivals.repeated())
    report(f"{ROUNDS} workers killed, {len(arrivals.taken)} delivered, {extra} repeated")
    assert extra <= ROUNDS * LANES * WIDEST_WINDOW
    await check(served.data, receiver, load)


async def test_workers_that_end_in_order_repeat_no_delivery(
    served: Posthorn, receiver: Receiver, arrivals: Arrivals
) -> None:
    random = Random(SEED)
    load = Load(served, random)
    await set_up(load, receiver)
    for _ in range(3):
        await eventually(lambda: len(workers_of(served)) == WORKERS)
        await under_load(load, random, lambda: oldest_of(served).terminate())
    await drained(served, load)
    assert arrivals.repeated() == []
    await check(served.data, receiver, load)


async def test_workers_do_not_outlive_the_process_that_started_them(served: Posthorn) -> None:
    workers = workers_of(served)
    await asyncio.to_thread(served.kill)
    gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, timeout=30)
    assert (len(gone), alive) == (WORKERS, [])
    await asyncio.to_thread(served.start)
    assert len(workers_of(served)) == WORKERS


async def test_what_one_worker_is_told_all_of_them_know_soon(served: Posthorn) -> None:
    """Each call may reach another worker: a connection for each finds one that does not know yet, if there is one."""
    async with Api(served) as api:
        application = (await api.post("/app", {"name": "Everywhere"}))["id"]
    for _ in range(WORKERS * 4):
        async with Api(served) as another:
            assert (await another.get(f"/app/{application}"))["name"] == "Everywhere"
