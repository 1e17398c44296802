"""Imports people from a file: rows become events with a profile change, in batches, each row at most once.

Whatever happens on the way, the same command goes on: an event's id is made of the file and the line, and the server
takes it once in 30 days.
"""

import codecs
import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from posthorn.cli.client import Answer, ApiClient
from posthorn.cli.failures import CommandFailed, RequestRefused
from posthorn.cli.people_files import BadRow, GoodRow, Reading, read_csv, read_jsonl
from posthorn.cli.people_progress import Moved
from posthorn.cli.texts import _

EVENT_TYPE = "profile.imported"
_MOST_ROWS = 1_000
_MOST_BYTES = 4 * 1024 * 1024
_MOST_TRIES = 8
_LONGEST_PAUSE_SECONDS = 30.0
_BUSY = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file of people."""

    path: Path
    is_jsonl: bool
    encoding: str | None = None  #: None: UTF-8, or UTF-16 with a byte order mark
    reading: Reading = field(default_factory=Reading)
    is_again: bool = False  #: import rows that were imported before from this very file

    def run(self) -> str:
        """Name this import: the same file read in the same way has the same name."""
        stat = self.path.stat()
        told: list[Any] = [self.path.name, stat.st_size, stat.st_mtime_ns, self.is_jsonl, self.encoding]
        told += [self.reading.user_column, sorted(self.reading.types.items()), self.reading.delimiter]
        if self.is_again:
            told.append(time.time_ns())
        return sha256(json.dumps(told).encode()).hexdigest()[:24]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of the rows."""

    accepted: int = 0
    known: int = 0  #: imported before
    bad: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.accepted + self.known + self.bad


class Report:
    """A CSV file of the rows that were refused; made when there is one. `on_bad` is told of each."""

    def __init__(self, path: Path, on_bad: Callable[[BadRow], None]) -> None:
        self.path = path
        self._on_bad = on_bad
        self._file: io.TextIOWrapper | None = None

    def add(self, row: BadRow) -> None:
        """Write a row down. Raises CommandFailed when the file cannot be written."""
        self._on_bad(row)
        try:
            if self._file is None:
                # With a byte order mark, because it is a spreadsheet that people open it in.
                self._file = self.path.open("w", encoding="utf-8-sig", errors="backslashreplace", newline="")
                csv.writer(self._file).writerow(("line", "reason", "row"))
            csv.writer(self._file).writerow((row.line, row.reason, row.text))
        except OSError as error:
            text = _("The report {path} cannot be written: {reason}.")
            raise CommandFailed(text.format(path=self.path, reason=error.strerror)) from error

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()


