"""/api/v1/run: people's ways through automations, step by step; beginning them by a call, ending them by hand."""

from litestar import get, post
from litestar.params import JSONBody

from posthorn.api.body import ExactJson
from posthorn.api.exact_paths import user_in
from posthorn.api.person_rows import AppendedOut, RunOut, WholeRunOut, run_out, whole_run_out
from posthorn.api.query import PageQuery, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.engine.runs import RunState
from posthorn.manage.registrar import PageOf
from posthorn.manage.runs import Call


class RunsQuery(PageQuery, frozen=True, kw_only=True):
    """A page of runs, the newest first, by state."""

    state: RunState | None = None


class RunCountsOut(Out, frozen=True, kw_only=True):
    """How many runs there are in each state."""

    active: int
    completed: int
    exited: int
    cancelled: int
    failed: int


async def _run_list(
    request: ApiRequest, *, automation: str | None = None, profile: str | None = None
) -> ListOut[RunOut]:
    services, workspace = at_desk(request)
    query = read_query(request, RunsQuery)
    page = PageOf(after=query.after_id, backwards=query.is_backwards, limit=query.limit)
    rows, done = await services.runs.list(workspace, page, automation=automation, profile=profile, state=query.state)
    return list_out(
        rows, lambda row: run_out(row, services.runs.name_of(row.automation)), lambda row: row.id, done=done
    )


@get("/automation/{automation_id:str}/run", operation_class=reads(RunsQuery))
async def list_automation_runs(request: ApiRequest, automation_id: PathId) -> ListOut[RunOut]:
    """List the runs of an automation, of all its versions, the newest first."""
    services, workspace = at_desk(request)
    automation = await services.automations.get(workspace, automation_id)
    return await _run_list(request, automation=automation.id)


@get("/automation/{automation_id:str}/run-count")
async def count_automation_runs(request: ApiRequest, automation_id: PathId) -> RunCountsOut:
    """Count the runs of an automation by state."""
    services, workspace = at_desk(request)
    automation = await services.automations.get(workspace, automation_id)
    return RunCountsOut(**await services.runs.counts(workspace, automation.id))


@post("/automation/{automation_id:str}/trigger", dto=ExactJson, return_dto=None, status_code=202)
async def trigger_automation(request: ApiRequest, automation_id: PathId, data: JSONBody[Call]) -> AppendedOut:
    """Let a person into an automation with a trigger of type `call`.

    Conditions, eligibility and caps decide as for any event; the decision names this event's id.
    """
    services, workspace = at_desk(request)
    automation = await services.automations.get(workspace, automation_id)
    return AppendedOut(id=await services.runs.call(automation, data))


@get("/profile/{user:str}/run", operation_class=reads(RunsQuery))
async def list_profile_runs(request: ApiRequest, user: PathId) -> ListOut[RunOut]:
    """List the runs of a person, the newest first."""
    services, workspace = at_desk(request)
    profile = await services.people.find(workspace, user_in(user))
    return await _run_list(request, profile=profile.key)


@get("/run/{run_id:str}")
async def get_run(request: ApiRequest, run_id: PathId) -> WholeRunOut:
    """Get a run with what it did, step by step, and what it waits for."""
    services, workspace = at_desk(request)
    run = await services.runs.get(workspace, run_id)
    return whole_run_out(run, services.runs.name_of(run.automation))


@post("/run/{run_id:str}/cancel", status_code=202)
async def cancel_run(request: ApiRequest, run_id: PathId) -> AppendedOut:
    """End a run by an event `run.cancelled`; requests that are queued already still go out."""
    services, workspace = at_desk(request)
    return AppendedOut(id=await services.runs.cancel(workspace, run_id))


ROUTES = [
    list_automation_runs,
    count_automation_runs,
    trigger_automation,
    list_profile_runs,
    get_run,
    cancel_run,
]
