"""Builds the request of a `connected_content` tag from its rendered parts (Braze, "Making an API call")."""

import json
import re
from dataclasses import dataclass
from typing import Final, TextIO, cast
from urllib.parse import parse_qsl

from liquid.ast import Node
from liquid.token import Token

from posthorn.templating.braze.book import ContentCall
from posthorn.templating.braze.sinks import BrazeJsonSink, BrazeUrlSink, FormSink
from posthorn.templating.content import (
    DEFAULT_CACHE_SECONDS,
    MAX_CACHE_SECONDS,
    MIN_CACHE_SECONDS,
    ContentRequest,
    is_json,
)
from posthorn.templating.context import CHARACTERS_PER_STEP_LOG2, Context
from posthorn.templating.failures import Fault
from posthorn.templating.sinks import Sink, has_controls

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MAX_PART_BYTES: Final = 1024 * 1024

Nodes = list[Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCall:
    """A `connected_content` tag whose parts are parsed."""

    call: ContentCall
    url: Nodes
    headers: Nodes | None
    body: Nodes | None

    @property
    def nodes(self) -> Nodes:
        """All parts, to be specialised like any node."""
        return [*self.url, *(self.headers or ()), *(self.body or ())]

    def request(self, context: Context, token: Token) -> ContentRequest:
        """Render the parts. Raises Fault for a URL or header that cannot be sent."""
        call = self.call
        url = printed(self.url, BrazeUrlSink(_MAX_PART_BYTES), context)
        if not url.startswith(("http://", "https://")):
            raise Fault("connected_content: the URL must start with http:// or https://", token)
        if has_controls(url) or " " in url:
            raise Fault("connected_content: the URL contains a space or a control character", token)
        given = self._given_headers(context, token)
        content_type = _named(given, "content-type") or call.content_type or (_JSON if call.method == "GET" else _FORM)
        return ContentRequest(
            method=call.method,
            url=url,
            headers=_complete(given, content_type, call.content_type or "*/*"),
            body=self._body(context, content_type),
            content_type=content_type,
            basic_auth=call.basic_auth,
            auth_credentials=call.auth_credentials,
            cache_seconds=_cache_seconds(call),
            no_cache=call.no_cache,
            retry=call.retry,
            save=call.save,
        )

    def _given_headers(self, context: Context, token: Token) -> dict[str, str]:
        if self.headers is None:
            return {}
        decoded = headers_of(printed(self.headers, BrazeJsonSink(_MAX_PART_BYTES), context))
        if decoded is None:
            raise Fault("connected_content: ':headers' must be a JSON object of texts", token)
        for value in decoded.values():
            if has_controls(value):
                raise Fault("connected_content: a header's value contains a control character", token)
        return decoded

    def _body(self, context: Context, content_type: str) -> str | None:
        if self.body is None or self.call.method == "GET":
            return None
        body = printed(self.body, self._body_sink(content_type), context)
        return _as_json(body) if _is_json_type(content_type) else body

    def _body_sink(self, content_type: str) -> Sink:
        first = self.call.body[0] if self.call.body else ""
        if isinstance(first, str) and first.startswith(("{", "[")):
            return BrazeJsonSink(_MAX_PART_BYTES)
        is_json_type = _is_json_type(content_type)
        if not isinstance(first, str) and is_json_type:
            return BrazeJsonSink(_MAX_PART_BYTES)
        # A form stays one until all its values are in; for a JSON type it becomes JSON afterwards.
        return FormSink(_MAX_PART_BYTES) if is_json_type or _FORM in content_type else Sink(_MAX_PART_BYTES)


def headers_of(text: str) -> dict[str, str] | None:
    """Read a JSON object of headers; None for anything else. Numbers and booleans count as their JSON text."""
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(decoded, dict):
        return None
    headers = {name: _header_text(value) for name, value in decoded.items()}
    return headers if all(_TOKEN.fullmatch(name) for name in headers) and None not in headers.values() else None  # type: ignore[return-value]  # no value is None


def _header_text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (bool, int, float)) else None


def printed(nodes: Nodes, sink: Sink, context: Context) -> str:
    """Render the parts of a tag into a sink; return the text."""
    stream = cast("TextIO", sink)
    for node in nodes:
        node.render_to_output(context, stream)
    text = sink.getvalue()
    context.budget.spend(1 + (len(text) >> CHARACTERS_PER_STEP_LOG2))
    return text


def _named(headers: dict[str, str], wanted: str) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == wanted), None)


def _complete(given: dict[str, str], content_type: str, accept: str) -> tuple[tuple[str, str], ...]:
    headers = list(given.items())
    for name, value in (("Content-Type", content_type), ("Accept", accept)):
        if _named(given, name.lower()) is None:
            headers.append((name, value))
    return tuple(headers)


def _is_json_type(content_type: str) -> bool:
    essence = content_type.partition(";")[0].strip().lower()
    return essence == _JSON or essence.endswith("+json")


def _as_json(body: str) -> str:
    """Turn `a=1&b=2` into a JSON object, also where it was captured and so printed as a JSON string."""
    decoded = json.loads(body) if is_json(body) else body
    if not isinstance(decoded, str) or "=" not in decoded:
        return body
    return json.dumps(dict(parse_qsl(decoded, keep_blank_values=True)), ensure_ascii=False)


def _cache_seconds(call: ContentCall) -> int:
    """An answer to GET is reused for 5 minutes to 4 hours; to POST only where the author says so."""
    if call.no_cache or (call.method == "POST" and call.cache_max_age_seconds is None):
        return 0
    asked = DEFAULT_CACHE_SECONDS if call.cache_max_age_seconds is None else call.cache_max_age_seconds
    return min(max(asked, MIN_CACHE_SECONDS), MAX_CACHE_SECONDS)
