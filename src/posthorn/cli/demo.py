"""The demo of `posthorn quickstart --demo`: one signed GitHub push, from the inbox to a receiver, step by step."""

import hashlib
import hmac
import json
import secrets
import time
from typing import Any
from urllib.parse import quote, urlsplit

from rich.console import Console

from posthorn.cli.client import Answer, ApiClient, send
from posthorn.cli.failures import CommandFailed
from posthorn.cli.receiver import Receiver
from posthorn.cli.terminal import one_line
from posthorn.cli.texts import _
from posthorn.cli.threads import draw_thread

SOURCE_UID = "demo-github"
AUTOMATION_UID = "demo-push-to-main"

_ARRIVAL_SECONDS = 30.0
_SETTLED_SECONDS = 10.0
_POLL_SECONDS = 0.1
_BODY = (
    '{"text": "{{ event.data.pusher.name }} pushed {{ event.data.commits | size }} commit(s) '
    'to {{ event.data.repository.full_name }}: {{ event.data.head_commit.message }}"}'
)
_PUSH = {
    "ref": "refs/heads/main",
    "repository": {"full_name": "octo/hello"},
    "pusher": {"name": "octocat"},
    "commits": [{"id": "1f2e3d", "message": "Say hello"}],
    "head_commit": {"id": "1f2e3d", "message": 'Say "hello"'},
}


def run_demo(client: ApiClient, console: Console) -> None:
    """Walk the demo. Raises CommandFailed at the first step that does not do what it should."""
    receiver = Receiver()
    try:
        _Walk(client, console, receiver).run()
    finally:
        receiver.close()


class _Walk:
    """The steps, each printed before it is done."""

    def __init__(self, client: ApiClient, console: Console, receiver: Receiver) -> None:
        self._client = client
        self._console = console
        self._receiver = receiver
        self._secret = secrets.token_urlsafe(24)
        self._steps = 0

    def run(self) -> None:
        self._step(_("A receiver listens at {url}; it accepts every POST.").format(url=self._receiver.url))
        inbox_url = self._make_source()
        self._make_automation()
        self._send_forged(inbox_url)
        request = self._send_signed(inbox_url)
        self._wait_for_arrival()
        self._step(_("The whole thread, as `posthorn show {id}` draws it:").format(id=one_line(request)))
        self._console.print(draw_thread(self._settled_thread(request)), soft_wrap=False)

    def _step(self, sentence: str) -> None:
        self._steps += 1
        self._console.print(f"{self._steps}. {sentence}", style="bold")

    def _make_source(self) -> str:
        self._step(_("A source for GitHub, with a secret that only GitHub and Posthorn know."))
        body = {
            "name": "Demo: GitHub",
            "verification": {"type": "github"},
            "secrets": [self._secret],
            "eventType": "github.{{ request.headers['x-github-event'] }}",
        }
        source = self._client.call("PUT", f"/api/v1/source/{SOURCE_UID}", body)
        return str(source["url"])

    def _make_automation(self) -> None:
        self._step(_("An automation: on github.push, if ref is refs/heads/main, post a chat message."))
        body = {
            "name": "Demo: push to main",
            "trigger": {"eventType": "github.push"},
            "conditions": {"field": "event.data.ref", "operator": "eq", "value": "refs/heads/main"},
            "eligibility": {"type": "always"},
            "send": {
                "url": f"{self._receiver.url}/chat",
                "method": "POST",
                "headers": {"content-type": "application/json"},
                "body": _BODY,
            },
        }
        self._client.call("PUT", f"/api/v1/automation/{AUTOMATION_UID}", body)

    def _send_forged(self, inbox_url: str) -> None:
        self._step(_("A push with a forged signature comes in."))
        answer = self._push(inbox_url, secret="not the secret")  # noqa: S106 - wrong on purpose
        self._say(_("Posthorn answers {status}: {body}"), answer)
        if 200 <= answer.status < 300:
            raise CommandFailed(_("The forged push was accepted; that must not happen."))

    def _send_signed(self, inbox_url: str) -> str:
        self._step(_("The same push comes in, signed by GitHub's scheme (HMAC-SHA256 of the body)."))
        answer = self._push(inbox_url, secret=self._secret)
        self._say(_("Posthorn answers {status}: {body}"), answer)
        if not 200 <= answer.status < 300:
            raise CommandFailed(_("The signed push was refused; that must not happen."))
        return str(json.loads(answer.body)["request"])

    def _push(self, inbox_url: str, *, secret: str) -> Answer:
        body = json.dumps(_PUSH).encode()
        headers = {
            "content-type": "application/json",
            "user-agent": "GitHub-Hookshot/demo",
            "x-github-delivery": secrets.token_hex(16),
            "x-github-event": "push",
            "x-hub-signature-256": sign_as_github(secret, body),
        }
        parts = urlsplit(inbox_url)
        return send(f"{parts.scheme}://{parts.netloc}", "POST", parts.path, headers=headers, body=body)

    def _say(self, sentence: str, answer: Answer) -> None:
        body = one_line(answer.body.decode("utf-8", "replace"))
        self._console.print("   " + sentence.format(status=answer.status, body=body))

    def _wait_for_arrival(self) -> None:
        self._step(_("The receiver gets the automation's request:"))
        received = self._receiver.next(_ARRIVAL_SECONDS)
        self._console.print(f"   POST {one_line(received.path)}")
        for name in ("content-type", "webhook-id", "webhook-timestamp", "webhook-signature"):
            if name in received.headers:
                self._console.print(f"   {name}: {one_line(received.headers[name])}")
        self._console.print(f"   {one_line(received.body.decode('utf-8', 'replace'))}")

    def _settled_thread(self, request: str) -> Any:
        """Return the thread once its attempt is in the journal, which follows the receiver's answer."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        path = f"/api/v1/thread/{quote(request, safe='')}"
        while True:
            thread = self._client.get(path)
            if thread.get("attempts") or time.monotonic() > deadline:
                return thread
            time.sleep(_POLL_SECONDS)


def sign_as_github(secret: str, body: bytes) -> str:
    """Sign as docs.github.com, "Validating webhook deliveries", says: `sha256=` and the hex HMAC of the body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
