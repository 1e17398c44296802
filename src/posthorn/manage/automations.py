"""Automations: trigger, conditions, eligibility and the request to send. Every edit is a new version."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.directory import Directory
from posthorn.engine.flows import Eligibility, EventTrigger, Flow, Pausing, SendStep
from posthorn.engine.listening import changed_type, is_timed, published_type
from posthorn.engine.profiles import automation_profile
from posthorn.engine.resources import Automation, AutomationState, AutomationVersion, Draft
from posthorn.errors import Conflict, Invalid, NotFound, Problem
from posthorn.manage.appending import Appender
from posthorn.manage.automation_rules import AutomationRules
from posthorn.manage.braze_import import BrazeWebhook, send_step_of
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
from posthorn.manage.template_warnings import TemplateWarning, warnings_of
from posthorn.manage.turns import begun, turned
from posthorn.vault import KeyRing

_WORKINGS = frozenset({"trigger", "conditions", "eligibility", "send", "flow"})


class DraftFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of a draft. `conditions` is a tree of JSON values; null clears it."""

    name: Name | UnsetType = UNSET
    trigger: EventTrigger | UnsetType | None = UNSET
    conditions: Any = UNSET
    eligibility: Eligibility | UnsetType | None = UNSET
    send: SendStep | UnsetType | None = UNSET
    flow: Flow | UnsetType | None = UNSET
    throttle_rate: ThrottleRate | UnsetType | None = UNSET
    retry_schedule_seconds: RetrySchedule | UnsetType | None = UNSET


class AutomationFields(DraftFields, frozen=True, kw_only=True):
    """What a caller may set of an automation."""

    uid: Uid | UnsetType | None = UNSET
    enabled: bool | UnsetType | None = UNSET
    pausing: Pausing | UnsetType | None = UNSET


