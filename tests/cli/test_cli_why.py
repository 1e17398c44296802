"""`posthorn why`: the sentence and what it speaks of, one automation or all, and nothing that is obeyed."""

import io
import json
from typing import Any

import pytest
from rich.console import Console
from scripted_api import ScriptedApi

from posthorn.cli.main import main
from posthorn.cli.why import draw_why

FIRED: dict[str, Any] = {
    "eventId": "evt_1",
    "automationId": "auto_1",
    "automationName": "Thank",
    "fired": True,
    "outcome": "fired",
    "reason": "matched",
    "detail": "every condition matched; the request to chat.test failed 3 times, the last time answered 500",
    "data": None,
    "decisions": [{"id": "dec_1", "automationId": "auto_1", "version": 2, "outcome": "fired", "reason": "matched"}],
    "runs": [{"id": "run_1", "state": "active", "wakesAt": "2026-01-02T03:04:05.678Z"}],
    "deliveries": [
        {
            "id": "dlv_1",
            "endpointId": "auto_1/chat.test",
            "state": "pending",
            "nextAttemptAt": "2026-01-02T03:09:05.000Z",
        }
    ],
}
PAUSED = FIRED | {"automationId": "auto_2", "fired": False, "reason": "paused", "detail": "it was paused"}
FORGOTTEN = FIRED | {"automationId": "auto_3", "fired": None, "reason": "not_known", "detail": "nobody knows"}
FLAGS = ["--api-key", "k"]


def drawn(answer: dict[str, Any]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=4000, markup=False, emoji=False, highlight=False).print(draw_why(answer))
    return stream.getvalue()


def test_the_sentence_stands_above_what_it_speaks_of(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers("GET /api/v1/event/evt_1/why?automation=a%26b", FIRED)
    assert main(["why", "evt_1", "a&b", "--url", api.url, *FLAGS]) == 0
    head, sentence, decision, run, delivery = capsys.readouterr().out.splitlines()
    assert head == "fired  auto_1 Thank  matched"
    assert sentence.endswith("the last time answered 500")
    assert "decision dec_1  fired  auto_1 version 2" in decision
    assert "run      run_1  active  until 2026-01-02T03:04:05.678Z" in run
    assert "next attempt 2026-01-02T03:09:05.000Z" in delivery


def test_without_an_automation_every_page_is_printed(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers("GET /api/v1/event/evt_1/why", {"data": [FIRED, PAUSED], "iterator": "auto_2", "done": False})
    api.answers(
        "GET /api/v1/event/evt_1/why?iterator=auto_2", {"data": [FORGOTTEN], "iterator": "auto_3", "done": True}
    )
    assert main(["why", "evt_1", "--url", api.url, *FLAGS]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line[0].isalpha()]
    assert heads == [
        "fired  auto_1 Thank  matched",
        "did not fire  auto_2 Thank  paused",
        "not known  auto_3 Thank  not_known",
    ]


def test_as_json_prints_a_line_for_each_answer(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers("GET /api/v1/event/evt_1/why", {"data": [FIRED, PAUSED], "iterator": "auto_2", "done": True})
    assert main(["why", "evt_1", "--json", "--url", api.url, *FLAGS]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [FIRED, PAUSED]


def test_an_unknown_event_is_refused_with_the_servers_words(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", "evt_2", "a", "--url", api.url, *FLAGS]) == 1
    assert "no such thing" in capsys.readouterr().err


def test_hostile_content_is_shown_and_never_obeyed() -> None:
    hostile = "\x1b[2J\x9b31m[red]:bomb:\u202e\r\nnext\x00"
    text = drawn(dict.fromkeys(FIRED, hostile) | {"runs": [{"id": hostile, "wakesAt": hostile}], "deliveries": [7]})
    assert not set(text) & {"\x1b", "\x9b", "\x00", "\r", "\u202e"}
    assert "[red]:bomb:" in text
    assert len(text.splitlines()) == 3
