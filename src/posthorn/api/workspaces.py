"""/api/v1/workspace: the workspace that the key opens."""

from litestar import get, patch
from litestar.params import JSONBody

from posthorn.api.body import ExactJson
from posthorn.api.rendering import Out
from posthorn.api.services import ApiRequest, at_desk
from posthorn.clock import iso_text
from posthorn.engine.resources import Cap, Workspace
from posthorn.manage.workspaces import WorkspaceFields


class WorkspaceOut(Out, frozen=True, kw_only=True):
    """A workspace. `timeZone` is that of people whose own is unknown; `caps` bound messages to one person.

    `contentBlocks` are pieces that templates of the Braze dialect include, by name.
    """

    id: str
    uid: str | None
    name: str
    time_zone: str
    caps: tuple[Cap, ...]
    content_blocks: dict[str, str]
    created_at: str
    updated_at: str


def workspace_out(workspace: Workspace) -> WorkspaceOut:
    """Render a workspace."""
    return WorkspaceOut(
        id=workspace.id,
        uid=workspace.uid,
        name=workspace.name,
        time_zone=workspace.time_zone,
        caps=workspace.caps,
        content_blocks=workspace.content_blocks,
        created_at=iso_text(workspace.created_ms),
        updated_at=iso_text(workspace.updated_ms),
    )


@get("/workspace")
async def get_workspace(request: ApiRequest) -> WorkspaceOut:
    """Get the workspace that the key opens."""
    services, workspace = at_desk(request)
    return workspace_out(await services.workspaces.get(workspace))


@patch("/workspace", dto=ExactJson, return_dto=None)
async def change_workspace(request: ApiRequest, data: JSONBody[WorkspaceFields]) -> WorkspaceOut:
    """Change what is given of the workspace; null clears a field.

    Content blocks that are not named stay, and null removes one. 409 says that an automation would no longer work.
    """
    services, workspace = at_desk(request)
    return workspace_out(await services.workspaces.change(workspace, data))


ROUTES = [get_workspace, change_workspace]
