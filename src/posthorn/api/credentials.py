"""/api/v1/secret and /api/v1/api-key: what is stored sealed or as a digest, and never shown again."""

from litestar import Response, delete, get, post, put
from litestar.params import JSONBody
from msgspec import Struct

from posthorn.api.body import ExactJson
from posthorn.api.query import OrderedQuery, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.resources import ApiKey, Secret
from posthorn.manage.secrets import NamedValue, NewValue


class SecretOut(Out, frozen=True, kw_only=True):
    """A secret, without its value."""

    id: str
    name: str
    created_at: str
    updated_at: str


class ApiKeyIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A new key. `token` is an operator's own (at least 16 characters); without it one is made."""

    name: str
    token: str | None = None


class ApiKeyOut(Out, frozen=True, kw_only=True):
    """A key, of which only the last four characters are known."""

    id: str
    name: str
    ending: str
    created_at: str


class NewApiKeyOut(ApiKeyOut, frozen=True, kw_only=True):
    """A key with its token, which is never shown again."""

    token: str


def secret_out(secret: Secret) -> SecretOut:
    """Render a secret, without its value."""
    return SecretOut(
        id=secret.id,
        name=secret.uid or secret.id,
        created_at=iso_text(secret.created_ms),
        updated_at=iso_text(secret.updated_ms),
    )


def api_key_out(key: ApiKey) -> ApiKeyOut:
    """Render a key, without its token."""
    return ApiKeyOut(id=key.id, name=key.name, ending=key.ending, created_at=iso_text(key.created_ms))


@get("/secret", operation_class=reads(OrderedQuery))
async def list_secrets(request: ApiRequest) -> ListOut[SecretOut]:
    """List secrets, by id."""
    services, workspace = at_desk(request)
    rows, done = await services.secrets.list(workspace, read_query(request, OrderedQuery).page())
    return list_out(rows, secret_out, lambda row: row.id, done=done)


@post("/secret", dto=ExactJson, return_dto=None)
async def create_secret(request: ApiRequest, data: JSONBody[NamedValue]) -> SecretOut:
    """Store a secret, for templates to read by name."""
    services, workspace = at_desk(request)
    return secret_out(await services.secrets.create(workspace, data))


@get("/secret/{name:str}")
async def get_secret(request: ApiRequest, name: PathId) -> SecretOut:
    """Get a secret by name or id, without its value."""
    services, workspace = at_desk(request)
    return secret_out(await services.secrets.get(workspace, name))


@put("/secret/{name:str}", dto=ExactJson, return_dto=None)
async def put_secret(request: ApiRequest, name: PathId, data: JSONBody[NewValue]) -> Response[SecretOut]:
    """Create a secret or give it a new value: 201 or 200."""
    services, workspace = at_desk(request)
    secret, is_new = await services.secrets.put(workspace, name, data)
    return Response(secret_out(secret), status_code=201 if is_new else 200)


@delete("/secret/{name:str}")
async def delete_secret(request: ApiRequest, name: PathId) -> None:
    """Delete a secret; templates that read it fail from now on."""
    services, workspace = at_desk(request)
    await services.secrets.delete(workspace, name)


@get("/api-key", operation_class=reads(OrderedQuery))
async def list_api_keys(request: ApiRequest) -> ListOut[ApiKeyOut]:
    """List keys, by id."""
    services, workspace = at_desk(request)
    rows, done = await services.api_keys.list(workspace, read_query(request, OrderedQuery).page())
    return list_out(rows, api_key_out, lambda row: row.id, done=done)


@post("/api-key", dto=ExactJson, return_dto=None)
async def create_api_key(request: ApiRequest, data: JSONBody[ApiKeyIn]) -> NewApiKeyOut:
    """Make a key. The answer is the only place where its token is shown."""
    services, workspace = at_desk(request)
    key, token = await services.api_keys.create(workspace, data.name, data.token)
    return NewApiKeyOut(id=key.id, name=key.name, ending=key.ending, created_at=iso_text(key.created_ms), token=token)


@delete("/api-key/{key_id:str}")
async def revoke_api_key(request: ApiRequest, key_id: PathId) -> None:
    """End a key; the next call with it is refused."""
    services, workspace = at_desk(request)
    await services.api_keys.revoke(workspace, key_id)


ROUTES = [
    list_secrets,
    create_secret,
    get_secret,
    put_secret,
    delete_secret,
    list_api_keys,
    create_api_key,
    revoke_api_key,
]
