"""What a data folder says of itself. It is only read, also while a server uses it."""

import fcntl
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from posthorn.engine.cluster import Node, Role
from posthorn.errors import StartRefused
from posthorn.storage.copying.mark import COPYING
from posthorn.storage.description import JournalDays, SchemaStanding, StoreDescription, day_text
from posthorn.storage.sequence import day_at
from posthorn.storage.sqlite.connection import DATABASE, LOCK
from posthorn.storage.sqlite.migrate import HEAD, version_of
from posthorn.storage.tables import metadata

_NODES = "SELECT id, name, version, roles, started_ms, seen_ms, until_ms FROM node WHERE until_ms > ? ORDER BY id"


def describe(folder: Path, *, now_ms: int) -> StoreDescription:
    """Describe the store in a folder. Raises StartRefused when there is none or it cannot be read."""
    path = folder / DATABASE
    if not path.exists():
        raise StartRefused(f"there is no store in {folder}; `posthorn serve` makes one, --data names another folder")
    revision = version_of(path)
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        try:
            return _describe(folder, connection, revision, now_ms)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StartRefused(f"{path.name} in {folder} cannot be read: {error}") from error


def _describe(folder: Path, connection: sqlite3.Connection, revision: str | None, now_ms: int) -> StoreDescription:
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    tables = [str(name) for name in metadata.tables if name in present]
    journal = [name for name in tables if "seq" in metadata.tables[name].c]
    is_copying = "meta" in present and bool(
        connection.execute("SELECT count(*) FROM meta WHERE key = ?", (COPYING,)).fetchone()[0]
    )
    return StoreDescription(
        kind="sqlite",
        place=str(folder),
        server_version=sqlite3.sqlite_version,
        schema=SchemaStanding(revision=revision, known=HEAD, oldest=revision, migrating=None),
        is_copying=is_copying,
        in_use_by=_holder(folder),
        nodes=tuple(_to_node(row) for row in connection.execute(_NODES, (now_ms,))) if "node" in present else (),
        days=tuple(_days(connection, name) for name in journal),
        rows={name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables},  # noqa: S608 - names of our own tables
        size_bytes=sum(part.stat().st_size for part in folder.glob(f"{DATABASE}*")),
    )


def _days(connection: sqlite3.Connection, table: str) -> JournalDays:
    first, last = connection.execute(f'SELECT min(seq), max(seq) FROM "{table}"').fetchone()  # noqa: S608 - names of our own tables
    oldest, newest = (None if seq is None else day_text(day_at(seq)) for seq in (first, last))
    return JournalDays(table=table, partitions=0, oldest=oldest, newest=newest)


def _holder(folder: Path) -> str | None:
    """Return the id of the process that holds the folder, without keeping it from starting."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return None


def _to_node(row: tuple[str, str, str, str, int, int, int]) -> Node:
    identifier, name, version, roles, started_ms, seen_ms, until_ms = row
    return Node(
        id=identifier,
        name=name,
        version=version,
        roles=tuple(Role(role) for role in roles.split(",") if role),
        started_ms=started_ms,
        seen_ms=seen_ms,
        until_ms=until_ms,
    )
