"""Deletes what is older than the retention, in small batches with pauses, so that intake never notices."""

from collections.abc import Callable

from posthorn.clock import DAY_MS, Clock
from posthorn.engine.ports import WorkStore
from posthorn.errors import StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.telemetry import Telemetry

_BATCH = 500
_SHORTEST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5
_PAUSES_PER_BATCH = 4  # pruning gets at most a fifth of the store's time, and at full load it can keep up with intake
_AFTER_FAILURE_SECONDS = 30.0
_BETWEEN_ROUNDS_SECONDS = 600.0
_LOOK_SECONDS = 5.0


def in_charge() -> bool:
    """Stand for a node that has the store to itself."""
    return True


class Pruner(Service):
    """Prunes the journal and expired claims, on the one node that is in charge of it.

    The journal goes by whole days (UTC): where a day is a partition, it is dropped and no row is touched.
    """

    def __init__(
        self,
        *,
        store: WorkStore,
        retention_days: int,
        clock: Clock,
        telemetry: Telemetry,
        is_in_charge: Callable[[], bool] = in_charge,
    ) -> None:
        super().__init__(name="pruner", telemetry=telemetry, clock=clock)
        self._store = store
        self._is_in_charge = is_in_charge
        self._retention_ms = retention_days * DAY_MS
        self._rows = 0
        self._claims = 0
        self._began = 0.0

    async def run_once(self) -> float:
        """Delete one batch; come back soon while there is more."""
        if not self._is_in_charge():
            return _LOOK_SECONDS
        now_ms, batch_began = self._clock.now_ms(), self._clock.monotonic()
        before_ms = (now_ms - self._retention_ms) // DAY_MS * DAY_MS
        if not self._rows and not self._claims:
            self._began = batch_began
        try:
            rows = await self._store.prune(before_ms=before_ms, most=_BATCH)
            claims = await self._store.forget_claims(now_ms=now_ms, most=_BATCH)
        except StoreUnavailable as error:
            self._telemetry.emit("store.unavailable", cause=str(error))
            return _AFTER_FAILURE_SECONDS
        self._rows += rows
        self._claims += claims
        if rows >= _BATCH or claims >= _BATCH:
            took = self._clock.monotonic() - batch_began
            return min(max(_PAUSES_PER_BATCH * took, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        seconds = self._clock.monotonic() - self._began
        self._telemetry.emit("prune.finished", rows=self._rows, claims=self._claims, seconds=seconds)
        self._rows = self._claims = 0
        return _BETWEEN_ROUNDS_SECONDS
