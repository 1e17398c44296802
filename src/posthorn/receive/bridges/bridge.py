"""One source's bridge: receive from its broker, commit, and only then acknowledge."""

import random
from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.records import AlreadyClaimed, Append, AppendResult, RequestOutcome
from posthorn.engine.resources import Source
from posthorn.errors import Overloaded, PosthornError, StoreUnavailable
from posthorn.lifecycle import Service
from posthorn.lifecycle.service import backoff_seconds
from posthorn.receive.bridges.port import BrokerClient, BrokerMessage, finished_before
from posthorn.receive.bridges.units import BridgedSource, bridged, unit_of
from posthorn.receive.intake import Intake
from posthorn.telemetry import Telemetry

MOST_AT_ONCE = 500
"""How many messages one turn takes. Fewer come when fewer are there: a turn never waits for a batch to fill."""
_MOST_BYTES = 32 * 1024 * 1024
_JITTER = 0.5


class BridgeState(Struct, frozen=True, kw_only=True):
    """How a source's bridge is doing on this node."""

    status: str  #: connecting, consuming, store_unavailable, broker_unavailable or stopped
    since_ms: int
    detail: str | None = None


class Bridge(Service):
    """Consumes one source's broker until it is stopped.

    A broker that cannot be reached is tried again for ever, less and less often. While the store cannot commit, the
    batch in hand is kept and tried again: nothing is acknowledged, and nothing more is received.
    """

    def __init__(
        self,
        *,
        source: Source,
        connect: Callable[[Source], BrokerClient],
        intake: Intake,
        directory: Directory,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(name=f"bridge {source.id}", telemetry=telemetry, clock=clock)
        self.source = source
        self._connect = connect
        self._intake = intake
        self._directory = directory
        self._lost = 0
        self.state = BridgeState(status="stopped", since_ms=clock.now_ms())

    async def run(self) -> None:
        """Consume, and connect anew whenever the broker was lost."""
        self._lost = 0
        while not self.stopping:
            try:
                await self._consume()
            except PosthornError as error:
                self._lost += 1
                self._tell("broker_unavailable", str(error))
                self._telemetry.emit("bridge.lost", source=self.source.id, cause=str(error), failures=self._lost)
                await self.pause(_jittered(backoff_seconds(self._lost)))

    async def close(self) -> None:
        """Say that it ended."""
        self._tell("stopped")

    async def _consume(self) -> None:
        self._tell("connecting")
        client = self._connect(self.source)
        try:
            if not await finished_before(self._stopping, client.open()):
                return
            source = bridged(self.source, protocol=client.protocol, peer=_peer(self.source))
            self._telemetry.emit("bridge.connected", source=self.source.id, protocol=client.protocol)
            self._tell("consuming")
            while not self.stopping:
                await self._turn(client, source)
        finally:
            await client.close()

    async def _turn(self, client: BrokerClient, source: BridgedSource) -> None:
        messages = await client.receive(MOST_AT_ONCE)
        self._lost = 0
        if messages and await self._keep(source, messages):
            await client.acknowledge(messages)

    async def _keep(self, source: BridgedSource, messages: Sequence[BrokerMessage]) -> bool:
        """Commit a batch, however long that takes. False: it was asked to stop, and not all of it is committed."""
        now_ms = self._clock.now_ms()
        units = [unit_of(source, message, self._directory, now_ms) for message in messages]
        failures = 0
        while True:
            try:
                results = await self._committed(units)
            except (Overloaded, StoreUnavailable) as error:
                failures += 1
                self._tell("store_unavailable", str(error))
                self._telemetry.emit("store.unavailable", cause=str(error))
                await self.pause(_jittered(backoff_seconds(failures)))
                if self.stopping:
                    return False
                units = [_anew(unit) for unit in units]
            else:
                if failures:
                    self._tell("consuming")
                self._report(units, results)
                return True

    async def _committed(self, units: Sequence[Append]) -> list[AppendResult]:
        """Commit in pieces that fit into memory twice. Repeated, what was committed before counts as claimed."""
        results: list[AppendResult] = []
        for piece in _pieces(units):
            results += await self._intake.accept_all(piece)
        return results

    def _report(self, units: Sequence[Append], results: Sequence[AppendResult]) -> None:
        rejected = [unit.request for unit in units if unit.request is not None]
        duplicates = sum(
            isinstance(result, AlreadyClaimed) and unit.event is not None and result.event != unit.event.id
            for unit, result in zip(units, results, strict=True)
        )
        for request in rejected:
            self._telemetry.emit("request.captured", outcome=RequestOutcome.REJECTED, cause=request.cause)
        self._telemetry.emit(
            "bridge.committed",
            source=self.source.id,
            accepted=len(units) - len(rejected) - duplicates,
            duplicates=duplicates,
            rejected=len(rejected),
        )

    def _tell(self, status: str, detail: str | None = None) -> None:
        self.state = BridgeState(status=status, since_ms=self._clock.now_ms(), detail=detail)


def _anew(unit: Append) -> Append:
    """Give a rejected request another id before it is tried again.

    Nothing tells whether it was written the first time. Events may be repeated as they are: they claim their key.
    """
    if unit.request is None:
        return unit
    return structs.replace(
        unit, request=structs.replace(unit.request, id=ids.new_id(ids.REQUEST, unit.request.received_ms))
    )


def _pieces(units: Sequence[Append]) -> list[list[Append]]:
    pieces: list[list[Append]] = [[]]
    size = 0
    for unit in units:
        body = unit.event.payload if unit.event is not None else unit.request.body if unit.request is not None else b""
        size += len(body or b"")
        if size > _MOST_BYTES and pieces[-1]:
            pieces.append([])
            size = len(body or b"")
        pieces[-1].append(unit)
    return pieces


def _peer(source: Source) -> str:
    return source.broker.url.partition("://")[2].partition("/")[0] if source.broker is not None else ""


def _jittered(seconds: float) -> float:
    """Spread the tries of many nodes, which all lost the same broker at the same moment."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not for secrets
