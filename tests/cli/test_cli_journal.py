"""Drawing threads and following the journal, with hostile content in every field."""

import io
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scripted_api import Asked, Reply, ScriptedApi

from posthorn.cli.client import ApiClient
from posthorn.cli.failures import RequestRefused
from posthorn.cli.main import main
from posthorn.cli.tail import follow, print_row
from posthorn.cli.terminal import ascii_json, one_line
from posthorn.cli.threads import describe_row, draw_thread

HOSTILE = "\x1b[2J\x9b31m[red]:bomb:\u202e\r\nnext\x00"
TIMINGS = {"dnsUs": 1000, "connectUs": 2000, "tlsUs": 0, "waitUs": 3000, "totalUs": 6500}

THREAD: dict[str, Any] = {
    "requests": [
        {
            "id": "req_1",
            "sourceId": "src_1",
            "receivedAt": "2026-01-02T03:04:05.678Z",
            "method": "POST",
            "target": "/in/sssssssssssssssssssssssssss",
            "outcome": "accepted",
            "answerStatus": 202,
        }
    ],
    "event": {
        "id": "evt_1",
        "type": "github.push",
        "receivedAt": "2026-01-02T03:04:05.678Z",
        "userId": "42",
        "payload": {"ref": "refs/heads/main"},
    },
    "decisions": [
        {
            "id": "dec_1",
            "automationId": "auto_1",
            "version": 3,
            "decidedAt": "2026-01-02T03:04:05.690Z",
            "outcome": "fired",
            "reason": "matched",
            "detail": "All conditions hold.",
            "deliveryId": "dlv_1",
        },
        {"id": "dec_2", "automationId": "auto_2", "version": 1, "outcome": "not_matched", "reason": "condition"},
    ],
    "deliveries": [
        {"id": "dlv_1", "endpointId": "auto_1 example.org", "state": "delivered", "nextAttemptAt": None},
        {
            "id": "dlv_2",
            "endpointId": "ep_2",
            "state": "pending",
            "nextAttemptAt": "2026-01-02T03:09:05.000Z",
        },
    ],
    "attempts": [
        {
            "id": "atmpt_1",
            "deliveryId": "dlv_1",
            "number": 1,
            "state": "delivered",
            "startedAt": "2026-01-02T03:04:05.700Z",
            "method": "POST",
            "url": "https://example.org/hook",
            "responseStatus": 204,
            "responseBody": "quiet",
            "timings": TIMINGS,
        },
        {
            "id": "atmpt_2",
            "deliveryId": "dlv_2",
            "number": 1,
            "state": "pending",
            "startedAt": "2026-01-02T03:04:05.700Z",
            "method": "POST",
            "url": "https://other.example/hook",
            "responseStatus": 503,
            "responseBody": "come back later",
            "timings": TIMINGS,
        },
        {
            "id": "atmpt_3",
            "deliveryId": "dlv_2",
            "number": 2,
            "responseStatus": None,
            "error": "timeout",
            "detail": "15 s",
        },
    ],
}


def drawn(thread: dict[str, Any]) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=4000, markup=False, emoji=False, highlight=False)
    console.print(draw_thread(thread))
    return stream.getvalue()


def described(row: dict[str, Any]) -> str:
    return describe_row(row).plain


