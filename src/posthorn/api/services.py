"""What the API calls, and how a handler gets at it."""

from typing import Any, TypeAlias

from litestar import Request
from litestar.params import FromPath
from msgspec import Struct

from posthorn.manage.access import ApiKeys, Principal
from posthorn.manage.applications import Applications
from posthorn.manage.automations import Automations
from posthorn.manage.connectors import Connectors
from posthorn.manage.endpoints import Endpoints
from posthorn.manage.event_types import EventTypes
from posthorn.manage.examples import Examples
from posthorn.manage.health import Health
from posthorn.manage.history import History
from posthorn.manage.idempotency import Idempotency
from posthorn.manage.nodes import Nodes
from posthorn.manage.people import People
from posthorn.manage.rehearsals import Rehearsals
from posthorn.manage.replay import Replay
from posthorn.manage.runs import Runs
from posthorn.manage.secrets import Secrets
from posthorn.manage.segments import Segments
from posthorn.manage.sources import Sources
from posthorn.manage.statistics import Statistics
from posthorn.manage.why import Whys
from posthorn.manage.workspaces import Workspaces
from posthorn.telemetry import Telemetry

PathId: TypeAlias = FromPath[str]  #: an id or a caller's own uid in the address
ApiRequest: TypeAlias = Request[Any, Principal, Any]


class ApiServices(Struct, frozen=True, kw_only=True):
    """The use cases behind the API, made by the composition root."""

    api_keys: ApiKeys
    applications: Applications
    endpoints: Endpoints
    event_types: EventTypes
    sources: Sources
    automations: Automations
    secrets: Secrets
    people: People
    segments: Segments
    runs: Runs
    rehearsals: Rehearsals
    connectors: Connectors
    workspaces: Workspaces
    history: History
    replay: Replay
    statistics: Statistics
    examples: Examples
    whys: Whys
    idempotency: Idempotency
    health: Health
    nodes: Nodes
    telemetry: Telemetry

    def __deepcopy__(self, _memo: dict[int, object]) -> "ApiServices":
        """Stay one: the framework copies its routers deeply, and an open store cannot be copied."""
        return self


def at_desk(request: ApiRequest) -> tuple[ApiServices, str]:
    """Return the use cases, and the workspace that the caller's key opens."""
    services: ApiServices = request.app.state.services
    return services, request.auth.workspace
