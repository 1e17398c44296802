"""After a new master key was put first: everything sealed under an older one is sealed anew."""

import msgspec

from posthorn.engine.directory import Directory
from posthorn.engine.resources import KINDS, Automation, Endpoint, Resource, SealedSecret, Secret, Source
from posthorn.manage.registrar import SharedRegistry, alone_to_edit
from posthorn.vault import KeyRing


class Resealing:
    """Seals secrets under the first master key, at the start, so that older keys can be retired."""

    def __init__(self, registry: SharedRegistry, directory: Directory, keyring: KeyRing) -> None:
        self._registry = registry
        self._directory = directory
        self._keyring = keyring

    async def run(self) -> int:
        """Reseal what needs it; return how many resources changed. Raises VaultError when a key is missing."""
        changed = 0
        for kind in (Source, Endpoint, Automation, Secret):
            for resource in self._directory.every(kind):
                if self._renewed(resource) is not resource:
                    changed += await self._reseal(kind, resource)
        if changed:
            await self._directory.refresh(self._registry)
        return changed

    async def _reseal(self, kind: type[Resource], resource: Resource) -> bool:
        """Seal a resource anew as it is now: other nodes serve meanwhile, and people edit there."""
        async with alone_to_edit(self._registry):
            found = await self._registry.get(KINDS[kind], resource.workspace, resource.id, parent=resource.parent)
            if found is None:
                return False
            await self._registry.replace(self._renewed(found))
        return True

    def _renewed(self, resource: Resource) -> Resource:
        texts = {
            name: self._text(resource.id, value)
            for name in ("token_sealed", "headers_sealed", "broker_sealed", "sealed")
            if isinstance(value := getattr(resource, name, None), str) and self._keyring.needs_reseal(value)
        }
        secrets: tuple[SealedSecret, ...] = getattr(resource, "secrets", ())
        if any(self._keyring.needs_reseal(secret.sealed) for secret in secrets):
            renewed = tuple(
                msgspec.structs.replace(secret, sealed=self._text(resource.id, secret.sealed)) for secret in secrets
            )
            return msgspec.structs.replace(resource, **texts, secrets=renewed)
        return msgspec.structs.replace(resource, **texts) if texts else resource

    def _text(self, owner: str, sealed: str) -> str:
        if not self._keyring.needs_reseal(sealed):
            return sealed
        return self._keyring.seal(self._keyring.open(sealed, context=owner), context=owner)
