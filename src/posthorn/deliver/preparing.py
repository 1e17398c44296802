"""From taken work to the exact request: URL, headers, signature, body, and the headers as the journal shows them."""

import msgspec
from msgspec import Struct

from posthorn import __version__
from posthorn.deliver.calling import Called, called_of, completed
from posthorn.deliver.targets import SENSITIVE_HEADERS, LaneRules
from posthorn.deliver.transport import OutboundRequest, Refusal, Target, parse_target
from posthorn.engine.marks import HOPS_HEADER, MASK
from posthorn.engine.records import DeliveryWork, OutgoingRequest
from posthorn.signing import sign
from posthorn.vault import KeyRing

STORED_RESPONSE_BYTES = 16 * 1024
READ_RESPONSE_BYTES = 64 * 1024
USER_AGENT = f"Posthorn/{__version__} (+webhooks)"

_JSON = "application/json"
_decode_rendered = msgspec.json.Decoder(OutgoingRequest).decode


class Prepared(Struct, frozen=True, kw_only=True, gc=False):
    """A request ready to send, and how the journal will show it."""

    request: OutboundRequest
    url: str
    shown_headers: list[tuple[str, str]]
    called: Called | None = None  #: which connector's rules say what the answer means
    secrets: tuple[str, ...] = ()  #: of the request, to be masked in an answer that repeats them


class Requested(Struct, frozen=True, kw_only=True, gc=False):
    """A rendered request, real and shown, and the connector that it is of."""

    real: OutgoingRequest
    shown: OutgoingRequest
    called: Called | None


def requested(work: DeliveryWork, *, key_ring: KeyRing) -> Requested | None:
    """Open the request that an automation rendered; None for a message."""
    rendered = work.rendered
    if rendered is None:
        return None
    shown = real = _decode_rendered(rendered.shown)
    if rendered.sealed is not None:
        real = _decode_rendered(key_ring.open(rendered.sealed, context=work.id))
    return Requested(real=real, shown=shown, called=called_of(real))


def prepare(
    work: DeliveryWork,
    rules: LaneRules,
    request: Requested | None,
    *,
    now_ms: int,
    token: str | None = None,
) -> Prepared | Refusal:
    """Build the request of one attempt. The bytes that are signed are the bytes that are sent."""
    if request is None:
        return _of_message(work, rules, now_ms)
    if request.called is None:
        return _of_rendered(work, rules, request.real, request.shown, now_ms)
    return _of_call(rules, request, request.called, now_ms, token)


def _of_message(work: DeliveryWork, rules: LaneRules, now_ms: int) -> Prepared | Refusal:
    if rules.url is None:
        raise LookupError(f"delivery {work.id} of an automation has lost its rendered request")
    target = parse_target(rules.url)
    if isinstance(target, Refusal):
        return target
    payload = work.payload
    headers = [("content-type", payload.content_type or _JSON), ("user-agent", USER_AGENT), (HOPS_HEADER, "1")]
    if payload.content_encoding is not None:
        headers.append(("content-encoding", payload.content_encoding))
    headers += _identity(work.event, rules, now_ms, payload.body)
    return _prepared("POST", rules.url, target, headers, payload.body, rules)


def _of_rendered(
    work: DeliveryWork, rules: LaneRules, real: OutgoingRequest, shown: OutgoingRequest, now_ms: int
) -> Prepared | Refusal:
    target = parse_target(real.url)
    if isinstance(target, Refusal):
        return target
    payload = work.payload
    body = payload.body if real.body is None else real.body.encode()
    headers = list(real.headers)
    names = {name.lower() for name, _ in headers}
    if "content-type" not in names:
        own = (payload.content_type or _JSON) if real.body is None else _JSON
        headers.append(("content-type", own))
    if "user-agent" not in names:
        headers.append(("user-agent", USER_AGENT))
    if real.body is None and payload.content_encoding is not None and "content-encoding" not in names:
        headers.append(("content-encoding", payload.content_encoding))
    headers += _identity(work.id, rules, now_ms, body)
    prepared = _prepared(real.method, shown.url, target, headers, body, rules)
    if real is shown:
        return prepared
    masked = [*shown.headers, *headers[len(real.headers) :]]
    secrets = tuple((real.account or {}).values())
    return msgspec.structs.replace(prepared, shown_headers=_masked(masked), secrets=secrets)


def _of_call(
    rules: LaneRules, request: Requested, called: Called, now_ms: int, token: str | None
) -> Prepared | Refusal:
    """Build a connector's request: what each attempt computes anew is put in, and nothing that vendors do not know."""
    real = completed(called, request.real, now_ms=now_ms, token=token)
    shown = completed(called, request.shown, now_ms=now_ms, token=token, mask=MASK)
    target = parse_target(real.url)
    if isinstance(target, Refusal):
        return target
    agent = () if any(name.lower() == "user-agent" for name, _ in real.headers) else (("user-agent", USER_AGENT),)
    body = (real.body or "").encode()
    prepared = _prepared(real.method, shown.url, target, [*real.headers, *agent], body, rules)
    return msgspec.structs.replace(
        prepared, shown_headers=_masked([*shown.headers, *agent]), called=called, secrets=called.secrets
    )


def prepare_call(real: OutgoingRequest) -> OutboundRequest | Refusal:
    """Build a connector's completed request by itself, without a delivery that it is of."""
    target = parse_target(real.url)
    if isinstance(target, Refusal):
        return target
    return OutboundRequest(
        method=real.method,
        target=target,
        headers=[(name.encode(), value.encode()) for name, value in (*real.headers, ("user-agent", USER_AGENT))],
        body=(real.body or "").encode(),
        read_limit_bytes=READ_RESPONSE_BYTES,
    )


def _identity(webhook_id: str, rules: LaneRules, now_ms: int, body: bytes) -> list[tuple[str, str]]:
    seconds = now_ms // 1000
    timestamp = str(seconds)
    headers = [("webhook-id", webhook_id), ("webhook-timestamp", timestamp)]
    if not rules.keys:
        return headers
    signature = sign(rules.keys, webhook_id, seconds, body)
    headers += (
        ("webhook-signature", signature),
        ("svix-id", webhook_id),
        ("svix-timestamp", timestamp),
        ("svix-signature", signature),
    )
    return headers


def _prepared(
    method: str, url: str, target: Target, headers: list[tuple[str, str]], body: bytes, rules: LaneRules
) -> Prepared:
    request = OutboundRequest(
        method=method,
        target=target,
        fixed_headers=rules.fixed_headers,
        headers=[(name.encode(), value.encode()) for name, value in headers],
        body=body,
        deadline_seconds=rules.deadline_seconds,
        read_limit_bytes=READ_RESPONSE_BYTES,
    )
    shown = [*rules.shown_headers, *headers] if rules.shown_headers else headers
    return Prepared(request=request, url=url, shown_headers=shown if rules.url is not None else _masked(shown))


def _masked(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, MASK if name.lower() in SENSITIVE_HEADERS else value) for name, value in headers]
