"""Workspace secrets: encrypted values that templates read by name, never shown again."""

import re
from typing import Annotated

from msgspec import Meta, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.resources import Secret
from posthorn.errors import Invalid
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry
from posthorn.manage.shapes import Fields
from posthorn.vault import KeyRing

# Templates write `secrets.NAME`, so that a name is one word of their language.
SecretName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*(?![\s\S])")]
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,127}")
SecretValue = Annotated[str, Meta(min_length=1, max_length=65_536)]


class NewValue(Fields, frozen=True, kw_only=True):
    """A secret's value."""

    value: SecretValue


class NamedValue(NewValue, frozen=True, kw_only=True):
    """A secret's name and value."""

    name: SecretName


class Secrets:
    """Creates, replaces and deletes secrets."""

    def __init__(self, registry: SharedRegistry, directory: Directory, clock: Clock, keyring: KeyRing) -> None:
        self._registrar = Registrar(registry, directory, clock)
        self._keyring = keyring

    async def get(self, workspace: str, identifier: str) -> Secret:
        """Find a secret by id or name, without its value; raises NotFound."""
        return await self._registrar.find(Secret, workspace, identifier)

    async def create(self, workspace: str, new: NamedValue) -> Secret:
        """Store a secret; raises Conflict when its name is taken."""
        now_ms = self._registrar.now_ms()
        identifier = ids.new_id(ids.SECRET, now_ms)
        return await self._registrar.add(
            Secret(
                id=identifier,
                workspace=workspace,
                uid=new.name,
                created_ms=now_ms,
                updated_ms=now_ms,
                sealed=self._keyring.seal(new.value.encode(), context=identifier),
            )
        )

    async def replace(self, workspace: str, identifier: str, new: NewValue) -> Secret:
        """Give a secret a new value; what is rendered from now on uses it. Raises NotFound."""
        async with self._registrar.editing:
            secret = await self.get(workspace, identifier)
            sealed = self._keyring.seal(new.value.encode(), context=secret.id)
            return await self._registrar.put(structs.replace(secret, sealed=sealed))

    async def put(self, workspace: str, name: str, new: NewValue) -> tuple[Secret, bool]:
        """Create a secret or give it a new value; True says that it is new. Raises Invalid for an unusable name."""
        if await self._registrar.seek(Secret, workspace, name) is not None:
            return await self.replace(workspace, name, new), False
        if _NAME.fullmatch(name) is None:
            raise Invalid.at("name", msg="letters, digits and underscores, not starting with a digit, at most 128")
        return await self.create(workspace, NamedValue(name=name, value=new.value)), True

    async def delete(self, workspace: str, identifier: str) -> None:
        """Delete a secret; raises NotFound. Templates that read it fail from now on."""
        async with self._registrar.editing:
            await self._registrar.remove(await self.get(workspace, identifier))

    async def list(self, workspace: str, page: PageOf) -> tuple[list[Secret], bool]:
        """Return a page of secrets, without their values."""
        return await self._registrar.page(Secret, workspace, page)
