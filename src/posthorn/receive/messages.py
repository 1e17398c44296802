"""`POST /api/v1/app/{app}/msg`: a message to an application, fanned out in its own commit. Svix's wire shape."""

from collections.abc import Callable
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from posthorn import ids
from posthorn.clock import Clock, iso_text
from posthorn.engine.directory import Directory
from posthorn.engine.following import CatchUp, found, nothing_new
from posthorn.engine.profiles import profile_of
from posthorn.engine.records import AlreadyClaimed, Append, Claim, Event, NewDelivery
from posthorn.errors import Conflict, Invalid, NotFound, PosthornError
from posthorn.receive.http import (
    BodyProblem,
    Receive,
    Scope,
    Send,
    answer,
    answer_error,
    answer_unread,
    problem_of_body,
    read_body,
)
from posthorn.receive.idempotency import ID_KEPT_MS, key_claim, key_scope
from posthorn.receive.intake import Intake
from posthorn.receive.routing import Routing
from posthorn.receive.wire import decode

MESSAGE_LIMIT_BYTES = 2 * 1024 * 1024

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[a-zA-Z0-9\-_.]+$(?!\n)")]
Channel = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9\-_.:]+$(?!\n)")]
Authenticate = Callable[[Scope], str]  #: returns the workspace; raises Unauthenticated


class MessageIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """The body of a message call. `payload` is kept byte for byte."""

    event_type: Name
    payload: Raw
    event_id: Name | None = None
    channels: Annotated[list[Channel], Meta(min_length=1, max_length=5)] | None = None


class MessageOut(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A message as it is answered."""

    id: str
    event_type: str
    payload: Raw
    timestamp: str
    event_id: str | None = None
    channels: list[str] | None = None


_decoder = msgspec.json.Decoder(MessageIn)
_encode = msgspec.json.Encoder().encode
_NO_CONTENT = Raw(b"{}")
_REPLAYED = (
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"idempotent-replayed", b"true"),
)


class Messages:
    """Accepts messages."""

    def __init__(
        self,
        *,
        intake: Intake,
        directory: Directory,
        routing: Routing,
        authenticate: Authenticate,
        clock: Clock,
        catch_up: CatchUp = nothing_new,
    ) -> None:
        self._catch_up = catch_up
        self._intake = intake
        self._directory = directory
        self._routing = routing
        self._authenticate = authenticate
        self._clock = clock

    async def handle(self, application: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        try:
            workspace = await found(lambda: self._authenticate(scope), self._catch_up)
            body = await read_body(scope, receive, limit_bytes=MESSAGE_LIMIT_BYTES)
            if isinstance(body, BodyProblem):
                await answer_unread(receive, send, *problem_of_body(body, MESSAGE_LIMIT_BYTES))
                return
            unit, reply = await found(lambda: self._unit(workspace, application, scope, body), self._catch_up)
            result = await self._intake.accept(unit)
            if isinstance(result, AlreadyClaimed):
                await _answer_repeated(send, result, workspace)
            else:
                await answer(send, 202, reply)
        except PosthornError as error:
            await answer_error(send, error)

    async def publish(
        self, workspace: str, application: str, event_type: str, payload: bytes, only_endpoint: str | None = None
    ) -> Event:
        """Send a message from within, to one endpoint alone when it is named. Raises NotFound."""
        owner = self._directory.application(workspace, application)
        if owner is None:
            raise NotFound("Application not found")
        message = MessageIn(event_type=event_type, payload=Raw(payload))
        event = self._event(workspace, owner.id, message, self._clock.now_ms())
        deliveries = self._deliveries(event)
        if only_endpoint is not None:
            deliveries = (self._routing.one(only_endpoint, event=event.id, now_ms=event.received_ms),)
        await self._intake.accept(Append(event=event, deliveries=deliveries))
        return event

    def _unit(self, workspace: str, application: str, scope: Scope, body: bytes) -> tuple[Append, bytes]:
        owner = self._directory.application(workspace, application)
        if owner is None:
            raise NotFound("Entity not found")
        message = decode(_decoder, body)
        if bytes(message.payload)[:1] != b"{":
            raise Invalid.at("body", "payload", msg="must be a JSON object")
        now_ms = self._clock.now_ms()
        event = self._event(workspace, owner.id, message, now_ms)
        reply = _encode(_message_out(event, with_content=_wants_content(scope)))
        claims = []
        claim = key_claim(scope, workspace, body, status=202, answer=reply, event=event.id, now_ms=now_ms)
        if claim is not None:
            claims.append(claim)
        if event.uid is not None:
            claims.append(_uid_claim(event, body, reply))
        profile = profile_of(self._directory, workspace, event.type, None, event.id)
        unit = Append(event=event, deliveries=self._deliveries(event), claims=tuple(claims), profile=profile)
        return unit, reply

    def _event(self, workspace: str, application: str, message: MessageIn, now_ms: int) -> Event:
        return Event(
            id=ids.new_id(ids.MESSAGE, now_ms),
            workspace=workspace,
            type=message.event_type,
            occurred_ms=now_ms,
            received_ms=now_ms,
            uid=message.event_id,
            application=application,
            channels=tuple(message.channels or ()),
            payload=bytes(message.payload),
        )

    def _deliveries(self, event: Event) -> tuple[NewDelivery, ...]:
        return self._routing.deliveries(
            event.application or "", event.type, event.channels, event=event.id, now_ms=event.received_ms
        )


def _uid_claim(event: Event, body: bytes, reply: bytes) -> Claim:
    return Claim(
        scope=f"msg:{event.application}",
        key=event.uid or "",
        fingerprint=sha256(body).digest(),
        answer_status=409,
        answer_body=reply,
        event=event.id,
        expires_ms=event.received_ms + ID_KEPT_MS,
    )


async def _answer_repeated(send: Send, first: AlreadyClaimed, workspace: str) -> None:
    if first.scope != key_scope(workspace):
        raise Conflict(f"A message with this eventId exists already: {first.event}")
    if not first.same_request:
        raise KeyReused
    await answer(send, first.answer_status, first.answer_body, _REPLAYED)


class KeyReused(Conflict):
    """The Idempotency-Key was used before with another request; use a new key for a new request."""

    code = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def _wants_content(scope: Scope) -> bool:
    return b"with_content=false" not in scope["query_string"]


def _message_out(event: Event, *, with_content: bool) -> MessageOut:
    return MessageOut(
        id=event.id,
        event_type=event.type,
        payload=Raw(event.payload or b"{}") if with_content else _NO_CONTENT,
        timestamp=iso_text(event.received_ms),
        event_id=event.uid,
        channels=list(event.channels) or None,
    )