class DraftChecked(Struct, frozen=True, kw_only=True):
    """A draft, what publishing would refuse it for, and the variables of its templates that nobody fills in."""

    draft: Draft
    problems: tuple[Problem, ...]
    warnings: tuple[TemplateWarning, ...]


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
        self._rules = AutomationRules(self._registrar, directory, policy)
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
        return await self._published(await self._registrar.add(begun(await self._rules.checked(automation))))

    async def replace(self, workspace: str, identifier: str, fields: AutomationFields) -> tuple[Automation, bool]:
        """Create or overwrite an automation; True says that it is new. What is not given takes its default."""
        async with self._registrar.editing:
            existing = await self._registrar.seek(Automation, workspace, identifier)
            if existing is None:
                uid = settled_uid(identifier, fields.uid, ids.AUTOMATION)
                return await self.create(workspace, structs.replace(fields, uid=uid)), True
            required(given(fields), "name")
            own = ("secrets", "version", "draft", "turns")
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

    async def rehearsed(self, workspace: str, identifier: str, changes: "AutomationFields | bool | None") -> Automation:
        """Return an automation to try out, checked and not stored: as published, as drafted (True), or changed so.

        Of one that was never published it is the draft. Raises NotFound, Invalid.
        """
        existing = await self.get(workspace, identifier)
        base = existing
        if changes is True or existing.state is AutomationState.DRAFT:
            base = structs.replace(existing, **_values_of(_draft_of(existing)))
        if isinstance(changes, AutomationFields):
            base = structs.replace(base, **cleared(Automation, given(changes)))
        return base if base is existing else await self._rules.checked(base)

    async def keep_draft(self, workspace: str, identifier: str, fields: DraftFields) -> tuple[Automation, bool]:
        """Keep a draft in place of the one before, unchecked; True says that its automation is new. Raises Invalid."""
        async with self._registrar.editing:
            existing = await self._registrar.seek(Automation, workspace, identifier)
            values = cleared(Automation, given(fields))
            if existing is None:
                required(values, "name")
                existing = self._unpublished(workspace, settled_uid(identifier, None, ids.AUTOMATION), values["name"])
                automation = _with_draft(existing, values, self._registrar.now_ms())
                return await self._registrar.add(automation), True
            automation = _with_draft(existing, values, self._registrar.now_ms())
            return await self._registrar.put(automation), False

    async def draft(self, workspace: str, identifier: str) -> "DraftChecked":
        """Return the draft of an automation, with what stands against publishing it. Raises NotFound."""
        existing = await self.get(workspace, identifier)
        draft = _draft_of(existing)
        drafted = structs.replace(existing, **_values_of(draft))
        problems = await self._rules.problems_of(drafted)
        return DraftChecked(
            draft=draft, problems=problems, warnings=warnings_of(drafted, self._rules.blocks_of(workspace))
        )

    async def warnings(
        self, workspace: str, identifier: str, changes: "AutomationFields | bool | None"
    ) -> tuple[TemplateWarning, ...]:
        """List the variables that nobody fills in, of what `rehearsed` would try out. Raises NotFound, Invalid."""
        automation = await self.rehearsed(workspace, identifier, changes)
        return warnings_of(automation, self._rules.blocks_of(workspace))

    async def drop_draft(self, workspace: str, identifier: str) -> None:
        """Forget a draft; raises NotFound. What is published stays as it is."""
        async with self._registrar.editing:
            existing = await self.get(workspace, identifier)
            _draft_of(existing)
            await self._registrar.put(structs.replace(existing, draft=None))

    async def publish(self, workspace: str, identifier: str) -> Automation:
        """Let a draft take effect as a new version. What is paused stays so; what never ran is switched on.

        Raises NotFound, Invalid with what is wrong with the draft, Conflict when the automation was edited meanwhile.
        """
        async with self._registrar.editing:
            existing = await self.get(workspace, identifier)
            draft = _draft_of(existing)
            if draft.based_on != existing.version:
                raise Conflict(
                    f"the draft changes version {draft.based_on}, and version {existing.version} was published since;"
                    " look at that one and PUT the draft again"
                )
            enabled = existing.enabled or existing.state is AutomationState.DRAFT
            return await self._change(existing, _values_of(draft) | {"draft": None, "enabled": enabled})

    def _unpublished(self, workspace: str, uid: str, name: str) -> Automation:
        now_ms = self._registrar.now_ms()
        identifier = ids.new_id(ids.AUTOMATION, now_ms)
        automation = Automation(
            id=identifier,
            workspace=workspace,
            uid=uid,
            name=name,
            enabled=False,
            version=0,
            secrets=(self._secrets.sealed(identifier, None, "secret", now_ms),),
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        return begun(automation)

    async def _change(self, existing: Automation, values: dict[str, Any]) -> Automation:
        changed = structs.replace(existing, **values)
        if values.get("enabled") and existing.version == 0 and _WORKINGS.isdisjoint(values):
            raise Invalid.at("enabled", msg="nothing is published yet; POST …/publish publishes the draft")
        if any(getattr(changed, name) != getattr(existing, name) for name in _WORKINGS):
            changed = structs.replace(changed, version=existing.version + 1)
            if existing.flow is not None:
                await self._keep(existing)
        if changed.uid != existing.uid:
            check_uid(changed.uid, ids.AUTOMATION)
        # An automation whose secret or source is gone can still be renamed and switched off.
        must_work = values.get("enabled") or not _WORKINGS.isdisjoint(values)
        changed = await self._rules.checked(changed) if must_work else changed
        await self._published(await self._registrar.put(turned(existing, changed, self._registrar.now_ms())))
        if _may_have_runs(existing) and _concerns_runs(existing, changed):
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
                    automation=structs.replace(automation, draft=None, turns=()),
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
            if _may_have_runs(automation):
                await self._tell(automation, changed_type(automation.id))


def _draft_of(automation: Automation) -> Draft:
    if automation.draft is None:
        raise NotFound("this automation has no draft; PUT …/draft keeps one")
    return automation.draft


def _values_of(draft: Draft) -> dict[str, Any]:
    """Return what a draft sets of its automation, by field name."""
    return {name: getattr(draft, name) for name in DraftFields.__struct_fields__}


def _with_draft(automation: Automation, values: dict[str, Any], now_ms: int) -> Automation:
    draft = Draft(**{"name": automation.name} | values, based_on=automation.version, saved_ms=now_ms)
    return structs.replace(automation, draft=draft)


def _may_have_runs(automation: Automation) -> bool:
    """Tell whether anybody may be on the way through it: a request without a flow may have to wait for content."""
    return automation.flow is not None or (automation.send is not None and automation.send.dialect == "braze")


def _concerns_runs(before: Automation, after: Automation) -> bool:
    """Tell whether runs that wait must be looked at now: those that were held go on, or those of a version end."""
    is_switched = after.enabled != before.enabled
    is_paused_otherwise = not after.enabled and (is_switched or after.pausing != before.pausing)
    if (after.enabled and is_switched) or (is_paused_otherwise and after.pausing.runs != "hold"):
        return True
    in_flight = after.flow.in_flight if after.flow is not None else "exit"
    return after.version != before.version and in_flight == "exit"
