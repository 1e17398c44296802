"""Commits that wait for a standby, servers that go away and come back, and servers that stopped being the primary."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from posthorn.engine.journal import EventQuery
from posthorn.engine.records import Appended
from posthorn.errors import StoreUnavailable
from posthorn.storage.postgres.database import Patience
from posthorn.storage.postgres.store import PostgresStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import WORKSPACE, a_claim, a_unit
from posthorn.testing.ports import LOOPBACK, free_port
from posthorn.testing.postgres import PostgresServer

_WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'posthorn'"


@pytest.fixture(params=[18, 15])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostgresServer]:
    settings = {"synchronous_commit": "off"}  # what a session may not inherit
    with PostgresServer.create(tmp_path / "server", version=request.param, settings=settings) as server:
        yield server


@pytest.fixture
async def store(server: PostgresServer) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(server.dsn(), ManualClock())
    yield store
    await store.close()


async def _events(store: PostgresStore) -> int:
    return len((await store.events(EventQuery(workspace=WORKSPACE, limit=1000))).rows)


async def _ask(server: PostgresServer, sql: str) -> str:
    return await asyncio.to_thread(server.query, sql)


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again: what another process does cannot tell us when it is done."""
    while not await is_so():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)


async def _wait_for_standbys(server: PostgresServer, names: str) -> None:
    """Make commits wait for these."""
    await _ask(server, f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    await _ask(server, "SELECT pg_reload_conf()")

    async def is_set() -> bool:
        return await _ask(server, "SHOW synchronous_standby_names") == names

    await _until(is_set)


async def _one_waiting(server: PostgresServer) -> str:
    """Return the process of a commit that waits for a standby."""
    found = ""

    async def is_found() -> bool:
        nonlocal found
        found = await _ask(server, _WAITING)
        return bool(found)

    await _until(is_found)
    return found


@pytest.mark.parametrize("is_single", [True, False])
async def test_a_commit_whose_wait_for_a_standby_is_cancelled_is_no_success(
    store: PostgresStore, server: PostgresServer, is_single: bool
) -> None:
    await _wait_for_standbys(server, "nobody")
    units = [a_unit(claims=(a_claim(),))] if is_single else [a_unit(claims=(a_claim(),)) for _ in range(2)]
    appending = asyncio.create_task(store.append(units))
    pid = await _one_waiting(server)
    # The server now says that it committed, with nothing but a warning. Only a repeat waits once more.
    await _ask(server, f"SELECT pg_cancel_backend({pid})")
    await _ask(server, f"SELECT pg_cancel_backend({await _one_waiting(server)})")
    await _one_waiting(server)
    assert not appending.done()
    await _wait_for_standbys(server, "")
    assert (await appending)[0] == Appended()
    assert await _events(store) == 1


async def test_without_its_standby_a_write_ends_with_an_unknown_outcome_and_no_success(server: PostgresServer) -> None:
    patience = Patience(hot_try_seconds=0.3, persist_seconds=0.6)
    store = await PostgresStore.open(server.dsn(), ManualClock(), patience=patience)
    await _wait_for_standbys(server, "nobody")
    with pytest.raises(StoreUnavailable, match="does not tell whether the last commit succeeded"):
        await store.append([a_unit()])
    await store.close()


async def test_connections_that_were_ended_are_replaced_unnoticed(store: PostgresStore, server: PostgresServer) -> None:
    for _ in range(3):
        await store.append([a_unit()])
        for pid in (await _ask(server, _OURS)).split():
            await _ask(server, f"SELECT pg_terminate_backend({pid}, 5000)")
    assert await _events(store) == 3


async def test_a_write_waits_for_a_server_that_restarts(store: PostgresStore, server: PostgresServer) -> None:
    await store.append([a_unit()])
    await asyncio.to_thread(server.stop, "immediate")
    appending = asyncio.create_task(store.append([a_unit(), a_unit()]))
    await asyncio.to_thread(server.start)
    assert await appending == [Appended(), Appended()]
    assert await _events(store) == 3


async def test_a_server_that_stays_away_makes_the_store_unavailable(server: PostgresServer) -> None:
    store = await PostgresStore.open(server.dsn(), ManualClock(), patience=Patience(persist_seconds=0.2))
    await asyncio.to_thread(server.stop, "fast")
    with pytest.raises(StoreUnavailable, match=rf"the database {LOOPBACK}:{server.port}/postgres cannot answer now"):
        await store.append([a_unit()])
    with pytest.raises(StoreUnavailable):
        await store.ready([1], after_ms=None, now_ms=1)
    with pytest.raises(StoreUnavailable):
        await _events(store)
    with pytest.raises(StoreUnavailable):
        async with store.alone("anything"):
            pytest.fail("nobody may be let in")
    await store.close()


async def test_a_write_finds_the_standby_that_was_promoted(server: PostgresServer, tmp_path: Path) -> None:
    standby = await asyncio.to_thread(server.base_backup, tmp_path / "standby")
    await asyncio.to_thread(standby.start)
    try:
        dsn = f"postgresql://postgres@{LOOPBACK}:{free_port()},{LOOPBACK}:{standby.port},{LOOPBACK}:{server.port}/postgres"
        store = await PostgresStore.open(dsn, ManualClock())
        await _wait_for_standbys(server, "*")
        await store.append([a_unit()])
        await asyncio.to_thread(server.kill)
        appending = asyncio.create_task(store.append([a_unit()]))
        await asyncio.to_thread(standby.promote)
        await _wait_for_standbys(standby, "")
        assert await appending == [Appended()]
        assert await _events(store) == 2
        await store.close()
    finally:
        await asyncio.to_thread(standby.stop, "immediate")


async def test_a_server_that_takes_no_writes_any_more_is_left(store: PostgresStore, server: PostgresServer) -> None:
    await _ask(server, "ALTER SYSTEM SET default_transaction_read_only = on")
    await _ask(server, "SELECT pg_reload_conf()")
    appending = asyncio.create_task(store.append([a_unit()]))

    async def was_refused() -> bool:
        return "read-only" in server.log

    await _until(was_refused)
    await _ask(server, "ALTER SYSTEM RESET default_transaction_read_only")
    await _ask(server, "SELECT pg_reload_conf()")
    assert await appending == [Appended()]


async def test_a_server_without_fsync_is_warned_about(tmp_path: Path, server: PostgresServer) -> None:
    store = await PostgresStore.open(server.dsn(), ManualClock())
    assert store.warnings == ()
    await store.close()
    with PostgresServer.create(tmp_path / "unsafe", durable=False) as unsafe:
        store = await PostgresStore.open(unsafe.dsn(), ManualClock())
        assert any("fsync=off" in warning for warning in store.warnings)
        await store.close()
