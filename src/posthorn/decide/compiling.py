"""Automations compiled for deciding, kept until they change."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from posthorn.conditions import CompiledConditions, compile_conditions, decode_conditions
from posthorn.engine.resources import Automation, OncePerKey
from posthorn.errors import PosthornError
from posthorn.templating import Escape, Template, compile_template, uses_secrets

_MOST_KEPT = 10_000


class CompiledAutomation(Struct, frozen=True, kw_only=True):
    """An automation with its conditions and templates compiled."""

    automation: Automation
    conditions: CompiledConditions | None
    key: Template | None
    url: Template
    headers: tuple[tuple[str, Template], ...]
    body: Template | None
    secrets: frozenset[str]  #: names that its templates read; "*" for any


class BrokenAutomation(Struct, frozen=True, kw_only=True):
    """A stored automation that does not compile, as after a change of what templates or conditions allow."""

    automation: Automation
    problem: str


class CompiledAutomations:
    """Compiles automations as they come by. A change of one makes it a new object, which is compiled anew."""

    def __init__(self) -> None:
        self._compiled: dict[str, CompiledAutomation | BrokenAutomation] = {}

    def compile_all(self, automations: Iterable[Automation]) -> list[CompiledAutomation | BrokenAutomation]:
        """Return the automations compiled. One that does not compile must not hold up the others."""
        return [self._one(automation) for automation in automations]

    def _one(self, automation: Automation) -> CompiledAutomation | BrokenAutomation:
        known = self._compiled.get(automation.id)
        if known is None or known.automation is not automation:
            if len(self._compiled) >= _MOST_KEPT:
                self._compiled.clear()  # deleted ones would stay for ever
            known = self._compiled[automation.id] = _compiled_or_broken(automation)
        return known


def _compiled_or_broken(automation: Automation) -> CompiledAutomation | BrokenAutomation:
    try:
        return compile_automation(automation)
    except PosthornError as error:
        return BrokenAutomation(automation=automation, problem=str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this automation's and must not stop the queue
        return BrokenAutomation(automation=automation, problem=type(error).__name__)


def compile_automation(automation: Automation) -> CompiledAutomation:
    """Compile conditions and templates. Raises Invalid when one of them is wrong: they are checked before storing."""
    send = automation.send
    rule = automation.eligibility
    raw = automation.conditions
    url = compile_template(send.url, escape="url")
    headers = tuple((name, compile_template(value, escape="header")) for name, value in send.headers.items())
    body = compile_template(send.body, escape=body_escape(send.headers)) if send.body is not None else None
    templates = [url, *(template for _, template in headers), *([body] if body is not None else [])]
    return CompiledAutomation(
        automation=automation,
        conditions=compile_conditions(decode_conditions(raw)) if raw is not None else None,
        key=compile_template(rule.key, escape="none") if isinstance(rule, OncePerKey) else None,
        url=url,
        headers=headers,
        body=body,
        secrets=frozenset().union(*(uses_secrets(template) for template in templates)),
    )


def body_escape(headers: Mapping[str, str]) -> Escape:
    """Return how values are escaped in a body with these headers: by its Content-Type, JSON when it has none."""
    content_type = next((value for name, value in headers.items() if name.lower() == "content-type"), "json")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/x-www-form-urlencoded":
        return "url"
    return "json" if media_type.endswith("json") else "none"
