"""Which shards this node owns, renewed while it lives."""

from posthorn.clock import SECOND_MS, Clock
from posthorn.engine.ports import WorkStore
from posthorn.engine.shards import SHARDS
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

LEASE_MS = 15 * SECOND_MS
RENEW_SECONDS = 5.0
_STOP_EARLY_MS = 3 * SECOND_MS


class Ownership(Service):
    """Leases shards and tells, exactly enough, which ones may be worked on now.

    Work stops three seconds before a lease runs out: a node that was frozen must not act on what another may own.
    """

    def __init__(self, *, store: WorkStore, node: str, clock: Clock, telemetry: Telemetry) -> None:
        super().__init__(name="ownership", telemetry=telemetry, clock=clock)
        self._store = store
        self._node = node
        self._epochs: dict[int, int] = {}
        self._until_ms = 0
        self.generation = 0  #: grows whenever shards are won or lost, or were not worked on for a while

    @property
    def epochs(self) -> dict[int, int]:
        """The owned shards and their epochs; empty once the leases are about to run out."""
        return self._epochs if self._clock.now_ms() < self._until_ms - _STOP_EARLY_MS else {}

    async def open(self) -> None:
        """Win shards before anything else starts."""
        await self._renew()

    async def run_once(self) -> float:
        """Renew the leases; when the store cannot, try again sooner."""
        try:
            await self._renew()
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            return 1.0
        return RENEW_SECONDS

    async def close(self) -> None:
        """Hand the shards over at once."""
        self._epochs = {}
        try:
            await self._store.release(self._node)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))

    async def _renew(self) -> None:
        now_ms = self._clock.now_ms()
        leases = await self._store.lease(self._node, now_ms=now_ms, until_ms=now_ms + LEASE_MS, most=SHARDS)
        epochs = {lease.shard: lease.epoch for lease in leases}
        # Leases that were renewed at the last moment were not worked on for a while: what was due then was put aside.
        had_lapsed = self._until_ms > 0 and self._clock.now_ms() >= self._until_ms - _STOP_EARLY_MS
        if epochs != self._epochs:
            self._telemetry.emit(
                "lease.changed",
                node=self._node,
                owned=len(epochs),
                won=len(epochs.keys() - self._epochs.keys()),
                lost=len(self._epochs.keys() - epochs.keys()),
            )
        if epochs != self._epochs or had_lapsed:
            self.generation += 1
        self._epochs = epochs
        self._until_ms = min((lease.until_ms for lease in leases), default=0)
