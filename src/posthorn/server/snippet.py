"""The browser snippet at a door: one file that pages of any site load."""

from posthorn.browser import FRESH_SECONDS, snippet, snippet_etag
from posthorn.receive.http import Scope, Send, answer, answer_json, header

PATH = "/posthorn.js"
_HEADERS = (
    (b"content-type", b"text/javascript; charset=utf-8"),
    (b"cache-control", b"public, max-age=%d" % FRESH_SECONDS),
    (b"access-control-allow-origin", b"*"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"x-content-type-options", b"nosniff"),
)


async def serve_snippet(scope: Scope, send: Send) -> None:
    """Answer a call for the snippet: whole, 304 to whoever has it, 405 to anything but a read."""
    if scope["method"] not in ("GET", "HEAD"):
        await answer_json(send, 405, {"code": "method_not_allowed", "detail": "the snippet is only read"})
        return
    etag = snippet_etag().encode()
    headers = (*_HEADERS, (b"etag", etag))
    known = header(scope["headers"], b"if-none-match")
    if known is not None and etag in (one.strip() for one in known.split(b",")):
        await answer(send, 304, b"", headers)
        return
    await answer(send, 200, b"" if scope["method"] == "HEAD" else snippet(), headers)
