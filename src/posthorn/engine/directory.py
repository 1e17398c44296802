"""Everything people configured, in memory, as the hot path needs it. Follows the registry's changes."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar, cast

from posthorn.engine.flows import OnAnniversary, OnAttribute, OnSchedule, OnSegment
from posthorn.engine.listening import entry_types, is_personal, run_types, triggers_of
from posthorn.engine.ports import Registry
from posthorn.engine.resources import (
    KINDS,
    ApiKey,
    Application,
    Automation,
    AutomationVersion,
    Change,
    Endpoint,
    EventType,
    Kind,
    Resource,
    Secret,
    Segment,
    Source,
    Workspace,
)

R = TypeVar("R", bound=Resource)
Reaction = Literal["$attribute", "$segment", "$clock"]
"""What automations may react to beside events. No event type begins with a dollar sign."""


class Directory:
    """A snapshot of the registry with the indexes that intake, deciding and delivery look things up by."""

    def __init__(self) -> None:
        self._by_id: dict[Kind, dict[str, Resource]] = {kind: {} for kind in Kind}
        self._by_uid: dict[tuple[Kind, str, str, str], str] = {}
        self._api_keys: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._endpoints: dict[str, dict[str, Endpoint]] = {}
        self._listeners: dict[tuple[str, str], dict[str, Automation | AutomationVersion]] = {}
        """By workspace and event type: automations, and versions that are kept for the runs in them."""
        self._segments: dict[str, dict[str, Segment]] = {}
        self._seen = 0
        self.version = 0  #: grows with every change, for caches built on the directory
        self._refreshing = asyncio.Lock()

    async def load(self, registry: Registry) -> None:
        """Read everything, then whatever was written meanwhile."""
        self._seen = await registry.last_change()
        for kind in Kind:
            for resource in await registry.all(kind):
                self._put(kind, resource)
        await self.refresh(registry)

    def fill(self, resources: Iterable[Resource]) -> None:
        """Put resources in that no registry has, to try something out with."""
        for resource in resources:
            self._put(KINDS[type(resource)], resource)
        self.version += 1

    async def refresh(self, registry: Registry) -> int:
        """Apply what was written since the last call; return how many changes there were."""
        async with self._refreshing:
            changes = await registry.changes(self._seen)
            for change in changes:
                self._apply(change)
            return len(changes)

    def _apply(self, change: Change) -> None:
        self._remove(change.kind, change.id)
        if change.resource is not None:
            self._put(change.kind, change.resource)
        self._seen = max(self._seen, change.number)
        self.version += 1

    def _put(self, kind: Kind, resource: Resource) -> None:
        self._by_id[kind][resource.id] = resource
        if resource.uid is not None:
            self._by_uid[kind, resource.workspace, resource.parent, resource.uid] = resource.id
        if isinstance(resource, ApiKey):
            self._api_keys[resource.digest] = resource.id
        elif isinstance(resource, Source):
            self._sources[resource.token_digest] = resource.id
        elif isinstance(resource, Endpoint):
            self._endpoints.setdefault(resource.parent, {})[resource.id] = resource
        elif isinstance(resource, Automation | AutomationVersion):
            for lane in _lanes_of(resource):
                self._listeners.setdefault(lane, {})[resource.id] = resource
        elif isinstance(resource, Segment):
            self._segments.setdefault(resource.workspace, {})[resource.id] = resource

    def _remove(self, kind: Kind, identifier: str) -> None:
        resource = self._by_id[kind].pop(identifier, None)
        if resource is None:
            return
        if resource.uid is not None:
            self._by_uid.pop((kind, resource.workspace, resource.parent, resource.uid), None)
        if isinstance(resource, ApiKey):
            self._api_keys.pop(resource.digest, None)
        elif isinstance(resource, Source):
            self._sources.pop(resource.token_digest, None)
        elif isinstance(resource, Endpoint):
            self._endpoints.get(resource.parent, {}).pop(identifier, None)
        elif isinstance(resource, Automation | AutomationVersion):
            for lane in _lanes_of(resource):
                self._listeners.get(lane, {}).pop(identifier, None)
        elif isinstance(resource, Segment):
            self._segments.get(resource.workspace, {}).pop(identifier, None)

    def _find(self, kind: Kind, identifier: str | None) -> Resource | None:
        return self._by_id[kind].get(identifier) if identifier is not None else None

    def _find_in(self, kind: Kind, workspace: str, parent: str, id_or_uid: str) -> Resource | None:
        resource = self._by_id[kind].get(id_or_uid)
        if resource is not None and resource.workspace == workspace and resource.parent == parent:
            return resource
        return self._find(kind, self._by_uid.get((kind, workspace, parent, id_or_uid)))

    def api_key(self, digest: str) -> ApiKey | None:
        """Find an API key by the digest of what a caller presented."""
        return cast("ApiKey | None", self._find(Kind.API_KEY, self._api_keys.get(digest)))

    def source_of_token(self, digest: str) -> Source | None:
        """Find a source by the digest of the token in an inbox address."""
        return cast("Source | None", self._find(Kind.SOURCE, self._sources.get(digest)))

    def source(self, identifier: str | None) -> Source | None:
        """Find a source by id."""
        return cast("Source | None", self._find(Kind.SOURCE, identifier))

    def application(self, workspace: str, id_or_uid: str) -> Application | None:
        """Find an application of a workspace by id or uid."""
        return cast("Application | None", self._find_in(Kind.APPLICATION, workspace, "", id_or_uid))

    def endpoint(self, identifier: str) -> Endpoint | None:
        """Find an endpoint by id."""
        return cast("Endpoint | None", self._find(Kind.ENDPOINT, identifier))

    def endpoints_of(self, application: str) -> Iterable[Endpoint]:
        """List an application's endpoints."""
        return self._endpoints.get(application, {}).values()

    def event_type(self, workspace: str, name: str) -> EventType | None:
        """Find an event type by name."""
        return cast("EventType | None", self._find_in(Kind.EVENT_TYPE, workspace, "", name))

    def automation(self, identifier: str) -> Automation | None:
        """Find an automation by id."""
        return cast("Automation | None", self._find(Kind.AUTOMATION, identifier))

    def automations_for(self, workspace: str, event_type: str) -> Iterable[Automation]:
        """List the enabled automations that listen to this event type."""
        return [automation for automation in self.listening(workspace, event_type) if automation.enabled]

    def listening(self, workspace: str, event_type: str) -> Iterable[Automation]:
        """List the automations that an event type may let people into, or whose runs it may move.

        Those that are switched off are among them: they let nobody in, but their runs go on listening.
        """
        found = self._listeners.get((workspace, event_type), {}).values()
        return [one for one in found if isinstance(one, Automation)] if found else ()

    def versions_for(self, workspace: str, event_type: str) -> frozenset[str]:
        """Name the automations with a kept version whose runs this event type may move."""
        found = self._listeners.get((workspace, event_type), {}).values()
        return frozenset(one.parent for one in found if isinstance(one, AutomationVersion))

    def automation_version(self, workspace: str, automation: str, number: int) -> AutomationVersion | None:
        """Find what an automation was in an earlier version, while that is kept."""
        found = self._find_in(Kind.AUTOMATION_VERSION, workspace, automation, str(number))
        return cast("AutomationVersion | None", found)

    def automations_on(self, workspace: str, change: Reaction) -> Iterable[Automation]:
        """List the enabled automations that react to another change of a person than an event."""
        return self.automations_for(workspace, change)

    def segments(self, workspace: str) -> Iterable[Segment]:
        """List the segments of a workspace."""
        return self._segments.get(workspace, {}).values()

    def segment(self, workspace: str, id_or_uid: str) -> Segment | None:
        """Find a segment by id or uid."""
        return cast("Segment | None", self._find_in(Kind.SEGMENT, workspace, "", id_or_uid))

    def segment_by_id(self, identifier: str) -> Segment | None:
        """Find a segment by id."""
        return cast("Segment | None", self._find(Kind.SEGMENT, identifier))

    def workspace(self, identifier: str) -> Workspace | None:
        """Find a workspace."""
        return cast("Workspace | None", self._find(Kind.WORKSPACE, identifier))

    def secret(self, workspace: str, name: str) -> Secret | None:
        """Find a secret by name."""
        return cast("Secret | None", self._find_in(Kind.SECRET, workspace, "", name))

    def every(self, resource_type: type[R]) -> list[R]:
        """List all resources of a type, over all workspaces."""
        kinds = [KINDS[resource_type]] if resource_type in KINDS else list(Kind)
        return cast("list[R]", [resource for kind in kinds for resource in self._by_id[kind].values()])


def _lanes_of(resource: Automation | AutomationVersion) -> Iterator[tuple[str, str]]:
    workspace = resource.workspace
    if isinstance(resource, AutomationVersion):
        yield from ((workspace, name) for name in run_types(resource.automation))
        return
    for name in entry_types(resource) | run_types(resource):
        yield workspace, name
    triggers = triggers_of(resource)
    if any(isinstance(trigger, OnAttribute | OnAnniversary) for trigger in triggers):
        yield workspace, "$attribute"
    if any(isinstance(trigger, OnSegment) for trigger in triggers):
        yield workspace, "$segment"
    if any(isinstance(trigger, OnSchedule) and is_personal(trigger) for trigger in triggers):
        yield workspace, "$clock"
