"""From a broker's message to a unit of intake: an event, or a rejected request that says why there is none. Pure."""

from hashlib import sha256

from msgspec import Struct

from posthorn import ids
from posthorn.engine.directory import Directory
from posthorn.engine.profiles import profile_of
from posthorn.engine.records import Append, CapturedRequest, Event, RequestOutcome
from posthorn.engine.resources import FieldsMapping, Source
from posthorn.receive.bridges.port import BrokerMessage, Unreadable
from posthorn.receive.capture import Incoming, dedupe_claim, dedupe_key, usable_name
from posthorn.receive.http import header
from posthorn.receive.instants import happened_ms
from posthorn.receive.mapping import map_fields
from posthorn.templating import Template, TemplateRenderFailed, compile_template

KEPT_BYTES = 25 * 1024 * 1024
"""What is kept of a message that is too large: as much as any source may be set to accept."""
_UNNAMED = usable_name("")
_LATEST_MS = 7_258_118_400_000  # the year 2200: a time beyond it was counted in another unit
_CONTROLS = bytes(range(32)) + b"\x7f"
_SPACES = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_NAMES = bytes.maketrans(_CONTROLS + b":", b"_" * (len(_CONTROLS) + 1))


class BridgedSource(Struct, frozen=True, kw_only=True):
    """A source as its bridge needs it: with the template of its event types compiled."""

    source: Source
    protocol: str
    peer: str
    event_type: Template | str


def bridged(source: Source, *, protocol: str, peer: str) -> BridgedSource:
    """Compile a source. Raises TemplateSyntaxInvalid, which was ruled out when the source was stored."""
    text = source.event_type
    is_template = "{{" in text or "{%" in text
    event_type = compile_template(text, escape="none") if is_template else usable_name(text)
    return BridgedSource(source=source, protocol=protocol, peer=peer, event_type=event_type)


def unit_of(bridge: BridgedSource, message: BrokerMessage, directory: Directory, now_ms: int) -> Append:
    """Make the unit of one message. Whatever came, one is made: nothing is dropped in silence."""
    incoming = Incoming(method=bridge.protocol, path=message.subject, headers=message.headers, body=message.body)
    limit = bridge.source.body_limit_bytes
    if message.unreadable is not None:
        return _rejected(bridge, message, message.unreadable, now_ms)
    if len(message.body) > limit:
        detail = f"the message has {len(message.body)} bytes and the source takes {limit}; raise bodyLimitBytes"
        return _rejected(bridge, message, Unreadable(cause="body_too_large", detail=detail), now_ms)
    name = _event_type(bridge.event_type, incoming)
    if isinstance(name, Unreadable):
        return _rejected(bridge, message, name, now_ms)
    return _accepted(bridge, message, incoming, name, directory, now_ms)


def _event_type(template: Template | str, incoming: Incoming) -> str | Unreadable:
    if isinstance(template, str):
        return template
    request = {"method": incoming.method, "path": incoming.path, "headers": incoming.header_values()}
    try:
        name = usable_name(template.render({"request": request, "body": incoming.json()}))
    except TemplateRenderFailed as error:
        return Unreadable(cause="event_type_failed", detail=f"eventType cannot be rendered: {error}")
    if name == _UNNAMED:
        return Unreadable(cause="event_type_failed", detail="eventType renders to nothing that can name an event")
    return name


def _accepted(
    bridge: BridgedSource, message: BrokerMessage, incoming: Incoming, name: str, directory: Directory, now_ms: int
) -> Append:
    source = bridge.source
    event = Event(
        id=ids.new_id(ids.EVENT, now_ms),
        workspace=source.workspace,
        type=name,
        occurred_ms=_instant(message.occurred_ms, now_ms),
        received_ms=now_ms,
        source=source.id,
        content_type=_text(header(message.headers, b"content-type")),
        content_encoding=_text(header(message.headers, b"content-encoding")),
        payload=message.body,
    )
    if isinstance(source.mapping, FieldsMapping):
        mapped = map_fields(source.mapping, incoming, event)
        event, uid_key = mapped.event, mapped.key
    else:
        uid_key = None
    # Without a key of its own a message claims its event's id, so that a batch that was cut short can be repeated.
    key = dedupe_key(source.dedupe, incoming) or uid_key or message.key or event.id
    claim = dedupe_claim(source.id, _storable(key), status=0, answer=b"", event=event.id, now_ms=now_ms)
    profile = profile_of(directory, source.workspace, event.type, event.user, event.id)
    return Append(event=event, claims=(claim,), profile=profile)


def _rejected(bridge: BridgedSource, message: BrokerMessage, why: Unreadable, now_ms: int) -> Append:
    source = bridge.source
    cut = len(message.body) > KEPT_BYTES
    return Append(
        request=CapturedRequest(
            id=ids.new_id(ids.REQUEST, now_ms),
            workspace=source.workspace,
            source=source.id,
            received_ms=now_ms,
            method=bridge.protocol,
            target=message.place.encode(errors="replace"),
            http_version="",
            head=_head(message),
            body=message.body[:KEPT_BYTES] if cut else message.body,
            peer=bridge.peer,
            duration_us=0,
            outcome=RequestOutcome.REJECTED,
            cause=why.cause,
            detail=f"{why.detail} (only the first {KEPT_BYTES} bytes are kept)" if cut else why.detail,
            answer_status=0,
        )
    )


def _head(message: BrokerMessage) -> bytes:
    """Write headers as lines. A broker's headers may hold line breaks, which would look like more headers here."""
    return b"".join(
        name.translate(_NAMES) + b": " + value.translate(_SPACES) + b"\r\n" for name, value in message.headers
    )


def _instant(occurred_ms: int | None, now_ms: int) -> int:
    is_time = occurred_ms is not None and 0 < occurred_ms < _LATEST_MS
    return happened_ms(occurred_ms if is_time else None, now_ms)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.translate(_SPACES).decode("latin-1")[:256]


def _storable(key: str) -> str:
    """Return a key that every database stores: brokers' ids may be long and hold control characters."""
    if len(key) <= 512 and key.isprintable():
        return key
    return f"sha256:{sha256(key.encode(errors='surrogatepass')).hexdigest()}"
