"""The templates of a request, compiled: one that people wrote, or one from the catalogue of connectors."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from posthorn.connectors import TEST, Action, Connector, RequestTemplate, load_catalogue, test_action, unknown_names
from posthorn.engine.flows import ConnectorCall, Send, SendStep
from posthorn.errors import Invalid, Problem
from posthorn.templating import Escape, Template, compile_template, uses_secrets


class CompiledCall(Struct, frozen=True, kw_only=True):
    """What fills in the request of a connector."""

    connector: Connector
    action: Action
    name: str  #: connector/action
    account: Mapping[str, str]
    credentials: Mapping[str, str]  #: credential: name of the secret that it is
    inputs: Mapping[str, Any]  #: templates, lists and objects with templates in them, and values that are none


class CompiledRequest(Struct, frozen=True, kw_only=True):
    """A request whose URL, header values and body are compiled templates."""

    method: str
    url: Template
    headers: tuple[tuple[str, Template], ...]
    body: Template | None
    secrets: frozenset[str]  #: names of secrets that it reads; "*" for any
    call: CompiledCall | None = None  #: where it is of a connector, whose templates see only what this fills in


def compile_send(send: Send, blocks: Mapping[str, str]) -> CompiledRequest:
    """Compile a step that sends. Raises Invalid when a template is wrong, or the connector does not fit."""
    if send.connector is not None:
        return compile_call(send.connector)
    if send.send is None:
        raise Invalid.at("flow", "steps", send.name, msg="a step that sends needs a request (send) or a connector")
    return compile_request(send.send, blocks)


def compile_request(send: SendStep, blocks: Mapping[str, str]) -> CompiledRequest:
    """Compile the templates of a request, with the content blocks of its workspace. Raises Invalid for a wrong one."""

    def compiled(text: str, escape: Escape) -> Template:
        return compile_template(text, escape=escape, dialect=send.dialect, blocks=blocks or None)

    return _compiled(send.method, send.url, send.headers, send.body, compiled)


def compile_call(call: ConnectorCall) -> CompiledRequest:
    """Compile a call of a connector. Raises Invalid with every mistake, each at its place in the call."""
    connector, name, action = find_action(call)
    problems = [*_problems_of_account(connector, call), *_problems_of_inputs(action, call)]
    if problems:
        raise Invalid(*problems)
    inputs = {given: _compiled_input(value) for given, value in call.inputs.items()}
    read = frozenset().union(*(uses_secrets(one) for one in templates_in(inputs)))
    filled = CompiledCall(
        connector=connector,
        action=action,
        name=f"{connector.name}/{name}",
        account=call.account,
        credentials=call.credentials,
        inputs=inputs,
    )
    compiled = _of_catalogue(action.request)
    return replace(compiled, secrets=read | frozenset(call.credentials.values()), call=filled)


def compile_test(connector: Connector, call: ConnectorCall) -> CompiledRequest:
    """Compile a connector's harmless request. Raises Invalid when the account does not fit, or there is no such one."""
    action = test_action(connector)
    if action is None:
        raise Invalid.at("action", msg=f"choose one of {', '.join(connector.actions)}, with its inputs")
    problems = list(_problems_of_account(connector, call))
    if problems:
        raise Invalid(*problems)
    filled = CompiledCall(
        connector=connector,
        action=action,
        name=f"{connector.name}/{TEST}",
        account=call.account,
        credentials=call.credentials,
        inputs={},
    )
    return replace(_of_catalogue(action.request), secrets=frozenset(call.credentials.values()), call=filled)


def _compiled_input(value: Any) -> Any:
    """Compile the texts of an input, also those inside of lists and objects."""
    if isinstance(value, str):
        return compile_template(value, escape="none")
    if isinstance(value, list):
        return [_compiled_input(item) for item in value]
    if isinstance(value, dict):
        return {name: _compiled_input(item) for name, item in value.items()}
    return value


def templates_in(value: Any) -> Iterator[Template]:
    """Go through the templates in a compiled input."""
    if isinstance(value, Template):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from templates_in(item)


def rendered_input(value: Any, variables: Mapping[str, Any]) -> Any:
    """Render the texts of a compiled input where they stand. Raises TemplateRenderFailed."""
    if isinstance(value, Template):
        return value.render(variables)
    if isinstance(value, list):
        return [rendered_input(item, variables) for item in value]
    if isinstance(value, dict):
        return {name: rendered_input(item, variables) for name, item in value.items()}
    return value


def _problems_of_account(connector: Connector, call: ConnectorCall) -> Iterator[Problem]:
    declared = connector.credentials
    for part, names in (("account", call.account), ("credentials", call.credentials)):
        for given in names:
            if given not in declared:
                message = f"{connector.name} has no such credential; it has {', '.join(declared)}"
                yield Problem(loc=(part, given), msg=message, type="extra_forbidden")
    for given in call.account:
        if given in connector.secrets():
            message = f"{given} is secret: store it as a secret, and name that in credentials"
            yield Problem(loc=("account", given), msg=message)
    for given, credential in declared.items():
        is_given = given in call.credentials or given in call.account
        if credential.required and credential.default is None and not is_given:
            part = "credentials" if credential.secret else "account"
            yield Problem(loc=(part, given), msg=f"{credential.label.en} is required", type="missing")


def _problems_of_inputs(action: Action, call: ConnectorCall) -> Iterator[Problem]:
    yield from unknown_names(action, call.inputs)
    for given, one in action.inputs.items():
        if one.required and one.default is None and given not in call.inputs:
            yield Problem(loc=("inputs", given), msg=f"{one.label.en} is required", type="missing")


def find_action(call: ConnectorCall) -> tuple[Connector, str, Action]:
    """Find what is called in the catalogue. Raises Invalid, with what there is."""
    catalogue = load_catalogue()
    connector = catalogue.get(call.connector)
    if connector is None:
        raise Invalid.at("connector", msg=f"there is no connector {call.connector!r}; there are {', '.join(catalogue)}")
    name = call.action or (next(iter(connector.actions)) if len(connector.actions) == 1 else "")
    action = connector.actions.get(name)
    if action is None:
        raise Invalid.at("action", msg=f"choose one of {', '.join(connector.actions)}")
    return connector, name, action


def _of_catalogue(request: RequestTemplate) -> CompiledRequest:
    def compiled(text: str, escape: Escape) -> Template:
        return compile_template(text, escape=escape)

    return _compiled(request.method, request.url, request.headers, request.body, compiled)


def _compiled(
    method: str,
    url_text: str,
    header_texts: Mapping[str, str],
    body_text: str | None,
    compiled: Callable[[str, Escape], Template],
) -> CompiledRequest:
    url = compiled(url_text, "url")
    headers = tuple((name, compiled(value, "header")) for name, value in header_texts.items())
    body = compiled(body_text, body_escape(header_texts)) if body_text is not None else None
    templates = [url, *(template for _, template in headers), *([body] if body is not None else [])]
    return CompiledRequest(
        method=method,
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
