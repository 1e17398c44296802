"""Automations compiled for deciding, kept until they change."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from posthorn.conditions import CompiledConditions, compile_conditions, decode_conditions
from posthorn.conditions.needs import Needs
from posthorn.decide.needing import needs_of, templates_of
from posthorn.decide.places import Place, places_of
from posthorn.decide.requests import CompiledRequest, compile_request
from posthorn.engine.flows import OnAbsence, OncePerKey, Send, Step, Trigger
from posthorn.engine.listening import triggers_of
from posthorn.engine.resources import Automation
from posthorn.errors import PosthornError
from posthorn.templating import Template, compile_template

_MOST_KEPT = 10_000
ONLY_STEP: Final = "send"
"""The name of the step that an automation's only request is."""


class CompiledAutomation(Struct, frozen=True, kw_only=True):
    """An automation with its conditions and templates compiled."""

    automation: Automation
    triggers: tuple[Trigger, ...]
    conditions: CompiledConditions | None
    key: Template | None
    absence_keys: Mapping[str, Template]  #: of triggers by absence, by the text of the template
    exit_key: Template | None
    request: CompiledRequest | None  #: of the simplest form: one request and nothing else
    places: Mapping[str, Place]  #: of a flow, by name
    first: str | None  #: where a flow begins
    needs: Needs  #: what has to be loaded


class BrokenAutomation(Struct, frozen=True, kw_only=True):
    """A stored automation that does not compile, as after a change of what templates or conditions allow."""

    automation: Automation
    problem: str


class CompiledAutomations:
    """Compiles automations as they come by. A change of one makes it a new object, which is compiled anew."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, int], tuple[CompiledAutomation | BrokenAutomation, Mapping[str, str]]] = {}

    def compile(self, automation: Automation, blocks: Mapping[str, str]) -> CompiledAutomation | BrokenAutomation:
        """Return one compiled, with the content blocks of its workspace."""
        name = (automation.id, automation.version)
        known, known_blocks = self._compiled.get(name, (None, blocks))
        if known is None or known.automation is not automation or known_blocks is not blocks:
            if len(self._compiled) >= _MOST_KEPT:
                self._compiled.clear()  # deleted ones would stay for ever
            known = _compiled_or_broken(automation, blocks)
            self._compiled[name] = known, blocks
        return known


def _compiled_or_broken(automation: Automation, blocks: Mapping[str, str]) -> CompiledAutomation | BrokenAutomation:
    try:
        return compile_automation(automation, blocks)
    except PosthornError as error:
        return BrokenAutomation(automation=automation, problem=str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this automation's and must not stop the queue
        return BrokenAutomation(automation=automation, problem=type(error).__name__)


def compile_automation(automation: Automation, blocks: Mapping[str, str]) -> CompiledAutomation:
    """Compile conditions and templates. Raises Invalid when one of them is wrong: they are checked before storing."""
    rule, raw, flow = automation.eligibility, automation.conditions, automation.flow
    triggers = triggers_of(automation)
    absences = [trigger for trigger in triggers if isinstance(trigger, OnAbsence)]
    steps: tuple[Step, ...] = flow.steps if flow is not None else ()
    if automation.send is not None and (flow is not None or automation.send.dialect == "braze"):
        # So that all of the flow's limits hold for it; and that it can be done later, when its content has come.
        steps = (Send(name=ONLY_STEP, send=automation.send),)
    places = places_of(steps, blocks)
    conditions = compile_conditions(decode_conditions(raw)) if raw is not None else None
    key = compile_template(rule.key, escape="none") if isinstance(rule, OncePerKey) else None
    request = compile_request(automation.send, blocks) if automation.send is not None and flow is None else None
    return CompiledAutomation(
        automation=automation,
        triggers=triggers,
        conditions=conditions,
        key=key,
        absence_keys={absence.key: compile_template(absence.key, escape="none") for absence in absences if absence.key},
        exit_key=compile_template(flow.exit_key, escape="none") if flow is not None and flow.exit_key else None,
        request=request,
        places=places,
        first=steps[0].name if steps else None,
        needs=needs_of(triggers, conditions, templates_of(request, key, places), places),
    )
