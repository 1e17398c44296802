"""Checking flows before they are stored: every mistake at once, each with its place."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from posthorn.calendars import parse_cron, zone
from posthorn.conditions import compile_conditions, decode_conditions
from posthorn.connectors import Action, NotFilled, read_inputs
from posthorn.decide.requests import body_escape, compile_call, find_action
from posthorn.deliver.transport.addresses import AddressPolicy
from posthorn.engine.flows import (
    Branch,
    ConnectorCall,
    EmitEvent,
    Flow,
    OnAbsence,
    OnSchedule,
    Send,
    SendAll,
    SendStep,
    Split,
    Step,
    UpdateProfile,
    Wait,
    WaitForEvent,
)
from posthorn.engine.listening import steps_of
from posthorn.errors import Invalid, Problem
from posthorn.manage.endpoints import check_url
from posthorn.manage.header_rules import check_headers
from posthorn.manage.template_rules import is_template
from posthorn.templating import Dialect, Escape, TemplateSyntaxInvalid

Place = tuple[str | int, ...]
Text = tuple[Place, str, Escape, Dialect]
"""Where a template stands, what it says, how what it prints is escaped, and its dialect."""

_METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")
_ALL_PERCENT = 100


def texts_of_flow(flow: Flow) -> Iterator[Text]:
    """Go through all templates of a flow."""
    if flow.exit_key is not None:
        yield ("flow", "exitKey"), flow.exit_key, "none", "liquid"
    for number, trigger in enumerate(flow.triggers):
        if isinstance(trigger, OnAbsence) and trigger.key is not None:
            yield ("flow", "triggers", number, "key"), trigger.key, "none", "liquid"
    for step in steps_of(flow.steps):
        yield from _texts_of_step(step)


def _texts_of_step(step: Step) -> Iterator[Text]:
    at: Place = ("flow", "steps", step.name)
    if isinstance(step, Send):
        yield from _texts_to_send(step, *at)
    elif isinstance(step, SendAll):
        for send in step.sends:
            yield from _texts_to_send(send, *at, "sends", send.name)
    elif isinstance(step, EmitEvent):
        yield (*at, "data"), step.data, "json", "liquid"
    elif isinstance(step, UpdateProfile):
        for name, value in step.changes.set.items():
            if isinstance(value, str):
                yield (*at, "changes", "set", name), value, "none", "liquid"


def _texts_to_send(send: Send, *at: str | int) -> Iterator[Text]:
    if send.send is not None:
        yield from texts_of_send(send.send, *at, "send")
    if send.connector is not None:
        yield from _texts_of_input(send.connector.inputs, *at, "connector", "inputs")


def _texts_of_input(value: object, *at: str | int) -> Iterator[Text]:
    """Go through the templates in an input, however deep they are in lists and objects."""
    if isinstance(value, str):
        yield at, value, "none", "liquid"
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _texts_of_input(one, *at, name)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _texts_of_input(one, *at, number)


def secrets_of_calls(flow: Flow) -> list[tuple[Place, str]]:
    """Name the secrets that connectors are called with."""
    found: list[tuple[Place, str]] = []
    for step in steps_of(flow.steps):
        sends = step.sends if isinstance(step, SendAll) else (step,) if isinstance(step, Send) else ()
        for send in sends:
            if send.connector is not None:
                at: Place = ("flow", "steps", send.name, "connector", "credentials")
                found += [((*at, name), secret) for name, secret in send.connector.credentials.items()]
    return found


def texts_of_send(send: SendStep, *at: str | int) -> Iterator[Text]:
    """Go through the templates of a request."""
    yield (*at, "url"), send.url, "url", send.dialect
    for name, value in send.headers.items():
        yield (*at, "headers", name), value, "header", send.dialect
    if send.body is not None:
        yield (*at, "body"), send.body, body_escape(send.headers), send.dialect


def check_flow(flow: Flow, policy: AddressPolicy) -> None:
    """Refuse what could not be run. Raises Invalid with every mistake that is not one of a template."""
    problems = [*_problems_of_triggers(flow), *_problems_of_names(flow)]
    for step in steps_of(flow.steps):
        problems += _problems_of_step(step, policy)
    quiet = flow.quiet_time
    if quiet is not None and quiet.start == quiet.end:
        problems.append(Problem(loc=("flow", "quietTime"), msg="it begins and ends at the same time of day"))
    if flow.starts_ms is not None and flow.ends_ms is not None and flow.ends_ms <= flow.starts_ms:
        problems.append(Problem(loc=("flow", "endsMs"), msg="it ends before it starts"))
    if problems:
        raise Invalid(*problems)


def _problems_of_triggers(flow: Flow) -> Iterator[Problem]:
    for number, trigger in enumerate(flow.triggers):
        if isinstance(trigger, OnSchedule):
            yield from _problems_of_schedule(trigger, "flow", "triggers", number)


def _problems_of_schedule(trigger: OnSchedule, *at: str | int) -> Iterator[Problem]:
    if (trigger.at is None) == (trigger.cron is None):
        yield Problem(loc=at, msg="say when: at an instant (at), or again and again (cron), and not both")
        return
    try:
        if trigger.time_zone is not None:
            zone(trigger.time_zone)
        if trigger.cron is not None:
            parse_cron(trigger.cron)
    except Invalid as error:
        yield from (Problem(loc=(*at, *p.loc), msg=p.msg, type=p.type) for p in error.problems)
    if trigger.at is not None:
        try:
            datetime.fromisoformat(trigger.at)
        except ValueError:
            message = "an instant is ISO 8601, such as 2026-12-24T18:00, with an offset or in each person's time"
            yield Problem(loc=(*at, "at"), msg=message)


def _problems_of_names(flow: Flow) -> Iterator[Problem]:
    seen: set[str] = set()
    for step in steps_of(flow.steps):
        for name in (step.name, *(send.name for send in getattr(step, "sends", ()))):
            if name in seen:
                message = f"two steps are named {name!r}; each needs a name of its own"
                yield Problem(loc=("flow", "steps", name, "name"), msg=message)
            seen.add(name)


def _problems_of_step(step: Step, policy: AddressPolicy) -> Iterable[Problem]:
    at: Place = ("flow", "steps", step.name)
    problems: list[Problem] = []
    match step:
        case Wait() if step.seconds is None and step.until is None:
            problems.append(Problem(loc=at, msg="say how long to wait (seconds), or until which time of day (until)"))
        case Split() if sum(share.percent for share in step.shares) > _ALL_PERCENT:
            problems.append(Problem(loc=(*at, "shares"), msg="the shares come to more than 100 %"))
        case Branch():
            for number, way in enumerate(step.ways):
                problems += _problems_of_tree(way.conditions, *at, "ways", number)
        case WaitForEvent() if step.conditions is not None:
            problems += _problems_of_tree(step.conditions, *at)
        case Send():
            problems += _problems_of_send(step, policy, *at)
        case SendAll():
            for send in step.sends:
                problems += _problems_of_send(send, policy, *at, "sends", send.name)
    return problems


def _problems_of_tree(tree: object, *at: str | int) -> list[Problem]:
    try:
        check_conditions(tree, *at, "conditions")
    except Invalid as error:
        return list(error.problems)
    return []


def _problems_of_send(send: Send, policy: AddressPolicy, *at: str | int) -> list[Problem]:
    if (send.send is None) == (send.connector is None):
        return [Problem(loc=(*at, "send"), msg="say what to send: a request (send), or a connector, and not both")]
    if send.send is not None:
        return _problems_of_request(send.send, policy, *at)
    return _problems_of_call(send.connector, *at, "connector") if send.connector is not None else []


def _problems_of_call(call: ConnectorCall, *at: str | int) -> list[Problem]:
    try:
        action = find_action(call)[2]
        compile_call(call)
    except TemplateSyntaxInvalid:
        return []  # told with the other templates
    except Invalid as error:
        problems = error.problems
    else:
        problems = _misfits(action, call)
    return [Problem(loc=(*at, *p.loc), msg=p.msg, type=p.type) for p in problems]


def _misfits(action: Action, call: ConnectorCall) -> tuple[Problem, ...]:
    """Say which inputs do not fit, of those that are the same for everybody: every run would fail at them."""
    fixed = {name: value for name, value in call.inputs.items() if not _is_filled_in(value)}
    found = read_inputs(action, fixed)
    problems = found.problems if isinstance(found, NotFilled) else ()
    return tuple(problem for problem in problems if problem.loc[-1] in fixed)


def _is_filled_in(value: object) -> bool:
    return any(is_template(text) for _, text, _, _ in _texts_of_input(value))


def _problems_of_request(request: SendStep, policy: AddressPolicy, *at: str | int) -> list[Problem]:
    try:
        check_send(request, policy, *at, "send")
    except Invalid as error:
        return list(error.problems)
    return []


def check_send(send: SendStep, policy: AddressPolicy, *at: str | int) -> None:
    """Refuse a request that could not be sent, as far as it can be told before its templates are filled in."""
    if send.method not in _METHODS:
        raise Invalid.at(*at, "method", msg=f"one of {', '.join(_METHODS)} is needed")
    for name, value in send.headers.items():
        check_headers({name: value}, *at, "headers", literal=not is_template(value))
    check_headers(send.headers, *at, "headers", literal=False)
    if not is_template(send.url):
        check_url(policy, send.url, *at, "url")


def check_conditions(tree: object, *at: str | int) -> None:
    """Decode and compile a condition tree; raises Invalid with places under `at`."""
    try:
        compile_conditions(decode_conditions(tree))
    except Invalid as error:
        problems = (Problem(loc=(*at, *p.loc), msg=p.msg, type=p.type) for p in error.problems)
        raise Invalid(*problems) from None
