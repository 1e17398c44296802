"""Who may call: workspaces, and the API keys that open them."""

import hmac
import secrets

from msgspec import Struct

from posthorn import ids
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.resources import ApiKey, Kind, Workspace
from posthorn.errors import Conflict, Invalid, Unauthenticated
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN_PREFIX = "phk_"  # noqa: S105 - a prefix, not a credential
_TOKEN_CHARACTERS = 43
_TOKEN_LEAST_CHARACTERS = 16
_NAME_MOST_CHARACTERS = 256


class Principal(Struct, frozen=True, kw_only=True, gc=False):
    """Who calls: the workspace that the credential opens, and the key that it was."""

    workspace: str
    api_key_id: str


class ApiKeys:
    """Makes, checks and revokes API keys.

    Only a keyed digest (HMAC-SHA-256 under `pepper`) of a key is stored: whoever reads the store can neither use
    a key nor test guesses. Looking the digest up takes no secret-dependent time that a caller could measure, since
    a caller who does not know the pepper cannot choose digests.
    """

    def __init__(self, registry: SharedRegistry, directory: Directory, clock: Clock, pepper: bytes) -> None:
        self._registry = registry
        self._directory = directory
        self._registrar = Registrar(registry, directory, clock)
        self._pepper = pepper

    def digest(self, token: str) -> str:
        """Return the hex digest that a token is stored and found by."""
        return hmac.digest(self._pepper, token.encode("utf-8", "surrogatepass"), "sha256").hex()

    def authenticate(self, token: str | None) -> Principal:
        """Tell who presents this token; raises Unauthenticated. Called for every request."""
        key = self._directory.api_key(self.digest(token)) if token else None
        if key is None:
            raise Unauthenticated("no valid API key came with the call: send it as Authorization: Bearer <key>")
        return Principal(workspace=key.workspace, api_key_id=key.id)

    async def create(self, workspace: str, name: str, token: str | None = None) -> tuple[ApiKey, str]:
        """Make a key and return it with its token, which is never shown again.

        A token may be given (an operator's own, at least 16 characters); giving the same one again returns the
        key that it already is. Raises Invalid, and Conflict when it opens another workspace.
        """
        if not 1 <= len(name) <= _NAME_MOST_CHARACTERS:
            raise Invalid.at("name", msg=f"a name has 1 to {_NAME_MOST_CHARACTERS} characters")
        if token is not None:
            _check_given(token)
        token = token if token is not None else _new_token()
        known = self._directory.api_key(self.digest(token))
        if known is not None and known.workspace != workspace:
            raise Conflict("this key opens another workspace already")
        return known or await self._add(workspace, name, token), token

    async def _add(self, workspace: str, name: str, token: str) -> ApiKey:
        now_ms = self._registrar.now_ms()
        return await self._registrar.add(
            ApiKey(
                id=ids.new_id(ids.API_KEY, now_ms),
                workspace=workspace,
                created_ms=now_ms,
                updated_ms=now_ms,
                name=name,
                digest=self.digest(token),
                ending=token[-4:],
            )
        )

    async def list(self, workspace: str, page: PageOf) -> tuple[list[ApiKey], bool]:
        """Return a page of keys, without what they are."""
        return await self._registrar.page(ApiKey, workspace, page)

    async def revoke(self, workspace: str, identifier: str) -> None:
        """End a key; raises NotFound. The next call with it is refused."""
        await self._registrar.remove(await self._registrar.find(ApiKey, workspace, identifier))

    async def ensure_workspace(self, name: str = "default") -> Workspace:
        """Return the workspace of this name, making it when there is none."""
        found = await self._workspace(name)
        if found is None:
            now_ms = self._registrar.now_ms()
            identifier = ids.new_id(ids.WORKSPACE, now_ms)
            made = Workspace(
                id=identifier,
                workspace=identifier,
                uid=name,
                created_ms=now_ms,
                updated_ms=now_ms,
                name=name,
            )
            await self._registrar.add(made)
            # Two nodes may have made one each at the same moment; both now choose the older.
            found = await self._workspace(name) or made
        return found

    async def _workspace(self, name: str) -> Workspace | None:
        named = [
            workspace
            for workspace in await self._registry.all(Kind.WORKSPACE)
            if isinstance(workspace, Workspace) and workspace.uid == name
        ]
        return min(named, key=lambda workspace: workspace.id, default=None)


def _check_given(token: str) -> None:
    if len(token) < _TOKEN_LEAST_CHARACTERS:
        raise Invalid.at(
            "token", msg=f"a key has at least {_TOKEN_LEAST_CHARACTERS} characters; leave it out to have one made"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Invalid.at("token", msg="a key has visible ASCII characters only, because it travels in a header")


def _new_token() -> str:
    return _TOKEN_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_TOKEN_CHARACTERS))
