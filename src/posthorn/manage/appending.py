"""Events that a call of the API brings about by itself: the one way in which people and their runs are changed.

Nobody but the owner of a person's shard writes what is known of them; whoever wants a change appends an event with it.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256

import msgspec
from msgspec import Struct

from posthorn import ids
from posthorn.clock import DAY_MS, Clock
from posthorn.engine.people import EventContext
from posthorn.engine.profiles import user_of
from posthorn.engine.records import AlreadyClaimed, Append, AppendResult, Claim, Event
from posthorn.errors import Conflict

Accept = Callable[[Append], Awaitable[AppendResult]]
"""Commits one unit of intake; when it returns, the unit is durable."""

_KEPT_MS = 30 * DAY_MS


class Once(Struct, frozen=True, kw_only=True):
    """A caller's own id of an event, under which it is accepted once in 30 days."""

    scope: str
    key: str


class Appender:
    """Appends events of a profile."""

    def __init__(self, accept: Accept, clock: Clock) -> None:
        self._accept = accept
        self._clock = clock

    async def append(
        self,
        workspace: str,
        event_type: str,
        profile: str,
        payload: bytes,
        *,
        context: EventContext | None = None,
        once: Once | None = None,
    ) -> str:
        """Append an event for the owner of a profile to decide; return its id, or that of the event it repeats.

        `payload` is JSON. Raises Conflict when the event's own id was given before with other content, Overloaded,
        StoreUnavailable.
        """
        now_ms = self._clock.now_ms()
        event = Event(
            id=ids.new_id(ids.EVENT, now_ms),
            workspace=workspace,
            type=event_type,
            occurred_ms=now_ms,
            received_ms=now_ms,
            user=user_of(profile),
            uid=once.key if once is not None else None,
            payload=payload,
            context=msgspec.json.encode(context) if context is not None else None,
        )
        claims = (_claim(once, event, profile),) if once is not None else ()
        result = await self._accept(Append(event=event, claims=claims, profile=profile))
        if not isinstance(result, AlreadyClaimed):
            return event.id
        if not result.same_request or result.event is None:
            raise Conflict(f"an event with the id {event.uid!r} exists already with other content; events never change")
        return result.event


def _claim(once: Once, event: Event, profile: str) -> Claim:
    return Claim(
        scope=once.scope,
        key=once.key,
        fingerprint=sha256(msgspec.json.encode((event.type, profile)) + b"\n" + (event.payload or b"")).digest(),
        answer_status=202,
        answer_body=b"",
        event=event.id,
        expires_ms=event.received_ms + _KEPT_MS,
    )
