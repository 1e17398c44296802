"""PostgreSQL servers of the tests' own, one of each version for each worker, and fresh databases in them."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings as hypothesis_settings

from posthorn.testing.clock import ManualClock
from posthorn.testing.postgres import PostgresServer
from posthorn.testing.postgres_programs import available, missing

# Machines are shared: how long an example takes says nothing, and no test may fail by the clock.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

_TEMPLATE = "migrated"
_OUR_TABLES = """
    SELECT oid, relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""
_KEEP = f"""
    CREATE SCHEMA kept;
    DO $$ DECLARE ours record; BEGIN
        FOR ours IN {_OUR_TABLES} LOOP
            EXECUTE format('CREATE TABLE kept.%I AS TABLE public.%I', ours.relname, ours.relname);
        END LOOP;
    END $$
"""
_EMPTY = f"""
    DO $$ DECLARE ours record; BEGIN
        FOR ours IN {_OUR_TABLES} LOOP
            EXECUTE format('DELETE FROM public.%I', ours.relname);
            EXECUTE format(
                'INSERT INTO public.%I OVERRIDING SYSTEM VALUE SELECT * FROM kept.%I', ours.relname, ours.relname
            );
        END LOOP;
    END $$
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres18() -> Iterator[PostgresServer]:
    """Serve the newest PostgreSQL. What tests write need not outlive the machine."""
    with _server(18) as server:
        yield server


@pytest.fixture(scope="session")
def postgres15() -> Iterator[PostgresServer]:
    """Serve the oldest PostgreSQL that we support."""
    with _server(15) as server:
        yield server


@pytest.fixture
def postgres18_dsn(postgres18: PostgresServer) -> Iterator[str]:
    """Return the address of a fresh database with our tables and no rows."""
    with _database(postgres18) as dsn:
        yield dsn


@pytest.fixture
def postgres15_dsn(postgres15: PostgresServer) -> Iterator[str]:
    """Return the same in the oldest version."""
    with _database(postgres15) as dsn:
        yield dsn


@pytest.fixture
async def suite18_dsn(suite18: str) -> str:
    """Return the address of the database of a suite of hundreds of tests, emptied for each of them."""
    return await _emptied(suite18)


@pytest.fixture
async def suite15_dsn(suite15: str) -> str:
    """Return the same in the oldest version."""
    return await _emptied(suite15)


@pytest.fixture(scope="session")
def suite18(postgres18: PostgresServer) -> str:
    return _suite(postgres18)


@pytest.fixture(scope="session")
def suite15(postgres15: PostgresServer) -> str:
    return _suite(postgres15)


@pytest.fixture(scope="session")
def emptying() -> Callable[[str], Awaitable[str]]:
    """Return what empties a suite's database, for a test that needs it many times."""
    return _emptied


async def _emptied(dsn: str) -> str:
    """Make a suite's database as it was after the migration, which is several times faster than a new one."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_EMPTY)
    finally:
        await connection.close()
    return dsn


@contextmanager
def _server(version: int) -> Iterator[PostgresServer]:
    if not available(version):
        # In CI a missing server must not look like success.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing(version))
    with (
        tempfile.TemporaryDirectory(prefix="posthorn-postgres-") as folder,
        PostgresServer.create(Path(folder) / f"postgres{version}", version=version, durable=False) as server,
    ):
        _prepare(server)
        yield server


def _prepare(server: PostgresServer) -> None:
    """Migrate once: hundreds of tests begin with a copy of the same empty database."""
    from posthorn.storage.postgres.store import PostgresStore  # noqa: PLC0415 - only who needs a database loads it

    async def migrate(dsn: str) -> None:
        store = await PostgresStore.open(dsn, ManualClock())
        await store.close()

    asyncio.run(migrate(server.create_database(_TEMPLATE)))


def _suite(server: PostgresServer) -> str:
    dsn = server.create_database("suite", _TEMPLATE)
    server.query(_KEEP, "suite")
    return dsn


@contextmanager
def _database(server: PostgresServer) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    yield server.create_database(name, _TEMPLATE)
    server.drop_database(name)
