"""Connected content: what a template asks other systems for while it renders, and their answers.

Rendering is pure, so a template never fetches. It raises `ContentWanted` with a request; the caller fetches it
(through the transport that checks addresses) and renders again with the answer.
"""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from posthorn.templating.printing import Masked

DEFAULT_CACHE_SECONDS: Final = 300
MIN_CACHE_SECONDS: Final = 300
MAX_CACHE_SECONDS: Final = 14_400
MAX_CONTENT_BYTES: Final = 1024 * 1024
CONTENT_DEADLINE_SECONDS: Final = 2.0


class ContentKey(NamedTuple):
    """What makes two requests the same one for a cache (of one workspace). Holds what the request holds."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str | None
    basic_auth: str | None
    auth_credentials: str | None

    def __repr__(self) -> str:
        return f"<ContentKey {self.method}>"


class ContentRequest(Struct, frozen=True, kw_only=True):
    """One request of a `connected_content` tag (Braze, "Making an API call"). May hold secrets.

    The caller sends it with `CONTENT_DEADLINE_SECONDS` in all, follows no redirect, reads `MAX_CONTENT_BYTES` at
    most, and refuses targets as for any other request. `headers` is complete but for `authorization`, which the
    caller makes from the credential that `basic_auth` or `auth_credentials` names.
    """

    method: str  #: GET or POST
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    content_type: str = "application/json"
    basic_auth: str | None = None  #: the name of a user and password
    auth_credentials: str | None = None  #: the name of a token
    cache_seconds: int = 0  #: how long an answer may be reused; 0: not at all
    no_cache: bool = False  #: the author asked for a fresh answer
    retry: bool = False  #: without an answer nothing is printed: try again later, and in the end abort the message
    save: str | None = None  #: the variable that gets the answer

    def key(self) -> ContentKey:
        """Return what tells equal requests: the name to save under and the cache's age do not matter."""
        return ContentKey(self.method, self.url, self.headers, self.body, self.basic_auth, self.auth_credentials)

    def __repr__(self) -> str:
        return f"<ContentRequest {self.method}, saved as {self.save}>"


class ContentResponse(Struct, frozen=True, kw_only=True):
    """The answer to a request. Status 0 stands for none: refused, too late, too large, not UTF-8."""

    status: int
    body: str = ""
    is_transient: bool = False  #: it may be another one later: what asks with `:retry` does not go on with it
    mask: str | None = None  #: what stands in the body for texts and numbers that are not shown

    @property
    def succeeded(self) -> bool:
        """Whether the answer counts: Braze prints nothing for any other status than 2xx."""
        return 200 <= self.status < 300

    def __repr__(self) -> str:
        return f"<ContentResponse {self.status}, {len(self.body)} characters>"

    def masked(self, mask: str) -> "ContentResponse":
        """Return the answer with every text and number replaced: a token that was fetched is a secret too."""
        try:
            decoded = json.loads(self.body)
        except (ValueError, RecursionError):
            return ContentResponse(status=self.status, body=mask if self.body else "", mask=mask)
        shown = json.dumps(_masked(decoded, mask), ensure_ascii=False)
        return ContentResponse(status=self.status, body=shown, mask=mask)


FAILED: Final = ContentResponse(status=0)


class ContentAnswers(Protocol):
    """What a rendering asks; the caller passes one as the variable `content`."""

    def answer(self, request: ContentRequest, *, call: int) -> ContentResponse | None:
        """Return the answer to the call-th request of this rendering (from 0), or None when it is not there."""
        ...


class FetchedContent:
    """Answers by request. Remembers which it gave, so that the same rendering can be shown masked."""

    def __init__(self, answers: Mapping[ContentKey, ContentResponse]) -> None:
        self._answers = answers
        self.given: Final[dict[int, tuple[ContentKey, ContentResponse]]] = {}

    def answer(self, request: ContentRequest, *, call: int) -> ContentResponse | None:
        """Return the answer if it was fetched."""
        key = request.key()
        found = self._answers.get(key)
        if found is not None:
            self.given[call] = (key, found)
        return found


class ShownContent:
    """Answers for a rendering that people see, with masked secrets: nothing is fetched for it.

    A request that is the same without its secrets, and that names no credential, has its real answer; any other
    answer is masked whole.
    """

    def __init__(self, real: FetchedContent, *, mask: str) -> None:
        self._real = real
        self._mask = mask

    def answer(self, request: ContentRequest, *, call: int) -> ContentResponse | None:
        """Return the answer that the real rendering got at this call, masked where it may tell a secret."""
        key, response = self._real.given.get(call, (None, FAILED))
        if key == request.key() and not request.basic_auth and not request.auth_credentials:
            return response
        return response.masked(self._mask)


class NoContent:
    """Answers nothing at all, as if every request had failed: for previews that must not call anyone."""

    def answer(self, _request: ContentRequest, *, call: int) -> ContentResponse | None:  # noqa: ARG002 - the port
        """Return a failure."""
        return FAILED


def saved_value(response: ContentResponse) -> object:
    """Return what a variable holds: decoded JSON (an object with its status), else the text; nil on failure."""
    if not response.succeeded:
        return None
    try:
        decoded = json.loads(response.body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return response.body if response.mask is None else Masked(response.body)
    if response.mask is not None:
        decoded = _masked(decoded, Masked(response.mask))
    if isinstance(decoded, dict):
        decoded["__http_status_code__"] = response.status
    return decoded


def is_json(text: str) -> bool:
    """Tell whether a text is one complete JSON value (RFC 8259)."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> object:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _masked(value: object, mask: str) -> object:
    if isinstance(value, dict):
        return {key: _masked(inner, mask) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, mask) for inner in value]
    return value if value is None or isinstance(value, bool) else mask
