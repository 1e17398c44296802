"""Several nodes as real processes over three PostgreSQL servers, and what can be done to them."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from posthorn_process import LOOPBACK, Posthorn
from separate_network import SeparateNetwork

from posthorn.testing.postgres_group import ReplicatedPostgres
from posthorn.vault.loading import new_master_key

NODES = 3
LEASE_SECONDS = 8.5
"""After so long without a sign of life a node's shards are with others."""

_DATABASE = "posthorn"
_SHIFTED_CLOCK = Path(__file__).with_name("shifted_clock.py")


@dataclass(kw_only=True)
class ChaosNode:
    """A node and the command that it is run through."""

    posthorn: Posthorn
    preexec: tuple[str, ...] = ()

    def start(self) -> None:
        self.posthorn.start(preexec=self.preexec)

    def pause(self) -> None:
        """Hold the process where it is, as a machine that swaps or a virtual machine that is moved."""
        os.kill(self.posthorn.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.posthorn.pid, signal.SIGCONT)


class Cluster:
    """Three nodes by default. The last one lives in the separate network, when there is one."""

    def __init__(
        self, folder: Path, postgres: ReplicatedPostgres, network: SeparateNetwork | None, clocks_off: dict[int, int]
    ) -> None:
        self.postgres = postgres
        self.dsn = postgres.create_database(_DATABASE)
        self._folder = folder
        self._master_key = new_master_key()
        self.nodes = [self._node(number, None, clocks_off.get(number, 0)) for number in range(NODES)]
        if network is not None:
            self.nodes[-1] = self._node(NODES - 1, network, 0)

    @property
    def servers(self) -> list[Posthorn]:
        return [node.posthorn for node in self.nodes]

    def start(self) -> None:
        """Start all nodes at once, on an empty database."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(ChaosNode.start, self.nodes))

    def close(self) -> None:
        for node in self.nodes:
            node.posthorn.kill()

    def lose_primary(self) -> Callable[[], None]:
        """Kill PostgreSQL's primary and promote a standby. The result brings the dead server back as a standby."""
        dead = self.postgres.kill_primary()
        self.postgres.promote_standby()
        return lambda: self.postgres.rebuild(dead)

    def _node(self, number: int, network: SeparateNetwork | None, clock_off_seconds: int) -> ChaosNode:
        environ = {"POSTHORN_DATABASE": self.dsn, "POSTHORN_MASTER_KEY": self._master_key}
        flags = (*LOOPBACK, "--allow-target", "10.211.0.0/16")
        preexec: tuple[str, ...] = ()
        host = "127.0.0.1"
        if network is not None:
            environ["POSTHORN_DATABASE"] = self.postgres.dsn(_DATABASE, host=network.database[0])
            preexec, host = network.enter, network.clients[1]
        if clock_off_seconds:
            preexec = (sys.executable, str(_SHIFTED_CLOCK), str(clock_off_seconds))
        return ChaosNode(posthorn=Posthorn(self._folder / f"node{number}", flags, environ, host), preexec=preexec)


@contextlib.contextmanager
def cluster(
    folder: Path, network: SeparateNetwork | None = None, clocks_off: dict[int, int] | None = None
) -> Iterator[Cluster]:
    """Run a cluster; `clocks_off` has, by number of the node, by how many seconds its wall clock is wrong."""
    reach = network.reach if network is not None else {}
    with ReplicatedPostgres.create(folder / "postgres", reach=reach) as postgres:
        made = Cluster(folder, postgres, network, clocks_off or {})
        try:
            made.start()
            yield made
        finally:
            made.close()
