"""A process that writes to a shared data folder until it is killed, and says which of its events are durable."""

import asyncio
import os
import sys
from pathlib import Path

from posthorn.clock import SystemClock
from posthorn.engine.cluster import Stage
from posthorn.engine.records import LaneRead
from posthorn.engine.settlements import delivered
from posthorn.engine.shards import SHARDS, shard_of
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.factories import a_unit, an_attempt, an_event

TASKS = 3
UNITS = 20
PAYLOAD = b"p" * 4000  # large enough that the log is moved into the file while others write


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


async def append(store: SqliteStore, endpoint: str) -> None:
    clock = SystemClock()
    while True:
        events = [an_event(received_ms=clock.now_ms(), payload=PAYLOAD) for _ in range(UNITS)]
        await store.append([a_unit(event, endpoints=(endpoint,)) for event in events])
        say("stored", *(event.id for event in events))


async def deliver(store: SqliteStore, node: str, endpoint: str) -> None:
    """Settle what is due at an endpoint of this process, as its owner."""
    clock = SystemClock()
    shard = shard_of(endpoint)
    now_ms = clock.now_ms()
    leases = await store.lease(node, Stage.DELIVER, now_ms=now_ms, until_ms=now_ms + 3_600_000, most=SHARDS)
    epochs = {lease.shard: lease.epoch for lease in leases}
    await store.release(node, Stage.DELIVER, [other for other in epochs if other != shard])
    while shard in epochs:
        read = LaneRead(shard=shard, endpoint=endpoint, room=UNITS)
        [taken] = await store.take([read], now_ms=clock.now_ms())
        attempts = [an_attempt(work, started_ms=clock.now_ms()) for work in taken.works]
        settled = await store.settle(
            [delivered(work, epochs[shard], attempt) for work, attempt in zip(taken.works, attempts, strict=True)]
        )
        assert all(settled)
        say("stored", *(attempt.id for attempt in attempts))


async def write(folder: Path, node: str) -> None:
    store = await SqliteStore.open(folder, SystemClock(), shared=True)
    endpoint = f"ep_{node}"
    say("open")
    await asyncio.gather(*(append(store, endpoint) for _ in range(TASKS)), deliver(store, node, endpoint))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2]))
