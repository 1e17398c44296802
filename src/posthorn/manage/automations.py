"""Automations: trigger, conditions, eligibility and the request to send. Every edit is a new version."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET, UnsetType, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.directory import Directory
from posthorn.engine.flows import (
    Eligibility,
    EventTrigger,
    Flow,
    OncePerKey,
    OnEvent,
    OnSchedule,
    OnSegment,
    SendStep,
    Trigger,
)
from posthorn.engine.listening import changed_type, is_timed, published_type
from posthorn.engine.profiles import automation_profile
from posthorn.engine.resources import KINDS, Automation, AutomationVersion, Resource, Segment, Source
from posthorn.errors import Invalid, Problem
from posthorn.manage.appending import Appender
from posthorn.manage.braze_import import BrazeWebhook, send_step_of
from posthorn.manage.flow_rules import (
    Text,
    check_conditions,
    check_flow,
    check_send,
    secrets_of_calls,
    texts_of_flow,
    texts_of_send,
)
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry
from posthorn.manage.shapes import (
    Fields,
    Name,
    RetrySchedule,
    ThrottleRate,
    Uid,
    check_uid,
    cleared,
    given,
    required,
    settable_defaults,
    settled_uid,
)
from posthorn.manage.signing_secrets import NewSecret, SigningSecrets
from posthorn.manage.template_rules import check_template
from posthorn.templating import Template, uses_secrets
from posthorn.vault import KeyRing

_WORKINGS = frozenset({"trigger", "conditions", "eligibility", "send", "flow"})
_SENDING = frozenset({"send", "sends", "connector"})
_ANY_SECRET = "*"  # noqa: S105 - the mark of a template whose data chooses the name


class AutomationFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of an automation. `conditions` is a tree of JSON values; null clears it."""

    name: Name | UnsetType = UNSET
    uid: Uid | UnsetType | None = UNSET
    enabled: bool | UnsetType | None = UNSET
    trigger: EventTrigger | UnsetType | None = UNSET
    conditions: Any = UNSET
    eligibility: Eligibility | UnsetType | None = UNSET
    send: SendStep | UnsetType | None = UNSET
    flow: Flow | UnsetType | None = UNSET
    throttle_rate: ThrottleRate | UnsetType | None = UNSET
    retry_schedule_seconds: RetrySchedule | UnsetType | None = UNSET


