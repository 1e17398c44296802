"""/api/v1/node: the processes that share the store, their shards and how late their work is."""

from litestar import get

from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, at_desk
from posthorn.clock import iso_text
from posthorn.engine.cluster import NodeStanding


class NodeOut(Out, frozen=True, kw_only=True):
    """A node. Lags are milliseconds, 0 when nothing waits."""

    id: str
    name: str
    version: str
    roles: list[str]
    started_at: str
    seen_at: str
    deciding_shards: int
    delivering_shards: int
    decide_lag_ms: int
    deliver_lag_ms: int


def node_out(standing: NodeStanding) -> NodeOut:
    """Render a node."""
    node = standing.node
    return NodeOut(
        id=node.id,
        name=node.name,
        version=node.version,
        roles=[role.value for role in node.roles],
        started_at=iso_text(node.started_ms),
        seen_at=iso_text(node.seen_ms),
        deciding_shards=standing.deciding,
        delivering_shards=standing.delivering,
        decide_lag_ms=standing.decide_lag_ms,
        deliver_lag_ms=standing.deliver_lag_ms,
    )


@get("/node")
async def list_nodes(request: ApiRequest) -> ListOut[NodeOut]:
    """List the nodes that are alive. A node that leaves has no roles any more."""
    services, _ = at_desk(request)
    return list_out(await services.nodes.living(), node_out, lambda standing: standing.node.id, done=True)


ROUTES = [list_nodes]
