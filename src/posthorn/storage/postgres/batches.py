"""A write whose answer got lost is repeated under the same id: `batch` tells whether it was committed, and how."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from posthorn import ids
from posthorn.clock import MINUTE_MS
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.statements import statement

_PREFIX = "batch"
_KEPT_MS = 10 * MINUTE_MS  # Nobody repeats for longer than half a minute.

Work = Callable[[Connection, str | None], Awaitable[Sequence[int]]]
"""Runs the statements of a batch and returns the numbers that it refused. The batch's id is for a statement that
commits by itself and has to record it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a batch. `is_recalled`: an earlier try did it, and only what it refused is known of it."""

    refused: Sequence[int]
    is_recalled: bool = False


def new_batch(now_ms: int) -> str:
    """Make the id of a batch; like all ids it sorts by time."""
    return ids.new_id(_PREFIX, now_ms)


def oldest_batch(now_ms: int) -> str:
    """Return the id that no batch of the last ten minutes is below."""
    return ids.first_id(_PREFIX, now_ms - _KEPT_MS)


async def run_in_transaction(connection: Connection, batch: str, now_ms: int, work: Work) -> Outcome:
    """Run a batch in the caller's transaction, unless an earlier try of it was committed."""
    # The insert waits until the earlier try's end is known. As it writes, our own commit waits for the standbys,
    # so that the earlier commit, which came before, is safe with it.
    row = await connection.fetchrow(statement("begin_batch"), batch, now_ms)
    if row["was_there"]:
        return Outcome(refused=row["refused"], is_recalled=True)
    refused = await work(connection, None)
    if refused:
        await connection.execute(statement("finish_batch"), batch, list(refused))
    return Outcome(refused=refused)
