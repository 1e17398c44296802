"""The store in memory: all three ports of `engine.ports`, and what every other store is compared with.

Simple rather than fast. Where the ports leave something open, the docstrings of its parts say what holds, and
`posthorn.testing.conformance` proves it of every store.
"""

from typing import TYPE_CHECKING

from posthorn.clock import Clock, SystemClock
from posthorn.testing.memory_decisions import MemoryDecisions
from posthorn.testing.memory_deliveries import MemoryDeliveries
from posthorn.testing.memory_journal import MemoryJournal
from posthorn.testing.memory_registry import MemoryRegistry
from posthorn.testing.memory_retention import MemoryRetention
from posthorn.testing.memory_tables import Tables

if TYPE_CHECKING:
    from posthorn.engine.ports import Journal, Registry, WorkStore


class MemoryStore(MemoryDeliveries, MemoryDecisions, MemoryRetention, MemoryRegistry, MemoryJournal):
    """A WorkStore, Registry and Journal that forgets everything when it is dropped.

    The clock only tells `append` which claims have expired; everything else is given its time by the caller.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(Tables(SystemClock() if clock is None else clock))


if TYPE_CHECKING:

    def _keeps_the_ports(store: MemoryStore) -> tuple[WorkStore, Registry, Journal]:
        return store, store, store
