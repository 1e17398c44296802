"""What a connector file must keep beyond the types of its values: names that exist, hosts that stay, keys that work."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from posthorn.connectors.connector import (
    Action,
    Answer,
    AnswerRule,
    AtSend,
    Connector,
    Credential,
    Input,
    InputType,
    RequestTemplate,
)
from posthorn.connectors.filling import NotFilled, read_inputs
from posthorn.connectors.forms import IN_HOST, IN_PATH_AS_IS, form_problem, is_host
from posthorn.connectors.locating import Keys
from posthorn.connectors.references import (
    host_of,
    references,
    unescaped_credentials,
    unescaped_others,
)
from posthorn.connectors.sending import PLACEHOLDER, TOKEN

_FRAMING: Final = frozenset({"host", "content-length", "connection", "transfer-encoding", "te", "upgrade", "trailer"})
_NUMBERS: Final = frozenset({"gt", "gte", "lt", "lte"})
_LISTS: Final = frozenset({"in", "not_in"})
_SWITCHES: Final = frozenset({"exists", "empty"})
_HOST_REFERENCE: Final = re.compile(r"\{\{-?\s*credential\.(\w+)\s*-?\}\}")


class Flaw(NamedTuple):
    """One thing to mend, and the keys at which it stands."""

    keys: Keys
    message: str


def check_connector(connector: Connector) -> Iterator[Flaw]:
    """Find what is wrong with a connector, in the order of the file as far as possible."""
    for name, credential in connector.credentials.items():
        yield from _credential(credential, ("credentials", name))
    if not connector.actions:
        yield Flaw((), "there is no action: add [actions.<name>]")
    if connector.token is not None:
        yield from _request(connector, None, connector.token.request, ("token", "request"))
        yield from _answer(connector.token.answer, ("token", "answer"))
        yield from _rules(connector.token.refused, ("token", "refused"))
    for name, action in connector.actions.items():
        yield from _action(connector, action, ("actions", name))
    yield from _test(connector)
    yield from _unused_credentials(connector)


def _credential(credential: Credential, keys: Keys) -> Iterator[Flaw]:
    for key, value in (("sample", credential.sample), ("default", credential.default)):
        problem = form_problem(credential, value) if value is not None else None
        if problem is not None:
            yield Flaw((*keys, key), problem)
    if credential.secret and (credential.choices or credential.default is not None):
        yield Flaw(keys, "a secret has neither choices nor a default: set `secret = false`, or take them out")


def _action(connector: Connector, action: Action, keys: Keys) -> Iterator[Flaw]:
    for name, declared in action.inputs.items():
        yield from _input(declared, (*keys, "inputs", name))
    samples = {name: declared.sample for name, declared in action.inputs.items() if declared.sample is not None}
    filled = read_inputs(action, samples)
    if isinstance(filled, NotFilled):
        problem = filled.problems[0]
        yield Flaw((*keys, "inputs", str(problem.loc[1])), f"its sample or default {problem.msg}")
    yield from _request(connector, action, action.request, (*keys, "request"))
    yield from _unused_inputs(action, keys)
    yield from _idempotency(action, keys)
    for index, rate in enumerate(action.rates):
        if rate.key != "credential" and rate.key.removeprefix("input.") not in action.inputs:
            yield Flaw((*keys, "rates", index, "key"), f"there is no `{rate.key}`")
    yield from _at_send(connector, action.at_send, action.request, (*keys, "at_send"))
    yield from _answer(action.answer, (*keys, "answer"))


def _input(declared: Input, keys: Keys) -> Iterator[Flaw]:
    if (declared.type is InputType.CHOICE) != bool(declared.choices):
        yield Flaw(keys, '`choices` and `type = "choice"` belong together')
    if declared.required and declared.sample is None and declared.default is None:
        yield Flaw(keys, "a required input needs a `sample`, for documentation and tests")
    if declared.required and declared.default is not None:
        yield Flaw((*keys, "default"), "an input with a default is not required: set `required = false`")


def _request(connector: Connector, action: Action | None, request: RequestTemplate, keys: Keys) -> Iterator[Flaw]:
    yield from _host(connector, request.url, (*keys, "url"))
    if request.method == "GET" and request.body is not None:
        yield Flaw((*keys, "body"), "a GET request has no body: use another method, or take it out")
    for name in request.headers:
        if name.lower() in _FRAMING:
            yield Flaw((*keys, "headers", name), "the transport writes this header itself: take it out")
    for part, text in parts(request):
        place = (*keys, *part)
        yield from _names(connector, action, text, place)
        for name in unescaped_credentials(text):
            if name in connector.credentials and connector.credentials[name].form not in IN_PATH_AS_IS:
                yield Flaw(place, f'`credential.{name}` may be unescaped only with a form such as "token"')
        if unescaped_others(text):
            yield Flaw(place, "only `credential.<name>` alone may be `unescaped`")


def parts(request: RequestTemplate) -> Iterator[tuple[Keys, str]]:
    """Return the templates of a request, each with its keys in it."""
    yield ("url",), request.url
    for name, text in request.headers.items():
        yield ("headers", name), text
    if request.body is not None:
        yield ("body",), request.body


def _host(connector: Connector, url: str, keys: Keys) -> Iterator[Flaw]:
    host = host_of(url)
    if host is None:
        yield Flaw(keys, "must begin with https:// and a host of plain text and `{{ credential.<name> }}`")
        return
    for name in _HOST_REFERENCE.findall(host):
        declared = connector.credentials.get(name)
        if declared is not None and (declared.secret or not (declared.form in IN_HOST or declared.choices)):
            message = f'`credential.{name}` stands in the host: give it `secret = false` and form "label" or "host"'
            yield Flaw(keys, message)
    if not is_host(_HOST_REFERENCE.sub("a.a" if _HOST_REFERENCE.fullmatch(host) else "a", host)):
        yield Flaw(keys, f"`{host}` is no host name")


def _names(connector: Connector, action: Action | None, text: str, keys: Keys) -> Iterator[Flaw]:
    known = {
        "input": set(action.inputs) if action is not None else set(),
        "credential": set(connector.credentials),
        "delivery": {"id", "key"} if action is not None else {"id"},
    }
    for root, name in references(text):
        if root not in known:
            yield Flaw(keys, f"`{root}` is unknown here: there are input, credential, delivery and now")
        elif name is None:
            yield Flaw(keys, f"write `{root}.<name>`: `{root}` as a whole or by a computed name cannot be checked")
        elif name not in known[root]:
            choices = ", ".join(sorted(known[root])) or "none"
            yield Flaw(keys, f"there is no `{root}.{name}`: declare it, or use one of these: {choices}")


def _unused_inputs(action: Action, keys: Keys) -> Iterator[Flaw]:
    used = {name for _, text in parts(action.request) for root, name in references(text) if root == "input"}
    for name in action.inputs:
        if name not in used:
            yield Flaw((*keys, "inputs", name), "no template uses this input: use it, or take it out")


def _unused_credentials(connector: Connector) -> Iterator[Flaw]:
    requests = [action.request for action in connector.actions.values()]
    requests += [holder.request for holder in (connector.token, connector.test) if holder and holder.request]
    used = {name for request in requests for _, text in parts(request) for _, name in references(text)}
    steps = [*connector.test.at_send, *(step for action in connector.actions.values() for step in action.at_send)]
    used |= {name for step in steps for name in PLACEHOLDER.findall(step.key + step.message)}
    for name in connector.credentials:
        if name not in used:
            yield Flaw(("credentials", name), "no request uses this credential: use it, or take it out")


def _idempotency(action: Action, keys: Keys) -> Iterator[Flaw]:
    prints_key = any(("delivery", "key") in references(text) for _, text in parts(action.request))
    idempotency = action.idempotency
    if (idempotency is not None) != prints_key:
        yield Flaw((*keys, "idempotency"), "[idempotency] and `{{ delivery.key }}` in the request belong together")
    if idempotency is not None and (idempotency.header is None) == (idempotency.field is None):
        yield Flaw((*keys, "idempotency"), "say where the key stands: either `header` or `field`")


def _at_send(connector: Connector, steps: Sequence[AtSend], request: RequestTemplate, keys: Keys) -> Iterator[Flaw]:
    known = {*connector.credentials, *([TOKEN] if connector.token is not None else [])}
    for index, step in enumerate(steps):
        place = (*keys, index)
        if sum(target is not None for target in (step.header, step.query, step.field)) > 1:
            yield Flaw(place, "a value goes to one place: `header`, `query` or `field`")
        for name in PLACEHOLDER.findall(step.key + step.message):
            if name not in known:
                yield Flaw(place, f"`{{{name}}}` is neither a credential nor an earlier value")
            elif step.when != name and name in connector.credentials and not connector.credentials[name].required:
                yield Flaw(place, f'`{name}` is optional: add `when = "{name}"`')
        if step.when is not None and step.when not in connector.credentials:
            yield Flaw((*place, "when"), f"there is no credential `{step.when}`")
        if step.compute.startswith("hmac") and not step.key:
            yield Flaw(place, "a signature needs a `key`")
        if step.field is not None and not (request.body or "").lstrip().startswith("{"):
            yield Flaw((*place, "field"), "the body must be a JSON object")
        if step.name in known:
            yield Flaw((*place, "name"), f"`{step.name}` is taken")
        known.add(step.name)


def _answer(answer: Answer, keys: Keys) -> Iterator[Flaw]:
    if not answer.success:
        yield Flaw((*keys, "success"), "an answer needs a rule for success: without any, leave it out for 2xx")
    yield from _rules(answer.success, (*keys, "success"))
    for name, rules in (("retry", answer.retry), ("stop", answer.stop)):
        yield from _rules(rules, (*keys, name))
        for index, rule in enumerate(rules):
            if rule.statuses is None and not rule.when:
                yield Flaw((*keys, name, index), "this rule matches every answer: add `statuses` or `when`")
    for index, wait in enumerate(answer.retry_after):
        if (wait.path is None) == (wait.header is None):
            yield Flaw((*keys, "retry_after", index), "say where the wait stands: either `path` or `header`")


def _rules(rules: Sequence[AnswerRule], keys: Keys) -> Iterator[Flaw]:
    for index, rule in enumerate(rules):
        place = (*keys, index)
        if any(isinstance(status, int) and not 100 <= status <= 599 for status in rule.statuses or ()):
            yield Flaw(place, 'a status is from 100 to 599, or "2xx" to "5xx"')
        for number, predicate in enumerate(rule.when):
            wanted = _wanted(predicate.operator, predicate.value)
            if wanted is not None:
                yield Flaw((*place, "when", number), f"`{predicate.operator}` needs {wanted}")


def _wanted(operator: str, value: object) -> str | None:
    """Say what value an operator needs, if this is not one."""
    if operator in _NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float))):
        return "a number as `value`"
    if operator in _LISTS and not isinstance(value, list):
        return "a list as `value`"
    if operator in _SWITCHES and value not in (None, True, False):
        return "true or false as `value`"
    if operator not in _SWITCHES and value is None:
        return "a `value`"
    return None


def _test(connector: Connector) -> Iterator[Flaw]:
    test = connector.test
    if (test.action is None) == (test.request is None):
        yield Flaw(("test",), "give either an `action` or a `request`")
    if test.action is not None and test.action not in connector.actions:
        yield Flaw(("test", "action"), f"there is no action `{test.action}`")
    if test.request is not None:
        yield from _request(connector, None, test.request, ("test", "request"))
        yield from _at_send(connector, test.at_send, test.request, ("test", "at_send"))
    yield from _answer(test.answer, ("test", "answer"))
