"""Events that came by API, from the moment they are understood to the answer: claims, commit, rows."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from posthorn import ids
from posthorn.clock import iso_text
from posthorn.engine.directory import Directory
from posthorn.engine.profiles import profile_of
from posthorn.engine.records import AlreadyClaimed, Append, AppendResult, Claim, Event
from posthorn.errors import Conflict
from posthorn.receive.capture import checked_hops
from posthorn.receive.http import Scope, Send, answer, answer_json
from posthorn.receive.idempotency import (
    ID_KEPT_MS,
    KEY_KEPT_MS,
    batch_scope,
    fingerprint_of,
    idempotency_key,
    key_claim,
    key_scope,
)
from posthorn.receive.intake import Intake
from posthorn.receive.messages import KeyReused
from posthorn.receive.people import with_depth


class Arrival(Struct, frozen=True, kw_only=True, gc=False):
    """An event, and the key that it may come under only once."""

    event: Event
    key: str | None = None
    fingerprint: bytes = b""  #: of its content; the same key with another one is a conflict


class Arrivals:
    """Commits events and answers for them."""

    def __init__(self, *, intake: Intake, directory: Directory) -> None:
        self._intake = intake
        self._directory = directory

    async def answer_one(self, workspace: str, arrival: Arrival, scope: Scope, body: bytes, send: Send) -> None:
        """Commit one event and answer it. Raises Conflict, KeyReused, LoopDetected, Overloaded or StoreUnavailable."""
        event = arrival.event
        hops = checked_hops(scope["headers"])
        reply = msgspec.json.encode(_accepted(event))
        claims = []
        now_ms = event.received_ms
        claim = key_claim(scope, workspace, body, status=202, answer=reply, event=event.id, now_ms=now_ms)
        if claim is not None:
            claims.append(claim)
        if arrival.key is not None:
            claims.append(_id_claim(arrival, reply))
        result = await self._intake.accept(self.unit(event, tuple(claims), hops=hops))
        if isinstance(result, AlreadyClaimed):
            if not result.same_request:
                raise KeyReused if result.scope == key_scope(workspace) else _other_event(event)
            reply = result.answer_body
        await answer(send, 202, reply)

    async def answer_several(
        self, workspace: str, arrivals: list[Arrival], scope: Scope, body: bytes, send: Send
    ) -> None:
        """Commit events and answer row by row. Raises KeyReused, LoopDetected, Overloaded or StoreUnavailable."""
        results = await self.accept_all(workspace, arrivals, scope, body)
        rows = [_row(arrival.event, result) for arrival, result in zip(arrivals, results, strict=True)]
        await answer_json(send, 202, {"data": rows})

    async def accept_all(
        self, workspace: str, arrivals: list[Arrival], scope: Scope, body: bytes
    ) -> list[AppendResult]:
        """Commit the events of one call, each under its place of the call's Idempotency-Key.

        Raises KeyReused, LoopDetected, Overloaded or StoreUnavailable.
        """
        hops = checked_hops(scope["headers"])
        keys = await self._key_claims(workspace, [arrival.event for arrival in arrivals], scope, body)
        units = []
        for arrival, key in zip(arrivals, keys, strict=True):
            own = (_id_claim(arrival, b""),) if arrival.key is not None else ()
            units.append(self.unit(arrival.event, (*key, *own), hops=hops))
        return await self._intake.accept_all(units)

    def unit(self, event: Event, claims: tuple[Claim, ...] = (), *, hops: int = 0) -> Append:
        """Make the unit of an event: with whose decision work it is, and through how many automations it came."""
        if hops:
            event = msgspec.structs.replace(event, context=with_depth(event.context, hops))
        profile = profile_of(self._directory, event.workspace, event.type, event.user, event.id)
        return Append(event=event, claims=claims, profile=profile)

    async def _key_claims(
        self, workspace: str, events: list[Event], scope: Scope, body: bytes
    ) -> list[tuple[Claim, ...]]:
        """Let each event claim its own place under the call's Idempotency-Key, and leave its own answer there.

        A call may be cut short between its commits. Repeated, it finds what was stored and stores the rest.
        """
        key = idempotency_key(scope["headers"])
        if key is None or not events:
            return [()] * len(events)
        fingerprint = fingerprint_of(scope, body)
        now_ms = events[0].received_ms
        # The first event claims the key itself, so that a call with a single event under the same key is noticed too.
        places = [(key_scope(workspace), key)]
        places += [(batch_scope(workspace), f"{key}#{index}") for index in range(1, len(events))]
        earlier = await self._intake.claimed(*places[0], now_ms=now_ms)
        if earlier is not None and earlier.fingerprint != fingerprint:
            raise KeyReused
        return [
            (
                Claim(
                    scope=place[0],
                    key=place[1],
                    fingerprint=fingerprint,
                    answer_status=202,
                    answer_body=msgspec.json.encode(_accepted_row(event)),
                    event=event.id,
                    expires_ms=now_ms + KEY_KEPT_MS,
                ),
            )
            for event, place in zip(events, places, strict=True)
        ]


def event_ids(count: int, now_ms: int) -> list[str]:
    """Make ids in ascending order for the events of one call: those of one moment are decided in the order of ids."""
    if count == 1:
        return [ids.new_id(ids.EVENT, now_ms)]
    return sorted([ids.new_id(ids.EVENT, now_ms) for _ in range(count)])


def _id_claim(arrival: Arrival, reply: bytes) -> Claim:
    event = arrival.event
    return Claim(
        scope=f"event:{event.workspace}",
        key=arrival.key or "",
        fingerprint=arrival.fingerprint,
        answer_status=202,
        answer_body=reply or msgspec.json.encode(_accepted(event)),
        event=event.id,
        expires_ms=event.received_ms + ID_KEPT_MS,
    )


def _accepted(event: Event) -> dict[str, Any]:
    return {"id": event.id, "uid": event.uid, "type": event.type, "time": iso_text(event.occurred_ms)}


def _other_event(event: Event) -> Conflict:
    return Conflict(f"an event with the id {event.uid!r} exists already with other content; events never change")


def _accepted_row(event: Event) -> dict[str, Any]:
    return {"id": event.id, "uid": event.uid, "status": "accepted"}


def _row(event: Event, result: AppendResult) -> Any:
    if not isinstance(result, AlreadyClaimed):
        return _accepted_row(event)
    if not result.scope.startswith("event:"):
        if not result.same_request:
            raise KeyReused
        return Raw(result.answer_body)
    if result.same_request:
        return {"id": result.event, "uid": event.uid, "status": "duplicate"}
    return {"id": result.event, "uid": event.uid, "status": "conflict", "detail": str(_other_event(event))}
