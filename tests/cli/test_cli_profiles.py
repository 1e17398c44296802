"""`posthorn profiles` against a scripted API."""

import codecs
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted_api import Asked, Reply, ScriptedApi

from posthorn.cli.client import ApiClient
from posthorn.cli.main import main
from posthorn.cli.people_import import Importer, Report, Source

KEY = "phk_0123456789abcdef"


class Intake:
    """Takes events as the server does: each id once, and no user named `refused`."""

    def __init__(self, api: ScriptedApi) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.sizes: list[int] = []
        self.busy = 0
        self.breaks_after: int | None = None
        api.replies["POST /api/v1/event"] = self.take

    def take(self, asked: Asked) -> Reply:
        if self.busy:
            self.busy -= 1
            return 503, b'{"code":"overloaded","detail":"later"}'
        if self.breaks_after is not None and len(self.sizes) >= self.breaks_after:
            return 500, b'{"code":"server_error","detail":"broken"}'
        bad = [index for index, event in enumerate(asked.body) if event["user"] == "refused"]
        if bad:
            detail = [{"loc": ["body", index, "profile", "set"], "msg": "is wrong", "type": "x"} for index in bad]
            return 422, json.dumps({"detail": detail}).encode()
        self.sizes.append(len(asked.body))
        return 202, json.dumps({"data": [self._row(event) for event in asked.body]}).encode()

    def _row(self, event: dict[str, Any]) -> dict[str, Any]:
        known = self.events.setdefault(event["id"], event)
        if known is event:
            return {"id": "evt_1", "uid": event["id"], "status": "accepted"}
        if known == event:
            return {"id": "evt_1", "uid": event["id"], "status": "duplicate"}
        return {"id": "evt_1", "uid": event["id"], "status": "conflict", "detail": "other content"}

    def sets(self) -> dict[str, Any]:
        return {event["user"]: event["profile"].get("set") for event in self.events.values()}


@pytest.fixture
def intake(api: ScriptedApi) -> Intake:
    return Intake(api)


def run(api: ScriptedApi, *arguments: str) -> int:
    return main(["profiles", *arguments, "--url", api.url, "--api-key", KEY])


