"""`ANY /in/<token>[/path]` on the public door: capture, verify, deduplicate, commit, then answer."""

import time
from collections.abc import Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from posthorn import ids
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.following import CatchUp, found, nothing_new
from posthorn.engine.profiles import profile_of
from posthorn.engine.records import (
    AlreadyClaimed,
    Append,
    AppendResult,
    CapturedRequest,
    Claim,
    Event,
    RequestOutcome,
)
from posthorn.engine.resources import CloudEventsMapping, FieldsMapping, SourceMapping, TrackingMapping
from posthorn.errors import NotFound, Overloaded, PosthornError
from posthorn.receive.arrivals import event_ids
from posthorn.receive.capture import (
    MOST_HOPS,
    Incoming,
    dedupe_claim,
    dedupe_key,
    event_type_of,
    head_of,
    hops_of,
)
from posthorn.receive.http import (
    BODY_DEADLINE_SECONDS,
    BodyProblem,
    Receive,
    Scope,
    Send,
    answer,
    answer_error,
    answer_unread,
    header,
    problem_of_body,
    read_body,
)
from posthorn.receive.intake import Intake
from posthorn.receive.mapping import Mapped, map_cloud, map_fields
from posthorn.receive.sources import CompiledSource, CompiledSources
from posthorn.signing import verify
from posthorn.telemetry import Telemetry

PREFIX = "/in/"
_LONGEST_TOKEN = 128
_PLAIN = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is kept without becoming an event. `detail` is for the source's owner, `answer` for the sender."""

    status: int
    cause: str
    detail: str
    answer: str


