"""Values that each attempt computes anew: timestamps, signatures over them, short-lived tokens.

When a request is rendered, `send_plan` takes with it what its attempts will need; when it is sent, `complete` puts the
values in. The plan holds secrets: keep it sealed, as the request itself.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from posthorn.clock import SECOND_MS, iso_text
from posthorn.connectors.connector import AtSend
from posthorn.errors import Invalid

TOKEN: Final = "token"  # noqa: S105 - the name of a placeholder, not a credential
PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_SECRET_MAKERS: Final = frozenset({"hmac_sha1", "hmac_sha256", "hmac_sha512", "text"})
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class SendPlan(Struct, frozen=True, kw_only=True):
    """What attempts compute, with the credentials that they compute it from. `needs_token`: pass one to `complete`."""

    steps: tuple[AtSend, ...]
    credentials: dict[str, str]
    needs_token: bool = False

    def __repr__(self) -> str:
        return f"SendPlan({', '.join(step.name for step in self.steps)})"


class Completed(Struct, frozen=True, kw_only=True):
    """A request with everything in it."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: str | None

    def __repr__(self) -> str:
        return f"Completed({len(self.headers)} headers, {len(self.body or '')} characters)"


def send_plan(steps: tuple[AtSend, ...], credentials: Mapping[str, str | None]) -> SendPlan | None:
    """Return what the attempts of a request compute, or None when there is nothing."""
    wanted = tuple(step for step in steps if step.when is None or credentials.get(step.when))
    if not wanted:
        return None
    names = {name for step in wanted for name in PLACEHOLDER.findall(step.key + step.message)}
    return SendPlan(
        steps=wanted,
        credentials={name: value for name in sorted(names) if (value := credentials.get(name))},
        needs_token=TOKEN in names and TOKEN not in credentials,
    )


def complete(
    plan: SendPlan,
    request: Completed,
    *,
    now_ms: int,
    token: str | None = None,
    mask: str | None = None,
) -> Completed:
    """Put the values of this instant into a request. With `mask`, for the journal, what comes of a secret is masked.

    Raises Invalid when the plan needs a token and there is none, or when a field has no JSON object to go into.
    """
    if plan.needs_token and token is None:
        raise Invalid.at("token", msg="the request needs a token and none was given")
    known = dict(plan.credentials)
    if token is not None:
        known[TOKEN] = token
    url, headers, body = request.url, list(request.headers), request.body
    for step in plan.steps:
        value = known[step.name] = _computed(step, known, now_ms)
        shown = mask if mask is not None and step.compute in _SECRET_MAKERS else value
        if step.header is not None:
            headers.append((step.header, shown))
        if step.query is not None:
            url = _with_query(url, step.query, shown, is_mask=shown is mask)
        if step.field is not None:
            body = _with_field(body, step.field, shown)
    return Completed(url=url, headers=tuple(headers), body=body)


def _computed(step: AtSend, known: Mapping[str, str], now_ms: int) -> str:
    match step.compute:
        case "unix_seconds":
            return str(now_ms // SECOND_MS)
        case "unix_ms":
            return str(now_ms)
        case "iso":
            return iso_text(now_ms)
        case "text":
            return _filled(step.message, known)
        case algorithm:
            digest = hmac.digest(
                _filled(step.key, known).encode(),
                _filled(step.message, known).encode(),
                algorithm.removeprefix("hmac_"),
            )
            return digest.hex() if step.encoding == "hex" else base64.b64encode(digest).decode()


def _filled(text: str, known: Mapping[str, str]) -> str:
    # One pass: a value that looks like a placeholder stays what it is.
    return PLACEHOLDER.sub(lambda found: known[found[1]], text)


def _with_query(url: str, name: str, value: str, *, is_mask: bool) -> str:
    head, mark, fragment = url.partition("#")
    joint = "&" if "?" in head else "?"
    return f"{head}{joint}{name}={value if is_mask else quote(value, safe='')}{mark}{fragment}"


def _with_field(body: str | None, name: str, value: str) -> str:
    try:
        # The other fields keep their bytes: a number must not lose digits on its way through here.
        fields = _decode_fields((body or "").encode())
    except (msgspec.DecodeError, RecursionError):
        raise Invalid.at("body", msg="must be a JSON object, to take values that are computed at sending") from None
    fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields).decode()
