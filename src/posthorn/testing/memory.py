"""The store in memory: all ports of `engine.ports`, and what every other store is compared with.

Simple rather than fast. Where the ports leave something open, the docstrings of its parts say what holds, and
`posthorn.testing.conformance` proves it of every store.
"""

from typing import TYPE_CHECKING

from posthorn.clock import Clock, SystemClock
from posthorn.testing.memory_cluster import MemoryCluster
from posthorn.testing.memory_decisions import MemoryDecisions
from posthorn.testing.memory_deliveries import MemoryDeliveries
from posthorn.testing.memory_journal import MemoryJournal
from posthorn.testing.memory_people import MemoryPeople
from posthorn.testing.memory_registry import MemoryRegistry
from posthorn.testing.memory_retention import MemoryRetention
from posthorn.testing.memory_tables import Tables

if TYPE_CHECKING:
    from posthorn.engine.ports import Store


class MemoryStore(
    MemoryDeliveries, MemoryDecisions, MemoryRetention, MemoryCluster, MemoryRegistry, MemoryJournal, MemoryPeople
):
    """A Store that forgets everything when it is dropped.

    The clock only tells `append` which claims have expired; everything else is given its time by the caller.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(Tables(SystemClock() if clock is None else clock))

    def figures(self) -> dict[str, int]:
        """Count the writes that were committed. There are no statements here, so each counts as one."""
        return {"commits": self._tables.commits, "statements": self._tables.commits}

    async def close(self) -> None:
        """Let go of nothing: there is nothing to finish."""


if TYPE_CHECKING:

    def _keeps_the_ports(store: MemoryStore) -> Store:
        return store
