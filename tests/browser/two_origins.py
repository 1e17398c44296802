"""A site and the intake it talks to: two origins on loopback, the intake strict and able to misbehave."""

import json
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from posthorn.browser import loading_tag, snippet

WRITE_KEY = "wk_browser"
NONCE = "n0nce"
_INSTANT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
_ALWAYS = {"type", "messageId", "timestamp", "anonymousId", "context"}
_FIELDS = {
    "track": {"event", "properties"},
    "identify": {"traits"},
    "page": {"properties"},
    "group": {"groupId", "traits"},
    "alias": {"userId", "previousId"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer in place of the usual one; no status cuts the connection. Nothing is stored."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One request that arrived. A beacon is no-cors, a fetch is cors."""

    write_key: str
    ids: list[str]
    mode: str


class Site:
    """Serves pages from one origin, the snippet and the intake from another."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.batches: list[Batch] = []
        self.faults: deque[Fault] = deque()
        self.refuses: Callable[[dict[str, Any]], bool] = lambda _: False
        self.problems: list[str] = []
        self.script_may_go = threading.Event()
        self.script_may_go.set()
        self._changed = threading.Condition()
        self._servers = [_Server(self, _Pages), _Server(self, _Intake)]
        self.url, self.intake_url = [f"http://127.0.0.1:{server.server_port}" for server in self._servers]
        self.tag = loading_tag(script_url=f"{self.intake_url}/posthorn.js", write_key=WRITE_KEY, nonce=NONCE)
        self.pages: dict[str, str] = {"/": self.tag, "/other": self.tag, "/plain": "", "/sandboxed": self.tag}

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.script_may_go.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        assert self.problems == []

    def wait_for(self, met: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(met, timeout=20), (self.events, self.batches)

    def wait_for_events(self, number: int) -> None:
        self.wait_for(lambda: len(self.events) >= number)

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events.values() if event.get("event") == name]

    def take(self, headers: dict[str, str], body: bytes) -> Fault | None:
        value = json.loads(body)
        with self._changed:
            fault = self.faults.popleft() if self.faults else None
            ids = [event["messageId"] for event in value["batch"]]
            self.batches.append(Batch(write_key=value["writeKey"], ids=ids, mode=headers.get("sec-fetch-mode", "")))
            self.problems += _problems(headers, value, body)
            if fault is None and any(self.refuses(event) for event in value["batch"]):
                fault = Fault(status=400)
            if fault is None:
                for event in value["batch"]:
                    self.events.setdefault(event["messageId"], event)
            self._changed.notify_all()
        return fault


def _problems(headers: dict[str, str], value: dict[str, Any], body: bytes) -> list[str]:
    found = []
    if headers.get("content-type") != "text/plain;charset=UTF-8":
        found.append(f"content-type {headers.get('content-type')}: it would need a preflight")
    if "authorization" in headers or "cookie" in headers:
        found.append("credentials in headers")
    if value.keys() != {"writeKey", "sentAt", "batch"} or not _INSTANT.match(value["sentAt"]):
        found.append(f"envelope {value.keys()}")
    if len(body) > 64 * 1024:
        found.append(f"{len(body)} bytes are more than a beacon carries")
    for event in value["batch"]:
        required = _ALWAYS | _FIELDS[event["type"]]
        if not required <= event.keys() or not event.keys() <= required | {"userId", "name"}:
            found.append(f"fields of {event['type']}: {sorted(event)}")
        if not _INSTANT.match(event["timestamp"]) or not all(isinstance(event[key], str) for key in ("messageId",)):
            found.append(f"values of {event}")
    return found


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def site(self) -> Site:
        return cast("_Server", self.server).site

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response_only(status)
        self.send_header("content-length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            return  # the browser went away

    def log_message(self, *arguments: object) -> None:
        pass


class _Pages(_Quiet):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path not in self.site.pages:
            self.answer(404, b"")
            return
        # Without 'unsafe-eval', and with two origins alone: whatever else the snippet tried would fail.
        policy = f"default-src 'none'; script-src 'nonce-{NONCE}' {self.site.intake_url}; "
        policy += f"connect-src {self.site.intake_url}"
        if path == "/sandboxed":
            policy += "; sandbox allow-scripts"
        page = f"<!doctype html><title>Page {path}</title>{self.site.pages[path]}"
        self.answer(200, page.encode(), content_type="text/html", content_security_policy=policy)


class _Intake(_Quiet):
    def do_GET(self) -> None:
        self.site.script_may_go.wait(20)
        self.answer(200, snippet(), content_type="text/javascript; charset=utf-8", cache_control="no-store")

    def do_OPTIONS(self) -> None:
        self.site.problems.append("a preflight")
        self.answer(405, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        fault = self.site.take({name.lower(): text for name, text in self.headers.items()}, body)
        if fault is not None and fault.status is None:
            self.close_connection = True
            return
        headers = {"access-control-allow-origin": "*", "access-control-expose-headers": "retry-after"}
        if fault is not None:
            self.answer(cast("int", fault.status), b"{}", **headers, **fault.headers)
        else:
            self.answer(200, b'{"success": true}', **headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: Site, handler: type[BaseHTTPRequestHandler]) -> None:
        self.site = site
        super().__init__(("127.0.0.1", 0), handler)
