"""The command line's HTTP client, on the standard library: one request at a time, JSON in, JSON out."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from posthorn.cli.failures import RequestRefused, ServerUnreachable
from posthorn.cli.terminal import command_name, one_line
from posthorn.cli.texts import _

_TIMEOUT_SECONDS = 30.0
# The server sends a line every 15 s, so three missing ones mean that the connection is dead.
_SILENCE_SECONDS = 45.0
_LONGEST_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes


class ApiClient:
    """Talks to the private door. Its errors are one sentence that says what to do."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self.url = url
        self._api_key = api_key

    def get(self, path: str) -> Any:
        """Return the decoded answer. Raises ServerUnreachable and RequestRefused, like the methods below."""
        return self.call("GET", path)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send JSON, return the decoded answer."""
        return self.call("POST", path, body)

    def delete(self, path: str) -> Any:
        """Delete; what is not there is refused with status 404."""
        return self.call("DELETE", path)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Make one call and return the decoded answer, None when it is empty."""
        headers = self._headers()
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(body).encode()
        answer = send(self.url, method, path, headers=headers, body=content)
        if not 200 <= answer.status < 300:
            raise _refused(answer, self.url)
        return _decoded(answer, self.url)

    def exchange(self, method: str, path: str, content: bytes) -> Answer:
        """Send bytes of JSON and return the answer, whatever its status. Raises ServerUnreachable."""
        headers = self._headers() | {"content-type": "application/json"}
        return send(self.url, method, path, headers=headers, body=content)

    def refusal(self, answer: Answer) -> RequestRefused:
        """Make the error that tells of an answer which is none of success."""
        return _refused(answer, self.url)

    def lines(self, path: str) -> Iterator[str]:
        """Open a stream at once; the result yields its lines as they arrive, empty ones left out, until it ends.

        Raises ServerUnreachable and RequestRefused here, and ServerUnreachable when the connection breaks later.
        """
        connection, base = _connect(self.url, _SILENCE_SECONDS)
        try:
            connection.request("GET", base + path, headers=self._headers())
            response = connection.getresponse()
            refusal = response.read() if response.status != 200 else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise _unreachable(self.url, error) from error
        if refusal is not None:
            connection.close()
            raise _refused(Answer(status=response.status, body=refusal), self.url)
        return _read_lines(connection, response, self.url)

    def _headers(self) -> dict[str, str]:
        headers = {"accept": "application/json"}
        if self._api_key is not None:
            headers["authorization"] = f"Bearer {self._api_key}"
        return headers


def send(url: str, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
    """Make one HTTP request below a base URL and return the answer. Raises ServerUnreachable."""
    connection, base = _connect(url, _TIMEOUT_SECONDS)
    try:
        connection.request(method, base + path, body=body, headers=dict(headers))
        response = connection.getresponse()
        return Answer(status=response.status, body=response.read(_LONGEST_ANSWER_BYTES))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from error
    finally:
        connection.close()


def _read_lines(connection: http.client.HTTPConnection, response: http.client.HTTPResponse, url: str) -> Iterator[str]:
    try:
        while line := response.readline():
            text = line.decode("utf-8", "replace").strip()
            if text:
                yield text
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from error
    finally:
        connection.close()


def _connect(url: str, timeout_seconds: float) -> tuple[http.client.HTTPConnection, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ServerUnreachable(
            _("{url} is no address of a server; expected http://host:port.").format(url=one_line(url))
        )
    return _connection(parts, timeout_seconds), parts.path.rstrip("/")


def _connection(parts: SplitResult, timeout_seconds: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_seconds)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout_seconds, context=context)


def _unreachable(url: str, error: Exception) -> ServerUnreachable:
    if isinstance(error, ConnectionRefusedError):
        text = _("No server answers at {url}. Start one with `{command} serve`, or name another with --url.")
        return ServerUnreachable(text.format(url=one_line(url), command=command_name()))
    reason = one_line(str(error) or type(error).__name__)
    return ServerUnreachable(_("The call to {url} failed: {reason}.").format(url=one_line(url), reason=reason))


def _refused(answer: Answer, url: str) -> RequestRefused:
    if answer.status == 401:
        text = _(
            "{url} does not accept this API key. Pass one with --api-key or POSTHORN_API_KEY; "
            "`{command} quickstart` keeps its own in credentials.json of the directory named by --data."
        )
        return RequestRefused(text.format(url=one_line(url), command=command_name()), status=401)
    text = _("The server answered {status}: {detail}")
    return RequestRefused(text.format(status=answer.status, detail=_detail(answer)), status=answer.status)


def _detail(answer: Answer) -> str:
    """Return what an error answer says, in one line. Its shape is `{code, detail}`; foreign servers send anything."""
    try:
        error = json.loads(answer.body)
    except ValueError:
        return one_line(answer.body.decode("utf-8", "replace")) or http.client.responses.get(answer.status, "")
    detail = error.get("detail") if isinstance(error, dict) else error
    if isinstance(detail, list):
        return "; ".join(_problem(problem) for problem in detail)
    return one_line(detail or http.client.responses.get(answer.status, ""))


def _problem(problem: Any) -> str:
    if not isinstance(problem, dict):
        return one_line(problem)
    place = ".".join(map(str, problem.get("loc") or ()))
    return one_line(f"{place}: {problem.get('msg')}")


def _decoded(answer: Answer, url: str) -> Any:
    if not answer.body:
        return None
    try:
        return json.loads(answer.body)
    except ValueError as error:
        text = _("What answers at {url} is no Posthorn API: its answer is not JSON.")
        raise RequestRefused(text.format(url=one_line(url)), status=answer.status) from error
