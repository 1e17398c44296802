"""Rendering what an automation sends: once with real secrets to send, once with masks to show."""

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Struct

from posthorn.connectors import (
    Filled,
    NotFilled,
    masked_credentials,
    read_credentials,
    read_inputs,
    request_variables,
)
from posthorn.decide.memory import Content, Missing
from posthorn.decide.requests import CompiledCall, CompiledRequest, rendered_input
from posthorn.engine.directory import Directory
from posthorn.engine.marks import HOPS_HEADER, MASK
from posthorn.engine.records import OutgoingRequest, RenderedRequest
from posthorn.engine.resources import Secret
from posthorn.engine.runs import Timer
from posthorn.templating import (
    Aborted,
    ContentKey,
    ContentResponse,
    ContentUnanswered,
    ContentWanted,
    FetchedContent,
    Masked,
    ShownContent,
    Template,
    TemplateRenderFailed,
)
from posthorn.vault import KeyRing

_MOST_KEPT = 10_000


class RenderFailed(Struct, frozen=True, kw_only=True):
    """A part of the request could not be rendered."""

    part: str  #: url, body, or headers.<name>
    message: str
    line: int
    column: int
    aborted: str | None = None  #: the reason that the template's author gave for sending nothing
    is_unanswered: bool = False  #: content that it cannot do without did not come, and may come later


class Rendered(Struct, frozen=True, kw_only=True):
    """A rendered request, real and shown."""

    real: OutgoingRequest
    shown: OutgoingRequest

    def with_body(self, body: str) -> "Rendered":
        """Return it with a body, where it had none."""
        return Rendered(
            real=msgspec.structs.replace(self.real, body=body), shown=msgspec.structs.replace(self.shown, body=body)
        )

    def sealed_for(self, delivery: str, key_ring: KeyRing, tells: Timer | None = None) -> RenderedRequest:
        """Encode for the store; what holds a secret is sealed for this delivery alone."""
        shown = msgspec.json.encode(self.shown)
        if self.real == self.shown:
            return RenderedRequest(shown=shown, tells=tells)
        sealed = key_ring.seal(msgspec.json.encode(self.real), context=delivery)
        return RenderedRequest(shown=shown, sealed=sealed, tells=tells)


class SecretValues(Protocol):
    """Opens secrets by name."""

    def values(self, workspace: str, names: frozenset[str]) -> dict[str, str]:
        """Return the values of those named that exist; "*" names all."""
        ...


class OpenedSecrets:
    """Workspace secrets, opened once per change."""

    def __init__(self, directory: Directory, key_ring: KeyRing) -> None:
        self._directory = directory
        self._key_ring = key_ring
        self._opened: dict[str, tuple[Secret, str]] = {}

    def values(self, workspace: str, names: frozenset[str]) -> dict[str, str]:
        """Return the values of those named that exist."""
        if "*" in names:
            names = frozenset(s.uid for s in self._directory.every(Secret) if s.workspace == workspace and s.uid)
        found = ((name, self._directory.secret(workspace, name)) for name in names)
        return {name: self._open(secret) for name, secret in found if secret is not None}

    def _open(self, secret: Secret) -> str:
        known = self._opened.get(secret.id)
        if known is None or known[0] is not secret:
            if len(self._opened) >= _MOST_KEPT:
                self._opened.clear()  # values of secrets that are gone would stay for ever
            value = self._key_ring.open(secret.sealed, context=secret.id).decode()
            known = self._opened[secret.id] = (secret, value)
        return known[1]


class Setting(Struct, frozen=True, kw_only=True):
    """What a request is rendered for, beside the facts."""

    workspace: str
    work: str  #: the event or timer that is decided
    delivery: str  #: the id of the delivery that it becomes
    now_ms: int
    hops: int
    contents: Mapping[ContentKey, ContentResponse]  #: answers to requests of its templates, as far as they are known


def render(
    compiled: CompiledRequest, facts: Mapping[str, Any], secrets: SecretValues, setting: Setting
) -> Rendered | RenderFailed:
    """Render a request. Raises Missing when a template wants content that is not there yet."""
    marks = ((HOPS_HEADER, str(setting.hops)),)
    fetched = FetchedContent(setting.contents)
    own = {**facts, "delivery": {"id": setting.delivery}, "random": setting.delivery, "content": fetched}
    values = secrets.values(setting.workspace, compiled.secrets) if compiled.secrets else {}
    try:
        if compiled.call is not None:
            return _render_call(compiled, compiled.call, own, values, setting)
        real = _render(compiled, {**own, "secrets": values} if values else own, marks)
        if isinstance(real, RenderFailed) or not (compiled.secrets or fetched.given):
            return real if isinstance(real, RenderFailed) else Rendered(real=real, shown=real)
        masked = dict.fromkeys(values, Masked(MASK))
        shown_content = ShownContent(fetched, mask=MASK)
        shown = _render(compiled, {**own, "secrets": masked, "content": shown_content}, marks)
    except ContentWanted as wanted:
        raise Missing(content=Content(workspace=setting.workspace, work=setting.work, request=wanted.request)) from None
    if isinstance(shown, RenderFailed):
        return shown
    # Sealed with it, so that an answer that repeats a secret can be masked.
    return Rendered(
        real=msgspec.structs.replace(real, account={name: str(value) for name, value in values.items()}),
        shown=_readable(shown),
    )


