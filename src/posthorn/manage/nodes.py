"""Which nodes share the store, and how they keep up."""

from posthorn.clock import Clock
from posthorn.engine.cluster import NodeStanding
from posthorn.engine.ports import Cluster


class Nodes:
    """Looks at the nodes."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def living(self) -> list[NodeStanding]:
        """Describe the nodes that are alive, by id."""
        return await self._cluster.nodes(now_ms=self._clock.now_ms())
