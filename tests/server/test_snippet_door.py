"""The browser snippet at the public door."""

from typing import Any

import pytest

from posthorn.browser import snippet, snippet_etag
from posthorn.server.snippet import serve_snippet


async def asked(method: str = "GET", **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await serve_snippet({"method": method, "path": "/posthorn.js", "headers": pairs}, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_pages_of_any_site_get_the_snippet_and_keep_it_for_a_while() -> None:
    status, headers, body = await asked()
    assert (status, body) == (200, snippet())
    assert headers[b"content-type"] == b"text/javascript; charset=utf-8"
    assert headers[b"access-control-allow-origin"] == b"*"
    assert headers[b"cache-control"] == b"public, max-age=3600"
    assert (await asked("HEAD"))[2] == b""


async def test_whoever_has_it_is_told_that_it_is_the_same() -> None:
    assert (await asked(if_none_match=snippet_etag()))[0] == 304
    assert (await asked(if_none_match='"other", ' + snippet_etag()))[0] == 304
    assert (await asked(if_none_match='"other"'))[0] == 200


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_it_is_only_read(method: str) -> None:
    assert (await asked(method))[0] == 405
