"""/api/v1/automation/{id}/preview and /simulate: what would happen, with nothing stored and nothing sent."""

from typing import Any

import msgspec
from litestar import post
from litestar.params import JSONBody

from posthorn.api.body import ExactJson
from posthorn.api.drafts import WarningOut, warning_out
from posthorn.api.rendering import Out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.decide.footprints import Footprint
from posthorn.engine.records import Decision, OutgoingRequest
from posthorn.manage.rehearsals import SimulationOf, Trial


class ShownRequestOut(Out, frozen=True, kw_only=True):
    """A request as it would be sent, secrets masked. `body` null passes the event's payload on."""

    method: str
    url: str
    headers: dict[str, str]
    body: str | None
    connector: str | None


class VerdictOut(Out, frozen=True, kw_only=True):
    """Why the automation fires or does not."""

    outcome: str
    reason: str
    detail: str
    data: Any


class FootprintOut(Out, frozen=True, kw_only=True):
    """One thing that a run does."""

    step: str
    at: str
    what: str
    detail: str


class PreviewOut(Out, frozen=True, kw_only=True):
    """What the automation makes of one event, up to the first wait.

    `notes` say where that is not the whole truth, `warnings` which variables nobody ever fills in.
    """

    decisions: list[VerdictOut]
    requests: list[ShownRequestOut]
    path: list[FootprintOut]
    notes: list[str]
    warnings: list[WarningOut]


class SampleOut(Out, frozen=True, kw_only=True):
    """One request that somebody would have got."""

    user: str | None
    event_id: str
    at: str
    request: ShownRequestOut


class SimulationOut(Out, frozen=True, kw_only=True):
    """What the automation would have made of the last days. `outcomes` counts decisions by outcome/reason.

    `isCut` says that not all was looked at, and `notes` what was not, and where this is not the whole truth.
    """

    since: str
    until: str
    events: int
    people: int
    requests: int
    outcomes: dict[str, int]
    samples: list[SampleOut]
    is_cut: bool
    notes: list[str]


def _request_out(request: OutgoingRequest) -> ShownRequestOut:
    return ShownRequestOut(
        method=request.method,
        url=request.url,
        headers=dict(request.headers),
        body=request.body,
        connector=request.connector,
    )


def _verdict_out(decision: Decision) -> VerdictOut:
    return VerdictOut(
        outcome=decision.outcome,
        reason=decision.reason,
        detail=decision.detail,
        data=msgspec.json.decode(decision.data),
    )


def _footprint_out(footprint: Footprint) -> FootprintOut:
    return FootprintOut(step=footprint.step, at=iso_text(footprint.at_ms), what=footprint.what, detail=footprint.detail)


@post("/automation/{automation_id:str}/preview", dto=ExactJson, return_dto=None, status_code=200)
async def preview_automation(request: ApiRequest, automation_id: PathId, data: JSONBody[Trial]) -> PreviewOut:
    """Try an automation (with `draft` changes, if given) on one event of a person, without sending."""
    services, workspace = at_desk(request)
    found = await services.rehearsals.preview(workspace, automation_id, data)
    warnings = await services.automations.warnings(workspace, automation_id, data.draft)
    return PreviewOut(
        decisions=[_verdict_out(decision) for decision in found.decisions],
        requests=[_request_out(one) for one in found.requests],
        path=[_footprint_out(footprint) for footprint in found.path],
        notes=list(found.notes),
        warnings=[warning_out(warning) for warning in warnings],
    )


@post("/automation/{automation_id:str}/simulate", dto=ExactJson, return_dto=None, status_code=200)
async def simulate_automation(
    request: ApiRequest, automation_id: PathId, data: JSONBody[SimulationOf]
) -> SimulationOut:
    """Run the events of the last days through an automation, and say who would have received what."""
    services, workspace = at_desk(request)
    found = await services.rehearsals.simulate(workspace, automation_id, data)
    return SimulationOut(
        since=iso_text(found.since_ms),
        until=iso_text(found.until_ms),
        events=found.events,
        people=found.people,
        requests=found.requests,
        outcomes=dict(found.outcomes),
        samples=[
            SampleOut(user=one.user, event_id=one.event, at=iso_text(one.at_ms), request=_request_out(one.request))
            for one in found.samples
        ],
        is_cut=found.is_cut,
        notes=list(found.notes),
    )


ROUTES = [preview_automation, simulate_automation]
