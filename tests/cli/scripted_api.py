"""A small HTTP server that answers from a script and notes what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    path: str
    authorization: str | None
    body: Any


@dataclass
class ScriptedApi:
    """What was asked, and what to answer: per `METHOD path` a reply, or a function of the request."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    replies: dict[str, Reply | Callable[[Asked], Reply]] = field(default_factory=dict)

    def answers(self, call: str, value: Any, *, status: int = 200) -> None:
        self.replies[call] = (status, value if isinstance(value, bytes) else json.dumps(value).encode())

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        scripted = self.replies.get(
            f"{asked.method} {asked.path}", (404, b'{"code":"not_found","detail":"no such thing"}')
        )
        return scripted(asked) if callable(scripted) else scripted


@contextmanager
def scripted_api() -> Iterator[ScriptedApi]:
    api = ScriptedApi()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = Asked(
                method=self.command,
                path=self.path,
                authorization=self.headers.get("authorization"),
                body=json.loads(content) if content else None,
            )
            status, body = api.reply(asked)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