def hostile(value: Any) -> Any:
    if isinstance(value, dict):
        # States decide what is drawn, so they stay.
        return {key: item if key == "state" else hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def depth_of(text: str, identifier: str) -> int:
    (line,) = (line for line in text.splitlines() if identifier in line)
    return len(line) - len(line.lstrip(" │├└─"))


def test_a_thread_is_drawn_from_the_request_to_the_attempts() -> None:
    text = drawn(THREAD)
    order = ["req_1", "evt_1", "dec_1", "dlv_1", "atmpt_1", "dec_2", "dlv_2", "atmpt_2", "atmpt_3"]
    assert sorted(order, key=text.index) == order
    depths = {identifier: depth_of(text, identifier) for identifier in order}
    assert depths["req_1"] < depths["evt_1"] < depths["dec_1"] < depths["dlv_1"] < depths["atmpt_1"]
    assert depths["dec_2"] == depths["dlv_2"] == depths["dec_1"]


@pytest.mark.parametrize(
    "piece",
    [
        "03:04:05.678 request  req_1  POST → 202  accepted",
        "github.push  user 42",
        'data {"ref": "refs/heads/main"}',
        "fired  auto_1 version 3  matched: All conditions hold.",
        "delivered  → auto_1 example.org",
        "pending  → ep_2  next attempt 2026-01-02T03:09:05.000Z",
        "POST https://example.org/hook → 204  delivered  dns 1.0, connect 2.0, tls 0.0, wait 3.0, total 6.5 ms",
        "answer come back later",
        "no answer",
        "timeout: 15 s",
    ],
)
def test_a_thread_shows(piece: str) -> None:
    assert piece in drawn(THREAD)


def test_what_a_receiver_answered_is_shown_only_when_it_failed() -> None:
    assert "quiet" not in drawn(THREAD)


def test_a_rejected_request_without_event_is_drawn_with_its_cause() -> None:
    request = THREAD["requests"][0] | {"outcome": "rejected", "cause": "signature_mismatch", "detail": "It differs."}
    text = drawn({"requests": [request], "event": None, "decisions": [], "deliveries": [], "attempts": []})
    assert "rejected  signature_mismatch: It differs." in text


def test_hostile_content_is_shown_and_never_obeyed() -> None:
    text = drawn(hostile(THREAD))
    assert not set(text) & {"\x1b", "\x9b", "\x00", "\r", "\u202e"}
    assert "[red]:bomb:" in text
    assert len(text.splitlines()) == len(drawn(THREAD).splitlines())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda each: st.lists(each, max_size=3)
    )
)
def test_any_shape_of_fields_can_be_drawn(value: Any) -> None:
    def bent(row: dict[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(row, value)

    drawn({"requests": [bent(THREAD["requests"][0])], "event": bent(THREAD["event"]), "attempts": value})
    for kind in ("request", "event", "decision", "delivery", "attempt", "surprise"):
        assert "\n" not in described({"kind": kind, **bent(THREAD["attempts"][0]), "timings": value})


def test_show_prints_the_tree(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers("GET /api/v1/thread/req_1", THREAD)
    assert main(["show", "req_1", "--url", api.url, "--api-key", "k"]) == 0
    assert "atmpt_3" in capsys.readouterr().out


def test_show_as_json_prints_the_answer_in_harmless_ascii(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers("GET /api/v1/thread/req_1", hostile(THREAD))
    assert main(["show", "req_1", "--json", "--url", api.url, "--api-key", "k"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == hostile(THREAD)
    assert all(character == "\n" or " " <= character <= "~" for character in printed)


def tail_world(api: ScriptedApi, *pages: bytes) -> None:
    remaining = list(pages)

    def reply(_asked: Asked) -> Reply:
        return (200, remaining.pop(0)) if remaining else (404, b'{"detail":"no more pages"}')

    for path in ("/api/v1/tail", "/api/v1/tail?after=7", "/api/v1/tail?after=8"):
        api.replies[f"GET {path}"] = reply


def row(identifier: str, cursor: int) -> bytes:
    return json.dumps({"kind": "event", "cursor": cursor, "id": identifier, "type": "a.b"}).encode() + b"\n"


def mark(cursor: int) -> bytes:
    return json.dumps({"kind": "cursor", "cursor": cursor}).encode() + b"\n"


def test_following_takes_a_lost_stream_up_after_its_last_row_and_repeats_nothing(api: ScriptedApi) -> None:
    tail_world(
        api, mark(5) + row("evt_1", 7) + mark(7), mark(7), row("evt_1", 7) + row("evt_2", 8), mark(8) + row("evt_3", 8)
    )
    notices = io.StringIO()
    lines = follow(ApiClient(api.url, "k"), Console(file=notices))
    assert [json.loads(next(lines))["id"] for _ in range(3)] == ["evt_1", "evt_2", "evt_3"]
    with pytest.raises(RequestRefused):
        next(lines)
    assert [asked.path.partition("?")[2] for asked in api.asked] == ["", "after=7", "after=7", "after=8", "after=8"]
    assert "Trying again" in notices.getvalue()


def test_a_stream_that_is_lost_before_its_first_row_is_taken_up_where_it_began(api: ScriptedApi) -> None:
    tail_world(api, mark(7), row("evt_1", 8))
    lines = follow(ApiClient(api.url, "k"), Console(file=io.StringIO()))
    assert json.loads(next(lines))["id"] == "evt_1"
    assert [asked.path.partition("?")[2] for asked in api.asked] == ["", "after=7"]


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_where_the_stream_stands_is_never_printed(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    tail_world(api, mark(6) + row("evt_1", 7) + mark(7))
    # The first page is followed by a refusal, which ends the command.
    assert main(["tail", *flags, "--url", api.url, "--api-key", "k"]) != 0
    (printed,) = capsys.readouterr().out.splitlines()
    assert "evt_1" in printed


def test_a_refusal_at_the_first_connection_is_raised(api: ScriptedApi) -> None:
    api.answers("GET /api/v1/tail", {"detail": "no"}, status=401)
    with pytest.raises(RequestRefused):
        next(follow(ApiClient(api.url, "k"), Console(file=io.StringIO())))


def test_rows_are_printed_as_lines_and_as_ascii_json(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(markup=False, emoji=False, soft_wrap=True)
    line = json.dumps({"kind": "event", "cursor": 1, "id": "evt_1", "type": f"a.b{HOSTILE}"}, ensure_ascii=False)
    print_row(line, console, as_json=False)
    print_row(line, console, as_json=True)
    print_row("no json\x1b", console, as_json=False)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("event    evt_1  a.b")
    assert json.loads(second) == json.loads(line)
    assert third == "no json\\u001b"


def test_ctrl_c_is_how_a_tail_ends(api: ScriptedApi) -> None:
    tail_world(api, row("evt_1", 7))
    program = "from posthorn.cli.main import run; run()"
    command = [sys.executable, "-c", program, "tail", "--url", api.url, "--api-key", "k"]
    # A page is followed by reconnections, which are refused by the script only after the signal has come.
    api.replies["GET /api/v1/tail?after=7"] = (503, b"{}")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        assert b"evt_1" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@given(st.text())
def test_one_line_is_one_harmless_line(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable() or not any(ord(each) < 32 for each in shown)


@given(st.recursive(st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=5))
def test_ascii_json_means_the_same(value: Any) -> None:
    line = json.dumps(value, ensure_ascii=False)
    assert json.loads(ascii_json(line)) == value
    assert ascii_json(line).isascii()
