"""The second half of an upgrade: taking away what only older releases use, once none of them runs.

The file `migrations/NNNN_name.contract.sql` belongs to the revision NNNN. It is run, in one transaction, when an
operator says so; from then on `meta` has NNNN as `schema_oldest`, and releases that know less are refused.
"""

import re
from functools import cache
from importlib.resources import files

import asyncpg  # type: ignore[import-untyped]  # It ships no types.

from posthorn.errors import StartRefused
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.migrate import HEAD, Standing

_FILE = re.compile(r"^(\d{4})_\w+\.contract\.sql$")
_OLDEST = "SELECT value FROM meta WHERE key = 'schema_oldest' FOR UPDATE"
_SET_OLDEST = "UPDATE meta SET value = $1 WHERE key = 'schema_oldest'"
_ALIVE = """SELECT name, version FROM node
WHERE until_ms > extract(epoch FROM clock_timestamp()) * 1000 ORDER BY id"""


def waiting(standing: Standing) -> tuple[str, ...]:
    """Return the revisions whose old parts are still there, oldest first."""
    version, oldest = standing.version or "", standing.oldest or ""
    return tuple(number for number, _ in _contracts() if oldest < number <= min(version, HEAD))


async def contract(connection: Connection, standing: Standing, *, release: str) -> tuple[str, ...]:
    """Run what waits and return its revisions. Raises StartRefused while a node of a release before ours lives."""
    revisions = waiting(standing)
    if revisions:
        await _refuse_older_nodes(connection, release)
    texts = dict(_contracts())
    done = [number for number in revisions if await _run(connection, number, texts[number])]
    return tuple(done)


def is_older(version: str, release: str) -> bool:
    """Tell whether a release may be older than another. What is not two or more numbers is taken for older."""
    numbers = [[int(part) for part in text.split(".")] for text in (version, release) if _is_numbered(text)]
    return len(numbers) < 2 or numbers[0] < numbers[1]


def _is_numbered(version: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.\d+)+", version))


async def _refuse_older_nodes(connection: Connection, release: str) -> None:
    older = [row for row in await connection.fetch(_ALIVE) if is_older(row["version"], release)]
    if older:
        named = ", ".join(f"{row['name']} (Posthorn {row['version']})" for row in older)
        raise StartRefused(
            f"nodes of an older release live and still need what would be taken away: {named}; "
            "upgrade or stop them, then run this again"
        )


async def _run(connection: Connection, number: str, text: str) -> bool:
    """Run one contract unless somebody else did meanwhile."""
    try:
        async with connection.transaction():
            # Waiting longer behind somebody's long read would hold up everybody behind us.
            await connection.execute("SET LOCAL lock_timeout = '5s'")
            if await connection.fetchval(_OLDEST) >= number:
                return False
            await connection.execute(text)
            await connection.execute(_SET_OLDEST, number)
    except asyncpg.LockNotAvailableError:
        raise StartRefused(
            f"the old parts of schema {number} are in use by a long query; nothing was changed, run this again later"
        ) from None
    return True


@cache
def _contracts() -> tuple[tuple[str, str], ...]:
    folder = files("posthorn.storage.postgres").joinpath("migrations")
    found = [(match[1], entry.read_text()) for entry in folder.iterdir() if (match := _FILE.match(entry.name))]
    return tuple(sorted(found))
