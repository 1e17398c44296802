"""/api/v1/health: is the server there, and its store? Open to everybody."""

from litestar import HttpMethod, route

from posthorn.api.doors import OPEN_TO_ALL
from posthorn.api.rendering import Out
from posthorn.api.services import ApiRequest, ApiServices

_METHODS = [HttpMethod.GET, HttpMethod.HEAD]


class HealthOut(Out, frozen=True, kw_only=True):
    """The store answers; otherwise the status is 503."""

    status: str


@route("/health", http_method=_METHODS, opt=OPEN_TO_ALL)
async def get_health(request: ApiRequest) -> HealthOut:
    """Ask the store a small question."""
    services: ApiServices = request.app.state.services
    await services.health.check()
    return HealthOut(status="ok")


@route("/health/ping", http_method=_METHODS, opt=OPEN_TO_ALL, status_code=204)
async def ping() -> None:
    """Answer, without asking the store."""


ROUTES = [get_health, ping]
