"""`posthorn profiles`: people in and out of a running server, one of them shown, one of them forgotten."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from posthorn.cli.client import ApiClient
from posthorn.cli.failures import EXIT_FAILURE, EXIT_OK, CommandFailed, RequestRefused
from posthorn.cli.flag_groups import with_flag_groups
from posthorn.cli.options import DEFAULT_DATA, ApiKey, Data, Url, make_client
from posthorn.cli.terminal import ascii_json, make_console, one_line
from posthorn.cli.texts import _

if TYPE_CHECKING:
    from posthorn.cli.people_files import BadRow
    from posthorn.cli.people_import import Outcome, Source

_SHOWN_PROBLEMS = 10
_JSONL = frozenset({".jsonl", ".ndjson"})


class Format(StrEnum):
    """How people are written in a file."""

    CSV = "csv"
    JSONL = "jsonl"


User = Annotated[str, typer.Argument(metavar="USER", help=_("User id, or one that was merged into it."))]
FileFormat = Annotated[
    Format | None,
    typer.Option("--format", show_default=False, help=_("Default: by the file's ending, .jsonl or else CSV.")),
]


def profiles_commands() -> typer.Typer:
    """Assemble the commands."""
    commands = typer.Typer(help=_("Import, export, show and forget people."), rich_markup_mode=None)
    commands.command("import", help=_("Import people from a CSV or JSONL file; run again to go on."))(import_command)
    commands.command("export", help=_("Export people as JSONL or CSV."))(export_command)
    commands.command("show", help=_("Show what is known of a person."))(show_command)
    commands.command("erase", help=_("Forget a person and all of their journal, for good."))(erase_command)
    return commands


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingFlags:
    """How a file of people is to be read."""

    user_column: Annotated[str, typer.Option("--user-column", help=_("Column or field with the user id."))] = "user"
    types: Annotated[
        str,
        typer.Option(
            "--types",
            metavar="TYPES",
            show_default=False,
            help=_("Types of CSV columns: `zip=text,age=number`, or one for all. auto, text, number, boolean, json."),
        ),
    ] = ""
    file_format: FileFormat = None
    delimiter: Annotated[str | None, typer.Option("--delimiter", help=_("Default: as the header has it."))] = None
    encoding: Annotated[str | None, typer.Option("--encoding", help=_("Default: UTF-8. Also cp1251, gb18030 …"))] = None

    def source(self, file: Path, *, again: bool) -> "Source":
        """Return the file with all that was said of it. Raises BadParameter."""
        from posthorn.cli.people_cells import NoSuchType, parse_types  # noqa: PLC0415 - other commands read no files
        from posthorn.cli.people_files import Reading  # noqa: PLC0415 - the same
        from posthorn.cli.people_import import Source  # noqa: PLC0415 - the same

        try:
            types = parse_types(self.types)
        except NoSuchType as error:
            raise typer.BadParameter(str(error), param_hint="--types") from None
        return Source(
            path=file,
            is_jsonl=_format_of(file, self.file_format) is Format.JSONL,
            encoding=self.encoding,
            reading=Reading(user_column=self.user_column, types=types, delimiter=_one_character(self.delimiter)),
            is_again=again,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlags:
    """Which server."""

    url: Url = None
    api_key: ApiKey = None
    data: Data = DEFAULT_DATA

    def client(self) -> ApiClient:
        """Make a client of it."""
        return make_client(self.url, self.api_key, self.data)


@with_flag_groups
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("CSV with a header, or JSONL."))],
    *,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help=_("Where refused rows go. Default: FILE.rejected.csv.")),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=_("Read and check all rows, send nothing."))] = False,
    again: Annotated[bool, typer.Option("--again", help=_("Apply rows anew that this very file brought in."))] = False,
    reading: ReadingFlags,
    server: ServerFlags,
) -> int:
    """Import people. Rows that cannot be are reported with their line, and the others imported."""
    source = reading.source(file, again=again)
    client = None if dry_run else server.client()
    report = report or file.with_name(f"{file.name}.rejected.csv")
    outcome = _imported(client, source, report)
    for line in _told(outcome, report, dry_run=dry_run):
        make_console().print(line)
    return EXIT_FAILURE if outcome.bad else EXIT_OK


def _imported(client: ApiClient | None, source: "Source", path: Path) -> "Outcome":
    from posthorn.cli.people_import import Importer, Report  # noqa: PLC0415 - other commands read no files
    from posthorn.cli.people_progress import shown_rows  # noqa: PLC0415 - the same

    console = make_console(to_errors=True)
    report = Report(path, _ProblemLines(console))
    try:
        size = source.path.stat().st_size
        with shown_rows(console, _("Importing"), size) as moved:
            return Importer(client, report, moved).run(source)
    except FileNotFoundError:
        raise CommandFailed(_("There is no file {path}.").format(path=one_line(source.path))) from None
    except RequestRefused as error:
        text = _("{reason} Rows before that are imported; the same command goes on where they end.")
        raise RequestRefused(text.format(reason=error), status=error.status) from error
    finally:
        report.close()


class _ProblemLines:
    """Prints the first rows that were refused."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = 0

    def __call__(self, row: "BadRow") -> None:
        self._count += 1
        if self._count <= _SHOWN_PROBLEMS:
            self._console.print(_("Line {line}: {reason}").format(line=row.line, reason=one_line(row.reason)))
        elif self._count == _SHOWN_PROBLEMS + 1:
            self._console.print(_("More of them are in the report."))


