"""A strict double of the two intake calls, on a real loopback socket, that can be told to misbehave."""

import base64
import gzip
import json
import re
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

WRITE_KEY = "wk_123"
API_KEY = "key_456"
_INSTANT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
_REQUIRED = {
    "track": {"event", "properties"},
    "identify": {"traits"},
    "page": {"properties"},
    "screen": {"properties"},
    "group": {"groupId", "traits"},
    "alias": {"userId", "previousId"},
}
_OPTIONAL = {"name", "userId", "anonymousId"}
_EVENT_FIELDS = {"id", "type", "user", "data", "time"}
_ALWAYS = {"type", "messageId", "timestamp", "context"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What one request meets instead of its answer. `keeps` says whether its events were stored all the same."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    reset: bool = False
    keeps: bool = False
    hold: threading.Event | None = None


RESET = Fault(reset=True)
RESET_AFTER_STORING = Fault(reset=True, keeps=True)
GARBAGE = Fault(raw=b"\x16\x03\x01 this is not HTTP\r\n\r\n")
CUT_SHORT = Fault(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", keeps=True)
PORTAL = Fault(body=b"<html>Please sign in to the hotel's network</html>", headers={"content-type": "text/html"})
ERROR_500 = Fault(status=500, body=b'{"code":"generic_error","detail":"a bug"}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request that arrived."""

    path: str
    ids: list[str]
    compressed: bool
    sent_at: str | None


class IntakeDouble:
    """Stores events once each by their ids, as the real one does."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.requests: list[Seen] = []
        self.faults: deque[Fault] = deque()
        self.problems: list[str] = []
        self.arrived = threading.Condition()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert self.problems == []

    def wait_for_requests(self, number: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.requests) >= number, timeout=20)

    def wait_for_events(self, number: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.events) >= number, timeout=20)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> Fault:
        """Check a request, store its events, say what it is answered."""
        compressed = headers.get("content-encoding") == "gzip"
        value = json.loads(gzip.decompress(body) if compressed else body)
        events = value["batch"] if path == "/v1/batch" else value
        key = "messageId" if path == "/v1/batch" else "id"
        with self.arrived:
            fault = self.faults.popleft() if self.faults else None
            sent_at = value["sentAt"] if path == "/v1/batch" else None
            ids = [event[key] for event in events]
            self.requests.append(Seen(path=path, ids=ids, compressed=compressed, sent_at=sent_at))
            self.problems += _problems(path, headers, value, events)
            if fault is None or fault.keeps:
                for event in events:
                    self.events.setdefault(event[key], event)
            self.arrived.notify_all()
        return fault or self._answer(path, events)

    def _answer(self, path: str, events: list[dict[str, Any]]) -> Fault:
        if path == "/v1/batch":
            return Fault(body=b'{"success": true}')
        rows = [{"id": f"evt_{event['id']}", "uid": event["id"], "status": "accepted"} for event in events]
        return Fault(status=202, body=json.dumps({"data": rows}).encode())


def _problems(path: str, headers: dict[str, str], value: Any, events: list[dict[str, Any]]) -> list[str]:
    """What the published forms of the calls forbid."""
    found = []
    if headers.get("content-type") != "application/json":
        found.append(f"content-type {headers.get('content-type')}")
    if path == "/v1/batch":
        if headers.get("authorization") != "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode():
            found.append("no write key")
        if value.keys() != {"batch", "sentAt"} or not _INSTANT.match(value["sentAt"]):
            found.append(f"envelope {value.keys()}")
        found += [text for event in events for text in _call_problems(event)]
    elif path == "/api/v1/event":
        if headers.get("authorization") != f"Bearer {API_KEY}":
            found.append("no API key")
        if "content-encoding" in headers:
            found.append("this call takes no compressed bodies")
        found += [
            f"fields {event.keys()}"
            for event in events
            if not event.keys() <= {*["id", "type", "user", "data", "time"]}
        ]
    else:
        found.append(f"no such path {path}")
    return found


def _call_problems(call: dict[str, Any]) -> list[str]:
    required = _REQUIRED[call["type"]]
    found = []
    if not required | _ALWAYS <= call.keys() or not call.keys() <= required | _ALWAYS | _OPTIONAL:
        found.append(f"fields of {call['type']}: {sorted(call)}")
    if not {"userId", "anonymousId"} & call.keys():
        found.append("nobody did it")
    if not _INSTANT.match(call["timestamp"]):
        found.append(f"timestamp {call['timestamp']}")
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        double = cast("_Server", self.server).double
        fault = double.take(self.path, {name.lower(): text for name, text in self.headers.items()}, body)
        if fault.hold is not None:
            fault.hold.wait(20)
        if fault.reset:
            self._reset()
        elif fault.raw is not None:
            self.wfile.write(fault.raw)
            self.close_connection = True
        else:
            self._answer(fault)

    def _answer(self, fault: Fault) -> None:
        self.send_response_only(fault.status)
        for name, text in {"content-length": str(len(fault.body)), **fault.headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(fault.body)

    def _reset(self) -> None:
        # Lingering for no time makes the kernel send RST in place of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()
        self.close_connection = True

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            return  # the connection is gone, because we cut it or because the client gave up

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, double: IntakeDouble) -> None:
        self.double = double
        super().__init__(("127.0.0.1", 0), _Handler)
