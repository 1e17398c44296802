"""A hundred thousand people from a file into a real server, on either store; one row of them cannot be imported."""

import csv
import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from posthorn_process import API_KEY, LOOPBACK, Launch, Posthorn

from posthorn.testing.postgres import PostgresServer

ROWS = {"sqlite": 100_000, "postgres": 20_000}  # fewer where another server is in between: it takes its time
_PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 0.2
_COMMAND = str(Path(sys.executable).with_name("posthorn"))


@pytest.fixture
def dsn(postgres18: PostgresServer) -> Iterator[str]:
    yield postgres18.create_database("importing")
    postgres18.drop_database("importing")


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, launch: Launch) -> Posthorn:
    """Serve over one store after the other."""
    flags = ("--database", request.getfixturevalue("dsn")) if request.param == "postgres" else ()
    made = launch(flags=(*LOOPBACK, *flags))
    made.start()
    return made


def test_one_bad_row_of_very_many_is_reported_with_its_line_and_all_others_are_people(
    server: Posthorn, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    most = ROWS[request.node.callspec.params["server"]]
    bad = most * 6 // 10
    file = tmp_path / "people.csv"
    with file.open("w", newline="") as target:
        rows = csv.writer(target)
        rows.writerow(("user", "name", "points", "timeZone"))
        for number in range(1, most + 1):
            zone = "Europe/Nowhere" if number == bad else "Asia/Tokyo"
            rows.writerow((f"u{number:06}", f"Person {number}", number, zone))

    done = run_in_pipes(server, "import", str(file))
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, f"{most - 1} of {most} rows imported now, 0 before.")
    assert f"Line {bad + 1}: " in done.stderr  # with the header
    assert_no_bar(done.stderr)
    with file.with_name("people.csv.rejected.csv").open(encoding="utf-8-sig", newline="") as report:
        [refused] = csv.DictReader(report)
    row = f"u{bad:06},Person {bad},{bad},Europe/Nowhere"
    assert (refused["line"], refused["row"]) == (str(bad + 1), row)
    assert refused["reason"].startswith("timeZone: ")

    people = everybody(server, tmp_path, most)
    assert len(people) == most - 1
    assert f"u{bad:06}" not in people
    last = people[f"u{most:06}"]
    assert (last["attributes"], last["timeZone"]) == ({"name": f"Person {most}", "points": most}, "Asia/Tokyo")


def test_a_bar_is_drawn_on_a_terminal_and_not_in_a_pipe(launch: Launch, tmp_path: Path) -> None:
    server = launch()
    server.start()
    file = tmp_path / "people.csv"
    file.write_text("user,n\n" + "".join(f"u{number},{number}\n" for number in range(2500)))
    drawn = run_on_a_terminal(server, "import", str(file))
    assert "Importing" in drawn
    assert "━" in drawn
    assert "100%" in drawn
    assert "2500 rows" in drawn
    assert_no_bar(run_in_pipes(server, "import", str(file)).stderr)


def everybody(server: Posthorn, folder: Path, most: int) -> dict[str, dict[str, object]]:
    """Export all people as soon as the last one is there."""
    eventually(lambda: run_in_pipes(server, "show", f"u{most:06}").returncode == 0)
    people: dict[str, dict[str, object]] = {}

    def exported() -> bool:
        file = folder / "everybody.jsonl"
        assert run_in_pipes(server, "export", str(file), "--overwrite").returncode == 0
        people.clear()
        with file.open() as lines:
            people.update((person["user"], person) for person in map(json.loads, lines))
        return len(people) >= most - 1

    eventually(exported)
    return people


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(_LOOK_SECONDS)


def run_in_pipes(server: Posthorn, *command: str) -> subprocess.CompletedProcess[str]:
    arguments, environ = call_of(server, *command)
    return subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False)


def run_on_a_terminal(server: Posthorn, *command: str) -> str:
    """Return what a command draws on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    arguments, environ = call_of(server, *command)
    drawn: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(ours, drawn))
    reader.start()
    terminal = environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(arguments, env=terminal, stdout=subprocess.DEVNULL, stderr=theirs, check=False)
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert done.returncode == 0
    return b"".join(drawn).decode()


def _read_all(terminal: int, into: list[bytes]) -> None:
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # nobody has the other side any more
            return
        if not piece:
            return
        into.append(piece)


def call_of(server: Posthorn, *command: str) -> tuple[list[str], dict[str, str]]:
    where = ("--url", f"http://127.0.0.1:{server.port}")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
    return [_COMMAND, "profiles", *command, *where], ours | {"POSTHORN_API_KEY": API_KEY, "LANG": "C.UTF-8"}


def assert_no_bar(text: str) -> None:
    assert "━" not in text
    assert "\x1b" not in text
    assert "\r" not in text
