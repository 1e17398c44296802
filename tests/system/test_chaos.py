"""Nodes, servers, networks and clocks break under load: nothing promised is lost, nothing counts twice."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from chaos_checks import LANES, Arrivals, check_everything, count_decisions
from chaos_cluster import LEASE_SECONDS, Cluster, cluster
from chaos_load import Load
from raw_http import Api, eventually
from recording_receiver import Receiver
from separate_network import NEEDS, SeparateNetwork, can_separate, separate_network

from posthorn.engine.fairqueue import WIDEST_WINDOW
from posthorn.engine.shards import SHARDS
from posthorn.storage.postgres.store import PostgresStore

pytestmark = pytest.mark.chaos

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or Random().randrange(1, 10**9)
CUT_SECONDS = 12.0
PAUSE_SECONDS = LEASE_SECONDS + 1.5
CLOCK_OFF_SECONDS = 300
_RECOVERY_SECONDS = 60.0
_DRAIN_SECONDS = 90.0
_DECIDED_SECONDS = 20.0

Fault = Callable[[], Awaitable[None]]


class World:
    """A cluster, the load on it, and where its webhooks arrive."""

    def __init__(self, cluster: Cluster, receiver: Receiver) -> None:
        self.random = Random(SEED)
        self.cluster = cluster
        self.receiver = receiver
        self.arrivals = Arrivals(receiver)
        self.load = Load(cluster.servers, self.random)

    async def run(self, what: str, fault: Fault) -> None:
        """Break and mend under load, several times; check everything after each."""
        for number in range(ROUNDS):
            before, since = self.arrivals.extra, time.monotonic()
            async with self.load.running():
                await self._works_everywhere()
                await asyncio.sleep(self.random.uniform(0.0, 1.0))  # the moment of the fault is what this test varies
                self.arrivals.mark_fault(self.load.new_phase())
                await fault()
                mended_at = time.monotonic()
                await self._works_everywhere(mark=False)
                recovered = sorted(self.arrivals.recovered.values())
            await self._finish()
            extra = self.arrivals.extra - before
            report(
                f"{what}, round {number + 1} of {ROUNDS}, seed {SEED}: mended after "
                f"{mended_at - self.arrivals.fault_at:.1f} s; first delivery of something new after "
                f"{recovered[0]:.2f} s, median {recovered[len(recovered) // 2]:.2f} s, all {len(recovered)} after "
                f"{recovered[-1]:.2f} s; {extra} repeated; {self.load.promised.count} promised so far, "
                f"{self.load.unanswered} calls lost, {self.load.refused} refused"
            )
            # What is repeated was under way while something was broken, and no lane has more under way than its window.
            assert self.arrivals.repeated_aside(since, mended_at) == []
            assert extra <= LANES * WIDEST_WINDOW

    async def _works_everywhere(self, *, mark: bool = True) -> None:
        if mark:
            self.arrivals.mark_fault(self.load.new_phase())
        await self.receiver.wait_for(lambda: self.arrivals.every_lane_works, _RECOVERY_SECONDS)

    async def _finish(self) -> None:
        """Wait until all nodes live, every event is decided and nothing is pending; then check everything."""
        store = await PostgresStore.open(self.cluster.dsn)
        try:
            async with Api(self.cluster.servers[0]) as api:
                await api.eventually("/node", self._is_whole, seconds=_DRAIN_SECONDS, get="page")
                owed = self.load.promised.decisions
                with contextlib.suppress(AssertionError):  # the check says which ones are missing
                    await eventually(lambda: count_decisions(store), lambda count: count >= owed, _DECIDED_SECONDS)
                pending = "/delivery?state=pending&limit=1"
                await api.eventually(pending, lambda page: not page["data"], seconds=_DRAIN_SECONDS, get="page")
            await check_everything(store, self.receiver, self.arrivals, self.load)
        finally:
            await store.close()

    def _is_whole(self, page: dict[str, list[dict[str, int]]]) -> bool:
        nodes = page["data"]
        stages = [sum(node[stage] for node in nodes) for stage in ("decidingShards", "deliveringShards")]
        lags = [node["decideLagMs"] + node["deliverLagMs"] for node in nodes]
        return len(nodes) == len(self.cluster.nodes) and stages == [SHARDS, SHARDS] and not any(lags)


@asynccontextmanager
async def world(
    folder: Path, network: SeparateNetwork | None = None, clocks_off: dict[int, int] | None = None
) -> AsyncIterator[World]:
    receiver = Receiver(network.clients[0]) if network is not None else Receiver()
    await receiver.open()
    try:
        # Starting takes seconds of waiting: nothing else runs in this loop yet.
        with cluster(folder, network, clocks_off) as made:
            world = World(made, receiver)
            await world.load.set_up(receiver)
            yield world
    finally:
        await receiver.close()


def report(text: str) -> None:
    """Write where pytest shows it when the test fails or runs with -s."""
    sys.stdout.write(f"\n{text}\n")


async def test_a_node_dies_and_comes_back(tmp_path: Path) -> None:
    async with world(tmp_path) as it:

        async def fault() -> None:
            node = it.random.choice(it.cluster.nodes)
            node.posthorn.kill()
            await asyncio.sleep(PAUSE_SECONDS)  # the others have to work without it
            await asyncio.to_thread(node.start)

        await it.run("a node is killed", fault)


async def test_a_node_is_held_past_its_leases_and_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as it:

        async def fault() -> None:
            node = it.random.choice(it.cluster.nodes)
            node.pause()
            await asyncio.sleep(PAUSE_SECONDS)  # until others own its shards; what it does then comes too late
            node.resume()

        await it.run("a node is stopped past its leases and continued", fault)


async def test_the_primary_of_postgresql_dies_and_a_standby_takes_over(tmp_path: Path) -> None:
    async with world(tmp_path) as it:

        async def fault() -> None:
            bring_back = await asyncio.to_thread(it.cluster.lose_primary)
            await asyncio.to_thread(bring_back)

        await it.run("PostgreSQL's primary is killed", fault)


@pytest.mark.skipif(not can_separate() and os.environ.get("CI") != "true", reason=NEEDS)
async def test_a_node_is_cut_off_from_postgresql(tmp_path: Path) -> None:
    with separate_network() as network:
        async with world(tmp_path, network) as it:

            async def fault() -> None:
                network.cut()
                await asyncio.sleep(CUT_SECONDS)  # as long as the network is away
                network.mend()

            await it.run("the network between a node and PostgreSQL is cut", fault)


async def test_a_node_whose_clock_is_wrong_is_like_the_others(tmp_path: Path) -> None:
    async with world(tmp_path, clocks_off={1: CLOCK_OFF_SECONDS}) as it:

        async def fault() -> None:
            it.cluster.nodes[0].posthorn.kill()
            await asyncio.sleep(PAUSE_SECONDS)  # its leases have to run out by everybody's clock at the same time
            await asyncio.to_thread(it.cluster.nodes[0].start)

        await it.run("a node is killed while another's clock is 5 minutes ahead", fault)


async def test_a_node_whose_clock_is_behind_is_like_the_others(tmp_path: Path) -> None:
    async with world(tmp_path, clocks_off={1: -CLOCK_OFF_SECONDS}) as it:

        async def fault() -> None:
            it.cluster.nodes[1].posthorn.kill()
            await asyncio.to_thread(it.cluster.nodes[1].start)

        await it.run("a node whose clock is 5 minutes behind starts again", fault)
