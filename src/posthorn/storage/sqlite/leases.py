"""Timed, fenced ownership of shards, apart for each stage."""

from collections.abc import Sequence

from posthorn.engine.cluster import Stage
from posthorn.engine.records import Lease
from posthorn.engine.shards import SHARDS
from posthorn.storage.sqlite.writer import Transaction


def lease(transaction: Transaction, node: str, stage: Stage, *, now_ms: int, until_ms: int, most: int) -> list[Lease]:
    """Extend what the node holds of a stage and take over up to `most` shards that nobody holds."""
    place = stage.value
    transaction.execute("UPDATE shard SET until_ms = ? WHERE stage = ? AND owner = ?", (until_ms, place, node))
    if most > 0:
        transaction.execute(
            "UPDATE shard SET owner = ?, epoch = epoch + 1, until_ms = ? WHERE stage = ? AND id IN"
            " (SELECT id FROM shard WHERE stage = ? AND (owner IS NULL OR until_ms <= ?) ORDER BY id LIMIT ?)",
            (node, until_ms, place, place, now_ms, most),
        )
    rows = transaction.execute(
        "SELECT id, epoch, until_ms FROM shard WHERE stage = ? AND owner = ? ORDER BY id", (place, node)
    )
    return [Lease(shard=shard, epoch=epoch, until_ms=until) for shard, epoch, until in rows]


def release(transaction: Transaction, node: str, stage: Stage, shards: Sequence[int] | None) -> None:
    """Give up these shards of a node, or all that it holds of the stage."""
    give_up = "UPDATE shard SET owner = NULL, until_ms = 0 WHERE stage = ? AND owner = ?"
    if shards is None:
        transaction.execute(give_up, (stage.value, node))
        return
    marks = ",".join("?" * len(shards))
    transaction.execute(f"{give_up} AND id IN ({marks})", (stage.value, node, *shards))


def open_shards(transaction: Transaction) -> None:
    """Make sure that the fixed shards exist and that nobody holds any, and forget the nodes that held them.

    The folder's lock proves that whoever held them is gone. Waiting for the leases of a killed process to run out
    would make each restart after a crash fifteen seconds long.
    """
    rows = ",".join(f"('{stage.value}', {number}, NULL, 0, 0)" for stage in Stage for number in range(SHARDS))
    transaction.execute(f"INSERT OR IGNORE INTO shard (stage, id, owner, epoch, until_ms) VALUES {rows}")  # noqa: S608 - our own words and numbers
    transaction.execute("UPDATE shard SET owner = NULL, until_ms = 0 WHERE owner IS NOT NULL")
    transaction.execute("DELETE FROM node")
