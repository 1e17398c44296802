"""Whether the store is there."""

from posthorn.engine.ports import Registry


class Health:
    """Asks the store a small question."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def check(self) -> None:
        """Return when the store answers; raises StoreUnavailable."""
        await self._registry.meta("health")
