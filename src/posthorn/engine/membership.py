"""This node's place among the nodes that share the store: it shows that it lives, and its shards follow from that."""

import asyncio
import os
import socket
from collections.abc import Sequence

from msgspec.structs import replace

from posthorn.clock import Clock
from posthorn.engine.cluster import ALONE, Node, Role, Stage, Tempo
from posthorn.engine.ownership import Ownership, release_quietly
from posthorn.engine.ports import Cluster
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

_STAGE_ROLES = {Stage.DECIDE: Role.DECIDE, Stage.DELIVER: Role.DELIVER}
_HANDING_OVER_SECONDS = 0.1
_STORE_PAUSE_SECONDS = 0.5
_LEAVING_SECONDS = 3.0
EVERY_ROLE = tuple(Role)


def new_node(identifier: str, *, version: str, now_ms: int, roles: Sequence[Role] = EVERY_ROLE) -> Node:
    """Describe this process as a node that has not been seen yet."""
    return Node(
        id=identifier,
        name=f"{socket.gethostname()}:{os.getpid()}",
        version=version,
        roles=tuple(roles),
        started_ms=now_ms,
        seen_ms=now_ms,
        until_ms=now_ms,
    )


class Membership(Service):
    """Announces this node, and lets each stage's ownership have its fair share among the nodes with that role."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        node: Node,
        ownerships: Sequence[Ownership],
        clock: Clock,
        telemetry: Telemetry,
        tempo: Tempo = ALONE,
        leaving_seconds: float = _LEAVING_SECONDS,
    ) -> None:
        """Make one; `leaving_seconds` is how long `leave` waits for a store that does not answer."""
        super().__init__(name="membership", telemetry=telemetry, clock=clock)
        self._cluster = cluster
        self._node = node
        self._ownerships = [one for one in ownerships if _STAGE_ROLES[one.stage] in node.roles]
        self._tempo = tempo
        self._peers: list[Node] = []
        self._is_leaving = False
        self._leaving_seconds = leaving_seconds
        self._renew_at = 0.0
        # An answer that is older than another turn's would bring back shards that were given up meanwhile.
        self._turn = asyncio.Lock()

    @property
    def node(self) -> Node:
        """This node, as it was announced last."""
        return self._node

    @property
    def is_alive(self) -> bool:
        """Whether the store knows of this node now: its last announcement still counts."""
        return self._clock.now_ms() < self._node.until_ms

    @property
    def is_first(self) -> bool:
        """Whether this node is the one that does what one node should do, such as pruning: the oldest that lives."""
        return bool(self._peers) and self._peers[0].id == self._node.id

    async def open(self) -> None:
        """Win shards before anything else starts."""
        self._is_leaving = False
        for ownership in self._ownerships:
            ownership.join()
        await self._renew()

    async def run_once(self) -> float:
        """Renew in time; while shards wait to be handed over, look at them often."""
        try:
            async with self._turn:
                await self._renew_or_hand_over()
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            return _STORE_PAUSE_SECONDS
        left = max(self._renew_at - self._clock.monotonic(), 0.0)
        return min(left, _HANDING_OVER_SECONDS) if any(one.is_handing_over for one in self._ownerships) else left

    async def leave(self) -> None:
        """Begin no new work and hand over at once what has none in flight; the rest follows as it ends.

        A store that does not answer is not waited for long: the loop tells it when it does.
        """
        self._is_leaving = True
        for ownership in self._ownerships:
            ownership.leave()
        try:
            async with asyncio.timeout(self._leaving_seconds), self._turn:
                await self._renew()
        except TimeoutError:
            self._telemetry.emit("store.unavailable", cause="it did not answer in time that this node leaves")
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))

    async def close(self) -> None:
        """Give up what is still held, and go."""
        for ownership in self._ownerships:
            await release_quietly(ownership, self._telemetry)
        try:
            await self._cluster.withdraw(self._node.id)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))

    async def _renew_or_hand_over(self) -> None:
        if self._clock.monotonic() >= self._renew_at:
            await self._renew()
            return
        for ownership in self._ownerships:
            await ownership.hand_over()

    async def _renew(self) -> None:
        now_ms, began = self._clock.now_ms(), self._clock.monotonic()
        self._node = replace(self._node, seen_ms=now_ms, until_ms=now_ms + self._tempo.lease_ms)
        # A node that leaves has no role any more: so the others count their shares without it.
        self._peers = await self._cluster.announce(replace(self._node, roles=()) if self._is_leaving else self._node)
        for ownership in self._ownerships:
            await ownership.renew(self._sharers(ownership.stage))
        self._renew_at = began + self._tempo.renew_seconds

    def _sharers(self, stage: Stage) -> list[str]:
        return [peer.id for peer in self._peers if _STAGE_ROLES[stage] in peer.roles]


class Leaving:
    """Stops first of all services: from then on this node only finishes what it began."""

    name = "leaving"

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    async def start(self) -> None:
        """Nothing to do: it is there for its end."""

    async def stop(self) -> None:
        """Hand over."""
        await self._membership.leave()
