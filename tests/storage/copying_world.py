"""Stores to copy, and what is in them afterwards."""

import atexit
import itertools
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import asyncpg
from sqlalchemy import Table

from posthorn.engine.people import Membership
from posthorn.engine.records import EligibilityKey, Firing
from posthorn.engine.runs import RunState
from posthorn.storage.copying.contents import COPIED, Limits, Row, columns, inserting
from posthorn.storage.copying.copier import Copied, Copier
from posthorn.storage.copying.ends import End
from posthorn.storage.copying.postgres_end import postgres_source, postgres_target
from posthorn.storage.copying.sqlite_end import sqlite_source, sqlite_target
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.migrate import bring_up_to_date
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing import factories
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.model import run_random_history
from posthorn.testing.conformance.world import World
from posthorn.testing.factories import AUTOMATION, ENDPOINT
from posthorn.testing.memory import MemoryStore
from posthorn.testing.postgres import PostgresServer

SMALL = Limits(rows=7, bytes=2_000, fetch_rows=5, first_rows=3)
CLUSTER = "cluster_of_the_test"

Contents = Mapping[str, Sequence[Row]]
Place = Path | str  # a data folder, or the address of a database

_numbers = itertools.count(1)
_made: dict[tuple[int, int], Path] = {}  # a store is closed, so that its file is all of it


class Silent:
    """Watches a copy and remembers what it was told."""

    def __init__(self) -> None:
        self.rows_before = 0
        self.batches: list[str] = []

    def began(self, *, rows_total: int, rows_before: int) -> None:
        self.rows_before = rows_before

    def copied(self, table: str, rows: int) -> None:
        self.batches.append(table)

    def verifying(self, *, rows_total: int) -> None:
        return

    def verified(self, table: str, rows: int) -> None:
        return


class Damaging(Silent):
    """Does something between the last row that is written and the first that is verified."""

    def __init__(self, damage: Callable[[], object]) -> None:
        super().__init__()
        self._damage = damage

    def verifying(self, *, rows_total: int) -> None:
        self._damage()


async def copy(source: Place, target: Place, watcher: Silent | None = None, limits: Limits = SMALL) -> Copied:
    async with open_source(source, limits) as source_end, open_target(target, limits) as target_end:
        return await Copier(source_end, target_end, watcher or Silent()).run()


def open_source(place: Place, limits: Limits = SMALL) -> AbstractAsyncContextManager[End]:
    return sqlite_source(place, limits) if isinstance(place, Path) else postgres_source(place, limits)


def open_target(place: Place, limits: Limits = SMALL) -> AbstractAsyncContextManager[End]:
    return sqlite_target(place, limits) if isinstance(place, Path) else postgres_target(place, limits)


async def contents(place: Place, *, without: Sequence[str] = ()) -> Contents:
    """Read a store table by table, in the order of keys, without going through what is tested."""
    return {table.name: await _rows(place, table) for table in COPIED if table.name not in without}


async def _rows(place: Place, table: Table) -> list[Row]:
    names = ", ".join(f'"{name}"' for name in columns(table))
    order = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
    query = f'SELECT {names} FROM "{table.name}" ORDER BY {order}'
    if isinstance(place, Path):
        with closing(sqlite3.connect(place / DATABASE)) as connection:
            rows = connection.execute(query).fetchall()
    else:
        rows = [tuple(record) for record in await ask(place, query)]
    # What a database says of its own schema is not copied.
    return [row for row in rows if table.name != "meta" or row[0] != "schema_oldest"]


async def ask(dsn: str, query: str, *arguments: Any) -> list[Any]:
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "test"})
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


def change_file(folder: Path, statement: str, *parameters: Any) -> None:
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute(statement, parameters)


def new_folder(folder: Path) -> Path:
    """Make a folder with an empty store, quicker than its migrations would."""
    return _placed(_migrated(), folder)


def fill(folder: Path, rows: Mapping[str, Sequence[Row]]) -> Path:
    """Make a folder with exactly these rows."""
    new_folder(folder)
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        for table in COPIED:
            connection.executemany(inserting(table), rows.get(table.name, ()))
    return folder


def new_database(server: PostgresServer) -> str:
    """Make an empty database without tables."""
    return server.create_database(f"copy_{next(_numbers)}")


async def conformance_made(folder: Path, *, seed: int = 1, steps: int = 100) -> Path:
    """Make a store of what the conformance suite does: a random history, resources, decisions, days apart."""
    if (seed, steps) not in _made:
        _made[seed, steps] = await _make(_kept(), seed=seed, steps=steps)
    return _placed(_made[seed, steps], folder)


async def _make(folder: Path, *, seed: int, steps: int) -> Path:
    clock = ManualClock()
    store = await SqliteStore.open(folder, clock)
    await run_random_history(store, MemoryStore(clock), seed=seed, steps=steps)
    world = World(store, clock)
    clock.advance(3 * 24 * 3600)
    await world.own()
    await store.append([factories.an_inbox_unit(received_ms=world.now_ms)])
    event = world.event(user="u1", context=b'{"depth":1}')
    await store.append([factories.a_unit(event, profile="u1", endpoints=())])
    for work in await world.undecided():
        decision = factories.a_decision(work)
        firing = (EligibilityKey(automation=AUTOMATION, profile="u1", key=""), Firing(times=1, last_ms=world.now_ms))
        changes = {
            "profiles": (factories.a_profile("u1"), factories.a_profile("u2", merged_into=work.profile)),
            "memberships": (Membership(segment="seg_1", profile=work.profile, is_in=True, since_ms=1),),
            "runs": (factories.a_run(), factories.a_run(state=RunState.EXITED)),
            "timers": (factories.a_timer(), factories.a_timer(due_ms=world.now_ms + 10**9)),
        }
        await store.settle_decisions(
            [world.decided(work, decisions=(decision,), firings=(firing,), count=True, **changes)]
        )
    await store.append([factories.an_inbox_unit(received_ms=world.later())])
    await world.publish()
    (work,) = await world.due(ENDPOINT, room=1)
    await world.settle(world.cancelled(work))
    for resource in (
        factories.a_workspace(),
        factories.an_api_key(),
        factories.a_source(),
        factories.an_application(uid="ünïcode"),
        factories.an_endpoint(),
        factories.an_event_type(),
        factories.an_automation(),
        factories.an_automation_version(),
        factories.a_segment(),
        factories.a_secret(),
    ):
        await store.insert(resource)
    application = factories.an_application(uid="gone")
    await store.insert(application)
    await store.delete(factories.resources.Kind.APPLICATION, application.workspace, application.id)
    await store.set_meta("cluster_id", CLUSTER)
    await store.announce(factories.a_node(until_ms=world.now_ms + 1))
    await store.close()
    return folder


@cache
def _migrated() -> Path:
    folder = _kept()
    bring_up_to_date(folder / DATABASE)
    return folder


def _kept() -> Path:
    """Make a folder that lives as long as this process."""
    folder = Path(mkdtemp(prefix="posthorn-copying-"))
    atexit.register(shutil.rmtree, folder)
    return folder


def _placed(made: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    shutil.copyfile(made / DATABASE, folder / DATABASE)
    return folder
