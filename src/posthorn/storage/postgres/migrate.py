"""Bringing a database to this release's schema, and refusing what cannot be brought.

A revision is a file of SQL in migrations/. What stands before the line `-- then, outside of a transaction:` is
committed together with the new version. What stands behind it runs statement by statement and must be fit to run
again; while it does, `meta` remembers it under `migrating`. Revisions add before they take away, so that nodes of
the release before go on working: `meta` says under `schema_oldest` which schema's code may still work on this one.
The version is kept where Alembic keeps it.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from posthorn.errors import StartRefused
from posthorn.storage.postgres.address import Address
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.reaching import reached

HEAD = "0002"

_LOCK = 0x706F7374_00000000  # "post": nodes that start together upgrade one after the other
_FILE = re.compile(r"^(\d{4})_\w+\.sql$")
_THEN = "-- then, outside of a transaction:\n"
_STATEMENT_END = re.compile(r";\n")
_SET_META = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_WAY_OUT = "start with another database, or an empty one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a database says of its schema. `version` None: it has none of ours."""

    version: str | None
    oldest: str | None = None  #: the oldest schema whose code may work on it
    migrating: str | None = None  #: the revision that was begun and not finished


async def version_of(dsn: str) -> str | None:
    """Return the schema revision of a database, None when it has none of ours. Raises StartRefused."""
    async with reached(Address.parse(dsn)) as connection:
        return (await standing_of(connection)).version


async def check(dsn: str) -> None:
    """Say whether this release can work with a database, changing nothing in it. Raises StartRefused when not."""
    async with reached(Address.parse(dsn)) as connection:
        refuse_misfit(await standing_of(connection))


async def upgrade(dsn: str, revision: str = HEAD) -> None:
    """Run the revisions that a database lacks, up to this one, and finish one that was interrupted.

    Raises StartRefused for a database that is not ours or that a newer release took beyond us.
    """
    async with reached(Address.parse(dsn)) as connection:
        await bring_up_to_date(connection, revision, finish=True)


async def bring_up_to_date(connection: Connection, revision: str = HEAD, *, finish: bool = False) -> None:
    """Do the same on an open connection. Unless told to `finish`, an interrupted revision is refused."""
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        standing = await standing_of(connection)
        if standing.migrating is not None and finish:
            await _finish(connection, standing.migrating)
            standing = await standing_of(connection)
        refuse_misfit(standing)
        for number, text in _revisions():
            if (standing.version or "") < number <= revision:
                await _run(connection, number, text)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


def refuse_misfit(standing: Standing) -> None:
    """Raise StartRefused unless this release can work on a schema, or upgrade it."""
    if standing.migrating is not None:
        raise StartRefused(
            f"the database was left in the middle of an upgrade to schema {standing.migrating}; "
            "run `posthorn database migrate` to finish it"
        )
    if standing.oldest is not None and standing.oldest > HEAD:
        raise StartRefused(
            f"the database was upgraded by a newer Posthorn (schema {standing.version}, which needs at least "
            f"{standing.oldest}; this one knows {HEAD}); start that release, or restore an older backup"
        )


async def standing_of(connection: Connection) -> Standing:
    """Read what a database says of its schema. Raises StartRefused when tables of our names are not ours."""
    rows = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace")
    present = {row[0] for row in rows}
    if "alembic_version" not in present:
        foreign = sorted(present & _own_tables())
        if foreign:
            raise StartRefused(f"the database has a table named {foreign[0]} that is not Posthorn's; {_WAY_OUT}")
        return Standing(version=None)
    if "meta" not in present or "seq_block" not in present:
        raise StartRefused(f"the database belongs to another application that uses Alembic; {_WAY_OUT}")
    version = await connection.fetchval("SELECT version_num FROM alembic_version")
    meta = dict(await connection.fetch("SELECT key, value FROM meta WHERE key IN ('schema_oldest', 'migrating')"))
    return Standing(version=version, oldest=meta.get("schema_oldest"), migrating=meta.get("migrating"))


@cache
def _revisions() -> tuple[tuple[str, str], ...]:
    folder = files("posthorn.storage.postgres").joinpath("migrations")
    found = [(match[1], entry.read_text()) for entry in folder.iterdir() if (match := _FILE.match(entry.name))]
    return tuple(sorted(found))


@cache
def _own_tables() -> frozenset[str]:
    return frozenset(
        name for _, text in _revisions() for name in re.findall(r"^CREATE TABLE (\w+)", text, re.MULTILINE)
    )


async def _run(connection: Connection, number: str, text: str) -> None:
    at_once, separator, _ = text.partition(_THEN)
    async with connection.transaction():
        await connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY)")
        await connection.execute(at_once)
        await connection.execute("DELETE FROM alembic_version")
        await connection.execute("INSERT INTO alembic_version (version_num) VALUES ($1)", number)
        if separator:
            await connection.execute(_SET_META, "migrating", number)
    if separator:
        await _finish(connection, number)


async def _finish(connection: Connection, number: str) -> None:
    text = dict(_revisions()).get(number)
    if text is None:
        raise StartRefused(
            f"the database was left in the middle of an upgrade to schema {number}, which this Posthorn does not know; "
            "run `posthorn database migrate` of the newer release"
        )
    for statement in _STATEMENT_END.split(text.partition(_THEN)[2]):
        if statement.strip():
            await connection.execute(statement)
    await connection.execute("DELETE FROM meta WHERE key = 'migrating'")
