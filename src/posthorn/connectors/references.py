"""What the text of a Liquid template refers to, as far as it can be seen without a parser of Liquid.

The room of templates compiles and renders; this is the look that a connector file gets when it is loaded. It errs on
the strict side: what it cannot follow is refused.
"""

import re
from functools import lru_cache
from typing import Final

from posthorn.connectors.connector import RequestTemplate

_CODE: Final = re.compile(r"\{\{-?(.*?)-?\}\}|\{%-?(.*?)-?%\}", re.DOTALL)
_QUOTED: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_ROOT: Final = re.compile(
    r"(?<![\w.])(input|credential|delivery|event|profile|user|source|secrets|run|steps|counts|segments|automation)"
    r"(?![\w:])(?:\.([A-Za-z_]\w*))?"
)
_HOST: Final = re.compile(r"https://((?:[A-Za-z0-9.-]|\{\{-?\s*credential\.\w+\s*-?\}\})+)(?=[/?]|\Z)")
_UNESCAPED: Final = re.compile(r"\|\s*unescaped\b")
_PLAIN_UNESCAPED: Final = re.compile(r"\s*credential\.(\w+)\s*\|\s*unescaped\s*\Z")


@lru_cache(maxsize=2_048)
def references(text: str) -> frozenset[tuple[str, str | None]]:
    """Return the roots and names that a template reads: ("input", "title"). The name is None where none is written."""
    return frozenset((found[1], found[2]) for code in _codes(text) for found in _ROOT.finditer(_QUOTED.sub('""', code)))


def host_of(url: str) -> str | None:
    """Return the host of a URL's template, references included, or None when it is not plain to see."""
    found = _HOST.match(url)
    return found[1] if found is not None else None


def unescaped_credentials(text: str) -> frozenset[str]:
    """Return the credentials that a template prints as they are."""
    return frozenset(found[1] for code in _codes(text) if (found := _PLAIN_UNESCAPED.match(code)))


def unescaped_others(text: str) -> bool:
    """Tell whether a template prints anything else as it is."""
    return any(_UNESCAPED.search(code) and not _PLAIN_UNESCAPED.match(code) for code in _codes(text))


def secret_parts(request: RequestTemplate, secrets: frozenset[str]) -> frozenset[str]:
    """Return which parts of a request hold a secret: "url", "body", "headers.<name>"."""
    texts = {"url": request.url, "body": request.body or ""}
    texts |= {f"headers.{name}": text for name, text in request.headers.items()}
    return frozenset(
        part
        for part, text in texts.items()
        if any(root == "credential" and (name is None or name in secrets) for root, name in references(text))
    )


def _codes(text: str) -> list[str]:
    return [found[1] if found[1] is not None else found[2] for found in _CODE.finditer(text)]
