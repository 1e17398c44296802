"""The browser snippet: `posthorn.min.js`, which a door serves, and the tag that sites put into their pages."""

import html
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

#: How long a browser may use the snippet without asking whether there is a newer one.
FRESH_SECONDS = 3_600

_BLANK = re.compile("POSTHORN_(?:URL|KEY|OPTIONS)")


@cache
def snippet() -> bytes:
    """Return the minified snippet: JavaScript (ES2017), to be served as `text/javascript; charset=utf-8`."""
    return _resource("posthorn.min.js")


def snippet_etag() -> str:
    """Return a strong entity tag for the snippet (RFC 9110 §8.8.3), from the digest of its source in its first line."""
    return f'"{snippet()[2:14].decode()}"'


def loading_tag(
    *, script_url: str, write_key: str, options: Mapping[str, str | bool] | None = None, nonce: str | None = None
) -> str:
    """Return the HTML that loads the snippet and records a page view; for a page's head.

    `script_url` is where `snippet()` is served. `options` are those of `posthorn.init`: `host` when events go to
    another origin than the script's, `respectDoNotTrack`. `nonce` is for a Content-Security-Policy. Whatever the values
    have in them, they cannot end the tag.
    """
    values = {"POSTHORN_URL": script_url, "POSTHORN_KEY": write_key, "POSTHORN_OPTIONS": dict(options or {})}
    script = _resource("loader.min.js").decode().partition("*/")[2].strip()
    filled = _BLANK.sub(lambda blank: _script_json(values[blank[0]]), script)
    attribute = f' nonce="{html.escape(nonce)}"' if nonce is not None else ""
    return f"<script{attribute}>{filled}</script>"


def _script_json(value: object) -> str:
    # Inside of a script element only "<" can begin its end (or a comment that swallows it).
    return json.dumps(value).replace("<", "\\u003c")


@cache
def _resource(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()
