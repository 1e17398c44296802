"""The nodes that share the store: who lives, who owns which shards, and who may do a rare thing alone."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from typing import Any

from posthorn.clock import HOUR_MS
from posthorn.engine.cluster import Node, NodeStanding, Role, Stage
from posthorn.engine.records import Lease
from posthorn.storage.postgres.clock import DatabaseClock
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database
from posthorn.storage.postgres.failures import FOREIGN, unavailable
from posthorn.storage.postgres.opening import tell_time
from posthorn.storage.postgres.reaching import apart
from posthorn.storage.postgres.statements import statement

_SYNC_SECONDS = 5.0
_FORGET_MS = HOUR_MS


class PostgresCluster:
    """Implements the Cluster port, and the leases of the WorkStore port."""

    _database: Database

    async def lease(self, node: str, stage: Stage, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
        """Extend what the node holds and take over up to `most` shards that nobody holds."""
        await self.sync()

        async def job(connection: Connection, again: bool) -> list[Any]:  # noqa: FBT001 - as Write says
            # What an earlier try won is ours now, and extended: to take as much once more would be too much.
            new = 0 if again else max(most, 0)
            rows: list[Any] = await connection.fetch(statement("lease"), stage, node, now_ms, until_ms, new)
            return rows

        self._database.count(1)
        rows = await self._database.write(job, at_once=True)
        return [Lease(shard=shard, epoch=epoch, until_ms=until_ms) for shard, epoch in rows]

    async def release(self, node: str, stage: Stage, shards: Sequence[int] | None = None) -> None:
        """Give up these shards of a node, or all of a stage."""
        named = None if shards is None else list(shards)
        await self._command("release", stage, node, named)

    async def announce(self, node: Node) -> list[Node]:
        """Record that a node lives and return those that do."""
        await self.sync()
        own = (node.id, node.name, node.version, ",".join(node.roles), node.started_ms, node.seen_ms, node.until_ms)
        rows = await self._command("announce", *own, node.seen_ms - _FORGET_MS)
        return [_to_node(row) for row in rows]

    async def withdraw(self, node: str) -> None:
        """Record that a node is gone."""
        await self._command("withdraw", node)

    async def nodes(self, *, now_ms: int) -> list[NodeStanding]:
        """Describe the nodes that are alive."""
        self._database.count(1)
        rows = await self._database.look(lambda connection: connection.fetch(statement("nodes"), now_ms))
        return [
            NodeStanding(
                node=_to_node(row),
                deciding=row["deciding"],
                delivering=row["delivering"],
                decide_lag_ms=_lag(row["decide_ms"], now_ms),
                deliver_lag_ms=_lag(row["deliver_ms"], now_ms),
            )
            for row in rows
        ]

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        """Hold a lock of the server's on a connection of its own: it ends with the connection, whatever happens."""
        number = int.from_bytes(sha256(what.encode()).digest()[:8], "big", signed=True)
        address = self._database.address
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(apart(address))
                await connection.execute("SELECT pg_advisory_lock($1)", number)
            except FOREIGN as error:
                raise unavailable(error, address.shown) from error
            yield

    async def sync(self) -> None:
        """Set the clock by the database's, unless that was done in the last seconds or another clock was given."""
        clock = self._database.clock
        if isinstance(clock, DatabaseClock) and clock.age_seconds > _SYNC_SECONDS:
            await self._database.look(lambda connection: clock.sync(lambda: tell_time(connection)))

    async def _command(self, name: str, *arguments: Any) -> list[Any]:
        """Run a statement that says the same when it is done twice."""

        async def job(connection: Connection, _: object) -> list[Any]:
            rows: list[Any] = await connection.fetch(statement(name), *arguments)
            return rows

        self._database.count(1)
        return await self._database.write(job, at_once=True)


def _to_node(row: Any) -> Node:
    return Node(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        roles=tuple(Role(role) for role in row["roles"].split(",") if role),
        started_ms=row["started_ms"],
        seen_ms=row["seen_ms"],
        until_ms=row["until_ms"],
    )


def _lag(oldest_ms: int | None, now_ms: int) -> int:
    return 0 if oldest_ms is None else max(0, now_ms - oldest_ms)
