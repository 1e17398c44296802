"""Timed, fenced ownership of shards."""

from posthorn.engine.records import Lease
from posthorn.engine.shards import SHARDS
from posthorn.storage.sqlite.writer import Transaction


def lease(transaction: Transaction, node: str, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
    """Extend what the node holds and take over up to `most` shards that nobody holds."""
    transaction.execute("UPDATE shard SET until_ms = ? WHERE owner = ? AND until_ms > ?", (until_ms, node, now_ms))
    transaction.execute(
        "UPDATE shard SET owner = ?, epoch = epoch + 1, until_ms = ? WHERE id IN"
        " (SELECT id FROM shard WHERE owner IS NULL OR until_ms <= ? ORDER BY id LIMIT ?)",
        (node, until_ms, now_ms, most),
    )
    held = "SELECT id, epoch, until_ms FROM shard WHERE owner = ? AND until_ms > ? ORDER BY id"
    rows = transaction.execute(held, (node, now_ms))
    return [Lease(shard=shard, epoch=epoch, until_ms=until) for shard, epoch, until in rows]


def release(transaction: Transaction, node: str) -> None:
    """Give up all shards of a node."""
    transaction.execute("UPDATE shard SET owner = NULL, until_ms = 0 WHERE owner = ?", (node,))


def open_shards(transaction: Transaction) -> None:
    """Make sure that the fixed shards exist and that nobody holds any.

    The folder's lock proves that whoever held them is gone. Waiting for the leases of a killed process to run out
    would make each restart after a crash fifteen seconds long.
    """
    rows = ",".join(f"({number}, NULL, 0, 0)" for number in range(SHARDS))
    transaction.execute(f"INSERT OR IGNORE INTO shard (id, owner, epoch, until_ms) VALUES {rows}")  # noqa: S608
    transaction.execute("UPDATE shard SET owner = NULL, until_ms = 0 WHERE owner IS NOT NULL")
