"""`POST /api/v1/event`: one event, an array of up to 1,000, or NDJSON."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from posthorn import ids
from posthorn.clock import Clock, iso_text
from posthorn.engine.directory import Directory
from posthorn.engine.following import CatchUp, found, nothing_new
from posthorn.engine.profiles import profile_of
from posthorn.engine.records import AlreadyClaimed, Append, AppendResult, Claim, Event
from posthorn.errors import Conflict, Invalid, PosthornError, Problem
from posthorn.receive.http import (
    BodyProblem,
    Receive,
    Scope,
    Send,
    answer,
    answer_error,
    answer_json,
    answer_unread,
    header,
    problem_of_body,
    read_body,
)
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
from posthorn.receive.messages import Authenticate, KeyReused, Name
from posthorn.receive.wire import TOO_DEEP, check_text, decode, syntax_problem, validation_problem

BATCH_LIMIT_BYTES = 10 * 1024 * 1024
EVENT_LIMIT_BYTES = 2 * 1024 * 1024
MOST_EVENTS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_YEARS = range(1900, 2200)  # outside of them a time is a mistake, such as seconds read as milliseconds

UserId = Annotated[str, Meta(min_length=1, max_length=512)]
EventId = Annotated[str, Meta(min_length=1, max_length=256)]


class EventIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """An event as it comes in. `data` is kept byte for byte; `time` needs an offset."""

    type: Name
    data: Raw = Raw(b"{}")
    id: EventId | None = None
    user: UserId | None = None
    time: Annotated[datetime, Meta(tz=True)] | None = None


_one = msgspec.json.Decoder(EventIn)
_several = msgspec.json.Decoder(list[Raw])


class Events:
    """Accepts events."""

    def __init__(
        self,
        *,
        intake: Intake,
        directory: Directory,
        authenticate: Authenticate,
        clock: Clock,
        catch_up: CatchUp = nothing_new,
    ) -> None:
        self._catch_up = catch_up
        self._intake = intake
        self._directory = directory
        self._authenticate = authenticate
        self._clock = clock

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        try:
            workspace = await found(lambda: self._authenticate(scope), self._catch_up)
            body = await read_body(scope, receive, limit_bytes=BATCH_LIMIT_BYTES)
            if isinstance(body, BodyProblem):
                await answer_unread(receive, send, *problem_of_body(body, BATCH_LIMIT_BYTES))
                return
            events = _decoded(scope, body)
            if isinstance(events, EventIn):
                await self._accept_one(workspace, events, scope, body, send)
            else:
                await self._accept_several(workspace, events, scope, body, send)
        except PosthornError as error:
            await answer_error(send, error)

    async def _accept_one(self, workspace: str, given: EventIn, scope: Scope, body: bytes, send: Send) -> None:
        now_ms = self._clock.now_ms()
        event = _event(workspace, given, now_ms)
        reply = msgspec.json.encode(_accepted(event))
        claims = []
        claim = key_claim(scope, workspace, body, status=202, answer=reply, event=event.id, now_ms=now_ms)
        if claim is not None:
            claims.append(claim)
        if event.uid is not None:
            claims.append(_id_claim(event, given, reply))
        result = await self._intake.accept(self._unit(event, tuple(claims)))
        if isinstance(result, AlreadyClaimed):
            if not result.same_request:
                raise KeyReused if result.scope == key_scope(workspace) else _other_event(event)
            reply = result.answer_body
        await answer(send, 202, reply)

    async def _accept_several(
        self, workspace: str, given: list[EventIn], scope: Scope, body: bytes, send: Send
    ) -> None:
        now_ms = self._clock.now_ms()
        events = [_event(workspace, one, now_ms) for one in given]
        keys = await self._key_claims(workspace, events, scope, body, now_ms)
        units = []
        for event, one, key in zip(events, given, keys, strict=True):
            ids_of = (_id_claim(event, one, b""),) if event.uid is not None else ()
            units.append(self._unit(event, (*key, *ids_of)))
        results = await self._intake.accept_all(units)
        rows = [_row(event, result) for event, result in zip(events, results, strict=True)]
        await answer_json(send, 202, {"data": rows})

    async def _key_claims(
        self, workspace: str, events: list[Event], scope: Scope, body: bytes, now_ms: int
    ) -> list[tuple[Claim, ...]]:
        """Let each event claim its own place under the call's Idempotency-Key, and leave its own answer there.

        A call may be cut short between its commits. Repeated, it finds what was stored and stores the rest.
        """
        key = idempotency_key(scope["headers"])
        if key is None:
            return [()] * len(events)
        fingerprint = fingerprint_of(scope, body)
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

    def _unit(self, event: Event, claims: tuple[Claim, ...]) -> Append:
        profile = profile_of(self._directory, event.workspace, event.type, event.user, event.id)
        return Append(event=event, claims=claims, profile=profile)


def _decoded(scope: Scope, body: bytes) -> EventIn | list[EventIn]:
    content_type = (header(scope["headers"], b"content-type") or b"").lower()
    if b"ndjson" in content_type or b"jsonl" in content_type or b"json-seq" in content_type:
        return _from_lines(body)
    if body.lstrip()[:1] == b"[":
        raws = decode(_several, body)
        return _each([bytes(raw) for raw in raws], lambda index: ("body", index))
    event = decode(_one, body)
    _check(event, "body")
    return event


def _from_lines(body: bytes) -> list[EventIn]:
    lines: list[tuple[int, bytes]] = []
    for number, line in enumerate(BytesIO(body), 1):
        if line.strip():
            lines.append((number, line))
            if len(lines) > MOST_EVENTS:
                break
    return _each([line for _, line in lines], lambda index: ("body", "line", lines[index][0]))


def _each(parts: list[bytes], place: Any) -> list[EventIn]:
    """Decode all or none: every wrong event is named, and nothing of the call is kept."""
    if not 1 <= len(parts) <= MOST_EVENTS:
        raise Invalid.at("body", msg=f"send 1 to {MOST_EVENTS} events at a time, not {_how_many(parts)}")
    events: list[EventIn] = []
    problems: list[Problem] = []
    for index, part in enumerate(parts):
        loc = place(index)
        try:
            event = _one.decode(part)
            check_text(part)
            _check(event, *loc)
            events.append(event)
        except msgspec.ValidationError as error:
            problems += validation_problem(error, *loc).problems
        except msgspec.DecodeError as error:
            problems += [Problem(loc=loc, msg=p.msg, type=p.type) for p in syntax_problem(error, part).problems]
        except UnicodeDecodeError:
            problems.append(Problem(loc=loc, msg="not UTF-8", type="json_invalid"))
        except RecursionError:
            problems.append(Problem(loc=loc, msg=TOO_DEEP, type="json_invalid"))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(*problems)
    return events


def _how_many(parts: list[bytes]) -> str:
    return f"more than {MOST_EVENTS}" if parts else "none"


def _check(event: EventIn, *loc: str | int) -> None:
    if event.time is not None and event.time.year not in _YEARS:
        raise Invalid.at(*loc, "time", msg=f"must be in the years {_YEARS.start} to {_YEARS.stop - 1}")
    if len(bytes(event.data)) > EVENT_LIMIT_BYTES:
        raise Invalid.at(*loc, "data", msg=f"larger than {EVENT_LIMIT_BYTES} bytes", type="too_large")


def _event(workspace: str, given: EventIn, now_ms: int) -> Event:
    return Event(
        id=ids.new_id(ids.EVENT, now_ms),
        workspace=workspace,
        type=given.type,
        occurred_ms=(given.time - _EPOCH) // _MILLISECOND if given.time is not None else now_ms,
        received_ms=now_ms,
        user=given.user,
        uid=given.id,
        payload=bytes(given.data),
    )


def _id_claim(event: Event, given: EventIn, reply: bytes) -> Claim:
    content = msgspec.json.encode((given.type, given.user, given.time))
    return Claim(
        scope=f"event:{event.workspace}",
        key=event.uid or "",
        fingerprint=sha256(content + b"\n" + bytes(given.data)).digest(),
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
