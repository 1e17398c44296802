"""What Posthorn itself does to what people configured, and the events that tell of it."""

from collections.abc import Awaitable, Callable

import msgspec

from posthorn import ids
from posthorn.clock import Clock, iso_text
from posthorn.engine.directory import Directory
from posthorn.engine.ports import Registry
from posthorn.engine.profiles import profile_of
from posthorn.engine.records import Append, AppendResult, Event
from posthorn.engine.resources import Endpoint
from posthorn.telemetry import Telemetry

ENDPOINT_DISABLED = "endpoint.disabled"
GONE = "gone"


class Operational:
    """Switches endpoints off that said they are gone, and appends the operational event."""

    def __init__(
        self,
        *,
        registry: Registry,
        directory: Directory,
        accept: Callable[[Append], Awaitable[AppendResult]],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._accept = accept
        self._clock = clock
        self._telemetry = telemetry

    async def endpoint_gone(self, identifier: str, attempt: str) -> None:
        """Disable an endpoint that answered 410, once."""
        endpoint = self._directory.endpoint(identifier)
        if endpoint is None or endpoint.disabled:
            return
        now_ms = self._clock.now_ms()
        disabled = msgspec.structs.replace(endpoint, disabled=True, disabled_reason=GONE, updated_ms=now_ms)
        await self._registry.replace(disabled)
        await self._directory.refresh(self._registry)
        self._telemetry.emit("endpoint.disabled", endpoint=identifier, reason=GONE)
        await self._accept(self._event(endpoint, attempt, now_ms))

    def _event(self, endpoint: Endpoint, attempt: str, now_ms: int) -> Append:
        payload = {
            "appId": endpoint.parent,
            "endpointId": endpoint.id,
            "endpointUid": endpoint.uid,
            "reason": GONE,
            "attemptId": attempt,
            "time": iso_text(now_ms),
        }
        event = Event(
            id=ids.new_id(ids.EVENT, now_ms),
            workspace=endpoint.workspace,
            type=ENDPOINT_DISABLED,
            occurred_ms=now_ms,
            received_ms=now_ms,
            payload=msgspec.json.encode(payload),
        )
        profile = profile_of(self._directory, event.workspace, event.type, None, event.id)
        return Append(event=event, profile=profile)
