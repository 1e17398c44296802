"""The catalogue of connectors, and trying an account before an automation needs it."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from posthorn import ids
from posthorn.clock import Clock
from posthorn.connectors import Connector, load_catalogue
from posthorn.decide.rendering import RenderFailed, SecretValues, Setting, render
from posthorn.decide.requests import compile_call, compile_test
from posthorn.deliver.calling import Tokens, called_of, completed, hidden
from posthorn.deliver.classify import Verdict, judge_answer
from posthorn.deliver.preparing import prepare_call
from posthorn.deliver.transport import Refusal, Transport, TransportFailure
from posthorn.engine.flows import ConnectorCall
from posthorn.errors import Invalid, NotFound

_SHOWN_BYTES = 16 * 1024


class TryOut(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An account to try; with `action`, that action with these inputs, otherwise the connector's harmless call."""

    account: dict[str, str] = {}
    credentials: dict[str, str] = {}  #: credential: name of a secret
    action: str | None = None
    inputs: dict[str, Any] = {}


class TriedOut(Struct, frozen=True, kw_only=True):
    """What came of it. `sent` shows the request with masks."""

    is_well: bool
    reason: str
    status: int | None
    answer: bytes
    method: str
    url: str


class Connectors:
    """Lists connectors and tries accounts. A try sends one real request, through the same guarded transport."""

    def __init__(self, *, transport: Transport, secrets: SecretValues, clock: Clock) -> None:
        self._transport = transport
        self._secrets = secrets
        self._clock = clock
        self._tokens = Tokens(transport, clock)

    def all(self) -> Mapping[str, Connector]:
        """Return the catalogue."""
        return load_catalogue()

    def get(self, name: str) -> Connector:
        """Find a connector; raises NotFound."""
        found = load_catalogue().get(name)
        if found is None:
            raise NotFound(f"there is no connector {name!r}; there are {', '.join(load_catalogue())}")
        return found

    async def try_out(self, workspace: str, name: str, given: TryOut) -> TriedOut:
        """Send one request for an account and say what the vendor made of it. Raises NotFound, Invalid."""
        connector = self.get(name)
        call = ConnectorCall(
            connector=name,
            action=given.action or connector.test.action,
            account=given.account,
            credentials=given.credentials,
            inputs=given.inputs,
        )
        compiled = compile_call(call) if call.action is not None else compile_test(connector, call)
        now_ms = self._clock.now_ms()
        delivery = ids.new_id(ids.DELIVERY, now_ms)
        setting = Setting(workspace=workspace, work=delivery, delivery=delivery, now_ms=now_ms, hops=1, contents={})
        rendered = render(compiled, {}, self._secrets, setting)
        if isinstance(rendered, RenderFailed):
            raise Invalid.at(*rendered.part.split("."), msg=rendered.message)
        called = called_of(rendered.real)
        if called is None:
            raise NotFound("the connector is in the catalogue no more")
        token = await self._tokens.token(called) if called.needs_token else None
        if isinstance(token, TransportFailure):
            return _failed(token.detail, rendered.shown.method, rendered.shown.url)
        real = completed(called, rendered.real, now_ms=now_ms, token=token)
        request = prepare_call(real)
        if isinstance(request, Refusal):
            return _failed(request.detail, rendered.shown.method, rendered.shown.url)
        result = await self._transport.send(request)
        if isinstance(result, TransportFailure):
            return _failed(result.detail, rendered.shown.method, rendered.shown.url)
        judged = judge_answer(called, result)
        return TriedOut(
            is_well=judged is not None and judged.verdict is Verdict.DELIVERED,
            reason=judged.reason if judged is not None else "",
            status=result.status,
            answer=hidden(result.body[:_SHOWN_BYTES], called.secrets),
            method=rendered.shown.method,
            url=rendered.shown.url,
        )


def _failed(reason: str, method: str, url: str) -> TriedOut:
    return TriedOut(is_well=False, reason=reason, status=None, answer=b"", method=method, url=url)
