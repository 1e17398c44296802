"""`POST /api/v1/event/cloudevents`: CloudEvents with an API key, answered like `POST /api/v1/event`."""

from urllib.parse import parse_qs

from posthorn.engine.records import Event
from posthorn.errors import Invalid, PosthornError, Problem
from posthorn.receive.arrivals import Arrival, event_ids
from posthorn.receive.cloudevents import (
    USER_ATTRIBUTE,
    CloudEvent,
    check_user_place,
    is_batch,
    parts_of,
    read,
    read_structured,
)
from posthorn.receive.events import BATCH_LIMIT_BYTES, MOST_EVENTS
from posthorn.receive.http import (
    BodyProblem,
    Receive,
    Scope,
    Send,
    answer_error,
    answer_unread,
    problem_of_body,
    read_body,
)
from posthorn.receive.keyed_intake import KeyedIntake

PATH = "/api/v1/event/cloudevents"


class CloudIntake(KeyedIntake):
    """Accepts CloudEvents by API."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call. `?user=` names the attribute, or the `data.` path, where the person stands."""
        try:
            workspace = await self._workspace_of(scope)
            body = await read_body(scope, receive, limit_bytes=BATCH_LIMIT_BYTES)
            if isinstance(body, BodyProblem):
                await answer_unread(receive, send, *problem_of_body(body, BATCH_LIMIT_BYTES))
                return
            place = _user_place(scope["query_string"])
            now_ms = self._clock.now_ms()
            if is_batch(scope["headers"]):
                several = _read_batch(body)
                named = zip(event_ids(len(several), now_ms), several, strict=True)
                arrivals = [_arrival(workspace, one, place, identifier, now_ms) for identifier, one in named]
                await self._arrivals.answer_several(workspace, arrivals, scope, body, send)
            else:
                one = read(scope["headers"], body)
                arrival = _arrival(workspace, one, place, event_ids(1, now_ms)[0], now_ms)
                await self._arrivals.answer_one(workspace, arrival, scope, body, send)
        except PosthornError as error:
            await answer_error(send, error)


def _user_place(query: bytes) -> str:
    asked = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    unknown = asked.keys() - {"user"}
    if unknown:
        raise Invalid.at("query", min(unknown), msg="unknown parameter", type="extra_forbidden")
    place = asked.get("user", [USER_ATTRIBUTE])[0]
    check_user_place(place, "query", "user")
    return place


def _read_batch(body: bytes) -> list[CloudEvent]:
    """Read all or none: every wrong event is named, and nothing of the call is kept."""
    parts = parts_of(body)
    if not 1 <= len(parts) <= MOST_EVENTS:
        raise Invalid.at("body", msg=f"send 1 to {MOST_EVENTS} events at a time, not {len(parts)}")
    several: list[CloudEvent] = []
    problems: list[Problem] = []
    for index, part in enumerate(parts):
        try:
            several.append(read_structured(part, "body", index))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(*problems)
    return several


def _arrival(workspace: str, one: CloudEvent, place: str, identifier: str, now_ms: int) -> Arrival:
    event = Event(
        id=identifier,
        workspace=workspace,
        type=one.type,
        occurred_ms=one.occurred_ms(now_ms),
        received_ms=now_ms,
        user=one.user(place),
        uid=one.uid,
        content_type=one.content_type,
        payload=one.data,
    )
    # Whoever sends the same source and id again sends the same event (section "id" of the specification).
    return Arrival(event=event, key=one.key)
