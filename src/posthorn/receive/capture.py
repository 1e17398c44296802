"""One captured request at a time: pure decisions over what came and what its source wants."""

import re
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from posthorn.clock import DAY_MS
from posthorn.engine.marks import HOPS_HEADER, MASK
from posthorn.engine.records import Claim
from posthorn.engine.resources import DedupeRule
from posthorn.errors import PosthornError
from posthorn.receive.http import Headers, header
from posthorn.signing import BasicVerification, BearerVerification, HeaderTokenVerification, Verification
from posthorn.templating import Template, TemplateRenderFailed

DEDUPE_KEPT_MS = 7 * DAY_MS
MOST_HOPS = 5
UNNAMED = "webhook.unnamed"  #: the type of an event that its source's rule cannot name
_HOPS = HOPS_HEADER.encode()
_MASKED = MASK.encode()

_LONGEST_KEY = 512
_EVENT_TYPE = re.compile(r"[a-zA-Z0-9\-_.]{1,256}")
_FOREIGN = re.compile(r"[^a-zA-Z0-9\-_.]+")
_NOTHING = object()


class Incoming(Struct, kw_only=True):
    """What a template or rule may look at; the body is parsed only if one does."""

    method: str
    path: str
    headers: Headers
    body: bytes
    _parsed: Any = _NOTHING

    def json(self) -> Any:
        """Return the body as JSON, None when it is none."""
        if self._parsed is _NOTHING:
            try:
                self._parsed = msgspec.json.decode(self.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._parsed = None
        return self._parsed

    def header_values(self) -> dict[str, str]:
        """Return headers by lower-case name; repeated ones joined by a comma, as RFC 9110 §5.3 reads them."""
        values: dict[str, str] = {}
        for name, value in self.headers:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            values[key] = f"{values[key]}, {text}" if key in values else text
        return values


def event_type_of(template: Template | str, incoming: Incoming) -> str:
    """Name the event. A template that cannot be rendered, or renders to nothing usable, gives `webhook.unnamed`.

    A sender must never be turned away because our naming rule does not fit its request.
    """
    if isinstance(template, str):
        return template
    request = {"method": incoming.method, "path": incoming.path, "headers": incoming.header_values()}
    try:
        name = template.render({"request": request, "body": incoming.json()})
    except TemplateRenderFailed:
        return UNNAMED
    return usable_name(name)


def usable_name(name: str) -> str:
    """Return a name that an event type can have, as near to this one as possible."""
    name = _FOREIGN.sub("_", name.strip())[:256]
    return name if _EVENT_TYPE.fullmatch(name) else UNNAMED


def dedupe_key(rule: DedupeRule | None, incoming: Incoming) -> str | None:
    """Find the key that makes two requests the same one; None when the rule does not apply to this request."""
    if rule is None:
        return None
    if rule.header is not None:
        value = header(incoming.headers, rule.header.lower().encode())
        return short_key(value.decode("latin-1")) if value else None
    found: Any = incoming.json()
    for step in (rule.field or "").split("."):
        if not isinstance(found, dict) or step not in found:
            return None
        found = found[step]
    if found is None or isinstance(found, dict | list):
        return None
    return short_key(found if isinstance(found, str) else msgspec.json.encode(found).decode())


def short_key(key: str) -> str:
    """Bound a key's length. Cut off, two long keys that begin alike would be taken for the same."""
    return key if len(key) <= _LONGEST_KEY else f"sha256:{sha256(key.encode()).hexdigest()}"


def dedupe_claim(source: str, key: str, *, status: int, answer: bytes, event: str, now_ms: int) -> Claim:
    """Claim a dedupe key. The fingerprint is empty: the key alone says that it is the same request."""
    return Claim(
        scope=f"source:{source}",
        key=key,
        fingerprint=b"",
        answer_status=status,
        answer_body=answer,
        event=event,
        expires_ms=now_ms + DEDUPE_KEPT_MS,
    )


def hops_of(headers: Headers) -> int:
    """Return how many Posthorns a request came through. Nonsense counts as too many."""
    value = header(headers, _HOPS)
    if value is None:
        return 0
    return int(value) if value.isdigit() and len(value) <= 3 else MOST_HOPS


class LoopDetected(PosthornError):
    """The request came through too many Posthorns: an automation sends to where its own events come from."""

    code = "loop_detected"
    http_status = 508

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def checked_hops(headers: Headers) -> int:
    """Return how many Posthorns a request came through. Raises LoopDetected when it goes round in a loop."""
    hops = hops_of(headers)
    if hops >= MOST_HOPS:
        raise LoopDetected
    return hops


def head_of(headers: Headers, secret: frozenset[bytes]) -> bytes:
    """Write header pairs as they stood on the wire.

    Only a header in which the source's own secret travels has its value masked: a secret is never stored in plain.
    """
    if not secret:
        return b"".join([name + b": " + value + b"\r\n" for name, value in headers])
    return b"".join(
        [name + b": " + (_MASKED if name.lower() in secret else value) + b"\r\n" for name, value in headers]
    )


def secret_headers_of(verification: Verification) -> frozenset[bytes]:
    """Return the lower-case names of the headers that carry a source's secret itself."""
    if isinstance(verification, BasicVerification | BearerVerification):
        return frozenset({b"authorization"})
    if isinstance(verification, HeaderTokenVerification):
        return frozenset({verification.header.lower().encode("latin-1")})
    return frozenset()
