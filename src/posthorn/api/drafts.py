"""/api/v1/automation/{id}/draft and /publish: work on an automation while what is published goes on."""

from typing import Any

from litestar import Response, delete, get, post, put
from litestar.params import JSONBody

from posthorn.api.automations import AutomationOut, automation_out
from posthorn.api.body import ExactJson
from posthorn.api.problems import placed
from posthorn.api.rendering import Out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.flows import Eligibility, EventTrigger, Flow, SendStep
from posthorn.errors import Problem
from posthorn.manage.automations import DraftChecked, DraftFields
from posthorn.manage.template_warnings import TemplateWarning


class ProblemOut(Out, frozen=True, kw_only=True):
    """One reason why a draft cannot be published, placed as in an answer with status 422."""

    loc: list[str | int]
    msg: str
    type: str


class WarningOut(Out, frozen=True, kw_only=True):
    """A variable of a template that nobody fills in. With `fails`, rendering fails for it."""

    loc: list[str | int]
    line: int
    column: int
    name: str
    fails: bool
    msg: str


class DraftOut(Out, frozen=True, kw_only=True):
    """A draft. `problems` is what publishing would refuse it for; `basedOn` the version that it changes."""

    name: str
    trigger: EventTrigger | None
    conditions: Any
    eligibility: Eligibility
    send: SendStep | None
    flow: Flow | None
    throttle_rate: int | None
    retry_schedule_seconds: tuple[int, ...] | None
    based_on: int
    saved_at: str
    problems: list[ProblemOut]
    warnings: list[WarningOut]


def _problem_out(problem: Problem) -> ProblemOut:
    there = placed(problem)
    return ProblemOut(loc=list(there.loc), msg=there.msg, type=there.type)


def warning_out(warning: TemplateWarning) -> WarningOut:
    """Render a warning, placed as a problem is."""
    return WarningOut(
        loc=["body", *warning.loc],
        line=warning.line,
        column=warning.column,
        name=warning.name,
        fails=warning.fails,
        msg=warning.message,
    )


def _draft_out(checked: DraftChecked) -> DraftOut:
    draft = checked.draft
    return DraftOut(
        name=draft.name,
        trigger=draft.trigger,
        conditions=draft.conditions,
        eligibility=draft.eligibility,
        send=draft.send,
        flow=draft.flow,
        throttle_rate=draft.throttle_rate,
        retry_schedule_seconds=draft.retry_schedule_seconds,
        based_on=draft.based_on,
        saved_at=iso_text(draft.saved_ms),
        problems=[_problem_out(problem) for problem in checked.problems],
        warnings=[warning_out(warning) for warning in checked.warnings],
    )


@put("/automation/{automation_id:str}/draft", dto=ExactJson, return_dto=None)
async def keep_draft(request: ApiRequest, automation_id: PathId, data: JSONBody[DraftFields]) -> Response[DraftOut]:
    """Keep a draft in place of the one before. Nothing of it takes effect, and it may be unfinished.

    201 says that there was no automation with this uid: there is one now, with nothing published yet.
    """
    services, workspace = at_desk(request)
    automation, is_new = await services.automations.keep_draft(workspace, automation_id, data)
    checked = await services.automations.draft(workspace, automation.id)
    return Response(_draft_out(checked), status_code=201 if is_new else 200)


@get("/automation/{automation_id:str}/draft")
async def get_draft(request: ApiRequest, automation_id: PathId) -> DraftOut:
    """Get the draft of an automation, and what is still wrong with it."""
    services, workspace = at_desk(request)
    return _draft_out(await services.automations.draft(workspace, automation_id))


@delete("/automation/{automation_id:str}/draft")
async def drop_draft(request: ApiRequest, automation_id: PathId) -> None:
    """Forget the draft of an automation. What is published stays as it is."""
    services, workspace = at_desk(request)
    await services.automations.drop_draft(workspace, automation_id)


@post("/automation/{automation_id:str}/publish", status_code=200)
async def publish_automation(request: ApiRequest, automation_id: PathId) -> AutomationOut:
    """Let the draft of an automation take effect as a new version.

    422 says what is wrong with the draft; 409 that another version was published since it was made.
    """
    services, workspace = at_desk(request)
    return automation_out(await services.automations.publish(workspace, automation_id))


ROUTES = [keep_draft, get_draft, drop_draft, publish_automation]