def _render_call(
    compiled: CompiledRequest,
    call: CompiledCall,
    facts: Mapping[str, Any],
    values: Mapping[str, str],
    setting: Setting,
) -> Rendered | RenderFailed:
    """Render the request of a connector: inputs first, then its own templates over them and the credentials."""
    inputs = _inputs(call, {**facts, "secrets": values})
    shown_inputs = _inputs(call, {**facts, "secrets": dict.fromkeys(values, Masked(MASK))})
    credentials = _credentials(call, values)
    if isinstance(inputs, RenderFailed):
        return inputs
    if isinstance(shown_inputs, RenderFailed):
        return shown_inputs
    if isinstance(credentials, NotFilled):
        return _not_filled(credentials)
    masked = masked_credentials(call.connector, credentials.values, Masked(MASK))
    real = _of_call(compiled, call, inputs, credentials.values, setting)
    shown = _of_call(compiled, call, shown_inputs, masked, setting)
    if isinstance(real, RenderFailed):
        return real
    if isinstance(shown, RenderFailed):
        return shown
    account = {name: str(value) for name, value in credentials.values.items() if value}  # a mask becomes plain text
    counted = {rate.key for rate in call.action.rates}
    paced_by = {key: str(value) for name, value in inputs.values.items() if (key := f"input.{name}") in counted}
    real = msgspec.structs.replace(real, account=account, paced_by=paced_by or None)
    return Rendered(real=real, shown=_readable(shown))


def _credentials(call: CompiledCall, values: Mapping[str, str]) -> Filled | NotFilled:
    """Check what the account consists of. Where a preview has masks for secrets, there is no form to be checked."""
    given = {name: values[secret] for name, secret in call.credentials.items() if secret in values}
    masks = {name: value for name, value in given.items() if isinstance(value, Masked)}
    samples = {name: call.connector.credentials[name].sample for name in masks}
    filled = read_credentials(call.connector, {**call.account, **given, **samples})
    return filled if isinstance(filled, NotFilled) else Filled(values={**filled.values, **masks})


def _of_call(
    compiled: CompiledRequest,
    call: CompiledCall,
    inputs: Filled,
    account: Mapping[str, str | None],
    setting: Setting,
) -> OutgoingRequest | RenderFailed:
    variables = request_variables(
        call.action,
        inputs=inputs.values,
        credentials=account,
        delivery_id=setting.delivery,
        now_ms=setting.now_ms,
    )
    request = _render(compiled, variables, ())
    if isinstance(request, RenderFailed):
        return request
    # A connector without a body sends none; elsewhere that means the event's payload.
    return msgspec.structs.replace(request, connector=call.name, body=request.body or "")


def _inputs(call: CompiledCall, variables: Mapping[str, Any]) -> Filled | RenderFailed:
    given: dict[str, object] = {}
    for name, value in call.inputs.items():
        try:
            given[name] = rendered_input(value, variables)
        except ContentWanted:
            raise
        except TemplateRenderFailed as error:
            return _failed(f"inputs.{name}", error)
    filled = read_inputs(call.action, given)
    return _not_filled(filled) if isinstance(filled, NotFilled) else filled


def _failed(part: str, error: TemplateRenderFailed) -> RenderFailed:
    return RenderFailed(
        part=part,
        message=error.message,
        line=error.line,
        column=error.column,
        aborted=error.reason if isinstance(error, Aborted) else None,
        is_unanswered=isinstance(error, ContentUnanswered),
    )


def _not_filled(problems: NotFilled) -> RenderFailed:
    first = problems.problems[0]
    return RenderFailed(part=".".join(map(str, first.loc)), message=first.msg, line=1, column=1)


def _readable(shown: OutgoingRequest) -> OutgoingRequest:
    """In a URL the mask is percent-encoded like any value; people shall see a mask there too."""
    return msgspec.structs.replace(shown, url=shown.url.replace(quote(MASK, safe=""), MASK))


def _render(
    compiled: CompiledRequest, variables: Mapping[str, Any], marks: tuple[tuple[str, str], ...]
) -> OutgoingRequest | RenderFailed:
    parts: list[tuple[str, Template]] = [("url", compiled.url)]
    parts += [(f"headers.{name}", template) for name, template in compiled.headers]
    if compiled.body is not None:
        parts.append(("body", compiled.body))
    texts: list[str] = []
    for part, template in parts:
        try:
            texts.append(template.render(variables))
        except ContentWanted:
            raise
        except TemplateRenderFailed as error:
            return _failed(part, error)
    body = texts.pop() if compiled.body is not None else None
    names = [name for name, _ in compiled.headers]
    return OutgoingRequest(
        method=compiled.method,
        url=texts[0],
        headers=(*zip(names, texts[1:], strict=True), *marks),
        body=body,
    )
