"""`POST /users/track` and its kin: authenticate, read every object, commit those that can be read, then answer.

Answers and limits are Braze's: 201 with counts, `errors` for objects that were left out, 400 when nothing could be
read. Unlike Braze a call with an `Idempotency-Key` is taken in once, however often it is sent.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from posthorn.engine.records import AlreadyClaimed, Event
from posthorn.errors import Invalid, Overloaded, PosthornError, StoreUnavailable
from posthorn.receive.arrivals import Arrival, event_ids
from posthorn.receive.braze.identities import MOST, identified_by, merge, new_alias
from posthorn.receive.braze.objects import Taking, attributes, event, purchase
from posthorn.receive.braze.people import Wrong
from posthorn.receive.http import (
    BodyProblem,
    Headers,
    Receive,
    Scope,
    Send,
    answer_json,
    answer_unread,
    problem_of_body,
    read_body,
)
from posthorn.receive.keyed_intake import KeyedIntake
from posthorn.receive.messages import KeyReused
from posthorn.receive.wire import decode

BODY_LIMIT_BYTES = 4 * 1024 * 1024
MOST_OBJECTS = 75  #: in each of the three arrays
TRACK = "/users/track"
PATHS = frozenset({TRACK, f"{TRACK}/sync", "/users/alias/new", "/users/identify", "/users/merge"})
_NOTHING_VALID = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."

Reader = Callable[[Any, Taking], Event | Wrong]

_OBJECTS: Mapping[str, Reader] = {"attributes": attributes, "events": event, "purchases": purchase}
_IDENTITIES: Mapping[str, Mapping[str, Reader]] = {
    "/users/alias/new": {"user_aliases": new_alias},
    "/users/identify": {
        "aliases_to_identify": identified_by("user_alias"),
        "emails_to_identify": identified_by("email"),
        "phone_numbers_to_identify": identified_by("phone"),
    },
    "/users/merge": {"merge_updates": merge},
}


class _Track(Struct, frozen=True, kw_only=True, gc=False):
    """The body of /users/track. What else is in it, such as `partner`, changes nothing."""

    attributes: list[Raw] | None = None
    events: list[Raw] | None = None
    purchases: list[Raw] | None = None


class _Fatal(Exception):
    """Ends a call with 400 and Braze's form of a fatal error."""

    def __init__(self, message: str, errors: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.errors = list(errors)


_track = msgspec.json.Decoder(_Track)
_any_object = msgspec.json.Decoder(dict[str, Any])


class BrazeUsers(KeyedIntake):
    """Accepts Braze's user data requests."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call to a path of `PATHS`."""
        try:
            workspace = await self._workspace_of(scope)
            body = await read_body(scope, receive, limit_bytes=BODY_LIMIT_BYTES)
            if isinstance(body, BodyProblem):
                status, told = problem_of_body(body, BODY_LIMIT_BYTES)
                await answer_unread(receive, send, status, {"message": told["detail"], "errors": []})
                return
            path = scope["path"].rstrip("/")
            if path.startswith(TRACK):
                await self._accept_objects(workspace, scope, body, send)
            else:
                await self._accept_identities(workspace, _IDENTITIES[path], scope, body, send)
        except _Fatal as fatal:
            await answer_json(send, 400, {"message": str(fatal), "errors": fatal.errors})
        except PosthornError as error:
            await _answer_error(send, error)

    async def _accept_objects(self, workspace: str, scope: Scope, body: bytes, send: Send) -> None:
        given = decode(_track, body)
        arrays = {name: raws for name in _OBJECTS if (raws := getattr(given, name)) is not None}
        _check_lengths(arrays, MOST_OBJECTS)
        taking = self._taking(workspace, sum(map(len, arrays.values())))
        events, errors = _read(arrays, _OBJECTS, taking)
        left_out = Counter(error["input_array"] for error in errors)
        processed = {f"{name}_processed": len(raws) - left_out[name] for name, raws in arrays.items() if raws}
        if not events:
            raise _Fatal(_NOTHING_VALID, errors)
        await self._commit(workspace, events, scope, body)
        await answer_json(send, 201, processed | {"message": "success"} | ({"errors": errors} if errors else {}))

    async def _accept_identities(
        self,
        workspace: str,
        readers: Mapping[str, Reader],
        scope: Scope,
        body: bytes,
        send: Send,
    ) -> None:
        given = decode(_any_object, body)
        arrays = {name: given[name] for name in readers if given.get(name) is not None}
        names = " or ".join(f"'{name}'" for name in readers)
        if not arrays or not all(isinstance(entries, list) for entries in arrays.values()):
            raise _Fatal(f"{names} must be an array of objects")
        if sum(map(len, arrays.values())) > MOST:
            what = "merge updates" if "merge_updates" in arrays else "entries"
            raise _Fatal(f"a single request may not contain more than {MOST} {what}")
        taking = self._taking(workspace, sum(map(len, arrays.values())))
        events, errors = _read(arrays, readers, taking)
        is_merge = "merge_updates" in readers
        if not events or (is_merge and errors):  # Braze refuses a request with a wrong merge as a whole
            raise _Fatal(errors[0]["type"] if errors else f"{names} must be an array of objects", errors)
        await self._commit(workspace, events, scope, body)
        if is_merge:
            await answer_json(send, 202, {"message": "success"})
            return
        reply = {"aliases_processed": len(events), "message": "success"}
        await answer_json(send, 201, reply | ({"errors": errors} if errors else {}))

    def _taking(self, workspace: str, count: int) -> Taking:
        now_ms = self._clock.now_ms()
        return Taking(workspace=workspace, now_ms=now_ms, ids=iter(event_ids(count, now_ms)))

    async def _commit(self, workspace: str, events: list[Event], scope: Scope, body: bytes) -> None:
        arrivals = [Arrival(event=event) for event in events]
        for result in await self._arrivals.accept_all(workspace, arrivals, scope, body):
            if isinstance(result, AlreadyClaimed) and not result.same_request:
                raise KeyReused


def _read(
    arrays: Mapping[str, list[Any]], readers: Mapping[str, Reader], taking: Taking
) -> tuple[list[Event], list[dict[str, Any]]]:
    """Read every entry; return the events, and the errors of those that were left out."""
    events: list[Event] = []
    errors: list[dict[str, Any]] = []
    for name, entries in arrays.items():
        for index, entry in enumerate(entries):
            made = readers[name](entry, taking)
            if isinstance(made, Wrong):
                errors.append({"type": made.type, "input_array": name, "index": index})
            else:
                events.append(made)
    return events, errors


def _check_lengths(arrays: Mapping[str, list[Raw]], most: int) -> None:
    for name, raws in arrays.items():
        if len(raws) > most:
            raise _Fatal(f"'{name}' may contain at most {most} objects, not {len(raws)}")


async def _answer_error(send: Send, error: PosthornError) -> None:
    """Answer as Braze does: a sentence in `message`, and 400 for what cannot be read."""
    if isinstance(error, Invalid):
        places = [{"type": problem.msg, "loc": list(problem.loc)} for problem in error.problems]
        await answer_json(send, 400, {"message": str(error), "errors": places})
        return
    extra: Headers = ()
    if isinstance(error, Overloaded | StoreUnavailable):
        extra = ((b"retry-after", b"%d" % error.retry_after_seconds),)
    await answer_json(send, error.http_status, {"message": str(error), "errors": []}, extra)
