"""/api/v1/source: inbound addresses, and brokers to consume."""

from typing import Literal

from litestar import Response, delete, get, patch, post, put
from litestar.params import JSONBody

from posthorn.api.body import ExactJson
from posthorn.api.query import OrderedQuery, read_query, reads
from posthorn.api.rendering import ListOut, Out, iso_or_none, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.brokers import BrokerSettings
from posthorn.engine.marks import MASK
from posthorn.engine.resources import (
    Answer,
    CloudEventsMapping,
    DedupeRule,
    FieldsMapping,
    SealedSecret,
    Source,
    TrackingMapping,
)
from posthorn.manage.sources import NewSourceSecret, SourceFields, SourceRecord
from posthorn.receive.bridges.bridge import BridgeState
from posthorn.signing import Verification


class SecretMark(Out, frozen=True, kw_only=True):
    """That there is a secret, and until when; never what it is."""

    created_at: str
    expires_at: str | None


class BrokerState(Out, frozen=True, kw_only=True):
    """How a source's bridge is doing on the node that answered.

    `status` is connecting, consuming, store_unavailable, broker_unavailable or stopped.
    """

    status: str
    since: str
    detail: str | None


class SourceOut(Out, frozen=True, kw_only=True):
    """A source. `url` is where its senders send to; a source that consumes a broker has none.

    A source of kind tracking has a `writeKey`, and its `url` is the host that Segment's libraries are given.
    `brokerCredentials` only says that there are some. `brokerState` is null where no bridge of the source runs.
    """

    id: str
    uid: str | None
    name: str
    kind: Literal["inbox", "broker", "tracking"]
    url: str | None
    write_key: str | None
    broker: BrokerSettings | None
    broker_credentials: str | None
    broker_state: BrokerState | None
    verification: Verification
    secrets: list[SecretMark]
    dedupe: DedupeRule | None
    answer: Answer
    event_type: str
    mapping: FieldsMapping | CloudEventsMapping | TrackingMapping | None
    body_limit_bytes: int
    enabled: bool
    created_at: str
    updated_at: str


def source_out(record: SourceRecord) -> SourceOut:
    """Render a source, without its secrets."""
    source = record.source
    return SourceOut(
        id=source.id,
        uid=source.uid,
        name=source.name,
        kind=_kind(source),
        url=record.url,
        write_key=record.write_key,
        broker=source.broker,
        broker_credentials=MASK if source.broker_sealed is not None else None,
        broker_state=_state(record.bridge),
        verification=source.verification,
        secrets=[_mark(secret) for secret in record.secrets],
        dedupe=source.dedupe,
        answer=source.answer,
        event_type=source.event_type,
        mapping=source.mapping,
        body_limit_bytes=source.body_limit_bytes,
        enabled=source.enabled,
        created_at=iso_text(source.created_ms),
        updated_at=iso_text(source.updated_ms),
    )


def _kind(source: Source) -> Literal["inbox", "broker", "tracking"]:
    if source.broker is not None:
        return "broker"
    return "tracking" if isinstance(source.mapping, TrackingMapping) else "inbox"


def _state(bridge: BridgeState | None) -> BrokerState | None:
    if bridge is None:
        return None
    return BrokerState(status=bridge.status, since=iso_text(bridge.since_ms), detail=bridge.detail)


def _mark(secret: SealedSecret) -> SecretMark:
    return SecretMark(created_at=iso_text(secret.created_ms), expires_at=iso_or_none(secret.expires_ms))


@get("/source", operation_class=reads(OrderedQuery))
async def list_sources(request: ApiRequest) -> ListOut[SourceOut]:
    """List sources, by id."""
    services, workspace = at_desk(request)
    rows, done = await services.sources.list(workspace, read_query(request, OrderedQuery).page())
    return list_out(rows, source_out, lambda row: row.source.id, done=done)


@post("/source", dto=ExactJson, return_dto=None)
async def create_source(request: ApiRequest, data: JSONBody[SourceFields]) -> SourceOut:
    """Create a source with a new address, or one that consumes a broker."""
    services, workspace = at_desk(request)
    return source_out(await services.sources.create(workspace, data))


@get("/source/{source_id:str}")
async def get_source(request: ApiRequest, source_id: PathId) -> SourceOut:
    """Get a source by id or uid."""
    services, workspace = at_desk(request)
    return source_out(await services.sources.get(workspace, source_id))


@put("/source/{source_id:str}", dto=ExactJson, return_dto=None)
async def replace_source(request: ApiRequest, source_id: PathId, data: JSONBody[SourceFields]) -> Response[SourceOut]:
    """Create or overwrite a source: 201 or 200. Its address stays, and its secrets when none are given."""
    services, workspace = at_desk(request)
    record, is_new = await services.sources.replace(workspace, source_id, data)
    return Response(source_out(record), status_code=201 if is_new else 200)


@patch("/source/{source_id:str}", dto=ExactJson, return_dto=None)
async def change_source(request: ApiRequest, source_id: PathId, data: JSONBody[SourceFields]) -> SourceOut:
    """Change what is given of a source; null clears a field."""
    services, workspace = at_desk(request)
    return source_out(await services.sources.change(workspace, source_id, data))


@delete("/source/{source_id:str}")
async def delete_source(request: ApiRequest, source_id: PathId) -> None:
    """Delete a source; its address answers as if it had never been."""
    services, workspace = at_desk(request)
    await services.sources.delete(workspace, source_id)


@post("/source/{source_id:str}/secret/rotate", dto=ExactJson, return_dto=None, status_code=200)
async def rotate_secret(request: ApiRequest, source_id: PathId, data: JSONBody[NewSourceSecret]) -> SourceOut:
    """Accept a new secret of a source's sender.

    The old ones are accepted until the grace period (24 hours, at most 7 days) ends.
    """
    services, workspace = at_desk(request)
    return source_out(await services.sources.rotate_secret(workspace, source_id, data))


@post("/source/{source_id:str}/address/rotate", status_code=200)
async def rotate_address(request: ApiRequest, source_id: PathId) -> SourceOut:
    """Give a source a new address; the old one ends at once."""
    services, workspace = at_desk(request)
    return source_out(await services.sources.rotate_address(workspace, source_id))


ROUTES = [
    list_sources,
    create_source,
    get_source,
    replace_source,
    change_source,
    delete_source,
    rotate_secret,
    rotate_address,
]
