"""Usage, exit codes, and how failures are told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_api import ScriptedApi

from posthorn import __version__
from posthorn.cli.main import main
from posthorn.settings import SETTINGS
from posthorn.testing.ports import free_port

KEY = "phk_0123456789abcdef"


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
    program = [sys.executable, "-c", "from posthorn.cli.main import run; run()", *arguments]
    return subprocess.run(program, env=clean | environ, capture_output=True, text=True, timeout=60, check=False)


def test_version_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"posthorn {__version__}\n"


def test_without_a_command_the_help_is_shown_as_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().out
    for command in ("serve", "quickstart", "tail", "show", "replay", "version"):
        assert command in shown


def test_an_unknown_command_gets_the_nearest_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = failure(capsys, "sho")
    assert (code, "Did you mean 'show'?" in told) == (2, True)


def test_an_unknown_flag_gets_the_nearest_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = failure(capsys, "serve", "--inbox-prot", "1")
    assert (code, "Did you mean --inbox-port" in told) == (2, True)


def test_a_missing_argument_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = failure(capsys, "show")
    assert (code, "'ID'" in told, "posthorn show --help" in told) == (2, True, True)


def test_a_wrong_argument_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _, told = failure(capsys, "serve", "--port", "\x1b]0;owned\x07")
    assert not {"\x1b", "\x07"} & set(told)


def test_every_setting_is_a_flag_of_serve_and_of_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("serve", "quickstart"):
        assert main([command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert [
            setting.option for setting in SETTINGS if f"  {setting.option} {setting.placeholder}" not in shown
        ] == []


def test_a_wrong_setting_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = failure(capsys, "serve", "--port", "x")
    assert (code, told) == (2, "Error: --port='x': expected a whole number from 0 to 65535\n")


def test_an_unknown_variable_is_wrong_usage() -> None:
    done = run("serve", POSTHORN_PROT="1", POSTHORN_URL="http://127.0.0.1:8600")
    assert done.returncode == 2
    assert done.stderr == "Error: POSTHORN_PROT: there is no such setting; did you mean POSTHORN_PORT?\n"


def test_a_server_that_does_not_run_is_told_with_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for command in (["show", "evt_1"], ["replay", "evt_1"], ["tail"]):
        code, told = failure(capsys, *command, "--url", url, "--api-key", KEY)
        assert code == 1
        assert f"No server answers at {url}. Start one with `" in told


def test_a_refused_key_is_told_with_how_to_pass_one(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers("GET /api/v1/thread/evt_1", {"code": "authentication_failed", "detail": "no"}, status=401)
    code, told = failure(capsys, "show", "evt_1", "--url", api.url, "--api-key", KEY)
    assert (code, "--api-key or POSTHORN_API_KEY" in told) == (1, True)
    assert api.asked[0].authorization == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, b'{"code":"not_found","detail":"no such event"}', "404: no such event"),
        (
            422,
            b'{"detail":[{"loc":["path","id"],"msg":"is wrong","type":"x"},{"loc":[],"msg":"so is this"}]}',
            "422: path.id: is wrong; : so is this",
        ),
        (503, b'{"code":"overloaded","detail":"later"}', "503: later"),
        (500, b"<html>\x1b[31mproxy</html>", "500: <html>\\u001b[31mproxy</html>"),
        (502, b"", "502: Bad Gateway"),
        (200, b"<html>", "is no Posthorn API"),
    ],
)
def test_what_the_server_refuses_is_told_in_one_harmless_line(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], status: int, body: bytes, told: str
) -> None:
    api.replies["GET /api/v1/thread/evt_1"] = (status, body)
    code, shown = failure(capsys, "show", "evt_1", "--url", api.url, "--api-key", KEY)
    assert code == 1
    assert told in shown
    assert shown.count("\n") == 1


def test_an_address_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = failure(capsys, "show", "evt_1", "--url", "localhost:8600", "--api-key", KEY)
    assert (code, "expected http://host:port" in told) == (1, True)


def test_an_id_cannot_leave_its_place_in_the_address(api: ScriptedApi) -> None:
    main(["show", "../source?x", "--url", api.url, "--api-key", KEY])
    assert [asked.path for asked in api.asked] == ["/api/v1/thread/..%2Fsource%3Fx"]


def test_replay_prints_the_deliveries_that_were_queued(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers("POST /api/v1/replay/evt_1", {"deliveries": ["dlv_1", "dlv_2"]}, status=202)
    assert main(["replay", "evt_1", "--url", api.url, "--api-key", KEY]) == 0
    assert capsys.readouterr().out.splitlines() == ["queued again: dlv_1", "queued again: dlv_2"]


def test_the_kept_key_is_used_when_none_is_given(api: ScriptedApi, tmp_path: Path) -> None:
    api.answers("POST /api/v1/replay/evt_1", {"deliveries": []}, status=202)
    (tmp_path / "credentials.json").write_text(f'{{"url": "{api.url}", "apiKey": "{KEY}"}}')
    done = run("replay", "evt_1", "--data", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert api.asked[0].authorization == f"Bearer {KEY}"
