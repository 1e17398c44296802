"""Outcomes on their way to the store: batched, kept until they are durable, and told to whoever wants to know."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from posthorn.engine.groupcommit import GroupCommit
from posthorn.engine.ports import WorkStore
from posthorn.engine.records import Attempt, DeliveryState, Settlement
from posthorn.errors import StoreUnavailable
from posthorn.telemetry import Telemetry

_LINGER_SECONDS = 0.010
_MOST = 512
_MOST_UNSETTLED = 20_000
_RETRY_SECONDS = 0.5

Notice = Callable[[str, str], Awaitable[None]]  #: told the endpoint and the attempt


class Settler:
    """Collects settlements for up to 10 ms into one commit, and repeats the commit until the store takes it.

    An outcome must not get lost because the disk is full for an hour: it waits here, and `has_room` stops new
    attempts when too many wait.
    """

    def __init__(self, *, store: WorkStore, telemetry: Telemetry, on_gone: Notice) -> None:
        self._store = store
        self._telemetry = telemetry
        self._on_gone = on_gone
        self._unsettled = 0
        self._notices: set[asyncio.Task[None]] = set()
        self._batches: GroupCommit[Settlement, bool] = GroupCommit(
            self._commit, linger_seconds=_LINGER_SECONDS, most=_MOST, backlog=2 * _MOST_UNSETTLED
        )

    @property
    def has_room(self) -> bool:
        """Whether new attempts may start: few enough outcomes wait for the store."""
        return self._unsettled < _MOST_UNSETTLED

    def settle(self, settlement: Settlement, settled: Callable[[], None]) -> None:
        """Queue an outcome; `settled` is called once it is durable."""
        self._unsettled += 1

        def done(future: asyncio.Future[bool]) -> None:
            self._unsettled -= 1
            if not future.cancelled():
                future.exception()  # reported by the commit
            settled()

        self._batches.submit(settlement).add_done_callback(done)

    def endpoint_gone(self, attempt: Attempt) -> None:
        """Tell that an endpoint answered 410."""
        task = asyncio.get_running_loop().create_task(self._tell_gone(attempt))
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def drain(self) -> None:
        """Return when every outcome is durable and every notice told."""
        await self._batches.drain()
        while self._notices:
            await asyncio.wait(self._notices)

    async def _tell_gone(self, attempt: Attempt) -> None:
        try:
            await self._on_gone(attempt.endpoint, attempt.id)
        except Exception as error:  # noqa: BLE001 - the attempt is settled; only the notice failed
            self._telemetry.emit("error.unexpected", where="endpoint gone", exception=error)

    async def _commit(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        while True:
            try:
                applied = await self._store.settle(settlements)
                break
            except StoreUnavailable as error:
                self._telemetry.emit("store.unavailable", cause=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:
                self._telemetry.emit("error.unexpected", where="settle", exception=error)
                if len(settlements) == 1:
                    raise
                # One outcome that the store chokes on must not cost the others of its batch.
                return [await self._commit_alone(settlement) for settlement in settlements]
        # Of a shard that is another node's by now nothing was written: that node will tell.
        self._report([settlement for settlement, done in zip(settlements, applied, strict=True) if done])
        return applied

    async def _commit_alone(self, settlement: Settlement) -> bool:
        try:
            return (await self._commit([settlement]))[0]
        except Exception:  # noqa: BLE001 - reported by the commit; the delivery stays due
            return False

    def _report(self, settlements: Sequence[Settlement]) -> None:
        delivered = sum(s.attempt is not None and s.attempt.state is DeliveryState.DELIVERED for s in settlements)
        exhausted = sum(s.attempt is not None and s.attempt.state is DeliveryState.EXHAUSTED for s in settlements)
        cancelled = sum(s.cancelled is not None for s in settlements)
        self._telemetry.emit(
            "delivery.settled",
            delivered=delivered,
            exhausted=exhausted,
            cancelled=cancelled,
            retried=len(settlements) - delivered - exhausted - cancelled,
        )
