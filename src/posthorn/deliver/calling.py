"""Requests of connectors: what each attempt computes anew, what must be hidden, and short-lived tokens."""

from collections.abc import Mapping
from hashlib import sha256

import msgspec
from msgspec import Struct

from posthorn.clock import SECOND_MS, Clock
from posthorn.connectors import (
    TEST,
    Action,
    Completed,
    Connector,
    Judgement,
    RequestTemplate,
    Token,
    complete,
    hide,
    load_catalogue,
    read_token,
    send_plan,
    test_action,
)
from posthorn.deliver.transport import (
    FailureCode,
    OutboundRequest,
    PhaseTimings,
    Refusal,
    Transport,
    TransportFailure,
    parse_target,
)
from posthorn.engine.records import OutgoingRequest
from posthorn.errors import PosthornError
from posthorn.templating import Escape, compile_template

_TOKEN_DEADLINE_SECONDS = 10.0
_TOKEN_LIMIT_BYTES = 64 * 1024
_MOST_TOKENS = 10_000


class Called(Struct, frozen=True, kw_only=True, gc=False):
    """A connector's action that a request is of, with the account that it is made for."""

    connector: Connector
    action: Action
    account: Mapping[str, str]

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no journal may show."""
        names = self.connector.secrets()
        return tuple(value for name, value in self.account.items() if name in names)

    @property
    def needs_token(self) -> bool:
        """Whether each attempt needs a short-lived token."""
        plan = send_plan(self.action.at_send, self.account)
        return plan is not None and plan.needs_token

    def __repr__(self) -> str:
        return f"Called({self.connector.name})"


def called_of(request: OutgoingRequest) -> Called | None:
    """Find a request's connector. One that is in the catalogue no more is sent, and judged by its status alone."""
    if request.connector is None:
        return None
    name, _, action_name = request.connector.partition("/")
    connector = load_catalogue().get(name)
    if connector is None:
        return None
    action = test_action(connector) if action_name == TEST else connector.actions.get(action_name)
    if action is None:
        return None
    return Called(connector=connector, action=action, account=request.account or {})


def completed(
    called: Called, request: OutgoingRequest, *, now_ms: int, token: str | None, mask: str | None = None
) -> OutgoingRequest:
    """Put in what each attempt computes anew: timestamps, signatures over them, a token."""
    plan = send_plan(called.action.at_send, called.account)
    if plan is None:
        return request
    whole = Completed(url=request.url, headers=request.headers, body=request.body)
    sent = complete(plan, whole, now_ms=now_ms, token=token, mask=mask)
    return msgspec.structs.replace(request, url=sent.url, headers=sent.headers, body=sent.body)


def hidden(body: bytes, secrets: tuple[str, ...]) -> bytes:
    """Mask secrets in an answer: some vendors repeat a key that they refuse."""
    if not secrets:
        return body
    return hide(body.decode("utf-8", "surrogateescape"), secrets).encode("utf-8", "surrogateescape")


class Tokens:
    """Short-lived tokens, exchanged when they are needed and kept while they last. One for each account."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._kept: dict[bytes, tuple[str, int]] = {}

    async def token(self, called: Called) -> str | TransportFailure:
        """Return a token for an account, or why there is none."""
        name = account_name(called)
        kept = self._kept.get(name)
        if kept is not None and self._clock.now_ms() < kept[1]:
            return kept[0]
        found = await self._exchange(called)
        if isinstance(found, TransportFailure):
            return found
        if len(self._kept) >= _MOST_TOKENS:
            self._kept.clear()
        self._kept[name] = found.value, self._clock.now_ms() + found.usable_seconds * SECOND_MS
        return found.value

    def drop(self, called: Called) -> None:
        """Forget a token that the vendor takes no more."""
        self._kept.pop(account_name(called), None)

    async def _exchange(self, called: Called) -> Token | TransportFailure:
        exchange = called.connector.token
        if exchange is None:
            return _no_token("the connector exchanges no token")
        request = _token_request(exchange.request, called.account)
        if isinstance(request, TransportFailure):
            return request
        result = await self._transport.send(request)
        if isinstance(result, TransportFailure):
            return result
        token = read_token(exchange, result.status, result.headers, result.body)
        if isinstance(token, Judgement):
            return _no_token(f"no token: {hide(token.reason, called.secrets)}")
        return token


def _no_token(detail: str) -> TransportFailure:
    return TransportFailure(code=FailureCode.TOKEN_REFUSED, detail=detail, timings=PhaseTimings())


def _token_request(given: RequestTemplate, account: Mapping[str, str]) -> OutboundRequest | TransportFailure:
    variables = {"credential": account}
    try:
        url = compile_template(given.url, escape="url").render(variables)
        headers = [
            (name.encode(), compile_template(value, escape="header").render(variables).encode())
            for name, value in given.headers.items()
        ]
        escape: Escape = "url" if any("form" in value for value in given.headers.values()) else "json"
        body = compile_template(given.body, escape=escape).render(variables) if given.body is not None else ""
    except PosthornError:
        return _no_token("the account's values do not fit into the request for a token")
    target = parse_target(url)
    if isinstance(target, Refusal):
        return _no_token(target.detail)
    return OutboundRequest(
        method=given.method,
        target=target,
        headers=headers,
        body=body.encode(),
        deadline_seconds=_TOKEN_DEADLINE_SECONDS,
        read_limit_bytes=_TOKEN_LIMIT_BYTES,
    )


def account_name(called: Called) -> bytes:
    """Return a short name of a connector's account that tells nothing of its secrets."""
    return sha256(msgspec.json.encode([called.connector.name, sorted(called.account.items())])).digest()