class Importer:
    """Sends the rows of a file; without a client it only reads and checks them."""

    def __init__(
        self,
        client: ApiClient | None,
        report: Report,
        moved: Moved,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._report = report
        self._moved = moved
        self._pause = pause
        self._outcome = Outcome()

    def run(self, source: Source) -> Outcome:
        """Import a file. Raises CommandFailed, RequestRefused, ServerUnreachable; what was sent until then is there."""
        name = source.run()
        batch: list[tuple[GoodRow, bytes]] = []
        size = 0
        try:
            with source.path.open("rb") as binary:
                for row in rows_of(binary, source):
                    if isinstance(row, BadRow):
                        self._refuse(row)
                        continue
                    event = _event(row, name)
                    if batch and (len(batch) == _MOST_ROWS or size + len(event) > _MOST_BYTES):
                        self._send(batch)
                        self._moved(self._outcome.rows, binary.tell())
                        batch, size = [], 0
                    batch.append((row, event))
                    size += len(event)
                self._send(batch)
                self._moved(self._outcome.rows, binary.tell())
        except OSError as error:
            text = _("{path} cannot be read: {reason}.")
            raise CommandFailed(text.format(path=source.path, reason=error.strerror)) from error
        return self._outcome

    def _refuse(self, row: BadRow) -> None:
        self._outcome.bad += 1
        self._report.add(row)

    def _send(self, batch: list[tuple[GoodRow, bytes]]) -> None:
        """Send a batch; rows that the server refuses are put aside and the others sent again."""
        if self._client is None:
            self._outcome.accepted += len(batch)
            return
        while batch:
            answer = self._answer(self._client, b"[" + b",".join(event for _row, event in batch) + b"]")
            if answer.status == 422:
                reasons = _reasons(answer)
                if not reasons or max(reasons) >= len(batch):
                    raise self._client.refusal(answer)
                for index, reason in reasons.items():
                    self._refuse(_bad(batch[index][0], reason))
                batch = [row for index, row in enumerate(batch) if index not in reasons]
                continue
            told = _told(answer, self._client, len(batch))
            for sent, became in zip(batch, told, strict=True):
                self._note(sent[0], became)
            return

    def _answer(self, client: ApiClient, content: bytes) -> Answer:
        """Send once, and again a little later while the server has too much to do."""
        for turn in range(_MOST_TRIES):
            answer = client.exchange("POST", "/api/v1/event", content)
            if answer.status not in _BUSY:
                return answer
            self._pause(min(2.0**turn, _LONGEST_PAUSE_SECONDS))
        raise client.refusal(answer)

    def _note(self, row: GoodRow, told: dict[str, Any]) -> None:
        match told.get("status"):
            case "accepted":
                self._outcome.accepted += 1
            case "duplicate":
                self._outcome.known += 1
            case _:
                self._refuse(_bad(row, str(told.get("detail") or told.get("status"))))


def rows_of(binary: BinaryIO, source: Source) -> Iterator[GoodRow | BadRow]:
    """Read the rows of an open file. Raises CommandFailed when it cannot be read at all."""
    encoding = source.encoding or _encoding_of(binary)
    try:
        # What is not in the encoding is found row by row; only UTF-16 cannot go on behind it.
        errors = "strict" if "16" in encoding else "surrogateescape"
        text = io.TextIOWrapper(binary, encoding=encoding, errors=errors, newline="")
    except LookupError:
        raise CommandFailed(_("There is no encoding {name!r}.").format(name=encoding)) from None
    try:
        yield from read_jsonl(text, source.reading) if source.is_jsonl else read_csv(text, source.reading)
    except UnicodeError as error:
        raise CommandFailed(_("The file is not {name}: {reason}.").format(name=encoding, reason=error)) from None
    finally:
        text.detach()  # whoever opened the file closes it


def _encoding_of(binary: BinaryIO) -> str:
    start = binary.read(2)
    binary.seek(0)
    return "utf-16" if start in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else "utf-8-sig"


def _event(row: GoodRow, run: str) -> bytes:
    event = {
        "type": EVENT_TYPE,
        "id": f"import/{run}/{row.line}",
        "user": row.user,
        "data": {"import": run, "line": row.line},
        "profile": row.change,
    }
    return json.dumps(event, ensure_ascii=False).encode()


def _bad(row: GoodRow, reason: str) -> BadRow:
    return BadRow(line=row.line, reason=reason, text=row.text)


def _reasons(answer: Answer) -> dict[int, str]:
    """Return why events of a batch were refused, by their place in it."""
    reasons: dict[int, str] = {}
    for problem in json.loads(answer.body).get("detail") or []:
        place = problem.get("loc") or []
        if len(place) >= 2 and isinstance(place[1], int):
            inner = ".".join(map(str, place[2:]))
            reasons.setdefault(place[1], f"{inner}: {problem.get('msg')}" if inner else str(problem.get("msg")))
    return reasons


def _told(answer: Answer, client: ApiClient, count: int) -> list[dict[str, Any]]:
    if not 200 <= answer.status < 300:
        raise client.refusal(answer)
    try:
        rows = json.loads(answer.body)["data"]
    except (ValueError, KeyError, TypeError):
        rows = ()
    if len(rows) != count:
        raise RequestRefused(_("What answers at {url} is no Posthorn API.").format(url=client.url), status=502)
    return list(rows)
