"""/api/v1/connector: the catalogue, with labels in three languages; and trying an account."""

from typing import Any

import msgspec
from litestar import get, post
from litestar.params import JSONBody

from posthorn.api.body import ExactJson
from posthorn.api.rendering import Out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.connectors import Action, Connector
from posthorn.manage.connectors import TryOut


class ConnectorOut(Out, frozen=True, kw_only=True):
    """A connector. Labels are objects with `en`, `ru` and `zh`; credentials that are not secret go into `account`."""

    name: str
    title: Any
    description: Any
    category: str
    docs: str
    is_legacy: bool
    credentials: Any
    actions: Any


class ConnectorsOut(Out, frozen=True, kw_only=True):
    """The whole catalogue, by name."""

    data: list[ConnectorOut]


class TriedOutOut(Out, frozen=True, kw_only=True):
    """What a vendor made of one request. The request is shown with masks for secrets."""

    is_well: bool
    reason: str
    status: int | None
    answer: str
    method: str
    url: str


def _connector_out(connector: Connector) -> ConnectorOut:
    return ConnectorOut(
        name=connector.name,
        title=msgspec.to_builtins(connector.title),
        description=msgspec.to_builtins(connector.description),
        category=connector.category,
        docs=connector.docs,
        is_legacy=connector.legacy,
        credentials=msgspec.to_builtins(connector.credentials),
        actions={name: _action_out(action) for name, action in connector.actions.items()},
    )


def _action_out(action: Action) -> dict[str, Any]:
    return {
        "title": msgspec.to_builtins(action.title),
        "description": msgspec.to_builtins(action.description),
        "inputs": msgspec.to_builtins(action.inputs),
        "rates": msgspec.to_builtins(action.rates),
    }


@get("/connector")
async def list_connectors(request: ApiRequest) -> ConnectorsOut:
    """List the connectors of the catalogue."""
    services, _ = at_desk(request)
    return ConnectorsOut(data=[_connector_out(one) for one in services.connectors.all().values()])


@get("/connector/{connector_name:str}")
async def get_connector(request: ApiRequest, connector_name: PathId) -> ConnectorOut:
    """Get a connector with its actions and their inputs."""
    services, _ = at_desk(request)
    return _connector_out(services.connectors.get(connector_name))


@post("/connector/{connector_name:str}/test", dto=ExactJson, return_dto=None, status_code=200)
async def test_connector(request: ApiRequest, connector_name: PathId, data: JSONBody[TryOut]) -> TriedOutOut:
    """Send one real request for an account: the connector's harmless one, or an action with inputs."""
    services, workspace = at_desk(request)
    found = await services.connectors.try_out(workspace, connector_name, data)
    return TriedOutOut(
        is_well=found.is_well,
        reason=found.reason,
        status=found.status,
        answer=found.answer.decode("utf-8", "replace"),
        method=found.method,
        url=found.url,
    )


ROUTES = [list_connectors, get_connector, test_connector]
