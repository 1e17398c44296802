"""Automations: trigger, conditions, eligibility and the request to send. Every edit is a new version."""

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET, UnsetType, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.conditions import compile_conditions, decode_conditions
from posthorn.decide.compiling import body_escape
from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.directory import Directory
from posthorn.engine.resources import Automation, Eligibility, EventTrigger, OncePerKey, SendStep, Source
from posthorn.errors import Invalid, Problem
from posthorn.manage.endpoints import check_url
from posthorn.manage.header_rules import check_headers
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
from posthorn.manage.template_rules import check_template, is_template
from posthorn.templating import Template, uses_secrets
from posthorn.vault import KeyRing

_METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")
_WORKINGS = frozenset({"trigger", "conditions", "eligibility", "send"})
_ANY_SECRET = "*"  # noqa: S105 - the mark of a template whose data chooses the name


class AutomationFields(Fields, frozen=True, kw_only=True):
    """What a caller may set of an automation. `conditions` is a tree of JSON values; null clears it."""

    name: Name | UnsetType = UNSET
    uid: Uid | UnsetType | None = UNSET
    enabled: bool | UnsetType | None = UNSET
    trigger: EventTrigger | UnsetType = UNSET
    conditions: Any = UNSET
    eligibility: Eligibility | UnsetType | None = UNSET
    send: SendStep | UnsetType = UNSET
    throttle_rate: ThrottleRate | UnsetType | None = UNSET
    retry_schedule_seconds: RetrySchedule | UnsetType | None = UNSET


class Automations:
    """Creates, changes and deletes automations."""

    def __init__(
        self, registry: SharedRegistry, directory: Directory, clock: Clock, keyring: KeyRing, policy: AddressPolicy
    ) -> None:
        self._registrar = Registrar(registry, directory, clock)
        self._directory = directory
        self._secrets = SigningSecrets(keyring)
        self._policy = policy

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
        required(values, "name", "trigger", "send")
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
        return await self._registrar.add(await self._checked(automation))

    async def replace(self, workspace: str, identifier: str, fields: AutomationFields) -> tuple[Automation, bool]:
        """Create or overwrite an automation; True says that it is new. What is not given takes its default."""
        async with self._registrar.editing:
            existing = await self._registrar.seek(Automation, workspace, identifier)
            if existing is None:
                uid = settled_uid(identifier, fields.uid, ids.AUTOMATION)
                return await self.create(workspace, structs.replace(fields, uid=uid)), True
            required(given(fields), "name", "trigger", "send")
            defaults = {name: value for name, value in settable_defaults(Automation).items() if name != "secrets"}
            values = defaults | cleared(Automation, given(fields))
            return await self._change(existing, values), False

    async def change(self, workspace: str, identifier: str, fields: AutomationFields) -> Automation:
        """Change what is given; raises NotFound, Invalid, Conflict."""
        async with self._registrar.editing:
            existing = await self.get(workspace, identifier)
            return await self._change(existing, cleared(Automation, given(fields)))

    async def _change(self, existing: Automation, values: dict[str, Any]) -> Automation:
        changed = structs.replace(existing, **(values | {"version": existing.version + 1}))
        if changed.uid != existing.uid:
            check_uid(changed.uid, ids.AUTOMATION)
        # An automation whose secret or source is gone can still be renamed and switched off.
        must_work = values.get("enabled") or not _WORKINGS.isdisjoint(values)
        return await self._registrar.put(await self._checked(changed) if must_work else changed)

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
        """Delete an automation; raises NotFound. Its pending deliveries are cancelled."""
        async with self._registrar.editing:
            await self._registrar.remove(await self.get(workspace, identifier))

    async def _checked(self, automation: Automation) -> Automation:
        check_send(automation.send, self._policy)
        if automation.conditions is not None:
            check_conditions(automation.conditions)
        self._check_secrets(automation)
        source = automation.trigger.source
        if source is None:
            return automation
        found = await self._registrar.seek(Source, automation.workspace, source)
        if found is None:
            raise Invalid.at("trigger", "source", msg="there is no source with this id or uid")
        # Stored by id, because a uid can be given to another source later.
        return structs.replace(automation, trigger=structs.replace(automation.trigger, source=found.id))

    def _check_secrets(self, automation: Automation) -> None:
        templates = templates_of(automation)
        if any(uses_secrets(template) for at, template in templates if at[0] == "eligibility"):
            raise Invalid.at("eligibility", "key", msg="a key cannot read secrets: it is kept and shown in the clear")
        problems = [
            Problem(loc=at, msg=f"there is no secret named {name}; create it first", type="unknown_secret")
            for at, template in templates
            for name in sorted(uses_secrets(template))
            if name != _ANY_SECRET and self._directory.secret(automation.workspace, name) is None
        ]
        if problems:
            raise Invalid(*problems)


def templates_of(automation: Automation) -> list[tuple[tuple[str | int, ...], Template]]:
    """Compile every template of an automation, with its place; raises Invalid with all mistakes at once."""
    compiled: list[tuple[tuple[str | int, ...], Template]] = []
    problems: list[Problem] = []
    for at, text, escape in _texts_of(automation):
        try:
            compiled.append((at, check_template(text, *at, escape=escape)))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(*problems)
    return compiled


def _texts_of(automation: Automation) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    send = automation.send
    yield ("send", "url"), send.url, "url"
    for name, value in send.headers.items():
        yield ("send", "headers", name), value, "header"
    if send.body is not None:
        yield ("send", "body"), send.body, body_escape(send.headers)
    if isinstance(automation.eligibility, OncePerKey):
        yield ("eligibility", "key"), automation.eligibility.key, "none"


def check_send(send: SendStep, policy: AddressPolicy) -> None:
    """Refuse a request that could not be sent, as far as it can be told before its templates are filled in."""
    if send.method not in _METHODS:
        raise Invalid.at("send", "method", msg=f"one of {', '.join(_METHODS)} is needed")
    for name, value in send.headers.items():
        check_headers({name: value}, "send", "headers", literal=not is_template(value))
    check_headers(send.headers, "send", "headers", literal=False)
    if not is_template(send.url):
        check_url(policy, send.url, "send", "url")


def check_conditions(tree: object) -> None:
    """Decode and compile a condition tree; raises Invalid at ("conditions", …)."""
    try:
        compile_conditions(decode_conditions(tree))
    except Invalid as error:
        raise Invalid(
            *(
                Problem(loc=("conditions", *problem.loc), msg=problem.msg, type=problem.type)
                for problem in error.problems
            )
        ) from None