def _told(outcome: "Outcome", report: Path, *, dry_run: bool) -> Iterator[str]:
    if dry_run:
        yield _("{accepted} of {rows} rows can be imported; nothing was sent.").format(
            accepted=outcome.accepted, rows=outcome.rows
        )
    else:
        yield _("{accepted} of {rows} rows imported now, {known} before.").format(
            accepted=outcome.accepted, rows=outcome.rows, known=outcome.known
        )
    if outcome.bad:
        yield _("Refused: {bad}, see {report}.").format(bad=outcome.bad, report=one_line(report))


def export_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", show_default=False, help=_("Default: standard output."))
    ] = None,
    *,
    segment: Annotated[str | None, typer.Option("--segment", help=_("Only its members (id or uid)."))] = None,
    file_format: FileFormat = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=_("Replace the file if it is there."))] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = DEFAULT_DATA,
) -> int:
    """Export people. A CSV file is written in two passes, because its columns must be known first."""
    from posthorn.cli.people_export import columns_of, people_of, write_csv, write_jsonl  # noqa: PLC0415 - rare
    from posthorn.cli.people_progress import shown_rows  # noqa: PLC0415 - the same

    client = make_client(url, api_key, data)
    console = make_console(to_errors=True)
    chosen = _format_of(file, file_format) if file is not None else file_format or Format.JSONL
    with _target(file, overwrite=overwrite) as target:
        if chosen is Format.JSONL:
            with shown_rows(console, _("Exporting"), None) as moved:
                count, short = write_jsonl(people_of(client, segment, moved), target), 0
        else:
            with shown_rows(console, _("Looking for columns"), None) as moved:
                columns = columns_of(people_of(client, segment, moved))
            with shown_rows(console, _("Exporting"), None) as moved:
                count, short = write_csv(people_of(client, segment, moved), columns, target)
    console.print(_("{count} people exported.").format(count=count))
    if short:
        text = _("{count} of them got new attributes while this ran, for which there is no column: export again.")
        console.print(text.format(count=short))
    return EXIT_FAILURE if short else EXIT_OK


@contextlib.contextmanager
def _target(file: Path | None, *, overwrite: bool) -> Iterator[TextIO]:
    """Open what is written to; a file is whole when it has its name."""
    if file is None:
        yield sys.stdout
        return
    if file.exists() and not overwrite:
        raise CommandFailed(_("{path} is there already; --overwrite replaces it.").format(path=one_line(file)))
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as target:
            yield target
        part.replace(file)
    except OSError as error:
        text = _("{path} cannot be written: {reason}.")
        raise CommandFailed(text.format(path=one_line(file), reason=error.strerror)) from error
    finally:
        part.unlink(missing_ok=True)


def show_command(
    user: User,
    *,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print the API's answer as one line of JSON."))] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = DEFAULT_DATA,
) -> int:
    """Show what is known of a person."""
    person = make_client(url, api_key, data).get(f"/api/v1/profile/{quote(user, safe='')}")
    console = make_console()
    console.print(ascii_json(json.dumps(person)) if as_json else _table(person))
    return EXIT_OK


def _table(person: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    rows: list[tuple[str, Any]] = [(_("User"), person["user"])]
    rows += [(_("Alias"), alias) for alias in person["aliases"]]
    rows += [(_("Time zone"), person["timeZone"] or "—"), (_("Locale"), person["locale"] or "—")]
    rows += [(_("Known since"), person["createdAt"]), (_("Changed"), person["updatedAt"])]
    rows += [
        (_("Attribute {name}").format(name=name), json.dumps(value, ensure_ascii=False))
        for name, value in sorted(person["attributes"].items())
    ]
    rows += [(_("Subscription {name}").format(name=name), state) for name, state in person["subscriptions"].items()]
    rows += [(_("Device"), json.dumps(device, ensure_ascii=False)) for device in person["devices"]]
    rows += [(_("Segment"), _("{name} since {since}").format(**segment)) for segment in person["segments"]]
    rows += [
        (_("Event {name}").format(name=name), _("{count} times, last {lastAt}").format(**counter))
        for name, counter in sorted(person["counters"].items())
    ]
    for name, value in rows:
        table.add_row(one_line(name), one_line(value))
    return table


def erase_command(
    user: User,
    *,
    yes: Annotated[bool, typer.Option("--yes", help=_("Do not ask."))] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = DEFAULT_DATA,
) -> int:
    """Forget a person: profile, counters, runs, and what they sent and were sent. It cannot be undone."""
    client = make_client(url, api_key, data)
    if not yes:
        typer.confirm(_("Forget {user} and all of their journal for good?").format(user=one_line(user)), abort=True)
    while client.delete(f"/api/v1/profile/{quote(user, safe='')}") is not None:
        continue  # a long history goes in several calls
    make_console().print(_("Nothing is left of {user}.").format(user=one_line(user)))
    return EXIT_OK


def _format_of(file: Path, given: Format | None) -> Format:
    if given is not None:
        return given
    return Format.JSONL if file.suffix.lower() in _JSONL else Format.CSV


def _one_character(delimiter: str | None) -> str | None:
    if delimiter is None:
        return None
    known = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if len(known) != 1:
        raise typer.BadParameter(_("one character, or tab"), param_hint="--delimiter")
    return known
