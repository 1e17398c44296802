"""The OpenAPI document: the framework's description of its routes, completed with what the framework cannot know."""

import re
from itertools import pairwise
from typing import Any

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from posthorn import __version__
from posthorn.api import hot_calls

# The framework's answer to wrong data, which is never given: ours is a 422.
_NEVER_GIVEN = "400"
_SENTENCE_END = re.compile(r"(?<=\.)\s+")
_FAILURE = {
    "type": "object",
    "description": "`detail` is a sentence; with status 422 a list of problems, and `code` is missing.",
    "required": ["detail"],
    "properties": {"code": {"type": "string"}, "detail": {}},
}
_FAILED = {
    "description": "It failed.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same call under the same key within 24 hours gets the first answer; another call is a 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 256},
}


def description_config(prefix: str) -> OpenAPIConfig:
    """Serve the document at `<prefix>/openapi.json`."""
    return OpenAPIConfig(
        title="Posthorn",
        version=__version__,
        path=prefix,
        render_plugins=[_Document(prefix)],
        use_handler_docstrings=True,
        operation_id_creator=operation_id,
        security=[{"apiKey": []}],
        components=Components(security_schemes={"apiKey": SecurityScheme(type="http", scheme="bearer")}),
    )


class _Document(JsonRenderPlugin):
    """Renders the completed document, once: it never changes, and whoever asks needs no key."""

    def __init__(self, prefix: str) -> None:
        super().__init__(path="/openapi.json")
        self._prefix = prefix
        self._rendered: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Render the document."""
        if self._rendered is None:
            self._rendered = super().render(request, completed(openapi_schema, self._prefix))
        return self._rendered


def operation_id(
    handler: HTTPRouteHandler, method: Method, path_components: list[str | PathParameterDefinition]
) -> str:
    """Name an operation after the thing that it is about and its handler: `v1.endpoint.rotate-secret`.

    The thing is the last one that the path names by id, or else the one that the path begins with. The framework
    refuses to describe two operations of the same name.
    """
    _, version, *parts = path_components
    name = handler.handler_name.replace("_", "-")
    owners = [before for before, part in pairwise(parts) if not isinstance(part, str)]
    suffix = "-head" if method == "HEAD" else ""
    return f"{version}.{owners[-1] if owners else parts[0]}.{name}{suffix}"


def completed(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the framework's document with the hot calls, our failures, and docstrings split into two texts."""
    paths = dict(document["paths"])
    for path, operations in hot_calls.paths(prefix).items():
        paths[path] = {**paths.get(path, {}), **operations}
    components = document["components"]
    return {
        **document,
        "paths": {
            path: {method: _operation(method, operation) for method, operation in operations.items()}
            for path, operations in paths.items()
        },
        "components": {
            **components,
            "schemas": {**components["schemas"], **hot_calls.schemas(), "Failure": _FAILURE},
            "parameters": {"IdempotencyKey": _IDEMPOTENCY_KEY},
        },
    }


def _operation(method: str, operation: dict[str, Any]) -> dict[str, Any]:
    # A handler's docstring: its first sentence is the summary, the rest the description.
    summary, *rest = _SENTENCE_END.split(operation["description"], maxsplit=1)
    responses = {status: each for status, each in operation["responses"].items() if status != _NEVER_GIVEN}
    parameters = list(operation.get("parameters", ()))
    if method == "post":
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    return {
        **operation,
        "summary": summary.removesuffix("."),
        "description": "".join(rest),
        "parameters": parameters,
        "responses": {**responses, "default": _FAILED},
    }
