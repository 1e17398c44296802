"""The bridges of this node: one for each enabled source of kind broker, following the configuration."""

import asyncio
from collections.abc import Callable
from functools import partial

from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.resources import Source
from posthorn.lifecycle import Service
from posthorn.receive.bridges.bridge import Bridge, BridgeState
from posthorn.receive.bridges.link import Permits
from posthorn.receive.bridges.opening import client_of
from posthorn.receive.bridges.port import BrokerClient
from posthorn.receive.intake import Intake
from posthorn.telemetry import Telemetry
from posthorn.vault import KeyRing

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0


class Bridges(Service):
    """Starts, restarts and stops bridges as sources are made, changed and deleted.

    Runs on every node that receives; the brokers share the messages among them. Its `stop` finishes the batches in
    hand. `permits` judges whom a bridge may connect to (see `link.Permits`).
    """

    def __init__(
        self,
        *,
        intake: Intake,
        directory: Directory,
        key_ring: KeyRing,
        permits: Permits,
        clock: Clock,
        telemetry: Telemetry,
        name_of_node: str,
        connect: Callable[[Source], BrokerClient] | None = None,
    ) -> None:
        super().__init__(name="bridges", telemetry=telemetry, clock=clock)
        self._intake = intake
        self._directory = directory
        self._connect = connect or partial(client_of, key_ring=key_ring, permits=permits, node=name_of_node)
        self._bridges: dict[str, Bridge] = {}
        self._version = -1

    def state(self, source: str) -> BridgeState | None:
        """Tell how a source's bridge is doing on this node; None when there is none."""
        bridge = self._bridges.get(source)
        return bridge.state if bridge is not None else None

    async def open(self) -> None:
        """Forget what was looked at before: a service may be started again."""
        self._version = -1

    async def run_once(self) -> float:
        """Follow the configuration when it changed."""
        version = self._directory.version
        if version != self._version:
            await self._follow()
            self._version = version
        return _LOOK_SECONDS

    async def close(self) -> None:
        """Stop all bridges; each finishes its batch, unless that takes too long."""
        await self._stop_all(list(self._bridges.values()))
        self._bridges.clear()

    async def _follow(self) -> None:
        wanted = {
            source.id: source
            for source in self._directory.every(Source)
            if source.broker is not None and source.enabled
        }
        gone = [bridge for key, bridge in self._bridges.items() if bridge.source != wanted.get(key)]
        await self._stop_all(gone)
        for bridge in gone:
            del self._bridges[bridge.source.id]
        for key in wanted.keys() - self._bridges.keys():
            bridge = self._bridges[key] = self._bridge(wanted[key])
            await bridge.start()

    async def _stop_all(self, bridges: list[Bridge]) -> None:
        await asyncio.gather(*[self._stop(bridge) for bridge in bridges])

    async def _stop(self, bridge: Bridge) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await bridge.stop()
        except Exception as error:  # noqa: BLE001 - the others must still be stopped
            self._telemetry.emit("error.unexpected", where=f"stop of {bridge.name}", exception=error)

    def _bridge(self, source: Source) -> Bridge:
        return Bridge(
            source=source,
            connect=self._connect,
            intake=self._intake,
            directory=self._directory,
            clock=self._clock,
            telemetry=self._telemetry,
        )