class Automations:
    """Creates, changes and deletes automations."""

    def __init__(
        self,
        registry: SharedRegistry,
        directory: Directory,
        clock: Clock,
        keyring: KeyRing,
        policy: AddressPolicy,
        appender: Appender,
    ) -> None:
        self._registrar = Registrar(registry, directory, clock)
        self._directory = directory
        self._secrets = SigningSecrets(keyring)
        self._policy = policy
        self._appender = appender

    async def get(self, workspace: str, identifier: str) -> Automation:
        """Find an automation by id or uid; raises NotFound."""
        return await self._registrar.find(Automation, workspace, identifier)

    async def list(self, workspace: str, page: PageOf) -> tuple[list[Automation], bool]:
        """Return a page of automations, and whether nothing follows in its direction."""
        return await self._registrar.page(Automation, workspace, page)

    async def identify(self, workspace: str, identifier: str | None) -> str | None:
        """Return the id behind an id or uid, to filter by; see `Registrar.identify`."""
        return await self._registrar.identify(Automation, workspace, identifier)

    async def create(self, workspace: str, fields: AutomationFields) -> Automation:
        """Make an automation; raises Invalid with every mistake of its templates, Conflict for a taken uid."""
        values = cleared(Automation, given(fields))
        required(values, "name")
        now_ms = self._registrar.now_ms()
        identifier = ids.new_id(ids.AUTOMATION, now_ms)
        automation = Automation(
            id=identifier,
            workspace=workspace,
            secrets=(self._secrets.sealed(identifier, None, "secret", now_ms),),
            created_ms=now_ms,
            updated_ms=now_ms,
            **values,
        )
        check_uid(automation.uid, ids.AUTOMATION)
        return await self._published(await self._registrar.add(await self._checked(automation)))

    async def replace(self, workspace: str, identifier: str, fields: AutomationFields) -> tuple[Automation, bool]:
        """Create or overwrite an automation; True says that it is new. What is not given takes its default."""
        async with self._registrar.editing:
            existing = await self._registrar.seek(Automation, workspace, identifier)
            if existing is None:
                uid = settled_uid(identifier, fields.uid, ids.AUTOMATION)
                return await self.create(workspace, structs.replace(fields, uid=uid)), True
            required(given(fields), "name")
            own = ("secrets", "version")
            defaults = {name: value for name, value in settable_defaults(Automation).items() if name not in own}
            values = defaults | cleared(Automation, given(fields))
            return await self._change(existing, values), False

    async def change(self, workspace: str, identifier: str, fields: AutomationFields) -> Automation:
        """Change what is given; raises NotFound, Invalid, Conflict."""
        async with self._registrar.editing:
            existing = await self.get(workspace, identifier)
            return await self._change(existing, cleared(Automation, given(fields)))

    def imported(self, webhook: BrazeWebhook) -> SendStep:
        """Convert a webhook object of Braze's; raises Invalid."""
        return send_step_of(webhook, self._policy)

    async def drafted(self, workspace: str, identifier: str, fields: "AutomationFields | None") -> Automation:
        """Return an automation as it would be after a change, checked and not stored."""
        existing = await self.get(workspace, identifier)
        values = cleared(Automation, given(fields)) if fields is not None else {}
        return await self._checked(structs.replace(existing, **values)) if values else existing

    async def _change(self, existing: Automation, values: dict[str, Any]) -> Automation:
        changed = structs.replace(existing, **values)
        if any(getattr(changed, name) != getattr(existing, name) for name in _WORKINGS):
            changed = structs.replace(changed, version=existing.version + 1)
            if existing.flow is not None:
                await self._keep(existing)
        if changed.uid != existing.uid:
            check_uid(changed.uid, ids.AUTOMATION)
        # An automation whose secret or source is gone can still be renamed and switched off.
        must_work = values.get("enabled") or not _WORKINGS.isdisjoint(values)
        await self._published(await self._registrar.put(await self._checked(changed) if must_work else changed))
        if existing.flow is not None and _concerns_runs(existing, changed):
            await self._tell(changed, changed_type(changed.id))
        return changed

    async def _published(self, automation: Automation) -> Automation:
        """Tell deciding of an automation that time lets people into, so that it sets the timers."""
        if automation.enabled and is_timed(automation):
            await self._tell(automation, published_type(automation.id))
        return automation

    async def _tell(self, automation: Automation, event_type: str) -> None:
        profile = automation_profile(automation.workspace, automation.id)
        await self._appender.append(automation.workspace, event_type, profile, b"{}")

    async def _keep(self, automation: Automation) -> None:
        """Keep a version that ends, for the runs that go on in it."""
        number = str(automation.version)
        kept = await self._registrar.seek(AutomationVersion, automation.workspace, number, parent=automation.id)
        if kept is None:
            now_ms = self._registrar.now_ms()
            await self._registrar.add(
                AutomationVersion(
                    id=ids.new_id(ids.AUTOMATION_VERSION, now_ms),
                    workspace=automation.workspace,
                    parent=automation.id,
                    uid=number,
                    created_ms=now_ms,
                    updated_ms=now_ms,
                    automation=automation,
                )
            )

    async def secret(self, workspace: str, identifier: str) -> str:
        """Return what receivers verify its requests with: `whsec_…`, or the `whpk_…` of a key pair."""
        automation = await self.get(workspace, identifier)
        return self._secrets.public(automation.id, automation.secrets)

    async def rotate_secret(self, workspace: str, identifier: str, new: NewSecret) -> str:
        """Sign with a new secret from now on, and with the old ones too until the grace period ends."""
        async with self._registrar.editing:
            automation = await self.get(workspace, identifier)
            secrets = self._secrets.rotated(automation.id, automation.secrets, new, self._registrar.now_ms())
            await self._registrar.put(structs.replace(automation, secrets=secrets))
        return await self.secret(workspace, identifier)

    async def delete(self, workspace: str, identifier: str) -> None:
        """Delete an automation; raises NotFound. Its runs and its pending deliveries are cancelled."""
        async with self._registrar.editing:
            automation = await self.get(workspace, identifier)
            for version in await self._registrar.every(AutomationVersion, workspace, parent=automation.id):
                await self._registrar.remove(version)
            await self._registrar.remove(automation)
            if automation.flow is not None:
                await self._tell(automation, changed_type(automation.id))

    async def _checked(self, automation: Automation) -> Automation:
        _check_shape(automation)
        if automation.send is not None:
            check_send(automation.send, self._policy, "send")
        if automation.conditions is not None:
            check_conditions(automation.conditions, "conditions")
        if automation.flow is not None:
            check_flow(automation.flow, self._policy)
        self._check_secrets(automation)
        return await self._with_ids(automation)

    async def _with_ids(self, automation: Automation) -> Automation:
        """Name sources and segments by id, because a uid can be given to another one later."""
        trigger, flow, workspace = automation.trigger, automation.flow, automation.workspace
        if trigger is not None and trigger.source is not None:
            source = await self._id_of(Source, workspace, trigger.source, "trigger", "source")
            automation = structs.replace(automation, trigger=structs.replace(trigger, source=source))
        if flow is None:
            return automation
        triggers: list[Trigger] = []
        for number, one in enumerate(flow.triggers):
            at = ("flow", "triggers", number)
            if isinstance(one, OnEvent) and one.source is not None:
                source = await self._id_of(Source, workspace, one.source, *at, "source")
                triggers.append(structs.replace(one, source=source))
            elif isinstance(one, OnSegment | OnSchedule) and one.segment is not None:
                segment = await self._id_of(Segment, workspace, one.segment, *at, "segment")
                triggers.append(structs.replace(one, segment=segment))
            else:
                triggers.append(one)
        return structs.replace(automation, flow=structs.replace(flow, triggers=tuple(triggers)))

    async def _id_of(self, kind: type[Resource], workspace: str, identifier: str, *at: str | int) -> str:
        found = await self._registrar.seek(kind, workspace, identifier)
        if found is None:
            raise Invalid.at(*at, msg=f"there is no {KINDS[kind].value} with this id or uid")
        return found.id

    def _check_secrets(self, automation: Automation) -> None:
        workspace = self._directory.workspace(automation.workspace)
        templates = templates_of(automation, workspace.content_blocks if workspace is not None else None)
        for at, template in templates:
            if uses_secrets(template) and not _SENDING.intersection(map(str, at)):
                raise Invalid.at(*at, msg="only requests can read secrets: this is kept and shown in the clear")
        wanted = [(at, name) for at, template in templates for name in sorted(uses_secrets(template))]
        wanted += secrets_of_calls(automation.flow) if automation.flow is not None else []
        problems = [
            Problem(loc=at, msg=f"there is no secret named {name}; create it first", type="unknown_secret")
            for at, name in wanted
            if name != _ANY_SECRET and self._directory.secret(automation.workspace, name) is None
        ]
        if problems:
            raise Invalid(*problems)


