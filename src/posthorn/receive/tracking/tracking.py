"""`POST /v1/track` and its kin, on both doors: authenticate by write key, understand, commit, then answer.

Browsers send these calls from pages of any origin. They carry a write key and no cookie, so any origin may ask.
"""

import base64
import binascii
from hashlib import sha256
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec import Raw, Struct

from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.following import CatchUp, nothing_new
from posthorn.engine.records import Append
from posthorn.engine.resources import Source, TrackingMapping
from posthorn.errors import Invalid, Overloaded, PosthornError, StoreUnavailable
from posthorn.receive.arrivals import Arrivals, event_ids
from posthorn.receive.capture import checked_hops
from posthorn.receive.http import (
    JSON,
    NOSNIFF,
    BodyProblem,
    Headers,
    Receive,
    Scope,
    Send,
    answer,
    answer_unread,
    header,
    problem_of_body,
    read_body,
)
from posthorn.receive.inflating import NotInflated, inflated
from posthorn.receive.intake import Intake
from posthorn.receive.tracking.events import Sending, tracked
from posthorn.receive.tracking.items import Batch, Item, Refused, merged
from posthorn.receive.wire import decode, with_whole_characters

T = TypeVar("T")

PREFIX = "/v1/"
ITEM_LIMIT_BYTES = 32 * 1024
BATCH_LIMIT_BYTES = 500 * 1024
MOST_ITEMS = 2_500
_LONGEST_KEY = 128

_TELL_TWICE = frozenset({"identify", "alias"})  #: of these calls two events may come
_CALLS = ("track", "identify", "page", "screen", "group", "alias")
# The one-letter paths are those of analytics.js and the mobile libraries; `m` are figures about the library itself.
KINDS = {f"{PREFIX}{call}": call for call in _CALLS} | {f"{PREFIX}{call[0]}": call for call in _CALLS}
BATCHES = frozenset({f"{PREFIX}batch", f"{PREFIX}b", f"{PREFIX}import"})
_FIGURES = f"{PREFIX}m"

_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_HEADERS = (JSON, NOSNIFF, _ANY_ORIGIN)
_PREFLIGHT = (
    _ANY_ORIGIN,
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding, x-retry-count"),
    (b"access-control-max-age", b"86400"),
)
_SUCCESS = b'{"success":true}'

_item = msgspec.json.Decoder(Item)
_batch = msgspec.json.Decoder(Batch)


class _Failure(Struct, frozen=True, kw_only=True, gc=False):
    """An answer that is no success."""

    status: int
    code: str
    message: str
    retry_after_seconds: int | None = None


_NO_KEY = _Failure(
    status=401,
    code="invalid_write_key",
    message="no source has this write key: send it as the user of Basic authentication, or as writeKey in the body",
)
_DISABLED = _Failure(status=403, code="source_disabled", message="the source of this write key is switched off")
_UNKNOWN_PATH = _Failure(status=404, code="not_found", message="there is no such tracking call")
_ONLY_POST = _Failure(status=405, code="method_not_allowed", message="tracking calls are made with POST")


