"""What a double of a vendor consists of: its calls with their schemas, its credentials, its answers.

The schemas are msgspec types that forbid unknown fields, so that a double refuses what the vendor's published schema
does not name. Bodies are checked as bytes, never as what the connector meant.
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from posthorn.connectors import JudgementKind

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Schema(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Base of what a body, form or query must look like."""


class Nothing(Schema, frozen=True, kw_only=True):
    """A query without parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came."""

    method: str
    host: str
    path: str  #: still percent-encoded
    query: str
    headers: Mapping[str, str]  #: names in lower case
    body: bytes

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def parameters(self) -> dict[str, str]:
        """The parameters of the query."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def fields(self) -> dict[str, str]:
        """The fields of a form body."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: bytes as they are, anything else as JSON, None as nothing."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An answer that the vendor may give, and what it means."""

    reply: Reply
    means: JudgementKind
    after_seconds: float | None = None


def retry(body: Any = None, *, status: int = 200, after: float | None = None, **headers: str) -> Trouble:
    """Describe an answer after which the request is tried again."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = Reply(status=status, body=body, headers=names)
    return Trouble(reply=reply, means=JudgementKind.RETRY, after_seconds=after)


def stop(body: Any = None, *, status: int = 200) -> Trouble:
    """Describe an answer after which the request is given up."""
    return Trouble(reply=Reply(status=status, body=body), means=JudgementKind.STOP)


def accepted(body: Any = None, *, status: int = 200) -> Trouble:
    """Describe an answer other than the usual that means success."""
    return Trouble(reply=Reply(status=status, body=body), means=JudgementKind.SUCCESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the vendor's API, for one action of the connector ("test" and "token" for those requests).

    `path` is a regular expression for the whole path. `is_open`: the vendor takes fields of any name. `spoken` names
    the input that carries free text. `check` says what a schema cannot: it returns what is wrong.
    """

    action: str
    path: str
    answer: Reply
    method: str = "POST"
    query: type[Schema] = Nothing
    json: Any = None
    form: type[Schema] | None = None
    is_open: bool = False
    spoken: str | None = None
    check: Callable[[Received, int], str | None] | None = None
    invalid: Reply = field(default_factory=lambda: Reply(status=400, body={"error": "bad request"}))
    troubles: Mapping[str, Trouble] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """One vendor: the host that its address names, an account, and the calls that it answers."""

    connector: str
    host: str
    credentials: Mapping[str, str]
    authorized: Callable[[Received], bool]
    unauthorized: Trouble
    calls: tuple[Call, ...]
    token: str | None = None  #: what its token exchange hands out


def bearer(token: str) -> Callable[[Received], bool]:
    """Want `Authorization: Bearer …`."""
    return with_header("authorization", f"Bearer {token}")


def basic(user: str, password: str) -> Callable[[Received], bool]:
    """Want `Authorization: Basic …` (RFC 7617)."""
    return with_header("authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


def with_header(name: str, value: str) -> Callable[[Received], bool]:
    """Want a header of this value."""
    return lambda received: hmac.compare_digest(received.headers.get(name, "").encode(), value.encode())


def with_parameter(name: str, value: str) -> Callable[[Received], bool]:
    """Want a parameter of the query."""
    return lambda received: received.parameters().get(name) == value


def with_path(part: str) -> Callable[[Received], bool]:
    """Want this text in the path, byte for byte and up to the end of a segment."""
    return lambda received: f"{part.rstrip('/')}/" in f"{received.path}/"
