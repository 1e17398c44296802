"""Keeps secrets and terminal escapes out of log lines. Pure."""

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

_SECRET_KEY = re.compile(
    r"authori[sz]ation|api_?key|master_?key|private_?key|passw|secret|token|cookie|credential|signature|pepper",
    re.IGNORECASE,
)
# Values that give themselves away wherever they stand: our keys, Standard Webhooks secrets, bearer and basic
# credentials, credentials in a URL, and the token in an inbox address, which is what lets a sender in.
_SECRET_VALUES = (
    (re.compile(r"\b(phk_|whsec_|whsk_)[A-Za-z0-9+/=_-]{6,}"), r"\1" + MASK),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE), r"\1 " + MASK),
    (re.compile(r"(://)[^/@\s]*:[^/@\s]*@"), r"\1" + MASK + "@"),
    (re.compile(r"(/in/)[A-Za-z0-9_-]{16,}"), r"\1" + MASK),
)
# C0, DEL, C1, what reorders or hides text (Unicode TR 36), and lone surrogates, which no stream can encode.
# A newline and a tab stay, for tracebacks. Joiners stay: several scripts cannot be written without them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_DEEPEST = 6


def mask_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts with secret keys masked, known forms of secrets cut out and controls made visible."""
    return {key: _masked(key, value, 0) for key, value in facts.items()}


def mask_text(text: str) -> str:
    """Cut known forms of secrets out of a text and make control characters visible."""
    for pattern, replacement in _SECRET_VALUES:
        text = pattern.sub(replacement, text)
    return show_controls(text)


def show_controls(text: str) -> str:
    """Write control, reordering and invisible characters as escapes: hostile text must not act on a terminal."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _masked(key: str, value: Any, depth: int) -> Any:
    if _SECRET_KEY.search(key) and value is not None:
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEEPEST:
        return mask_text(repr(value))
    if isinstance(value, Mapping):
        return {str(inner): _masked(str(inner), item, depth + 1) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(key, item, depth + 1) for item in value]
    return mask_text(value if isinstance(value, str) else str(value))
