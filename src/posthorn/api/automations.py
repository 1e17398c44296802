"""/api/v1/automation: if this, then that."""

from typing import Any

from litestar import Response, delete, get, patch, post, put
from litestar.params import JSONBody

from posthorn.api.body import ExactJson
from posthorn.api.query import OrderedQuery, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.flows import Eligibility, EventTrigger, Flow, Pausing, SendStep
from posthorn.engine.resources import Automation, AutomationState
from posthorn.manage.automations import AutomationFields
from posthorn.manage.braze_import import BrazeWebhook
from posthorn.manage.signing_secrets import NewSecret


class AutomationOut(Out, frozen=True, kw_only=True):
    """An automation. Every edit raises `version`."""

    id: str
    uid: str | None
    name: str
    enabled: bool
    state: AutomationState
    version: int
    trigger: EventTrigger | None
    conditions: Any
    eligibility: Eligibility
    send: SendStep | None
    flow: Flow | None
    pausing: Pausing
    throttle_rate: int | None
    retry_schedule_seconds: tuple[int, ...] | None
    created_at: str
    updated_at: str


class SigningSecretOut(Out, frozen=True, kw_only=True):
    """What a receiver verifies with."""

    key: str


def automation_out(automation: Automation) -> AutomationOut:
    """Render an automation; its conditions as they were given."""
    return AutomationOut(
        id=automation.id,
        uid=automation.uid,
        name=automation.name,
        enabled=automation.enabled,
        state=automation.state,
        version=automation.version,
        trigger=automation.trigger,
        conditions=automation.conditions,
        eligibility=automation.eligibility,
        send=automation.send,
        flow=automation.flow,
        pausing=automation.pausing,
        throttle_rate=automation.throttle_rate,
        retry_schedule_seconds=automation.retry_schedule_seconds,
        created_at=iso_text(automation.created_ms),
        updated_at=iso_text(automation.updated_ms),
    )


@get("/automation", operation_class=reads(OrderedQuery))
async def list_automations(request: ApiRequest) -> ListOut[AutomationOut]:
    """List automations, by id."""
    services, workspace = at_desk(request)
    rows, done = await services.automations.list(workspace, read_query(request, OrderedQuery).page())
    return list_out(rows, automation_out, lambda row: row.id, done=done)


@post("/automation", dto=ExactJson, return_dto=None)
async def create_automation(request: ApiRequest, data: JSONBody[AutomationFields]) -> AutomationOut:
    """Create an automation."""
    services, workspace = at_desk(request)
    return automation_out(await services.automations.create(workspace, data))


@get("/automation/{automation_id:str}")
async def get_automation(request: ApiRequest, automation_id: PathId) -> AutomationOut:
    """Get an automation by id or uid."""
    services, workspace = at_desk(request)
    return automation_out(await services.automations.get(workspace, automation_id))


@put("/automation/{automation_id:str}", dto=ExactJson, return_dto=None)
async def replace_automation(
    request: ApiRequest, automation_id: PathId, data: JSONBody[AutomationFields]
) -> Response[AutomationOut]:
    """Create or overwrite an automation: 201 or 200."""
    services, workspace = at_desk(request)
    automation, is_new = await services.automations.replace(workspace, automation_id, data)
    return Response(automation_out(automation), status_code=201 if is_new else 200)


@patch("/automation/{automation_id:str}", dto=ExactJson, return_dto=None)
async def change_automation(
    request: ApiRequest, automation_id: PathId, data: JSONBody[AutomationFields]
) -> AutomationOut:
    """Change what is given of an automation; null clears a field."""
    services, workspace = at_desk(request)
    return automation_out(await services.automations.change(workspace, automation_id, data))


@delete("/automation/{automation_id:str}")
async def delete_automation(request: ApiRequest, automation_id: PathId) -> None:
    """Delete an automation; its pending deliveries are cancelled."""
    services, workspace = at_desk(request)
    await services.automations.delete(workspace, automation_id)


@get("/automation/{automation_id:str}/secret")
async def get_automation_secret(request: ApiRequest, automation_id: PathId) -> SigningSecretOut:
    """Get what receivers verify the automation's requests with."""
    services, workspace = at_desk(request)
    return SigningSecretOut(key=await services.automations.secret(workspace, automation_id))


@post("/automation/{automation_id:str}/secret/rotate", dto=ExactJson, return_dto=None, status_code=200)
async def rotate_automation_secret(
    request: ApiRequest, automation_id: PathId, data: JSONBody[NewSecret | None] = None
) -> SigningSecretOut:
    """Sign an automation's requests with a new secret.

    The old one signs too until the grace period (24 hours, at most 7 days) ends.
    """
    services, workspace = at_desk(request)
    key = await services.automations.rotate_secret(workspace, automation_id, data or NewSecret())
    return SigningSecretOut(key=key)


@post("/automation/import/braze", dto=ExactJson, return_dto=None, status_code=200)
async def import_braze_webhook(request: ApiRequest, data: JSONBody[BrazeWebhook]) -> SendStep:
    """Convert a webhook object of Braze's API to the `send` of an automation, in the Braze dialect. Stores nothing."""
    services, _ = at_desk(request)
    return services.automations.imported(data)


ROUTES = [
    import_braze_webhook,
    list_automations,
    create_automation,
    get_automation,
    replace_automation,
    change_automation,
    delete_automation,
    get_automation_secret,
    rotate_automation_secret,
]
