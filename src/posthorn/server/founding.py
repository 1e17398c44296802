"""What a store must have before anything runs: master key checked, pepper, workspace, owner key, directory loaded."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.ports import Registry, Store
from posthorn.engine.resources import ApiKey
from posthorn.errors import StartRefused
from posthorn.manage.access import ApiKeys
from posthorn.manage.resealing import Resealing
from posthorn.settings import Settings
from posthorn.vault import KeyRing, VaultError, load_key_ring

MASTER_KEY_FILE = "master.key"
DEFAULT_WORKSPACE = "default"
CLUSTER_FILE = "cluster.id"
_CLUSTER = "cluster_id"
_CANARY = "master_key_canary"
_PEPPER = "api_key_pepper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """The ground that the parts stand on."""

    key_ring: KeyRing
    directory: Directory
    api_keys: ApiKeys
    workspace: str
    new_api_key: str | None


async def found(store: Store, settings: Settings, clock: Clock) -> Founding:
    """Prepare a new store, or check that this process may open what a present one has sealed. Raises StartRefused.

    Nodes that start together do it one after the other.
    """
    async with store.alone("founding"):
        return await _found(store, settings, clock)


async def _found(registry: Store, settings: Settings, clock: Clock) -> Founding:
    cluster = await registry.meta(_CLUSTER)
    _check_cluster(settings, cluster)
    key_ring = await _checked_key_ring(registry, settings)
    directory = Directory()
    await directory.load(registry)
    try:
        await Resealing(registry, directory, key_ring).run()
    except VaultError as error:
        raise StartRefused(f"a stored secret cannot be opened: {error}") from error
    await _join_cluster(registry, settings, cluster)
    api_keys = ApiKeys(registry, directory, clock, await _pepper(registry, key_ring))
    workspace = await api_keys.ensure_workspace(DEFAULT_WORKSPACE)
    new_api_key = None
    if settings.api_key is not None:
        await api_keys.create(workspace.id, "owner", settings.api_key)
    elif not directory.every(ApiKey):
        _, new_api_key = await api_keys.create(workspace.id, "owner")
    return Founding(
        key_ring=key_ring,
        directory=directory,
        api_keys=api_keys,
        workspace=workspace.id,
        new_api_key=new_api_key,
    )


def _check_cluster(settings: Settings, cluster: str | None) -> None:
    """Refuse a data directory that belongs to another cluster than the store, before anything is written."""
    known = _known_cluster(settings.data / CLUSTER_FILE)
    if known is None or known == cluster:
        return
    raise StartRefused(
        f"the data directory {settings.data} belongs to the cluster {known}, and this store "
        + (f"to the cluster {cluster}" if cluster is not None else "is new")
        + ": two clusters cannot share one. Name the store of this cluster, or give this node a --data directory "
        f"of its own (remove {settings.data / CLUSTER_FILE} only if its store was moved on purpose)"
    )


def _known_cluster(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartRefused(f"{path} cannot be read ({error.strerror}): make it readable for this user") from error


async def _join_cluster(registry: Registry, settings: Settings, cluster: str | None) -> None:
    """Note on both sides which cluster this is; a new store founds one."""
    if cluster is None:
        cluster = f"cluster_{secrets.token_hex(8)}"
        await registry.set_meta(_CLUSTER, cluster)
    path = settings.data / CLUSTER_FILE
    if _known_cluster(path) == cluster:
        return
    try:
        path.write_text(f"{cluster}\n")
    except OSError as error:
        raise StartRefused(f"{path} cannot be written ({error.strerror}): make its directory writable") from error


async def _checked_key_ring(registry: Registry, settings: Settings) -> KeyRing:
    canary = await registry.meta(_CANARY)
    key_ring = load_key_ring(
        key_file=settings.data / MASTER_KEY_FILE,
        environment_value=settings.master_key,
        may_create=canary is None,
    )
    if canary is None:
        await registry.set_meta(_CANARY, key_ring.make_canary())
    else:
        key_ring.check_canary(canary)
        if key_ring.needs_reseal(canary):
            await registry.set_meta(_CANARY, key_ring.make_canary())
    return key_ring


async def _pepper(registry: Registry, key_ring: KeyRing) -> bytes:
    """Return what API keys are digested with. It is sealed: a copy of the store alone cannot test guesses."""
    stored = await registry.meta(_PEPPER)
    if stored is None:
        pepper = secrets.token_bytes(32)
    else:
        pepper = key_ring.open(stored, context=_PEPPER)
        if not key_ring.needs_reseal(stored):
            return pepper
    await registry.set_meta(_PEPPER, key_ring.seal(pepper, context=_PEPPER))
    return pepper
