"""What Posthorn itself does to what people configured, and the events that tell of it."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from posthorn import ids
from posthorn.clock import DAY_MS, Clock, iso_text
from posthorn.engine.directory import Directory
from posthorn.engine.profiles import profile_of
from posthorn.engine.records import Append, AppendResult, Claim, Event
from posthorn.engine.resources import Endpoint, Kind
from posthorn.errors import NotFound
from posthorn.manage.registrar import SharedRegistry, alone_to_edit
from posthorn.telemetry import Telemetry

ENDPOINT_DISABLED = "endpoint.disabled"
GONE = "gone"
_CLAIM_KEPT_MS = 30 * DAY_MS


class Operational:
    """Switches endpoints off that said they are gone, and appends the operational event."""

    def __init__(
        self,
        *,
        registry: SharedRegistry,
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
        self._one_here = asyncio.Lock()

    async def endpoint_gone(self, identifier: str, attempt: str) -> None:
        """Disable an endpoint that answered 410, and tell of it once, however many attempts are answered so.

        The event comes first: after a crash in between, the next 410 disables the endpoint without a second event.
        Raises StoreUnavailable or Overloaded; then the next 410 will do it.
        """
        endpoint = self._directory.endpoint(identifier)
        if endpoint is None or endpoint.disabled:
            return
        now_ms = self._clock.now_ms()
        await self._accept(self._event(endpoint, attempt, now_ms))
        async with self._one_here:  # all attempts in flight may be answered so, and each turn costs a connection
            known = self._directory.endpoint(identifier)
            if known is None or known.disabled or not await self._switch_off(endpoint, now_ms):
                return
            await self._directory.refresh(self._registry)
        self._telemetry.emit("endpoint.disabled", endpoint=identifier, reason=GONE)

    async def _switch_off(self, endpoint: Endpoint, now_ms: int) -> bool:
        """Disable it as it is now, because people may have edited it since. False: it was disabled or deleted."""
        async with alone_to_edit(self._registry):
            current = await self._registry.get(Kind.ENDPOINT, endpoint.workspace, endpoint.id, parent=endpoint.parent)
            if not isinstance(current, Endpoint) or current.disabled:
                return False
            disabled = msgspec.structs.replace(current, disabled=True, disabled_reason=GONE, updated_ms=now_ms)
            try:
                await self._registry.replace(disabled)
            except NotFound:
                return False  # deleted at this moment: it receives nothing any more
        return True

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
        claim = Claim(
            scope=f"operational:{event.workspace}",
            key=f"{ENDPOINT_DISABLED}:{endpoint.id}:{endpoint.updated_ms}",
            fingerprint=b"",
            answer_status=202,
            answer_body=b"",
            event=event.id,
            expires_ms=now_ms + _CLAIM_KEPT_MS,
        )
        return Append(event=event, claims=(claim,), profile=profile)