class Tracking:
    """Accepts tracking calls. Only where no stranger gets to may they move users: write keys stand in web pages."""

    def __init__(
        self,
        *,
        intake: Intake,
        directory: Directory,
        clock: Clock,
        catch_up: CatchUp = nothing_new,
        moves_users: bool = False,
    ) -> None:
        self._moves_users = moves_users
        self._intake = intake
        self._arrivals = Arrivals(intake=intake, directory=directory)
        self._directory = directory
        self._clock = clock
        self._catch_up = catch_up

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request below `/v1/`."""
        path: str = scope["path"].rstrip("/")
        is_batch = path in BATCHES
        kind = "" if is_batch else KINDS.get(path)
        if scope["method"] != "POST" or kind is None:
            await _answer_other(scope["method"], path, send)
            return
        limit = BATCH_LIMIT_BYTES if is_batch else ITEM_LIMIT_BYTES
        raw = await read_body(scope, receive, limit_bytes=limit)
        if isinstance(raw, BodyProblem):
            await _answer_unread(receive, send, raw, limit)
            return
        body = inflated(raw, header(scope["headers"], b"content-encoding"), limit_bytes=limit)
        if isinstance(body, NotInflated):
            await _answer_failure(send, _not_inflated(body, limit))
            return
        try:
            if is_batch:
                await self._accept_batch(scope, body, send)
            else:
                await self._accept_one(kind, scope, body, send)
        except PosthornError as error:
            await _answer_failure(send, _failure_of(error))

    async def _accept_one(self, kind: str, scope: Scope, body: bytes, send: Send) -> None:
        item = _decoded(_item, body)
        source = await self._source(scope, item.write_key)
        if isinstance(source, _Failure):
            await _answer_failure(send, source)
            return
        units = self._units(kind, item, self._sending(scope, source, 2 if kind in _TELL_TWICE else 1, item.sent_at))
        if isinstance(units, Refused):
            await _answer_failure(send, _Failure(status=400, code=units.code, message=units.message))
            return
        if len(units) == 1:
            await self._intake.accept(units[0])
        else:
            await self._intake.accept_all(units)
        await answer(send, 200, _SUCCESS, _HEADERS)

    async def _accept_batch(self, scope: Scope, body: bytes, send: Send) -> None:
        batch = _decoded(_batch, body)
        source = await self._source(scope, batch.write_key)
        if isinstance(source, _Failure):
            await _answer_failure(send, source)
            return
        if len(batch.batch) > MOST_ITEMS:
            message = f"a batch has at most {MOST_ITEMS} calls, not {len(batch.batch)}"
            await _answer_failure(send, _Failure(status=400, code="batch_too_long", message=message))
            return
        sending = self._sending(scope, source, 2 * len(batch.batch), batch.sent_at)
        units: list[Append] = []
        errors: list[dict[str, object]] = []
        for index, raw in enumerate(batch.batch):
            made = self._of_batch(raw, batch, sending)
            if isinstance(made, Refused):
                errors.append({"index": index, "code": made.code, "message": made.message})
            else:
                units += made
        if errors and not units:
            await _answer_none(send, errors)
            return
        await self._intake.accept_all(units)
        reply = msgspec.json.encode({"success": True, "errors": errors}) if errors else _SUCCESS
        await answer(send, 200, reply, _HEADERS)

    def _of_batch(self, raw: Raw, batch: Batch, sending: Sending) -> list[Append] | Refused:
        text = bytes(raw)
        if len(text) > ITEM_LIMIT_BYTES:
            message = f"the call has {len(text)} bytes, and at most {ITEM_LIMIT_BYTES} are taken"
            return Refused(code="event_too_large", message=message)
        try:
            item = _item.decode(text)
            if bytes(batch.context):
                item = msgspec.structs.replace(item, context=merged(batch.context, item.context))
        except (msgspec.DecodeError, RecursionError):
            return Refused(code="invalid_event", message="a call must be an object, and its context too")
        kind = item.type if isinstance(item.type, str) else ""
        return self._units(kind, item, sending)

    def _units(self, kind: str, item: Item, sending: Sending) -> list[Append] | Refused:
        events = tracked(kind, item, sending)
        if isinstance(events, Refused):
            return events
        return [self._arrivals.unit(event, claims, hops=sending.hops) for event, claims in events]

    def _sending(self, scope: Scope, source: Source, most: int, sent_at: object) -> Sending:
        now_ms = self._clock.now_ms()
        return Sending(
            workspace=source.workspace,
            source=source.id,
            received_ms=now_ms,
            ids=iter(event_ids(most, now_ms)),
            sent_at=sent_at,
            moves_users=self._moves_users,
            hops=checked_hops(scope["headers"]),
        )

    async def _source(self, scope: Scope, key_of_body: object) -> Source | _Failure:
        key = _basic_user(header(scope["headers"], b"authorization"))
        if key is None:
            key = key_of_body if isinstance(key_of_body, str) else _key_of_query(scope["query_string"])
        if not key or len(key) > _LONGEST_KEY:
            return _NO_KEY
        digest = sha256(key.encode(errors="surrogatepass")).hexdigest()
        source = self._directory.source_of_token(digest)
        if source is None:
            # Another node may have made it a moment ago.
            await self._catch_up()
            source = self._directory.source_of_token(digest)
        # The token of any other source opens only its own address, behind its own verification.
        if source is None or not isinstance(source.mapping, TrackingMapping):
            return _NO_KEY
        return source if source.enabled else _DISABLED


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a body, and once more without what browsers write of a text that was cut within a character."""
    try:
        return decode(decoder, body)
    except Invalid:
        mended = with_whole_characters(body)
        if mended == body:
            raise
    return decode(decoder, mended)


