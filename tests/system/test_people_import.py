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

ROWS = 100_000
BAD = 61_803  # with the header it stands in line 61,804
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


def test_one_bad_row_of_100000_is_reported_with_its_line_and_all_others_are_people(
    server: Posthorn, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    with file.open("w", newline="") as target:
        rows = csv.writer(target)
        rows.writerow(("user", "name", "points", "timeZone"))
        for number in range(1, ROWS + 1):
            zone = "Europe/Nowhere" if number == BAD else "Asia/Tokyo"
            rows.writerow((f"u{number:06}", f"Person {number}", number, zone))

    done = run_in_pipes(server, "import", str(file))
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "99999 of 100000 rows imported now, 0 before.")
    assert "Line 61804: " in done.stderr
    assert_no_bar(done.stderr)
    with file.with_name("people.csv.rejected.csv").open(encoding="utf-8-sig", newline="") as report:
        [refused] = csv.DictReader(report)
    assert (refused["line"], refused["row"]) == ("61804", "u061803,Person 61803,61803,Europe/Nowhere")
    assert refused["reason"].startswith("timeZone: ")

    people = everybody(server, tmp_path)
    assert len(people) == ROWS - 1
    assert "u061803" not in people
    assert (people["u100000"]["attributes"], people["u100000"]["timeZone"]) == (
        {"name": "Person 100000", "points": 100_000},
        "Asia/Tokyo",
    )


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


def everybody(server: Posthorn, folder: Path) -> dict[str, dict[str, object]]:
    """Export all people as soon as the last one is there."""
    eventually(lambda: run_in_pipes(server, "show", f"u{ROWS:06}").returncode == 0)
    people: dict[str, dict[str, object]] = {}

    def exported() -> bool:
        file = folder / "everybody.jsonl"
        assert run_in_pipes(server, "export", str(file), "--overwrite").returncode == 0
        people.clear()
        with file.open() as lines:
            people.update((person["user"], person) for person in map(json.loads, lines))
        return len(people) >= ROWS - 1

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
