"""The API as one ASGI application."""

import asyncio
from typing import Any, cast

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from posthorn import __version__
from posthorn.api import (
    applications,
    attempted,
    automations,
    credentials,
    endpoint_actions,
    endpoints,
    event_types,
    health,
    journal,
    message_attempts,
    messages,
    sources,
    tail,
)
from posthorn.api.body import BODY_LIMIT_BYTES
from posthorn.api.doors import Authentication, Repetition
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
    tail.tail,
]


def build_app(services: ApiServices, *, closing: asyncio.Event | None = None) -> Litestar:
    """Build the application. Setting `closing` ends open tails, so that a shutdown need not wait for them.

    The three calls that create messages and events are not in it: `posthorn.receive` answers them before the
    framework is reached.
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
    return Litestar(
        route_handlers=[router],
        exception_handlers={
            PosthornError: answer_posthorn_error,
            HTTPException: answer_http_exception,
            Exception: answer_unexpected,
        },
        response_headers=SAFE_HEADERS,
        openapi_config=_openapi(),
        request_max_body_size=BODY_LIMIT_BYTES,
        state=State({"services": services, "closing": closing or asyncio.Event()}, deep_copy=False),
        # Failures are reported through telemetry, once; the framework's own logging stays silent.
        logging_config=None,
        debug=False,
    )


class _Description(JsonRenderPlugin):
    """Serves the OpenAPI document with our failures in place of the framework's."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Render the document."""
        schemas = openapi_schema["components"]["schemas"]
        schemas["Failure"] = {
            "type": "object",
            "description": "`detail` is a sentence; with status 422 a list of problems, and `code` is missing.",
            "required": ["detail"],
            "properties": {"code": {"type": "string"}, "detail": {}},
        }
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
        for path in openapi_schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("400", None)
                operation["responses"]["default"] = {"description": "It failed.", "content": content}
        return super().render(request, openapi_schema)


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Posthorn",
        version=__version__,
        path=PREFIX,
        render_plugins=[_Description(path="/openapi.json")],
        security=[{"apiKey": []}],
        components=Components(security_schemes={"apiKey": SecurityScheme(type="http", scheme="bearer")}),
    )
