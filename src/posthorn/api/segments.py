"""/api/v1/segment: named conditions over people."""

from typing import Any

from litestar import Response, delete, get, patch, post, put
from litestar.params import JSONBody

from posthorn.api.body import ExactJson
from posthorn.api.person_rows import ProfileOut
from posthorn.api.profiles import ProfilesQuery, profile_list
from posthorn.api.query import OrderedQuery, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.resources import Segment
from posthorn.manage.segments import SegmentFields


class SegmentOut(Out, frozen=True, kw_only=True):
    """A segment; its conditions as they were given."""

    id: str
    uid: str | None
    name: str
    conditions: Any
    created_at: str
    updated_at: str


def segment_out(segment: Segment) -> SegmentOut:
    """Render a segment."""
    return SegmentOut(
        id=segment.id,
        uid=segment.uid,
        name=segment.name,
        conditions=segment.conditions,
        created_at=iso_text(segment.created_ms),
        updated_at=iso_text(segment.updated_ms),
    )


@get("/segment", operation_class=reads(OrderedQuery))
async def list_segments(request: ApiRequest) -> ListOut[SegmentOut]:
    """List segments, by id."""
    services, workspace = at_desk(request)
    rows, done = await services.segments.list(workspace, read_query(request, OrderedQuery).page())
    return list_out(rows, segment_out, lambda row: row.id, done=done)


@post("/segment", dto=ExactJson, return_dto=None)
async def create_segment(request: ApiRequest, data: JSONBody[SegmentFields]) -> SegmentOut:
    """Create a segment. People enter it with the next event that changes them or that it counts."""
    services, workspace = at_desk(request)
    return segment_out(await services.segments.create(workspace, data))


@get("/segment/{segment_id:str}")
async def get_segment(request: ApiRequest, segment_id: PathId) -> SegmentOut:
    """Get a segment by id or uid."""
    services, workspace = at_desk(request)
    return segment_out(await services.segments.get(workspace, segment_id))


@put("/segment/{segment_id:str}", dto=ExactJson, return_dto=None)
async def replace_segment(
    request: ApiRequest, segment_id: PathId, data: JSONBody[SegmentFields]
) -> Response[SegmentOut]:
    """Create or overwrite a segment: 201 or 200."""
    services, workspace = at_desk(request)
    segment, is_new = await services.segments.replace(workspace, segment_id, data)
    return Response(segment_out(segment), status_code=201 if is_new else 200)


@patch("/segment/{segment_id:str}", dto=ExactJson, return_dto=None)
async def change_segment(request: ApiRequest, segment_id: PathId, data: JSONBody[SegmentFields]) -> SegmentOut:
    """Change what is given of a segment. Its members follow as their events arrive."""
    services, workspace = at_desk(request)
    return segment_out(await services.segments.change(workspace, segment_id, data))


@delete("/segment/{segment_id:str}")
async def delete_segment(request: ApiRequest, segment_id: PathId) -> None:
    """Delete a segment, unless an automation or another segment names it."""
    services, workspace = at_desk(request)
    await services.segments.delete(workspace, segment_id)


@get("/segment/{segment_id:str}/profile", operation_class=reads(ProfilesQuery))
async def list_segment_profiles(request: ApiRequest, segment_id: PathId) -> ListOut[ProfileOut]:
    """List the people who are in a segment, by user id."""
    services, workspace = at_desk(request)
    segment = await services.segments.get(workspace, segment_id)
    return await profile_list(request, read_query(request, ProfilesQuery), segment.id)


ROUTES = [
    list_segments,
    create_segment,
    get_segment,
    replace_segment,
    change_segment,
    delete_segment,
    list_segment_profiles,
]
