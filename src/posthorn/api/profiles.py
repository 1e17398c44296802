"""/api/v1/profile: people, what is known of them, and what they may ask to be told or to be forgotten."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NoBase64

from litestar import Response, delete, get, patch
from litestar.params import JSONBody
from litestar.response import Stream

from posthorn.api.body import ExactJson
from posthorn.api.dossiers import dossier_json
from posthorn.api.exact_paths import user_in
from posthorn.api.person_rows import AppendedOut, PersonOut, ProfileOut, person_out, profile_out
from posthorn.api.query import PageQuery, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.engine.people import ProfileChange
from posthorn.errors import Invalid
from posthorn.manage.registrar import PageOf

_MARK = "u"


class ProfilesQuery(PageQuery, frozen=True, kw_only=True):
    """A page of people."""

    def page(self) -> PageOf:
        """Return the page. Raises Invalid for an iterator that was not made by `cursor_of`."""
        after = self.after_id
        return PageOf(
            after=_user_of_cursor(after) if after is not None else None,
            backwards=self.is_backwards,
            limit=self.limit,
        )


class FilteredProfilesQuery(ProfilesQuery, frozen=True, kw_only=True):
    """People, of a segment (id or uid) or all."""

    segment: str | None = None


class ErasureOut(Out, frozen=True, kw_only=True):
    """How many rows were deleted. There are more: call again until the answer is 204."""

    deleted_rows: int
    done: bool


def cursor_of(user: str) -> str:
    """Name a place in a list by user id: that may begin with a hyphen, which means something in an iterator."""
    return _MARK + urlsafe_b64encode(user.encode()).decode().rstrip("=")


def _user_of_cursor(cursor: str) -> str:
    mark, text = cursor[:1], cursor[1:]
    try:
        user = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (NoBase64, ValueError):
        user = ""
    if mark != _MARK or not user:
        raise Invalid.at("query", "iterator", msg="give back an iterator of this list as it was")
    return user


async def profile_list(request: ApiRequest, query: ProfilesQuery, segment: str | None) -> ListOut[ProfileOut]:
    """Answer a page of people, of a segment (its id) or all."""
    services, workspace = at_desk(request)
    people = services.people
    rows, done = await people.list(workspace, query.page(), segment=segment)
    return list_out(
        rows,
        lambda row: profile_out(row, people.segments_of(row)),
        lambda row: cursor_of(row.user),
        done=done,
    )


@get("/profile", operation_class=reads(FilteredProfilesQuery))
async def list_profiles(request: ApiRequest) -> ListOut[ProfileOut]:
    """List people by user id, those of a segment with `segment`."""
    services, workspace = at_desk(request)
    query = read_query(request, FilteredProfilesQuery)
    return await profile_list(request, query, await services.segments.identify(workspace, query.segment))


@get("/profile/{user:str}")
async def get_profile(request: ApiRequest, user: PathId) -> PersonOut:
    """Get a person with counters and segments. A user id that was merged into another one gives that person."""
    services, workspace = at_desk(request)
    return person_out(await services.people.get(workspace, user_in(user)))


@patch("/profile/{user:str}", dto=ExactJson, return_dto=None, status_code=202)
async def change_profile(request: ApiRequest, user: PathId, data: JSONBody[ProfileChange]) -> AppendedOut:
    """Change a person by an event `profile.updated`; who is not known yet is made.

    The answer comes when the event is durable. The change is there once it is decided, a moment later.
    """
    services, workspace = at_desk(request)
    return AppendedOut(id=await services.people.change(workspace, user_in(user), data))


@delete("/profile/{user:str}", status_code=202)
async def erase_profile(request: ApiRequest, user: PathId) -> Response[ErasureOut | None]:
    """Forget a person: profile, aliases, counters, runs, and all of their journal.

    204 when nothing is left, also for whom nothing was known; 202 when more is left than one call deletes: call again.
    """
    services, workspace = at_desk(request)
    erasure = await services.people.erase(workspace, user_in(user))
    if erasure.is_done:
        return Response(None, status_code=204)
    return Response(ErasureOut(deleted_rows=erasure.rows, done=False), status_code=202)


@get("/profile/{user:str}/export")
async def export_profile(request: ApiRequest, user: PathId) -> Stream:
    """Get everything that is kept of a person as one JSON document, to be saved."""
    services, workspace = at_desk(request)
    dossier = await services.people.dossier(workspace, user_in(user))
    chunks = dossier_json(dossier, services.people, services.runs)
    headers = {"content-disposition": 'attachment; filename="person.json"'}
    return Stream(chunks, media_type="application/json", headers=headers)


ROUTES = [list_profiles, get_profile, change_profile, erase_profile, export_profile]
