"""Reaching a database for the first time: whatever is wrong with it is said in one sentence, with the way out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg  # type: ignore[import-untyped]  # It ships no types.

from posthorn.errors import PosthornError, StartRefused, StoreUnavailable
from posthorn.storage.postgres.address import Address
from posthorn.storage.postgres.connections import Connection, Connections
from posthorn.storage.postgres.failures import FOREIGN
from posthorn.storage.postgres.sessions import upkeep_settings

_OLDEST_SERVER = 15
_CLOSE_SECONDS = 2.0
_READ_ONLY = (
    "the server of {shown} takes no writes: it is a standby or set to read only; "
    "name the primary, or list all servers in the URL"
)


@asynccontextmanager
async def reached(address: Address) -> AsyncIterator[Connection]:
    """Lend one connection for rare work, to a server that we can work with. Raises StartRefused otherwise."""
    try:
        async with apart(address) as connection:
            await _refuse_unfit(connection, address)
            yield connection
    except PosthornError as error:
        if isinstance(error, StoreUnavailable) and isinstance(error.__cause__, Exception):
            raise refusal(error.__cause__, address) from None
        raise
    except FOREIGN as error:
        raise refusal(error, address) from None


@asynccontextmanager
async def apart(address: Address, *, lock_timeout: str = "0") -> AsyncIterator[Connection]:
    """Open a connection of one's own, close it behind the caller. Raises what asyncpg raises."""
    connections = Connections(address, most=1, settings=upkeep_settings(lock_timeout=lock_timeout))
    connection = await connections.borrow()
    try:
        yield connection
    finally:
        connection.mute()
        with suppress(*FOREIGN):
            await connection.close(timeout=_CLOSE_SECONDS)


async def _refuse_unfit(connection: Connection, address: Address) -> None:
    version = connection.get_server_version()
    if version.major < _OLDEST_SERVER:
        raise StartRefused(
            f"the server of {address.shown} is PostgreSQL {version.major}; use PostgreSQL {_OLDEST_SERVER} or newer"
        )
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StartRefused(
            f"the database {address.shown} is encoded in {encoding}; make one with CREATE DATABASE ... ENCODING 'UTF8'"
        )
    if await connection.fetchval("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool"):
        raise StartRefused(_READ_ONLY.format(shown=address.shown))


def refusal(error: Exception, address: Address) -> StartRefused:
    """Say why a database cannot be used, and the way out. The error's own text goes in only where it is harmless."""
    for kinds, said in _SAID:
        if isinstance(error, kinds):
            return StartRefused(said.format(shown=address.shown, error=error, kind=type(error).__name__))
    return StartRefused(f"the database {address.shown} cannot be used: {error}")


_Kinds = type[Exception] | tuple[type[Exception], ...]
_SAID: tuple[tuple[_Kinds, str], ...] = (
    (
        asyncpg.InvalidCatalogNameError,
        "there is no database {shown}; create it, encoded in UTF8, or correct the URL",
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,  # A wrong password is one of these.
        "the database {shown} refuses this user or password; correct the URL or the password file",
    ),
    (
        asyncpg.InsufficientPrivilegeError,
        "the user may not make tables in {shown} ({error}); grant it CREATE on the schema",
    ),
    (
        (asyncpg.TargetServerAttributeNotMatched, asyncpg.ReadOnlySQLTransactionError),
        _READ_ONLY,
    ),
    (
        asyncpg.ClientConfigurationError,
        "the database URL cannot be used; write it as postgresql://user:password@host:5432/database",
    ),
    (
        OSError,
        "the database {shown} cannot be reached ({kind}); start it or correct the URL",
    ),
)