def templates_of(
    automation: Automation, blocks: Mapping[str, str] | None = None
) -> list[tuple[tuple[str | int, ...], Template]]:
    """Compile every template of an automation, with its place; raises Invalid with all mistakes at once."""
    compiled: list[tuple[tuple[str | int, ...], Template]] = []
    problems: list[Problem] = []
    for at, text, escape, dialect in _texts_of(automation):
        try:
            compiled.append((at, check_template(text, *at, escape=escape, dialect=dialect, blocks=blocks)))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(*problems)
    return compiled


def _texts_of(automation: Automation) -> Iterator[Text]:
    if automation.send is not None:
        yield from texts_of_send(automation.send, "send")
    if isinstance(automation.eligibility, OncePerKey):
        yield ("eligibility", "key"), automation.eligibility.key, "none", "liquid"
    if automation.flow is not None:
        yield from texts_of_flow(automation.flow)


def _concerns_runs(before: Automation, after: Automation) -> bool:
    """Tell whether runs that wait must be looked at now: those that were held go on, or those of a version end."""
    is_resumed = after.enabled and not before.enabled
    in_flight = after.flow.in_flight if after.flow is not None else "exit"
    return is_resumed or (after.version != before.version and in_flight == "exit")


def _check_shape(automation: Automation) -> None:
    """Refuse an automation that nothing lets people into, or that does nothing."""
    flow = automation.flow
    if automation.trigger is None and (flow is None or not flow.triggers):
        raise Invalid.at("trigger", msg="this field is required, or triggers in flow", type="missing")
    if automation.send is None and (flow is None or not flow.steps):
        raise Invalid.at("send", msg="this field is required, or steps in flow", type="missing")
    if automation.send is not None and flow is not None and flow.steps:
        raise Invalid.at("send", msg="give a single request here, or steps in flow, and not both")
