"""What the contract tests stand on: render an action, send it for real to the vendor's double, judge the answer."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from posthorn.connectors import (
    Action,
    Answer,
    AtSend,
    Completed,
    Connector,
    Filled,
    Judgement,
    RequestTemplate,
    Token,
    complete,
    judge,
    load_catalogue,
    masked_credentials,
    read_credentials,
    read_inputs,
    read_token,
    request_variables,
    send_plan,
)
from posthorn.deliver.transport import AddressPolicy, HttpTransport, OutboundRequest, OutboundResponse
from posthorn.templating import Masked, compile_template
from posthorn.testing.vendors import VENDORS, Call, Vendor, VendorServer

NOW_MS = 1_795_341_600_123
DELIVERY = "dlv_2vFzYH3JXQ0cS8x1gZr5BqWmKpN"
MASK = "••••••"

CATALOGUE = load_catalogue()
CALLS = [(vendor.connector, call.action) for vendor in VENDORS.values() for call in vendor.calls]
ACTIONS = [(name, action) for name, action in CALLS if action not in {"test", "token"}]
TROUBLES = [
    (vendor.connector, call.action, trouble)
    for vendor in VENDORS.values()
    for call in vendor.calls
    for trouble in call.troubles
]


class Loopback:
    """Answers every name with this machine, so that requests keep the vendor's host."""

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.1",)

    async def close(self) -> None:
        pass


@dataclass(frozen=True)
class Rendered:
    method: str
    request: Completed


def call_of(connector: str, action: str) -> Call:
    return next(call for call in VENDORS[connector].calls if call.action == action)


def credentials_of(connector: Connector, **changed: str) -> dict[str, Any]:
    filled = read_credentials(connector, {**VENDORS[connector.name].credentials, **changed})
    assert isinstance(filled, Filled), filled
    return dict(filled.values)


def samples_of(action: Action, *, whole: bool = True) -> dict[str, Any]:
    """Return the samples of all inputs, or of the required ones only."""
    return {
        name: declared.sample
        for name, declared in action.inputs.items()
        if declared.sample is not None and (whole or declared.required)
    }


def inputs_of(action: Action, given: Mapping[str, Any]) -> Mapping[str, Any]:
    filled = read_inputs(action, given)
    assert isinstance(filled, Filled), filled
    return filled.values


def escape_of(request: RequestTemplate) -> Any:
    is_form = "urlencoded" in request.headers.get("Content-Type", "")
    return "url" if is_form else "json"


def render(
    request: RequestTemplate,
    action: Action | None,
    *,
    inputs: Mapping[str, Any],
    credentials: Mapping[str, Any],
    delivery: str = DELIVERY,
) -> Rendered:
    """Render with the engine of the product, escaped as the product escapes."""
    empty = Action(title=next(iter(CATALOGUE.values())).title, request=request)
    variables = request_variables(
        action or empty, inputs=inputs, credentials=credentials, delivery_id=delivery, now_ms=NOW_MS
    )
    headers = tuple(
        (name, compile_template(text, escape="header").render(variables)) for name, text in request.headers.items()
    )
    body = None
    if request.body is not None:
        body = compile_template(request.body, escape=escape_of(request)).render(variables)
    url = compile_template(request.url, escape="url").render(variables)
    return Rendered(request.method, Completed(url=url, headers=headers, body=body))


def parts_of(connector: Connector, action: str) -> tuple[RequestTemplate, Action | None, Answer, tuple[AtSend, ...]]:
    if action == "test":
        test = connector.test
        assert test.request is not None
        return test.request, None, test.answer, test.at_send
    if action == "token":
        assert connector.token is not None
        return connector.token.request, None, connector.token.answer, ()
    declared = connector.actions[action]
    return declared.request, declared, declared.answer, declared.at_send


class Office:
    """A vendor's double and a transport to it."""

    def __init__(self, vendor: Vendor, server: VendorServer, transport: HttpTransport) -> None:
        self.vendor = vendor
        self.server = server
        self.connector = CATALOGUE[vendor.connector]
        self._transport = transport

    def rendered(self, action: str, inputs: Mapping[str, Any] | None = None, **changed: str) -> Rendered:
        """Render and complete the request of an action as its sample says."""
        request, declared, _, at_send = parts_of(self.connector, action)
        credentials = credentials_of(self.connector, **changed)
        values = inputs_of(declared, samples_of(declared) if inputs is None else inputs) if declared is not None else {}
        rendered = render(request, declared, inputs=values, credentials=credentials)
        plan = send_plan(at_send, credentials)
        if plan is None:
            return rendered
        token = changed.get("token_value", self.vendor.token)
        return replace(rendered, request=complete(plan, rendered.request, now_ms=NOW_MS, token=token))

    async def send(self, rendered: Rendered) -> OutboundResponse:
        """Send to the double under the vendor's own host name."""
        scheme, _, rest = rendered.request.url.partition("://")
        assert scheme == "https"
        host, slash, path = rest.partition("/")
        body = rendered.request.body
        answered = await self._transport.send(
            OutboundRequest(
                method=rendered.method,
                target=f"http://{host}:{self.server.port}{slash}{path}",
                headers=[(name.encode(), value.encode()) for name, value in rendered.request.headers],
                body=b"" if body is None else body.encode(),
            )
        )
        assert isinstance(answered, OutboundResponse), answered
        return answered

    async def judged(self, action: str, rendered: Rendered) -> Judgement:
        _, _, answer, _ = parts_of(self.connector, action)
        got = await self.send(rendered)
        token = self.connector.token if action != "token" else None
        return judge(answer, got.status, got.headers, got.body, token=token)

    async def token(self) -> Token | Judgement:
        exchange = self.connector.token
        assert exchange is not None
        got = await self.send(self.rendered("token"))
        return read_token(exchange, got.status, got.headers, got.body)


@asynccontextmanager
async def office_of(name: str) -> AsyncIterator[Office]:
    vendor = VENDORS[name]
    policy = AddressPolicy(allow=(ip_network("127.0.0.0/8"),))
    transport = HttpTransport(policy=policy, resolver=Loopback())
    try:
        async with VendorServer(vendor, now_ms=NOW_MS) as server:
            yield Office(vendor, server, transport)
    finally:
        await transport.close()


def masked_rendering(connector: Connector, action: str) -> Rendered:
    """Render as the journal shows it."""
    request, declared, _, _ = parts_of(connector, action)
    credentials = masked_credentials(connector, credentials_of(connector), Masked(MASK))
    values = inputs_of(declared, samples_of(declared)) if declared is not None else {}
    return render(request, declared, inputs=values, credentials=credentials)


def leaves(document: Any) -> list[Any]:
    """Return every text and number in decoded JSON."""
    if isinstance(document, dict):
        return [leaf for value in document.values() for leaf in leaves(value)]
    if isinstance(document, list):
        return [leaf for value in document for leaf in leaves(value)]
    return [document]


def said(rendered_body: bytes, *, is_form: bool) -> list[Any]:
    if is_form:
        return [value for _, value in parse_qsl(rendered_body.decode(), keep_blank_values=True)]
    return leaves(msgspec.json.decode(rendered_body))
