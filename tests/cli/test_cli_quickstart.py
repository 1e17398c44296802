"""Quickstart and its demo, against a scripted server and against the real one."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from rich.console import Console
from scripted_api import Asked, Reply, ScriptedApi

from posthorn.cli.client import ApiClient
from posthorn.cli.credentials import read_credentials
from posthorn.cli.demo import run_demo, sign_as_github
from posthorn.cli.failures import CommandFailed
from posthorn.cli.quickstart import quickstart
from posthorn.cli.receiver import Receiver
from posthorn.cli.serve import serve
from posthorn.settings import Settings

SOURCE = "/api/v1/source"


@dataclass(frozen=True)
class Opened:
    """What the server says of itself."""

    api_url: str
    inbox_url_base: str = "http://127.0.0.1:1"
    api_key: str | None = None


class OneMomentServer:
    """A server in name: it says that it is ready, waits for the guide and ends."""

    def __init__(self, api_url: str, api_key: str | None = None) -> None:
        self.settings: Settings | None = None
        self._opened = Opened(api_url=api_url, api_key=api_key)

    def __call__(self, settings: Settings, *, on_ready: Callable[[Any], None] | None = None) -> int:
        self.settings = settings
        assert on_ready is not None
        on_ready(self._opened)
        for thread in threading.enumerate():
            if thread.name == "quickstart guide":
                thread.join(30)
        return 0


def started(settings: Settings, server: OneMomentServer, *, demo: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=True)
    assert quickstart(settings, demo=demo, server=server, console=console) == 0
    return stream.getvalue()


def kept_key(data: Path) -> str:
    credentials = read_credentials(data)
    assert credentials is not None
    assert credentials.api_key is not None
    return credentials.api_key


def test_the_first_start_makes_a_key_and_a_source_and_says_how_to_go_on(api: ScriptedApi, tmp_path: Path) -> None:
    inbox = "http://127.0.0.1:8601/in/abcdefghijklmnopqrstuvwxyz"
    api.answers(f"POST {SOURCE}", {"id": "src_1", "url": inbox}, status=201)
    server = OneMomentServer(api.url)
    text = started(Settings(data=tmp_path), server)
    key = kept_key(tmp_path)
    assert server.settings is not None
    assert server.settings.api_key == key
    assert [(asked.method, asked.authorization) for asked in api.asked] == [
        ("GET", f"Bearer {key}"),
        ("POST", f"Bearer {key}"),
    ]
    assert api.asked[1].body["uid"] == "quickstart"
    for piece in (api.url, key, inbox, f"tail --data {tmp_path}", f"show <id> --data {tmp_path}"):
        assert piece in text
    (curl,) = (line for line in text.splitlines() if line.strip().startswith("curl "))
    assert curl.endswith(inbox)


def test_a_later_start_keeps_key_and_source_and_remembers_the_new_address(api: ScriptedApi, tmp_path: Path) -> None:
    api.answers(f"GET {SOURCE}/quickstart", {"id": "src_1", "url": "http://127.0.0.1:1/in/x"})
    texts = [started(Settings(data=tmp_path), OneMomentServer(api.url)) for _ in range(2)]
    assert texts[0] == texts[1]
    assert kept_key(tmp_path) in texts[0]
    credentials = read_credentials(tmp_path)
    assert credentials is not None
    assert credentials.url == api.url
    assert {asked.method for asked in api.asked} == {"GET"}


def test_a_key_that_was_passed_is_used_and_not_kept(api: ScriptedApi, tmp_path: Path) -> None:
    api.answers(f"GET {SOURCE}/quickstart", {"id": "src_1", "url": "http://127.0.0.1:1/in/x"})
    started(Settings(data=tmp_path, api_key="a-key-of-my-own-choice"), OneMomentServer(api.url))
    assert api.asked[0].authorization == "Bearer a-key-of-my-own-choice"
    assert "a-key-of-my-own-choice" not in (tmp_path / "credentials.json").read_text()


def test_a_failing_guide_is_told_and_the_server_goes_on(api: ScriptedApi, tmp_path: Path) -> None:
    api.answers(f"GET {SOURCE}/quickstart", {"detail": "broken"}, status=500)
    assert "Error: The server answered 500: broken" in started(Settings(data=tmp_path), OneMomentServer(api.url))


def test_only_the_demo_opens_loopback_and_says_so(api: ScriptedApi, tmp_path: Path) -> None:
    servers = [OneMomentServer(api.url), OneMomentServer(api.url)]
    quiet = started(Settings(data=tmp_path), servers[0])
    loud = started(Settings(data=tmp_path), servers[1], demo=True)
    targets = [server.settings.allow_targets for server in servers if server.settings is not None]
    assert targets == [(), (ip_network("127.0.0.0/8"),)]
    assert ["127.0.0.0/8" in text for text in (quiet, loud)] == [False, True]


def test_serve_prints_the_key_only_when_the_start_made_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(Settings(), server=OneMomentServer("http://127.0.0.1:5", "phk_fresh")) == 0
    assert "phk_fresh" in capsys.readouterr().out
    serve(Settings(), server=OneMomentServer("http://127.0.0.1:5"))
    assert "key" not in capsys.readouterr().out


def test_the_github_signature_is_the_one_of_its_documentation() -> None:
    signature = sign_as_github("It's a Secret to Everybody", b"Hello, World!")
    assert signature == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_the_receiver_hands_over_what_arrives() -> None:
    receiver = Receiver()
    try:
        connection = HTTPConnection("127.0.0.1", urlsplit(receiver.url).port or 0, timeout=10)
        connection.request("POST", "/chat", body=b"hello", headers={"Webhook-Id": "dlv_1"})
        assert connection.getresponse().status == 204
        connection.close()
        received = receiver.next(10)
        assert (received.path, received.headers["webhook-id"], received.body) == ("/chat", "dlv_1", b"hello")
        with pytest.raises(CommandFailed, match="Nothing arrived"):
            receiver.next(0.01)
    finally:
        receiver.close()


def test_the_demo_stops_when_a_forged_push_is_accepted(api: ScriptedApi) -> None:
    inbox = f"{api.url}/in/demo"
    api.answers(f"PUT {SOURCE}/demo-github", {"id": "src_1", "url": inbox})
    api.answers("PUT /api/v1/automation/demo-push-to-main", {"id": "auto_1"})
    api.answers("POST /in/demo", {"request": "req_1"}, status=202)
    with pytest.raises(CommandFailed, match="forged push was accepted"):
        run_demo(ApiClient(api.url, "k"), Console(file=io.StringIO()))


def test_the_demo_sends_a_forged_and_a_signed_push_and_shows_what_came_of_it(api: ScriptedApi) -> None:
    answers = [(401, b'{"code":"signature_mismatch"}'), (202, b'{"request":"req_7","event":"evt_7"}')]

    def deliver(_asked: Asked) -> Reply:
        if len(answers) == 1:
            automation = next(asked.body for asked in api.asked if "automation" in asked.path)
            target = urlsplit(automation["send"]["url"])
            connection = HTTPConnection(target.hostname or "", target.port, timeout=10)
            connection.request("POST", target.path, body=b'{"text":"octocat pushed"}', headers={"webhook-id": "dlv_7"})
            connection.getresponse().read()
            connection.close()
        return answers.pop(0)

    api.answers(f"PUT {SOURCE}/demo-github", {"id": "src_1", "url": f"{api.url}/in/demo"})
    api.answers("PUT /api/v1/automation/demo-push-to-main", {"id": "auto_1"})
    api.replies["POST /in/demo"] = deliver
    attempt = {"id": "atmpt_7", "deliveryId": "dlv_7", "number": 1, "state": "delivered", "responseStatus": 204}
    thread = {"event": {"id": "evt_7"}, "deliveries": [{"id": "dlv_7"}], "attempts": [attempt]}
    api.answers("GET /api/v1/thread/req_7", thread)
    stream = io.StringIO()
    run_demo(ApiClient(api.url, "k"), Console(file=stream, markup=False, emoji=False, width=200))
    text = stream.getvalue()
    order = ["Posthorn answers 401", "Posthorn answers 202", '{"text":"octocat pushed"}', "atmpt_7"]
    assert sorted(order, key=text.index) == order


def test_the_real_demo_goes_through_the_real_server(tmp_path: Path) -> None:
    program = "from posthorn.cli.main import run; run()"
    flags = ["quickstart", "--demo", "--data", str(tmp_path / "data"), "--port", "0", "--inbox-port", "0"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
    command = [sys.executable, "-c", program, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "Ctrl-C" in line or "Error" in line:
                break
        process.send_signal(signal.SIGTERM)
        rest, complaints = process.communicate(timeout=60)
    text = "".join(printed) + rest
    assert process.returncode == 0, text + complaints
    assert "Error" not in text, text + complaints
    assert "Posthorn answers 401" in text
    assert json.dumps('octocat pushed 1 commit(s) to octo/hello: Say "hello"') in text
    assert re.search(r"attempt +atmpt_\w+ +number 1 +POST http://127\.0\.0\.1:\d+/chat → 204 +delivered", text)
