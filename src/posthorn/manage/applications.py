"""Applications: the consumers that we send to."""

from msgspec import UNSET, Struct, UnsetType, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.resources import Application, Endpoint
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry
from posthorn.manage.shapes import (
    Fields,
    Metadata,
    Name,
    ThrottleRate,
    Uid,
    check_metadata,
    check_uid,
    cleared,
    given,
    required,
    settable_defaults,
    settled_uid,
)

_PLAY_URLS = ("https://play.svix.com/", "https://api.play.svix.com/")


class ApplicationFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of an application."""

    name: Name | UnsetType = UNSET
    uid: Uid | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    throttle_rate: ThrottleRate | UnsetType | None = UNSET


class Excluded(Struct, frozen=True, kw_only=True):
    """Which applications a list leaves out."""

    without_endpoints: bool = False
    only_disabled: bool = False  #: those whose endpoints are all disabled
    only_play: bool = False  #: those whose endpoints all lead to Svix Play, a public request bin


class Applications:
    """Creates, changes and deletes applications."""

    def __init__(self, registry: SharedRegistry, directory: Directory, clock: Clock) -> None:
        self._registrar = Registrar(registry, directory, clock)
        self._directory = directory

    async def get(self, workspace: str, identifier: str) -> Application:
        """Find an application by id or uid; raises NotFound."""
        return await self._registrar.find(Application, workspace, identifier)

    async def seek(self, workspace: str, identifier: str) -> Application | None:
        """Find an application by id or uid, or None."""
        return await self._registrar.seek(Application, workspace, identifier)

    async def identify(self, workspace: str, identifier: str | None) -> str | None:
        """Return the id behind an id or uid, to filter by; see `Registrar.identify`."""
        return await self._registrar.identify(Application, workspace, identifier)

    async def create(self, workspace: str, fields: ApplicationFields) -> Application:
        """Make an application; raises Invalid, Conflict when its uid is taken."""
        values = cleared(Application, given(fields))
        required(values, "name")
        _check(values.get("uid"), values.get("metadata"))
        now_ms = self._registrar.now_ms()
        return await self._registrar.add(
            Application(
                id=ids.new_id(ids.APPLICATION, now_ms),
                workspace=workspace,
                created_ms=now_ms,
                updated_ms=now_ms,
                **values,
            )
        )

    async def replace(self, workspace: str, identifier: str, fields: ApplicationFields) -> tuple[Application, bool]:
        """Create or overwrite an application; True says that it is new.

        What is not given takes its default, except the uid: that is kept, or on creation taken from `identifier`.
        """
        async with self._registrar.editing:
            existing = await self.seek(workspace, identifier)
            if existing is None:
                uid = settled_uid(identifier, fields.uid, ids.APPLICATION)
                return await self.create(workspace, structs.replace(fields, uid=uid)), True
            required(given(fields), "name")
            values = settable_defaults(Application) | cleared(Application, given(fields))
            return await self._change(existing, values), False

    async def change(self, workspace: str, identifier: str, fields: ApplicationFields) -> Application:
        """Change what is given; raises NotFound, Invalid, Conflict."""
        async with self._registrar.editing:
            existing = await self.get(workspace, identifier)
            return await self._change(existing, cleared(Application, given(fields)))

    async def _change(self, existing: Application, values: dict[str, object]) -> Application:
        changed: Application = structs.replace(existing, **values)
        _check(changed.uid if changed.uid != existing.uid else None, changed.metadata)
        return await self._registrar.put(changed)

    async def delete(self, workspace: str, identifier: str) -> None:
        """Delete an application and its endpoints; raises NotFound. Their pending deliveries are cancelled."""
        async with self._registrar.editing:
            application = await self.get(workspace, identifier)
            # Endpoints first: after a crash in between, the application is still there to be deleted again.
            for endpoint in await self._registrar.every(Endpoint, workspace, parent=application.id):
                await self._registrar.remove(endpoint)
            await self._registrar.remove(application)

    async def list(
        self, workspace: str, page: PageOf, *, exclude: Excluded | None = None
    ) -> tuple[list[Application], bool]:
        """Return a page of applications, and whether nothing follows in its direction."""
        if exclude is None:
            return await self._registrar.page(Application, workspace, page)
        found: list[Application] = []
        done = False
        after = page.after
        while not done and len(found) <= page.limit:
            rows, done = await self._registrar.page(
                Application, workspace, structs.replace(page, after=after, limit=250)
            )
            kept = [row for row in rows if not self._is_excluded(row, exclude)]
            found = kept + found if page.backwards else found + kept
            after = (rows[0].id if page.backwards else rows[-1].id) if rows else after
        cut = found[-page.limit :] if page.backwards else found[: page.limit]
        return cut, done and len(cut) == len(found)

    def _is_excluded(self, application: Application, exclude: Excluded) -> bool:
        endpoints = list(self._directory.endpoints_of(application.id))
        if not endpoints:
            return exclude.without_endpoints
        if exclude.only_disabled and all(endpoint.disabled for endpoint in endpoints):
            return True
        return exclude.only_play and all(endpoint.url.startswith(_PLAY_URLS) for endpoint in endpoints)


def _check(uid: str | None, metadata: Metadata | None) -> None:
    check_uid(uid, ids.APPLICATION)
    check_metadata(metadata)
