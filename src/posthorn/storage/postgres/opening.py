"""Opening a database for this process: reach it, bring its schema up to date, set the clock, make partitions."""

from collections.abc import Mapping

from posthorn.clock import Clock
from posthorn.storage.copying.mark import refuse_copy
from posthorn.storage.postgres.address import Address
from posthorn.storage.postgres.clock import DatabaseClock
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database, Patience
from posthorn.storage.postgres.migrate import bring_up_to_date
from posthorn.storage.postgres.partitions import Days
from posthorn.storage.postgres.reaching import reached

_UNSAFE: Mapping[str, str] = {
    "fsync": "a crash of its machine can destroy the whole database",
    "full_page_writes": "a crash of its machine can destroy pages of the database",
}


async def open_database(dsn: str, clock: Clock | None, days: Days, patience: Patience | None = None) -> Database:
    """Open a database, new or old. Without a clock, the time is the database's. Raises StartRefused."""
    address = Address.parse(dsn)
    async with reached(address) as connection:
        await refuse_copy(connection, f"the database {address.shown}")
        await bring_up_to_date(connection)
        if clock is None:
            clock = DatabaseClock()
            await clock.sync(lambda: tell_time(connection))
        async with connection.transaction():
            await days.prepare(connection, clock.now_ms())
        database = Database(
            address,
            clock,
            server_version=connection.get_server_version().major,
            warnings=await _warnings(connection, address),
            patience=patience,
        )
        await database.warm_up()
    return database


async def tell_time(connection: Connection) -> float:
    """Ask a server for its time in ms."""
    told: float = await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8")
    return told


async def _warnings(connection: Connection, address: Address) -> tuple[str, ...]:
    shown = [
        f"the server of {address.shown} runs with {name}=off: {risk}; switch it on"
        for name, risk in _UNSAFE.items()
        if await connection.fetchval(f"SHOW {name}") == "off"
    ]
    return tuple(shown)