class Inbox:
    """Answers inbox addresses."""

    def __init__(
        self,
        *,
        intake: Intake,
        sources: CompiledSources,
        directory: Directory,
        clock: Clock,
        telemetry: Telemetry,
        catch_up: CatchUp = nothing_new,
        body_deadline_seconds: float = BODY_DEADLINE_SECONDS,
    ) -> None:
        self._catch_up = catch_up
        self._intake = intake
        self._sources = sources
        self._directory = directory
        self._clock = clock
        self._telemetry = telemetry
        self._body_deadline_seconds = body_deadline_seconds

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request at `/in/<token>` or below."""
        started = time.monotonic_ns()
        try:
            token = scope["path"][len(PREFIX) :].partition("/")[0]
            compiled = await found(lambda: self._find(token), self._catch_up)
        except PosthornError as error:
            await answer_error(send, error)
            return
        limit = compiled.source.body_limit_bytes
        body = await read_body(scope, receive, limit_bytes=limit, deadline_seconds=self._body_deadline_seconds)
        try:
            if isinstance(body, BodyProblem):
                await self._keep_unread(compiled, scope, body, started)
                await answer_unread(receive, send, *problem_of_body(body, limit))
            else:
                await self._accept(compiled, scope, body, started, send)
        except PosthornError as error:
            await answer_error(send, error)

    def _find(self, token: str) -> CompiledSource:
        """Return the source of an address. Raises NotFound, or Overloaded when the source cannot be worked with now."""
        try:
            digest = sha256(token.encode()).hexdigest()
            compiled = self._sources.find(digest) if len(token) <= _LONGEST_TOKEN else None
        except PosthornError as error:
            # A secret that does not open is the operator's trouble: the sender learns only that it may try again.
            self._telemetry.emit("error.unexpected", where="inbox source", exception=error)
            raise Overloaded("this inbox cannot accept requests now", retry_after_seconds=60) from None
        # A write key stands in web pages for anybody to read; as an address it would let anything in.
        if compiled is None or isinstance(compiled.source.mapping, TrackingMapping):
            raise NotFound("no inbox has this address")
        return compiled

    async def _accept(self, compiled: CompiledSource, scope: Scope, body: bytes, started: int, send: Send) -> None:
        now_ms = self._clock.now_ms()
        rejection = _rejection(compiled, scope, body, now_ms)
        if rejection is not None:
            await self._keep_rejected(compiled, scope, body, rejection, started)
            await _answer_rejected(send, rejection)
            return
        units, reply = self._units(compiled, scope, body, now_ms, started)
        if len(units) == 1:
            result = await self._intake.accept(units[0])
        else:
            result = _of_several(await self._intake.accept_all(units))
        status = compiled.source.answer.status
        outcome = RequestOutcome.ACCEPTED
        if isinstance(result, AlreadyClaimed):
            status, reply, outcome = result.answer_status, result.answer_body, RequestOutcome.DUPLICATE
        self._telemetry.emit("request.captured", outcome=outcome, cause=None)
        await answer(send, status, reply, compiled.answer_headers or _PLAIN)

    def _units(
        self, compiled: CompiledSource, scope: Scope, body: bytes, now_ms: int, started: int
    ) -> tuple[list[Append], bytes]:
        source = compiled.source
        headers = scope["headers"]
        incoming = Incoming(method=scope["method"], path=scope["path"], headers=headers, body=body)
        event_id = ids.new_id(ids.EVENT, now_ms)
        request = _captured(compiled, scope, body, now_ms, started, event=event_id)
        event = _event(source.workspace, source.id, request, event_type_of(compiled.event_type, incoming), headers)
        rows = [Mapped(event=event)]
        if source.mapping is not None:
            rows = _mapped(source.mapping, incoming, event)
            request = replace(request, event=rows[0].event.id)
        own = source.answer.body
        reply = b'{"request":"%b","event":"%b"}' % (request.id.encode(), rows[0].event.id.encode())
        if own is not None:
            reply = own.encode()
        given_key = dedupe_key(source.dedupe, incoming)
        units: list[Append] = []
        for row in rows:
            key = given_key if given_key is not None else row.key
            claims: tuple[Claim, ...] = ()
            if key is not None:
                status, of = source.answer.status, row.event.id
                claims = (dedupe_claim(source.id, key, status=status, answer=reply, event=of, now_ms=now_ms),)
            profile = profile_of(self._directory, source.workspace, row.event.type, row.event.user, row.event.id)
            # The first one brings the request, and all of them point to it.
            units.append(Append(request=None if units else request, event=row.event, claims=claims, profile=profile))
        return units, reply

    async def _keep_rejected(
        self, compiled: CompiledSource, scope: Scope, body: bytes, rejection: Rejection, started: int
    ) -> None:
        request = _captured(compiled, scope, body, self._clock.now_ms(), started, rejection=rejection)
        await self._intake.accept(Append(request=request))
        self._telemetry.emit("request.captured", outcome=RequestOutcome.REJECTED, cause=rejection.cause)

    async def _keep_unread(self, compiled: CompiledSource, scope: Scope, problem: BodyProblem, started: int) -> None:
        status, answered = problem_of_body(problem, compiled.source.body_limit_bytes)
        rejection = Rejection(status=status, cause=problem, detail=answered["detail"], answer=answered["detail"])
        await self._keep_rejected(compiled, scope, b"", rejection, started)


def _mapped(mapping: SourceMapping, incoming: Incoming, event: Event) -> list[Mapped]:
    if isinstance(mapping, FieldsMapping):
        return [map_fields(mapping, incoming, event)]
    if isinstance(mapping, CloudEventsMapping):
        rows = map_cloud(mapping, incoming, event)
        named = zip(event_ids(len(rows), event.received_ms), rows, strict=True)
        return [replace(row, event=replace(row.event, id=identifier)) for identifier, row in named]
    return [Mapped(event=event)]


def _of_several(results: Sequence[AppendResult]) -> AppendResult:
    """Return what to answer to several events: that they were taken, unless every one of them was here before."""
    return next((result for result in results if not isinstance(result, AlreadyClaimed)), results[0])


def _rejection(compiled: CompiledSource, scope: Scope, body: bytes, now_ms: int) -> Rejection | None:
    """Decide whether a whole request is turned away."""
    source = compiled.source
    if not source.enabled:
        detail = "the source is disabled; enable it to accept requests again"
        return Rejection(status=403, cause="source_disabled", detail=detail, answer="this inbox is switched off")
    if hops_of(scope["headers"]) >= MOST_HOPS:
        detail = f"the request came through {MOST_HOPS} Posthorns already: an automation sends to its own source"
        return Rejection(status=508, cause="loop_detected", detail=detail, answer=detail)
    verdict = verify(source.verification, compiled.live_secrets(now_ms), scope["headers"], body, now_ms)
    if verdict.accepted:
        return None
    # The verdict's detail names what was expected and is for the owner; the sender learns only that it failed.
    return Rejection(
        status=401,
        cause=verdict.cause or "verification_failed",
        detail=verdict.detail,
        answer="the request could not be verified",
    )


async def _answer_rejected(send: Send, rejection: Rejection) -> None:
    body = msgspec.json.encode({"code": rejection.cause, "detail": rejection.answer})
    await answer(send, rejection.status, body)


def _captured(
    compiled: CompiledSource,
    scope: Scope,
    body: bytes,
    now_ms: int,
    started: int,
    *,
    event: str | None = None,
    rejection: Rejection | None = None,
) -> CapturedRequest:
    client = scope.get("client")
    target = scope.get("posthorn.target")
    return CapturedRequest(
        id=ids.new_id(ids.REQUEST, now_ms),
        workspace=compiled.source.workspace,
        source=compiled.source.id,
        received_ms=now_ms,
        method=scope["method"],
        target=target if target is not None else _target(scope),
        http_version=scope["http_version"],
        head=head_of(scope.get("posthorn.headers") or scope["headers"], compiled.secret_headers),
        body=body,
        peer=f"{client[0]}:{client[1]}" if client else "",
        duration_us=(time.monotonic_ns() - started) // 1000,
        outcome=RequestOutcome.ACCEPTED if rejection is None else RequestOutcome.REJECTED,
        cause=rejection.cause if rejection is not None else None,
        detail=rejection.detail if rejection is not None else None,
        answer_status=compiled.source.answer.status if rejection is None else rejection.status,
        event=event,
    )


def _target(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


def _event(workspace: str, source: str, request: CapturedRequest, name: str, headers: object) -> Event:
    return Event(
        id=request.event or "",
        workspace=workspace,
        type=name,
        occurred_ms=request.received_ms,
        received_ms=request.received_ms,
        source=source,
        request=request.id,
        content_type=_text(header(headers, b"content-type")),  # type: ignore[arg-type]
        content_encoding=_text(header(headers, b"content-encoding")),  # type: ignore[arg-type]
    )


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None
