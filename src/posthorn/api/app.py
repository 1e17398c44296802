"""The API as one ASGI application."""

import asyncio
from typing import Any, cast

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware

from posthorn.api import (
    applications,
    attempted,
    automations,
    connectors,
    credentials,
    drafts,
    endpoint_actions,
    endpoints,
    event_types,
    health,
    journal,
    message_attempts,
    messages,
    nodes,
    profiles,
    rehearsals,
    runs,
    segments,
    sources,
    tail,
    why,
    workspaces,
)
from posthorn.api.body import BODY_LIMIT_BYTES
from posthorn.api.description import description_config
from posthorn.api.doors import Authentication, Repetition
from posthorn.api.exact_paths import with_exact_user
from posthorn.api.failures import SAFE_HEADERS, answer_http_exception, answer_posthorn_error, answer_unexpected
from posthorn.api.services import ApiServices
from posthorn.errors import PosthornError

PREFIX = "/api/v1"
_ROUTES = [
    *applications.ROUTES,
    *endpoints.ROUTES,
    *endpoint_actions.ROUTES,
    *event_types.ROUTES,
    *messages.ROUTES,
    *message_attempts.ROUTES,
    *attempted.ROUTES,
    *health.ROUTES,
    *sources.ROUTES,
    *automations.ROUTES,
    *credentials.ROUTES,
    *journal.ROUTES,
    *why.ROUTES,
    *nodes.ROUTES,
    *profiles.ROUTES,
    *segments.ROUTES,
    *runs.ROUTES,
    *drafts.ROUTES,
    *rehearsals.ROUTES,
    *connectors.ROUTES,
    *workspaces.ROUTES,
    tail.tail,
]


class _Api(Litestar):
    """The framework's application, told which user an address names."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await super().__call__(cast("Any", with_exact_user(scope, PREFIX)), receive, send)


def build_app(services: ApiServices, *, closing: asyncio.Event | None = None) -> Litestar:
    """Build the application. Setting `closing` ends open tails, so that a shutdown need not wait for them.

    The calls that create messages and events are not in it: `posthorn.receive` answers them before the framework is
    reached. The OpenAPI document has them nevertheless.
    """
    router = Router(
        path=PREFIX,
        route_handlers=_ROUTES,
        middleware=[
            # The framework types ASGI messages as closed dictionaries; the hot handlers' looser types fit as well.
            DefineMiddleware(cast("Any", Authentication), services=services),
            DefineMiddleware(cast("Any", Repetition), services=services),
        ],
    )
    return _Api(
        route_handlers=[router],
        exception_handlers={
            PosthornError: answer_posthorn_error,
            HTTPException: answer_http_exception,
            Exception: answer_unexpected,
        },
        response_headers=SAFE_HEADERS,
        openapi_config=description_config(PREFIX),
        request_max_body_size=BODY_LIMIT_BYTES,
        state=State({"services": services, "closing": closing or asyncio.Event()}, deep_copy=False),
        # Failures are reported through telemetry, once; the framework's own logging stays silent.
        logging_config=None,
        debug=False,
    )