def rejected(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def test_one_bad_row_of_100000_is_reported_and_the_others_are_imported(
    api: ScriptedApi, intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "people.csv"
    lines = [f"u{number},{number}\n" for number in range(100_000)]
    lines[77_776] = 'u77776,"7\n7",too many\n'
    file.write_text("user,n\n" + "".join(lines))
    assert run(api, "import", str(file)) == 1
    assert len(intake.events) == 99_999
    assert intake.sizes == [1000] * 99 + [999]
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "99999 of 100000 rows imported now, 0 before.",
        f"Refused: 1, see {file}.rejected.csv.",
    ]
    assert "Line 77778: 3 cells where the header has 2" in shown.err
    assert rejected(tmp_path / "people.csv.rejected.csv") == [
        ["line", "reason", "row"],
        ["77778", "3 cells where the header has 2", 'u77776,"7\n7",too many'],
    ]
    [event] = [event for event in intake.events.values() if event["user"] == "u99999"]
    assert (event["type"], event["data"]["line"], event["profile"]) == (
        "profile.imported",
        100_002,
        {"set": {"n": 99_999}},
    )


def test_the_same_command_goes_on_where_it_was_broken_off(
    api: ScriptedApi, intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("user,n\n" + "".join(f"u{number},1\n" for number in range(2_500)))
    intake.breaks_after = 1
    assert run(api, "import", str(file)) == 1
    told = capsys.readouterr().err
    assert "broken Rows before that are imported; the same command goes on" in told
    assert len(intake.events) == 1000
    intake.breaks_after = None
    assert run(api, "import", str(file)) == 0
    assert capsys.readouterr().out == "1500 of 2500 rows imported now, 1000 before.\n"
    assert len(intake.events) == 2_500
    assert run(api, "import", str(file), "--again") == 0
    assert len(intake.events) == 5_000


def test_rows_that_only_the_server_refuses_are_put_aside(api: ScriptedApi, intake: Intake, tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text('{"user": "a"}\n{"user": "refused"}\n{"user": "c"}\n')
    assert run(api, "import", str(file), "--report", str(tmp_path / "report.csv")) == 1
    assert sorted(intake.sets()) == ["a", "c"]
    assert rejected(tmp_path / "report.csv")[1] == ["2", "profile.set: is wrong", '{"user": "refused"}']


def test_a_server_with_too_much_to_do_is_asked_again_a_little_later(
    api: ScriptedApi, intake: Intake, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("user\n1\n")
    intake.busy = 3
    pauses: list[float] = []
    report = Report(tmp_path / "report.csv", lambda _: None)
    importer = Importer(ApiClient(api.url, KEY), report, lambda *_: None, pause=pauses.append)
    outcome = importer.run(Source(path=file, is_jsonl=False))
    assert (outcome.accepted, pauses) == (1, [1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("encoding", "start", "flags"),
    [
        ("utf-8", b"", []),
        ("utf-8", codecs.BOM_UTF8, []),
        ("utf-16", b"", []),
        ("utf-16-be", codecs.BOM_UTF16_BE, []),
        ("gb18030", b"", ["--encoding", "gb18030"]),
    ],
)
def test_users_of_any_script_come_from_spreadsheets(
    api: ScriptedApi, intake: Intake, tmp_path: Path, encoding: str, start: bytes, flags: list[str]
) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(start + "user;имя\r\nИван;王小明\r\n王;Ю, Ё\r\n".encode(encoding))
    assert run(api, "import", str(file), *flags) == 0
    assert intake.sets() == {"Иван": {"имя": "王小明"}, "王": {"имя": "Ю, Ё"}}


def test_a_row_that_is_not_in_the_encoding_is_refused_alone(api: ScriptedApi, intake: Intake, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes("user,name\n1,Анна\n".encode() + "2,Анна\n".encode("cp1251") + "3,Анна\n".encode())
    assert run(api, "import", str(file)) == 1
    assert sorted(intake.sets()) == ["1", "3"]
    assert rejected(tmp_path / "people.csv.rejected.csv")[1][0] == "3"


def test_a_dry_run_checks_all_and_sends_nothing(
    api: ScriptedApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("id,timeZone\n1,Europe/Berlin\n2,Nowhere\n")
    assert main(["profiles", "import", str(file), "--user-column", "id", "--dry-run"]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "1 of 2 rows can be imported; nothing was sent."
    assert "Line 3: timeZone: must be an IANA time zone" in shown.err
    assert api.asked == []


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["{file}", "--types", "n=float"], "'float' is no type", 2),
        (["{file}", "--types", "m=text"], "m, which are no columns", 1),
        (["{file}", "--delimiter", "ab"], "one character", 2),
        (["{file}", "--encoding", "klingon"], "no encoding 'klingon'", 1),
        (["{file}", "--user-column", "id"], "no column 'id'", 1),
        (["{file}.not"], "There is no file", 1),
    ],
)
def test_what_cannot_be_read_at_all_is_told(
    api: ScriptedApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str, code: int
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("user,n\n1,2\n")
    assert run(api, "import", *[argument.format(file=file) for argument in arguments]) == code
    assert told in capsys.readouterr().err
    assert api.asked == []


def person(user: str, **more: Any) -> dict[str, Any]:
    return {
        "user": user,
        "attributes": {},
        "subscriptions": {},
        "timeZone": None,
        "locale": None,
        "devices": [],
        "aliases": [],
        "segments": [],
        "createdAt": "2026-01-02T03:04:05.678Z",
        "updatedAt": "2026-01-02T03:04:05.678Z",
    } | more


@pytest.fixture
def people(api: ScriptedApi) -> list[dict[str, Any]]:
    rows = [
        person("a", attributes={"n": 1, "address": {"city": "Köln"}}),
        person("王", subscriptions={"email": "opted_in"}, locale="zh-CN"),
    ]
    first = {"data": rows[:1], "iterator": "uYQ", "prevIterator": None, "done": False}
    second = {"data": rows[1:], "iterator": "u54uL", "prevIterator": None, "done": True}
    api.answers("GET /api/v1/profile?limit=250", first)
    api.answers("GET /api/v1/profile?limit=250&iterator=uYQ", second)
    return rows


def test_people_are_exported_as_json_lines(
    api: ScriptedApi, people: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "people.jsonl"
    assert run(api, "export", str(file)) == 0
    assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == people
    assert run(api, "export") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == people
    assert run(api, "export", str(file)) == 1
    assert run(api, "export", str(file), "--overwrite") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.jsonl"]


def test_people_are_exported_as_csv_and_come_in_again(
    api: ScriptedApi, intake: Intake, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    assert run(api, "export", str(file)) == 0
    assert file.read_text("utf-8").splitlines() == [
        "user,timeZone,locale,attributes.address.city,attributes.n,subscriptions.email",
        "a,,,Köln,1,",
        "王,,zh-CN,,,opted_in",
    ]
    assert run(api, "import", str(file)) == 0
    assert [event["profile"] for event in intake.events.values()] == [
        {"set": {"address.city": "Köln", "n": 1}},
        {"locale": "zh-CN", "subscriptions": {"email": "opted_in"}},
    ]


def test_an_export_that_breaks_off_leaves_no_file(
    api: ScriptedApi, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    del api.replies["GET /api/v1/profile?limit=250&iterator=uYQ"]
    assert run(api, "export", str(tmp_path / "people.jsonl")) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_shown_and_cannot_act_on_the_terminal(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    counters = {"paid": {"count": 3, "firstAt": "…", "lastAt": "2026-01-02"}}
    segments = [{"id": "seg_1", "uid": None, "name": "Gold", "since": "2026-01-01"}]
    shown = person("a/b", attributes={"plan": "\x1b[2Jgold"}, aliases=["old"], segments=segments, counters=counters)
    api.answers("GET /api/v1/profile/a%2Fb", shown)
    assert run(api, "show", "a/b") == 0
    out = capsys.readouterr().out
    assert not {"\x1b", "\x9b"} & set(out)
    for told in ("old", "gold", "Gold since 2026-01-01", "3 times, last 2026-01-02"):
        assert told in out
    assert run(api, "show", "a/b", "--json") == 0
    assert json.loads(capsys.readouterr().out) == shown


def test_a_person_is_erased_until_nothing_is_left(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    replies = [(202, b'{"deletedRows": 10000, "done": false}'), (204, b"")]
    api.replies["DELETE /api/v1/profile/%E7%8E%8B"] = lambda _: replies.pop(0)
    assert run(api, "erase", "王", "--yes") == 0
    assert capsys.readouterr().out == "Nothing is left of 王.\n"
    assert replies == []


@pytest.mark.parametrize(("said", "code"), [("", 1), ("n\n", 1), ("y\n", 0)])
def test_erasing_asks_first(api: ScriptedApi, said: str, code: int) -> None:
    api.replies["DELETE /api/v1/profile/42"] = (204, b"")
    program = [sys.executable, "-m", "posthorn.cli", "profiles", "erase", "42", "--url", api.url, "--api-key", KEY]
    done = subprocess.run(program, input=said, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(api.asked)) == (code, 1 - code), done.stderr
