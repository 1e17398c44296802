"""Log lines: which are written, what they look like, and what never stands in them."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.telemetry import CATALOGUE, Telemetry, subscribe_logs
from posthorn.telemetry.masking import MASK, mask_facts, mask_text, show_controls

TOKEN = "Zm9vYmFyYmF6cXV4MTIzNDU2"


def logged(level: str, *, json_lines: bool = True) -> tuple[Telemetry, io.StringIO]:
    telemetry, stream = Telemetry(), io.StringIO()
    subscribe_logs(telemetry, level=level, json=json_lines, stream=stream)
    return telemetry, stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _fail_with(secret: str) -> None:
    raise ValueError(f"bad key phk_{TOKEN}, a secret of {len(secret)}") from KeyError("inner")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_names_are_written_from_their_level_up(level: str) -> None:
    telemetry, stream = logged(level)
    for name in CATALOGUE:
        telemetry.emit(name)
    severities = ["debug", "info", "warning", "error"]
    expected = [
        name for name, signal in CATALOGUE.items() if severities.index(signal.level.word) >= severities.index(level)
    ]
    assert [line["event"] for line in lines(stream)] == expected


def test_a_json_line_has_name_level_time_and_facts() -> None:
    telemetry, stream = logged("info")
    telemetry.emit("endpoint.disabled", endpoint="ep_1", reason="gone")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "endpoint.disabled", "level": "warning", "endpoint": "ep_1", "reason": "gone"}


def test_a_console_line_is_one_line_with_name_and_facts() -> None:
    telemetry, stream = logged("info", json_lines=False)
    telemetry.emit("endpoint.disabled", endpoint="ep_1", reason="gone\x1b[2J")
    (line,) = stream.getvalue().splitlines()
    assert "endpoint.disabled" in line
    assert "endpoint=ep_1" in line
    assert "\x1b" not in line


def test_an_exception_is_written_with_its_traceback_and_without_local_variables() -> None:
    telemetry, stream = logged("error")
    try:
        _fail_with("hunter" * 3)
    except ValueError as error:
        telemetry.emit("error.unexpected", where="here", exception=error)
    (line,) = lines(stream)
    assert "KeyError: 'inner'" in line["exception"]
    assert f"bad key phk_{MASK}" in line["exception"]
    assert "in _fail_with" in line["exception"]
    assert "hunterhunter" not in line["exception"]


@pytest.mark.parametrize(
    "key",
    ["api_key", "apiKey", "master_key", "Authorization", "webhook-signature", "set-cookie", "client_secret", "token"],
)
def test_values_of_secret_keys_are_masked_at_any_depth(key: str) -> None:
    masked = mask_facts({key: "very secret", "nested": {"list": [{key: ["a", "b"]}]}, "plain": 1})
    assert masked == {key: MASK, "nested": {"list": [{key: MASK}]}, "plain": 1}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key phk_{TOKEN}.", f"key phk_{MASK}."),
        (f"whsec_{TOKEN}==", f"whsec_{MASK}"),
        (f"authorization: Bearer {TOKEN}", f"authorization: Bearer {MASK}"),
        (f"GET /in/{TOKEN}/more", f"GET /in/{MASK}/more"),
        ("postgres://user:pass@host/db", f"postgres://{MASK}@host/db"),
        ("http://host/db", "http://host/db"),
    ],
)
def test_secrets_that_give_themselves_away_are_cut_out_of_texts(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_a_secret_in_a_fact_never_reaches_the_stream() -> None:
    telemetry, stream = logged("debug")
    telemetry.emit("store.unavailable", cause=f"POST /in/{TOKEN} with whsec_{TOKEN}", secret=TOKEN)
    assert TOKEN not in stream.getvalue()


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    shown = show_controls(text)
    assert all(character in "\n\t" or ord(character) >= 32 for character in shown)
    assert not set(shown) & {"\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b"}
    shown.encode()


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Z"], exclude_characters="\u2028\u2029")))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    assert show_controls(text) == text
