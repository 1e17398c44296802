"""Rendering what an automation sends: once with real secrets to send, once with masks to show."""

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Struct

from posthorn.decide.compiling import CompiledAutomation
from posthorn.engine.directory import Directory
from posthorn.engine.marks import HOPS_HEADER, MASK
from posthorn.engine.records import OutgoingRequest, RenderedRequest
from posthorn.engine.resources import Secret
from posthorn.templating import Template, TemplateRenderFailed
from posthorn.vault import KeyRing

_MOST_KEPT = 10_000


class RenderFailed(Struct, frozen=True, kw_only=True):
    """A part of the request could not be rendered."""

    part: str  #: url, body, or headers.<name>
    message: str
    line: int
    column: int


class Rendered(Struct, frozen=True, kw_only=True):
    """A rendered request, real and shown."""

    real: OutgoingRequest
    shown: OutgoingRequest

    def sealed_for(self, delivery: str, key_ring: KeyRing) -> RenderedRequest:
        """Encode for the store; what holds a secret is sealed for this delivery alone."""
        shown = msgspec.json.encode(self.shown)
        if self.real is self.shown:
            return RenderedRequest(shown=shown)
        return RenderedRequest(shown=shown, sealed=key_ring.seal(msgspec.json.encode(self.real), context=delivery))


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


def render(
    compiled: CompiledAutomation, facts: Mapping[str, Any], secrets: SecretValues, *, hops: int
) -> Rendered | RenderFailed:
    """Render the request of an automation's send step."""
    if not compiled.secrets:
        request = _render(compiled, facts, hops)
        return request if isinstance(request, RenderFailed) else Rendered(real=request, shown=request)
    values = secrets.values(compiled.automation.workspace, compiled.secrets)
    real = _render(compiled, {**facts, "secrets": values}, hops)
    if isinstance(real, RenderFailed):
        return real
    shown = _render(compiled, {**facts, "secrets": dict.fromkeys(values, MASK)}, hops)
    if isinstance(shown, RenderFailed):
        return shown
    # In a URL the mask is percent-encoded like any value; people shall see a mask there too.
    readable = shown.url.replace(quote(MASK, safe=""), MASK)
    return Rendered(real=real, shown=msgspec.structs.replace(shown, url=readable))


def _render(compiled: CompiledAutomation, variables: Mapping[str, Any], hops: int) -> OutgoingRequest | RenderFailed:
    parts: list[tuple[str, Template]] = [("url", compiled.url)]
    parts += [(f"headers.{name}", template) for name, template in compiled.headers]
    if compiled.body is not None:
        parts.append(("body", compiled.body))
    texts: list[str] = []
    for part, template in parts:
        try:
            texts.append(template.render(variables))
        except TemplateRenderFailed as error:
            return RenderFailed(part=part, message=error.message, line=error.line, column=error.column)
    body = texts.pop() if compiled.body is not None else None
    names = [name for name, _ in compiled.headers]
    return OutgoingRequest(
        method=compiled.automation.send.method,
        url=texts[0],
        headers=(*zip(names, texts[1:], strict=True), (HOPS_HEADER, str(hops))),
        body=body,
    )
