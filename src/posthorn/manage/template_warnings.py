"""Which variables of an automation's templates nobody fills in: told to its author, and no reason to refuse it."""

from collections.abc import Mapping

from msgspec import Struct

from posthorn.engine.flows import Flow, Send, SendAll, WaitForEvent
from posthorn.engine.listening import steps_of
from posthorn.engine.resources import Automation
from posthorn.errors import Invalid
from posthorn.manage.automation_rules import texts_of
from posthorn.manage.flow_rules import Place
from posthorn.manage.template_rules import check_template
from posthorn.templating import EVERY_ELEMENT, KnownNames, UnknownVariable, unknown_variables

_NAME = {"id": False, "name": False}
_DEVICE = dict.fromkeys(("id", "platform", "model", "os", "browser", "appVersion"), False)
_OF_EVENT: KnownNames = {
    "event": dict.fromkeys(("id", "type", "time", "uid", "user"), False) | {"data": True, "headers": True},
    "user": {"id": False},
    "source": _NAME | {"uid": False},
    "profile": dict.fromkeys(("id", "createdTime", "timeZone", "locale"), False)
    | {"attributes": True, "subscriptions": True, "devices": {EVERY_ELEMENT: _DEVICE}},
    "counts": True,
    "segments": True,
    "windows": True,
    "local": True,
    "now": False,
}
"""The facts of docs/conditions.md. What an event's data and a person's attributes may hold is theirs to say."""
_OF_STEPS: KnownNames = {
    "automation": _NAME | {"version": False},
    "run": dict.fromkeys(("id", "key", "enteredTime", "trigger"), False),
}
_OF_REQUESTS: KnownNames = {
    "automation": _NAME | {"version": False},
    "delivery": {"id": False},
    "secrets": True,
}
_ANSWER: KnownNames = {"state": False, "status": False, "body": True}


class TemplateWarning(Struct, frozen=True, kw_only=True):
    """A variable that nobody fills in: where its template stands, and where in the template it is read."""

    loc: Place
    line: int
    column: int
    name: str
    fails: bool  #: rendering fails for it; otherwise it prints nothing, or what `default` says

    @property
    def message(self) -> str:
        """Say it in a sentence."""
        follows = "rendering fails" if self.fails else "it prints nothing, or its default"
        return f"line {self.line}, column {self.column}: nothing fills in {self.name}: {follows}"


def warnings_of(automation: Automation, blocks: Mapping[str, str]) -> tuple[TemplateWarning, ...]:
    """List the variables of all templates that compile, and that nobody fills in."""
    found: list[TemplateWarning] = []
    for at, text, escape, dialect in texts_of(automation):
        try:
            template = check_template(text, *at, escape=escape, dialect=dialect, blocks=blocks)
        except Invalid:
            continue  # a problem, and told as one
        found += [_warning(at, unknown) for unknown in unknown_variables(template, _known(at, automation.flow))]
    return tuple(found)


def _warning(at: Place, unknown: UnknownVariable) -> TemplateWarning:
    return TemplateWarning(
        loc=at, line=unknown.line, column=unknown.column, name=unknown.name, fails=not unknown.is_optional
    )


def _known(at: Place, flow: Flow | None) -> KnownNames:
    """Return what is known at a place: requests see more than keys, and steps see what those before them brought."""
    if at[0] == "send":
        return {**_OF_EVENT, **_OF_REQUESTS, **(_of_steps(flow) if flow is not None else {})}
    if flow is None or at[:2] != ("flow", "steps"):
        return _OF_EVENT
    is_request = not {"changes", "data"}.intersection(at[3:4])
    return {**_OF_EVENT, **_of_steps(flow), **({**_OF_REQUESTS, "step": {"name": False}} if is_request else {})}


def _of_steps(flow: Flow) -> KnownNames:
    answers: dict[str, KnownNames] = {}
    for step in steps_of(flow.steps):
        if isinstance(step, WaitForEvent):
            answers[step.name] = {"event": _OF_EVENT["event"]}
        sends = step.sends if isinstance(step, SendAll) else (step,) if isinstance(step, Send) else ()
        answers |= {send.name: _ANSWER for send in sends if send.wait_for_answer}
    return {**_OF_STEPS, "steps": answers}
