"""Checking automations before they are let loose: shape, addresses, conditions, templates, secrets, what they name."""

from collections.abc import Iterator, Mapping

from msgspec import structs

from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.directory import Directory
from posthorn.engine.flows import OncePerKey, OnEvent, OnSchedule, OnSegment, Trigger
from posthorn.engine.resources import KINDS, Automation, Resource, Segment, Source
from posthorn.errors import Invalid, Problem
from posthorn.manage.flow_rules import (
    Text,
    check_conditions,
    check_flow,
    check_send,
    secrets_of_calls,
    texts_of_flow,
    texts_of_send,
)
from posthorn.manage.registrar import Registrar
from posthorn.manage.template_rules import check_template
from posthorn.templating import Template, uses_secrets

_SENDING = frozenset({"send", "sends", "connector"})
_ANY_SECRET = "*"  # noqa: S105 - the mark of a template whose data chooses the name


class AutomationRules:
    """What an automation must keep to, so that it can decide and send."""

    def __init__(self, registrar: Registrar, directory: Directory, policy: AddressPolicy) -> None:
        self._registrar = registrar
        self._directory = directory
        self._policy = policy

    async def problems_of(self, automation: Automation) -> tuple[Problem, ...]:
        """List what `checked` would refuse an automation for; empty when it can be published."""
        try:
            await self.checked(automation)
        except Invalid as error:
            return error.problems
        return ()

    async def checked(self, automation: Automation) -> Automation:
        """Return an automation with ids for what it names. Raises Invalid with every mistake of a kind at once."""
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

    def blocks_of(self, workspace: str) -> Mapping[str, str]:
        """Return the content blocks of a workspace."""
        found = self._directory.workspace(workspace)
        return found.content_blocks if found is not None else {}

    def _check_secrets(self, automation: Automation) -> None:
        templates = templates_of(automation, self.blocks_of(automation.workspace))
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
    for at, text, escape, dialect in texts_of(automation):
        try:
            compiled.append((at, check_template(text, *at, escape=escape, dialect=dialect, blocks=blocks)))
        except Invalid as error:
            problems += error.problems
    if problems:
        raise Invalid(*problems)
    return compiled


def texts_of(automation: Automation) -> Iterator[Text]:
    """Go through all templates of an automation."""
    if automation.send is not None:
        yield from texts_of_send(automation.send, "send")
    if isinstance(automation.eligibility, OncePerKey):
        yield ("eligibility", "key"), automation.eligibility.key, "none", "liquid"
    if automation.flow is not None:
        yield from texts_of_flow(automation.flow)


def _check_shape(automation: Automation) -> None:
    """Refuse an automation that nothing lets people into, or that does nothing."""
    flow = automation.flow
    if automation.trigger is None and (flow is None or not flow.triggers):
        raise Invalid.at("trigger", msg="this field is required, or triggers in flow", type="missing")
    if automation.send is None and (flow is None or not flow.steps):
        raise Invalid.at("send", msg="this field is required, or steps in flow", type="missing")
    if automation.send is not None and flow is not None and flow.steps:
        raise Invalid.at("send", msg="give a single request here, or steps in flow, and not both")
