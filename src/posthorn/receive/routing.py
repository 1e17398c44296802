"""Which endpoints of an application get a message: the fan-out, decided at the commit."""

from collections.abc import Sequence

from posthorn import ids
from posthorn.engine.directory import Directory
from posthorn.engine.records import NewDelivery
from posthorn.engine.resources import Endpoint
from posthorn.engine.shards import shard_of

_MOST_KEPT = 10_000


class Routing:
    """Remembers, until the configuration changes, which endpoints a type of message goes to."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._version = -1
        self._kept: dict[tuple[str, str], list[tuple[Endpoint, int]]] = {}

    def deliveries(
        self, application: str, event_type: str, channels: Sequence[str], *, event: str, now_ms: int
    ) -> tuple[NewDelivery, ...]:
        """Return the deliveries that a message owes."""
        return tuple(
            NewDelivery(
                id=ids.new_id(ids.DELIVERY, now_ms), shard=shard, endpoint=endpoint.id, due_ms=now_ms, event=event
            )
            for endpoint, shard in self._interested(application, event_type)
            if endpoint.channels is None or not set(endpoint.channels).isdisjoint(channels)
        )

    @staticmethod
    def one(endpoint: str, *, event: str, now_ms: int) -> NewDelivery:
        """Return a delivery to one endpoint, whatever its filters say."""
        identifier = ids.new_id(ids.DELIVERY, now_ms)
        return NewDelivery(id=identifier, shard=shard_of(endpoint), endpoint=endpoint, due_ms=now_ms, event=event)

    def _interested(self, application: str, event_type: str) -> list[tuple[Endpoint, int]]:
        if self._version != self._directory.version or len(self._kept) > _MOST_KEPT:
            self._kept.clear()
            self._version = self._directory.version
        key = (application, event_type)
        known = self._kept.get(key)
        if known is None:
            known = self._kept[key] = [
                (endpoint, shard_of(endpoint.id))
                for endpoint in self._directory.endpoints_of(application)
                if not endpoint.disabled and (endpoint.event_types is None or event_type in endpoint.event_types)
            ]
        return known
