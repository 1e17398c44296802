"""Every failure as JSON: `{code, detail}`, or for wrong data a list of `{loc, msg, type}` under `detail`."""

from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from posthorn.api.problems import placed
from posthorn.api.services import ApiServices
from posthorn.errors import Invalid, Overloaded, PosthornError, Problem, StoreUnavailable, Unauthenticated
from posthorn.receive.http import error_body

Answer = Response[dict[str, Any]]
#: On every answer: some hold secrets, which no cache may keep, and no browser may take JSON for anything else.
SAFE_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_CODES = {400: "generic_error", 401: "authentication_failed", 404: "not_found", 405: "method_not_allowed"}
_SENTENCES = {
    404: "there is nothing at this address",
    405: "this address does not take this method",
    413: "the body is larger than this address takes",
}


def answer_posthorn_error(request: Request[Any, Any, Any], error: PosthornError) -> Answer:
    """Answer what the use cases refused; what is our own failure is reported and not explained."""
    if isinstance(error, Invalid):
        return _invalid([placed(problem) for problem in error.problems])
    if isinstance(error, Overloaded | StoreUnavailable):
        headers = {"retry-after": str(error.retry_after_seconds)}
        return _failure(error.http_status, error.code, str(error), headers)
    if isinstance(error, Unauthenticated):
        return _failure(401, error.code, str(error), {"www-authenticate": "Bearer"})
    if error.http_status >= 500:
        return answer_unexpected(request, error)
    return _failure(error.http_status, error.code, str(error))


def answer_http_exception(_: Request[Any, Any, Any], error: HTTPException) -> Answer:
    """Answer what the framework refused, before any handler was reached."""
    if isinstance(error, ValidationException):
        # With our own decoding only a missing body or a path parameter gets here.
        return _invalid([Problem(loc=("body",), msg="send a JSON body", type="missing")])
    code = "payload_too_large" if error.status_code == 413 else _CODES.get(error.status_code, "generic_error")
    detail = _SENTENCES.get(error.status_code, error.detail)
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return _failure(error.status_code, code, detail, headers)


def answer_unexpected(request: Request[Any, Any, Any], error: Exception) -> Answer:
    """Report a failure of our own, and tell the caller no more than that it happened."""
    services: ApiServices = request.app.state.services
    services.telemetry.emit(
        "error.unexpected", where=f"{request.method} {request.scope.get('path_template', '')}", exception=error
    )
    return _failure(500, "server_error", "something failed that must not fail; it was reported here")


def _invalid(problems: list[Problem]) -> Answer:
    return Response(
        error_body(Invalid(*problems)), status_code=422, headers=SAFE_HEADERS, media_type="application/json"
    )


def _failure(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Answer:
    return Response(
        {"code": code, "detail": detail},
        status_code=status,
        headers=SAFE_HEADERS | (headers or {}),
        media_type="application/json",
    )