def _basic_user(value: bytes | None) -> str | None:
    """Return the user of Basic authentication (RFC 7617), which is a write key; None when there is no such header."""
    if value is None or value[:6].lower() != b"basic ":
        return None
    try:
        return base64.b64decode(value[6:].strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _key_of_query(query: bytes) -> str | None:
    if b"riteKey=" not in query:
        return None
    keys = parse_qs(query.decode("latin-1")).get("writeKey")
    return keys[0] if keys else None


async def _answer_other(method: str, path: str, send: Send) -> None:
    is_known = path in KINDS or path in BATCHES or path == _FIGURES
    if method == "OPTIONS":
        await answer(send, 204, b"", _PREFLIGHT)
    elif method == "POST" and path == _FIGURES:
        await answer(send, 200, _SUCCESS, _HEADERS)
    else:
        await _answer_failure(send, _ONLY_POST if is_known else _UNKNOWN_PATH)


async def _answer_failure(send: Send, failure: _Failure) -> None:
    headers: Headers = _HEADERS
    if failure.retry_after_seconds is not None:
        headers = (*_HEADERS, (b"retry-after", b"%d" % failure.retry_after_seconds))
    await answer(send, failure.status, msgspec.json.encode(_told(failure.code, failure.message)), headers)


async def _answer_none(send: Send, errors: list[dict[str, object]]) -> None:
    first = errors[0]
    told = _told(str(first["code"]), f"no call was taken: {first['message']}")
    await answer(send, 400, msgspec.json.encode(told | {"errors": errors}), _HEADERS)


async def _answer_unread(receive: Receive, send: Send, problem: BodyProblem, limit: int) -> None:
    status, told = problem_of_body(problem, limit)
    # Segment answers 400 to what is too large, and its libraries know that such a call is not to be repeated.
    status = 400 if problem is BodyProblem.TOO_LARGE else status
    await answer_unread(receive, send, status, _told(told["code"], told["detail"]), (_ANY_ORIGIN,))


def _told(code: str, message: str) -> dict[str, object]:
    """Say what is wrong in the words of Segment's libraries, which read `message`, and in our own."""
    return {"success": False, "code": code, "message": message, "detail": message}


def _not_inflated(problem: NotInflated, limit: int) -> _Failure:
    messages = {
        NotInflated.UNKNOWN: "the Content-Encoding must be gzip, or none",
        NotInflated.BROKEN: "the body is not what its Content-Encoding says: it cannot be unpacked",
        NotInflated.TOO_LARGE: f"the body is larger than {limit} bytes once it is unpacked",
    }
    return _Failure(status=415 if problem is NotInflated.UNKNOWN else 400, code=problem, message=messages[problem])


def _failure_of(error: PosthornError) -> _Failure:
    if isinstance(error, Invalid):
        first = error.problems[0]
        code = "invalid_json" if first.type == "json_invalid" else "invalid_request"
        place = "" if code == "invalid_json" else f"{'.'.join(map(str, first.loc))}: "
        return _Failure(status=400, code=code, message=f"{place}{first.msg}")
    retry = error.retry_after_seconds if isinstance(error, Overloaded | StoreUnavailable) else None
    return _Failure(status=error.http_status, code=error.code, message=str(error), retry_after_seconds=retry)
