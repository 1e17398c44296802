"""What an operator does with a store besides serving: bring it up to date, look at it, copy it."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posthorn import __version__
from posthorn.clock import SystemClock
from posthorn.errors import SettingsInvalid
from posthorn.settings import Settings
from posthorn.settings.parsing import parse_database
from posthorn.storage.copying.contents import Limits
from posthorn.storage.copying.copier import Copied, Copier, Watcher
from posthorn.storage.copying.ends import End
from posthorn.storage.description import StoreDescription

if TYPE_CHECKING:
    from posthorn.storage.postgres.address import Address
    from posthorn.storage.postgres.connections import Connection

_FOLDER = re.compile(r"sqlite:(?P<folder>.+)", re.DOTALL)
_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What `migrate` did. A schema None is that of a new, empty store."""

    place: str
    before: str | None
    after: str | None
    finished: str | None  #: the revision of an interrupted migration that was finished
    contracted: tuple[str, ...]  #: revisions whose old parts were taken away
    waiting: tuple[str, ...]  #: revisions whose old parts are still there


async def migrate(settings: Settings, *, contract: bool) -> Migrated:
    """Bring the store up to this release; with `contract`, also take away what only older releases use.

    Raises StartRefused when it cannot be, or is in use in a way that forbids it.
    """
    if settings.database is None:
        return _migrate_folder(settings.data)
    return await _migrate_database(settings.database, contract=contract)


async def describe(settings: Settings) -> StoreDescription:
    """Look at the store and change nothing. Raises StartRefused when there is none or it cannot be reached."""
    if settings.database is None:
        from posthorn.storage.sqlite import describing as folder  # noqa: PLC0415 - each command loads its own database

        return folder.describe(settings.data, now_ms=SystemClock().now_ms())
    from posthorn.storage.postgres.describing import describe as describe_database  # noqa: PLC0415 - see above

    async with _reached(settings.database) as (connection, address):
        return await describe_database(connection, address)


async def copy(source: str, target: str, watcher: Watcher, limits: Limits = _LIMITS) -> Copied:
    """Copy a store into a new one, or go on with a copy that was interrupted.

    Both are written `sqlite:DIRECTORY` or `postgresql://…`. Raises SettingsInvalid for another spelling, StartRefused
    when one of them is in use or not fit, CopyFailed when a database fails or the copy differs in the end.
    """
    _must_be_ends(source, target)
    async with AsyncExitStack() as held:
        # The source first: a wrong one must leave no new target behind.
        source_end = await held.enter_async_context(_open_source(source, limits))
        target_end = await held.enter_async_context(_open_target(target, limits))
        return await Copier(source_end, target_end, watcher).run()


def _migrate_folder(data: Path) -> Migrated:
    from posthorn.storage.sqlite.connection import DATABASE, FolderLock, keep_private  # noqa: PLC0415 - see above
    from posthorn.storage.sqlite.migrate import bring_up_to_date, version_of  # noqa: PLC0415 - see above

    lock = FolderLock(data)
    try:
        path = data / DATABASE
        before = version_of(path)
        keep_private(path)
        bring_up_to_date(path)
        after = version_of(path)
    finally:
        lock.release()
    return Migrated(place=str(data), before=before, after=after, finished=None, contracted=(), waiting=())


async def _migrate_database(url: str, *, contract: bool) -> Migrated:
    from posthorn.storage.copying.mark import refuse_copy  # noqa: PLC0415 - see above
    from posthorn.storage.postgres import contracting  # noqa: PLC0415 - see above
    from posthorn.storage.postgres.migrate import bring_up_to_date, standing_of  # noqa: PLC0415 - see above

    async with _reached(url) as (connection, address):
        await refuse_copy(connection, f"the database {address.shown}")
        before = await standing_of(connection)
        await bring_up_to_date(connection, finish=True)
        done: tuple[str, ...] = ()
        if contract:
            done = await contracting.contract(connection, await standing_of(connection), release=__version__)
        after = await standing_of(connection)
    return Migrated(
        place=address.shown,
        before=before.version,
        after=after.version,
        finished=before.migrating,
        contracted=done,
        waiting=contracting.waiting(after),
    )


@asynccontextmanager
async def _reached(url: str) -> AsyncIterator[tuple["Connection", "Address"]]:
    """Lend a connection that is not taken for a node's."""
    from posthorn.storage.postgres.address import Address  # noqa: PLC0415 - see above
    from posthorn.storage.postgres.reaching import reached  # noqa: PLC0415 - see above

    address = Address.parse(url)
    async with reached(address) as connection:
        await connection.execute("SET application_name = 'posthorn database'")
        yield connection, address


def _open_source(spelling: str, limits: Limits) -> AbstractAsyncContextManager[End]:
    if folder := _FOLDER.fullmatch(spelling):
        from posthorn.storage.copying.sqlite_end import sqlite_source  # noqa: PLC0415 - see above

        return sqlite_source(Path(folder["folder"]).expanduser(), limits)
    from posthorn.storage.copying.postgres_end import postgres_source  # noqa: PLC0415 - see above

    return postgres_source(spelling, limits)


def _open_target(spelling: str, limits: Limits) -> AbstractAsyncContextManager[End]:
    if folder := _FOLDER.fullmatch(spelling):
        from posthorn.storage.copying.sqlite_end import sqlite_target  # noqa: PLC0415 - see above

        return sqlite_target(Path(folder["folder"]).expanduser(), limits)
    from posthorn.storage.copying.postgres_end import postgres_target  # noqa: PLC0415 - see above

    return postgres_target(spelling, limits)


def _must_be_ends(source: str, target: str) -> None:
    """Check both spellings before either is touched. A URL, which may hold a password, is in no message."""
    for flag, spelling in (("--from", source), ("--to", target)):
        if _FOLDER.fullmatch(spelling):
            continue
        try:
            parse_database(spelling)
        except ValueError:
            raise SettingsInvalid(
                f"{flag}: expected sqlite:DIRECTORY or postgresql://user:password@host:5432/database"
            ) from None
    if source == target:
        raise SettingsInvalid("--from and --to name the same store")
