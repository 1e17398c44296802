"""The store in memory: the nodes that share it, and what each of them owns."""

from asyncio import Lock
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from posthorn.clock import HOUR_MS
from posthorn.engine.cluster import Node, NodeStanding, Stage
from posthorn.engine.records import Lease
from posthorn.engine.runs import Timer
from posthorn.testing.memory_tables import Ownership, TableReader, Undecided


class MemoryCluster(TableReader):
    """Lease and release shards; announce, withdraw and describe nodes; let them do things alone."""

    async def lease(self, node: str, stage: Stage, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
        """Renew what this node holds of the stage, take over up to `most` more.

        A node's own lease that ran out is renewed too while nobody took it over: nobody else worked on the shard, so
        what it has in flight still counts. `most` does not count renewals. The leases come in order of shard.
        """
        shards = {shard: owned for (of, shard), owned in self._tables.shards.items() if of is stage}
        held = {shard for shard, owned in shards.items() if owned.node == node}
        free = [
            shard
            for shard, owned in shards.items()
            if shard not in held and (owned.node is None or owned.until_ms <= now_ms)
        ]
        taken = set(free[:most])
        leases = [
            Lease(shard=shard, epoch=shards[shard].epoch + (shard in taken), until_ms=until_ms)
            for shard in sorted(held | taken)
        ]
        for lease in leases:
            self._tables.shards[stage, lease.shard] = Ownership(node=node, epoch=lease.epoch, until_ms=until_ms)
        self._tables.commits += 1
        return leases

    async def release(self, node: str, stage: Stage, shards: Sequence[int] | None = None) -> None:
        """Make these shards of this node free, or all; the epochs rise when somebody takes them."""
        for (of, shard), owned in self._tables.shards.items():
            if of is stage and owned.node == node and (shards is None or shard in shards):
                self._tables.shards[of, shard] = Ownership(epoch=owned.epoch)
        self._tables.commits += 1

    async def announce(self, node: Node) -> list[Node]:
        """Record the node in place of what it said before, forget the long unseen, return the living."""
        nodes = self._tables.nodes
        nodes[node.id] = node
        for old in [old for old in nodes.values() if old.seen_ms <= node.seen_ms - HOUR_MS]:
            del nodes[old.id]
        self._tables.commits += 1
        return self._alive(node.seen_ms)

    def _alive(self, now_ms: int) -> list[Node]:
        alive = [node for node in self._tables.nodes.values() if node.until_ms > now_ms]
        return sorted(alive, key=lambda node: node.id)

    async def withdraw(self, node: str) -> None:
        """Forget the node; its leases stay until they run out or are released."""
        self._tables.nodes.pop(node, None)
        self._tables.commits += 1

    async def nodes(self, *, now_ms: int) -> list[NodeStanding]:
        """Describe the living. A lag is counted over the shards whose lease holds now."""
        return [self._standing(node, now_ms) for node in self._alive(now_ms)]

    def _standing(self, node: Node, now_ms: int) -> NodeStanding:
        deciding = self._owned(node.id, Stage.DECIDE, now_ms)
        delivering = self._owned(node.id, Stage.DELIVER, now_ms)
        queue: list[Undecided | Timer] = [*self._tables.undecided.values(), *self._tables.timers.values()]
        waiting = [row.due_ms for row in queue if row.shard in deciding]
        queued = [row.due_ms for row in self._tables.deliveries.values() if row.is_pending and row.shard in delivering]
        return NodeStanding(
            node=node,
            deciding=len(deciding),
            delivering=len(delivering),
            decide_lag_ms=max(0, now_ms - min(waiting, default=now_ms)),
            deliver_lag_ms=max(0, now_ms - min(queued, default=now_ms)),
        )

    def _owned(self, node: str, stage: Stage, now_ms: int) -> set[int]:
        return {
            shard
            for (of, shard), owned in self._tables.shards.items()
            if of is stage and owned.node == node and owned.until_ms > now_ms
        }

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        """Let callers in one after the other; what has another name goes on beside it."""
        async with self._tables.alone.setdefault(what, Lock()):
            yield
