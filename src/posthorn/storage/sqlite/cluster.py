"""The nodes that share a data folder: the workers of one machine, or the one process that has it to itself."""

import sqlite3
from collections import defaultdict
from contextlib import AbstractAsyncContextManager
from typing import Any

from posthorn.clock import HOUR_MS
from posthorn.engine.cluster import Node, NodeStanding, Role, Stage
from posthorn.engine.shards import SHARDS
from posthorn.storage.sqlite.database import Database
from posthorn.storage.sqlite.statements import for_list
from posthorn.storage.sqlite.writer import Transaction

_ALIVE = "SELECT id, name, version, roles, started_ms, seen_ms, until_ms FROM node WHERE until_ms > ? ORDER BY id"
_OWNERS = "SELECT stage, id, owner FROM shard WHERE owner IS NOT NULL AND until_ms > ?"
_OLDEST_UNDECIDED = """SELECT shard, min(due_ms) FROM (
    SELECT shard, due_ms FROM decision_work UNION ALL SELECT shard, due_ms FROM timer WHERE due_ms <= ?
) GROUP BY shard"""

Oldest = dict[int, int]  # shard → due_ms


class SqliteCluster:
    """Implements the Cluster port."""

    _database: Database

    async def announce(self, node: Node) -> list[Node]:
        """Record that a node lives; return those that do."""
        return await self._database.write(lambda transaction: _announce(transaction, node))

    async def withdraw(self, node: str) -> None:
        """Record that a node is gone."""

        def job(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM node WHERE id = ?", (node,))

        await self._database.write(job)

    async def nodes(self, *, now_ms: int) -> list[NodeStanding]:
        """Describe the nodes that are alive. Reads what waits to be decided from end to end, in a reader thread."""
        return await self._database.read(lambda connection: _standings(connection, now_ms))

    def alone(self, what: str) -> AbstractAsyncContextManager[None]:
        """Let one task at a time, of all processes that share the folder, do something rare."""
        return self._database.exclusion.alone(what)


def _announce(transaction: Transaction, node: Node) -> list[Node]:
    transaction.execute(
        "INSERT OR REPLACE INTO node (id, name, version, roles, started_ms, seen_ms, until_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (node.id, node.name, node.version, ",".join(node.roles), node.started_ms, node.seen_ms, node.until_ms),
    )
    transaction.execute("DELETE FROM node WHERE seen_ms <= ?", (node.seen_ms - HOUR_MS,))
    return [_to_node(row) for row in transaction.execute(_ALIVE, (node.seen_ms,))]


def _to_node(row: Any) -> Node:
    identifier, name, version, roles, started_ms, seen_ms, until_ms = row
    return Node(
        id=identifier,
        name=name,
        version=version,
        roles=tuple(Role(role) for role in roles.split(",") if role),
        started_ms=started_ms,
        seen_ms=seen_ms,
        until_ms=until_ms,
    )


def _standings(connection: sqlite3.Connection, now_ms: int) -> list[NodeStanding]:
    connection.execute("BEGIN")  # one snapshot, so that no shard is counted for two nodes
    try:
        nodes = [_to_node(row) for row in connection.execute(_ALIVE, (now_ms,))]
        owned: dict[tuple[str, str], list[int]] = defaultdict(list)
        for stage, shard, owner in connection.execute(_OWNERS, (now_ms,)):
            owned[owner, stage].append(shard)
        undecided: Oldest = dict(connection.execute(_OLDEST_UNDECIDED, (now_ms,)).fetchall())
        undelivered = _oldest_undelivered(connection)
    finally:
        connection.execute("COMMIT")
    return [
        NodeStanding(
            node=node,
            deciding=len(owned[node.id, Stage.DECIDE]),
            delivering=len(owned[node.id, Stage.DELIVER]),
            decide_lag_ms=_lag_ms(undecided, owned[node.id, Stage.DECIDE], now_ms),
            deliver_lag_ms=_lag_ms(undelivered, owned[node.id, Stage.DELIVER], now_ms),
        )
        for node in nodes
    ]


def _oldest_undelivered(connection: sqlite3.Connection) -> Oldest:
    oldest: Oldest = {}
    for shard, _, due_ms in connection.execute(for_list("ready_all", SHARDS), range(SHARDS)):
        oldest[shard] = min(due_ms, oldest.get(shard, due_ms))
    return oldest


def _lag_ms(oldest: Oldest, shards: list[int], now_ms: int) -> int:
    return max(0, now_ms - min((oldest[shard] for shard in shards if shard in oldest), default=now_ms))
