"""`posthorn database`: bring a store up to this release, look at it, copy it into another one."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from posthorn.cli.copy_progress import shown_progress
from posthorn.cli.failures import EXIT_OK
from posthorn.cli.terminal import make_console, one_line
from posthorn.cli.texts import _
from posthorn.errors import SettingsInvalid
from posthorn.settings import Settings, read_settings
from posthorn.telemetry.masking import show_controls

if TYPE_CHECKING:
    from posthorn.server.databases import Migrated
    from posthorn.storage.copying.copier import Copied
    from posthorn.storage.description import StoreDescription

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")

Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        show_default=False,
        help=_("PostgreSQL database, as `serve` takes it. [POSTHORN_DATABASE]"),
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DIRECTORY",
        show_default=False,
        help=_("Data directory of the embedded store, when no database is given. [POSTHORN_DATA]"),
    ),
]


def database_commands() -> typer.Typer:
    """Assemble the commands."""
    commands = typer.Typer(
        help=_("Bring a store up to this release, look at it, copy it into another one."), rich_markup_mode=None
    )
    commands.command("migrate", help=_("Bring a store up to this release; finish what was interrupted."))(
        migrate_command
    )
    commands.command("status", help=_("Show a store's schema, nodes, days, rows and size; change nothing."))(
        status_command
    )
    commands.command("copy", help=_("Copy a store into a new one; go on with a copy that was interrupted."))(
        copy_command
    )
    return commands


def migrate_command(
    *,
    database: Database = None,
    data: Data = None,
    contract: Annotated[
        bool,
        typer.Option("--contract", help=_("Also take away what only older releases use. They cannot start after it.")),
    ] = False,
) -> int:
    """Bring a store up to this release."""
    from posthorn.server import databases  # noqa: PLC0415 - other commands need no store

    console = make_console()
    for line in _told(asyncio.run(databases.migrate(_settings(database, data), contract=contract))):
        console.print(line)
    return EXIT_OK


def status_command(
    *,
    database: Database = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print it as JSON."))] = False,
) -> int:
    """Show what a store says of itself."""
    import msgspec  # noqa: PLC0415 - other commands need no store

    from posthorn.server import databases  # noqa: PLC0415 - the same

    description = asyncio.run(databases.describe(_settings(database, data)))
    console = make_console()
    if as_json:
        console.print(msgspec.json.format(msgspec.json.encode(description)).decode(), soft_wrap=True)
        return EXIT_OK
    console.print(_summary(description))
    console.print(_contents(description))
    return EXIT_OK


def copy_command(
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help=_("Store to copy: sqlite:DIRECTORY or postgresql://… Stop its nodes first."),
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--to", metavar="TARGET", help=_("New store: sqlite:DIRECTORY or postgresql://… of an empty database.")
        ),
    ],
) -> int:
    """Copy a store into a new one and verify the copy."""
    from posthorn.server import databases  # noqa: PLC0415 - other commands need no store

    console = make_console()
    with shown_progress(console) as watcher:
        copied = asyncio.run(databases.copy(source, target, watcher))
    for line in _outcome(copied, source):
        console.print(line)
    return EXIT_OK


def _settings(database: str | None, data: str | None) -> Settings:
    """Read what names the store; a flag outweighs both variables."""
    if database is not None and data is not None:
        raise SettingsInvalid(_("--database and --data name two stores; give one of them"))
    environ = dict(os.environ)
    if data is not None:
        environ.pop("POSTHORN_DATABASE", None)
    return read_settings(flags={"database": database, "data": data}, environ=environ)


def _told(migrated: "Migrated") -> list[str]:
    before, after = migrated.before or _("nothing"), migrated.after or _("nothing")
    lines = [_("Store   {place}").format(place=one_line(migrated.place))]
    if migrated.finished is not None:
        lines.append(_("Finished the interrupted migration to {number}.").format(number=migrated.finished))
    if before == after:
        lines.append(_("Schema  {after}: nothing to do.").format(after=after))
    else:
        lines.append(_("Schema  {before} → {after}").format(before=before, after=after))
    lines += [_("Took away the old parts of {number}.").format(number=number) for number in migrated.contracted]
    if migrated.waiting:
        lines.append(
            _("Old parts of {numbers} are kept for older releases; `--contract` takes them away.").format(
                numbers=", ".join(migrated.waiting)
            )
        )
    return lines


def _summary(description: "StoreDescription") -> Table:
    schema = description.schema
    oldest = _("one that knows {number}").format(number=schema.oldest) if schema.oldest else _("any")
    migrating = _("to {number}; `posthorn database migrate` finishes it").format(number=schema.migrating)
    half_done = _("yes; run the same `posthorn database copy` again")
    revision = _("{revision}; this release knows {known}")
    rows = {
        _("Store"): f"{description.kind} {description.server_version}, {one_line(description.place)}",
        _("Schema"): revision.format(revision=schema.revision or _("none yet"), known=schema.known),
        _("Oldest release that may run"): oldest,
        _("Interrupted migration"): migrating if schema.migrating else _("none"),
        _("Old parts kept"): ", ".join(schema.contracts) or _("none"),
        _("Half-done copy"): half_done if description.is_copying else _("none"),
        _("Nodes"): _nodes(description),
        _("Size"): _size(description.size_bytes),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _nodes(description: "StoreDescription") -> str:
    shown = [f"{one_line(node.name)} (Posthorn {one_line(node.version)})" for node in description.nodes]
    if description.in_use_by is not None:
        shown.append(_("in use by process {pid}").format(pid=one_line(description.in_use_by)))
    return "\n".join(shown) or _("none")


def _contents(description: "StoreDescription") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(_("Table"))
    table.add_column(_("Rows, about") if description.rows_are_estimates else _("Rows"), justify="right")
    table.add_column(_("Partitions"), justify="right")
    table.add_column(_("Oldest day"))
    table.add_column(_("Newest day"))
    days = {each.table: each for each in description.days}
    for name, rows in description.rows.items():
        day = days.get(name)
        cells = ("", "", "") if day is None else (str(day.partitions or ""), day.oldest or "", day.newest or "")
        table.add_row(name, str(rows), *cells)
    return table


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in _SIZES[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == _SIZES[0] else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_SIZES[-1]}"


def _outcome(copied: "Copied", source: str) -> list[str]:
    rows = sum(table.rows for table in copied.tables)
    lines = [
        _("Copied {rows} rows; both sides agree in number and checksum, table by table.").format(rows=rows),
        _("This run wrote {rows} rows in {seconds:.1f} s ({speed:.0f} rows/s) and verified in {verify:.1f} s.").format(
            rows=copied.rows_now,
            seconds=copied.seconds,
            speed=copied.rows_per_second,
            verify=copied.verify_seconds,
        ),
    ]
    replaced = _("In {count} rows of {table}, U+FFFD stands for U+0000, which PostgreSQL cannot hold.")
    lines += [replaced.format(count=each.replaced, table=each.table) for each in copied.tables if each.replaced]
    lines += [
        _(
            "Nodes on the copy need the master key of the store that was copied: {place}, or what was given as {name}."
        ).format(place=_key_file(source), name="POSTHORN_MASTER_KEY"),
        _("Start nothing on the store that was copied any more: both would send the same deliveries."),
    ]
    return lines


def _key_file(source: str) -> str:
    """Say where the key of a store lies, unless the environment gave it."""
    if source.startswith("sqlite:"):
        return show_controls(str(Path(source.removeprefix("sqlite:")) / "master.key"))
    return _("master.key in the data directory of one of its nodes")
