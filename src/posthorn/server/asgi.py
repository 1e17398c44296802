"""What answers at each door: hot paths first, by hand; everything else through the framework."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from posthorn.engine.following import CatchUp
from posthorn.engine.membership import Membership
from posthorn.engine.ownership import Ownership
from posthorn.errors import PosthornError, StoreUnavailable, Unauthenticated
from posthorn.manage.access import ApiKeys
from posthorn.receive.braze.users import PATHS as BRAZE_PATHS
from posthorn.receive.braze.users import BrazeUsers
from posthorn.receive.cloudintake import PATH as CLOUD_PATH
from posthorn.receive.cloudintake import CloudIntake
from posthorn.receive.events import Events
from posthorn.receive.http import Receive, Scope, Send, answer, answer_error, answer_json, header
from posthorn.receive.inbox import PREFIX, Inbox
from posthorn.receive.messages import Messages
from posthorn.receive.tracking.tracking import PREFIX as TRACKING_PREFIX
from posthorn.receive.tracking.tracking import Tracking
from posthorn.server.snippet import PATH as SNIPPET_PATH
from posthorn.server.snippet import serve_snippet
from posthorn.telemetry import Metrics

_MESSAGES_HEAD = "/api/v1/app/"
_MESSAGES_TAIL = "/msg"
_NOT_HERE = {"code": "not_found", "detail": "this door answers inbox addresses, tracking calls and /posthorn.js only"}

Application = Callable[[Any, Any, Any], Awaitable[None]]


def authenticator(api_keys: ApiKeys) -> Callable[[Scope], str]:
    """Return the check of the Authorization header that hot handlers use."""

    def authenticate(scope: Scope) -> str:
        value = header(scope["headers"], b"authorization")
        if value is None or value[:7].lower() != b"bearer ":
            raise Unauthenticated("no API key came with the call: send it as Authorization: Bearer <key>")
        return api_keys.authenticate(value[7:].strip().decode("latin-1")).workspace

    return authenticate


@dataclass(frozen=True, slots=True, kw_only=True)
class Intakes:
    """What takes events in at the private door, before the framework."""

    messages: Messages
    events: Events
    cloud: CloudIntake
    tracking: Tracking
    users: BrazeUsers


class PrivateDoor:
    """API, intake, metrics, health."""

    def __init__(
        self,
        *,
        intakes: Intakes,
        api: Application,
        metrics: Metrics,
        membership: Membership,
        ownerships: Sequence[Ownership],
        catch_up: CatchUp,
        store_figures: Callable[[], dict[str, int]],
    ) -> None:
        """Make the door; `catch_up` lets each call of the framework's API see what other nodes configured before it."""
        self._messages = intakes.messages
        self._events = intakes.events
        self._tracking = intakes.tracking
        self._posts = dict.fromkeys(BRAZE_PATHS, intakes.users.handle) | {CLOUD_PATH: intakes.cloud.handle}
        self._api = api
        self._metrics = metrics
        self._membership = membership
        self._ownerships = ownerships
        self._catch_up = catch_up
        self._store_figures = store_figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._route(scope, receive, send)
        except Exception:  # answered, and raised again for the server to log
            await _answer_failure(send)
            raise

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if len(path) > 1 and path.endswith("/"):
            path = path.rstrip("/")
        if scope["method"] == "POST":
            if path.endswith(_MESSAGES_TAIL) and path.startswith(_MESSAGES_HEAD):
                application = path[len(_MESSAGES_HEAD) : -len(_MESSAGES_TAIL)]
                if "/" not in application:
                    await self._messages.handle(application, scope, receive, send)
                    return
            elif path == "/api/v1/event":
                await self._events.handle(scope, receive, send)
                return
            elif (handle := self._posts.get(path)) is not None:
                await handle(scope, receive, send)
                return
        if path.startswith(TRACKING_PREFIX):
            await self._tracking.handle(scope, receive, send)
            return
        if path == "/health":
            await self._health(send)
            return
        if path == "/metrics":
            headers = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)
            await answer(send, 200, self._metrics.render() + self._store_metrics(), headers)
            return
        with contextlib.suppress(StoreUnavailable):  # the handler will say so, if it needs the store
            await self._catch_up()
        await self._api(scope, receive, send)

    def _store_metrics(self) -> bytes:
        lines = (f"posthorn_store_{name}_total {value}\n" for name, value in self._store_figures().items())
        return "".join(lines).encode()

    async def _health(self, send: Send) -> None:
        shards = sum(len(ownership.epochs) for ownership in self._ownerships)
        is_alive = self._membership.is_alive
        status = "ok" if is_alive else "the store does not answer"
        await answer_json(send, 200 if is_alive else 503, {"status": status, "shards": shards})


class PublicDoor:
    """Inbox addresses, tracking calls and the browser snippet, and nothing else."""

    def __init__(self, inbox: Inbox, tracking: Tracking) -> None:
        self._inbox = inbox
        self._tracking = tracking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        try:
            if path.startswith(PREFIX):
                await self._inbox.handle(scope, receive, send)
            elif path.startswith(TRACKING_PREFIX):
                await self._tracking.handle(scope, receive, send)
            elif path == SNIPPET_PATH:
                await serve_snippet(scope, send)
            else:
                await answer_json(send, 404, _NOT_HERE)
        except Exception:  # answered, and raised again for the server to log
            await _answer_failure(send)
            raise


async def _answer_failure(send: Send) -> None:
    """Answer in JSON what must not happen; the server logs what is raised behind it, and closes the connection."""
    with contextlib.suppress(RuntimeError):  # a part of another answer is out already
        await answer_error(send, PosthornError("something failed that must not fail; the server's log says more"))
