"""`POST /api/v1/event`: one event, an array of up to 1,000, or NDJSON."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from posthorn import ids
from posthorn.engine.people import ProfileChange
from posthorn.engine.records import Event
from posthorn.errors import Invalid, PosthornError, Problem
from posthorn.receive.arrivals import Arrival, event_ids
from posthorn.receive.http import (
    BodyProblem,
    Receive,
    Scope,
    Send,
    answer_error,
    answer_unread,
    header,
    problem_of_body,
    read_body,
)
from posthorn.receive.instants import happened_ms
from posthorn.receive.keyed_intake import KeyedIntake
from posthorn.receive.messages import Name
from posthorn.receive.people import LONGEST_USER, check_change, context_of
from posthorn.receive.wire import TOO_DEEP, check_text, decode, syntax_problem, validation_problem

BATCH_LIMIT_BYTES = 10 * 1024 * 1024
EVENT_LIMIT_BYTES = 2 * 1024 * 1024
MOST_EVENTS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_YEARS = range(1900, 2200)  # outside of them a time is a mistake, such as seconds read as milliseconds

UserId = Annotated[str, Meta(min_length=1, max_length=LONGEST_USER)]
EventId = Annotated[str, Meta(min_length=1, max_length=256)]


class EventIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """An event as it comes in. `data` is kept byte for byte; `time` needs an offset.

    `profile` is what the event changes in its user's profile.
    """

    type: Name
    data: Raw = Raw(b"{}")
    id: EventId | None = None
    user: UserId | None = None
    time: Annotated[datetime, Meta(tz=True)] | None = None
    profile: ProfileChange | None = None


_one = msgspec.json.Decoder(EventIn)
_several = msgspec.json.Decoder(list[Raw])


class Events(KeyedIntake):
    """Accepts events."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        try:
            workspace = await self._workspace_of(scope)
            body = await read_body(scope, receive, limit_bytes=BATCH_LIMIT_BYTES)
            if isinstance(body, BodyProblem):
                await answer_unread(receive, send, *problem_of_body(body, BATCH_LIMIT_BYTES))
                return
            given = _decoded(scope, body)
            now_ms = self._clock.now_ms()
            if isinstance(given, EventIn):
                arrival = _arrival(_event(workspace, given, now_ms), given)
                await self._arrivals.answer_one(workspace, arrival, scope, body, send)
            else:
                named = zip(event_ids(len(given), now_ms), given, strict=True)
                arrivals = [_arrival(_event(workspace, one, now_ms, identifier), one) for identifier, one in named]
                await self._arrivals.answer_several(workspace, arrivals, scope, body, send)
        except PosthornError as error:
            await answer_error(send, error)


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
    if event.profile is not None:
        check_change(event.profile, event.user, *loc, "profile")


def _event(workspace: str, given: EventIn, now_ms: int, identifier: str | None = None) -> Event:
    told_ms = (given.time - _EPOCH) // _MILLISECOND if given.time is not None else None
    return Event(
        id=identifier or ids.new_id(ids.EVENT, now_ms),
        workspace=workspace,
        type=given.type,
        occurred_ms=happened_ms(told_ms, now_ms),
        received_ms=now_ms,
        user=given.user,
        uid=given.id,
        payload=bytes(given.data),
        context=context_of(given.profile) if given.profile is not None else None,
    )


def _arrival(event: Event, given: EventIn) -> Arrival:
    if given.id is None:
        return Arrival(event=event)
    content: tuple[object, ...] = (given.type, given.user, given.time)
    if given.profile is not None:
        content = (*content, given.profile)
    fingerprint = sha256(msgspec.json.encode(content) + b"\n" + bytes(given.data)).digest()
    return Arrival(event=event, key=given.id, fingerprint=fingerprint)
