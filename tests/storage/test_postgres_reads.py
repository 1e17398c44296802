"""The registry and the journal over PostgreSQL: what only many writers, lost answers and odd texts can show."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from posthorn import ids
from posthorn.clock import DAY_MS
from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery, EventQuery, RequestQuery
from posthorn.engine.resources import Kind, ResourceQuery
from posthorn.errors import Conflict, NotFound
from posthorn.storage.postgres.connections import Connection
from posthorn.storage.postgres.database import Database, spelled
from posthorn.storage.postgres.registry import PostgresRegistry
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.tables import event as event_table
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import (
    WORKSPACE,
    a_unit,
    an_application,
    an_event,
    an_event_type,
    an_inbox_unit,
)

ODD = ["\0", "evt_\0", "a\0b", "\ud800", "é\0"]

Job = Callable[[Connection, bool], Awaitable[Any]]


class LostAnswers(Database):
    """A database whose first answer to each write is lost: the write is done, and done again."""

    def __init__(self, database: Database) -> None:
        self._under = database

    async def write(self, job: Job, *, at_once: bool = False) -> Any:
        await self._under.write(job, at_once=at_once)
        return await LostTries(self._under).write(job)

    def count(self, statements: int) -> None:
        self._under.count(statements)


class LostTries(LostAnswers):
    """A database whose first try of each write is lost: only the repeat is done."""

    async def write(self, job: Job, *, at_once: bool = False) -> Any:
        return await self._under.write(lambda connection, _: job(connection, True))


class OverLosses(PostgresRegistry):
    """A registry over such a database."""

    def __init__(self, database: Database) -> None:
        self._database = database


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(clock: ManualClock, postgres18_dsn: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(postgres18_dsn, clock)
    yield store
    await store.close()


@pytest.fixture
async def other(postgres18_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of another node."""
    connection = await asyncpg.connect(postgres18_dsn, server_settings={"application_name": "posthorn"})
    yield connection
    await connection.close()


async def test_writes_whose_answer_was_lost_are_one_change_each(store: PostgresStore) -> None:
    registry = OverLosses(LostAnswers(store._database))
    application = an_application(uid="theirs")
    await registry.insert(application)
    await registry.replace(replace(application, name="renamed"))
    assert await store.all(Kind.APPLICATION) == [replace(application, name="renamed")]
    assert await registry.delete(Kind.APPLICATION, WORKSPACE, application.id) is True
    assert await store.all(Kind.APPLICATION) == []
    resources = [change.resource for change in await store.changes(0)]
    assert resources == [application, replace(application, name="renamed"), None]


async def test_a_repeat_of_a_write_that_never_arrived_is_done_or_refused_as_usual(store: PostgresStore) -> None:
    registry = OverLosses(LostTries(store._database))
    application = an_application(uid="theirs")
    assert await registry.delete(Kind.APPLICATION, WORKSPACE, application.id) is False
    with pytest.raises(NotFound):
        await registry.replace(application)
    await registry.insert(application)
    with pytest.raises(Conflict):
        await registry.insert(an_application(uid="theirs"))
    with pytest.raises(Conflict):
        await registry.insert(replace(application, name="another"))
    await registry.replace(replace(application, name="renamed"))
    assert await registry.delete(Kind.APPLICATION, WORKSPACE, application.id) is True
    assert len(await store.changes(0)) == 3


async def test_a_repeated_value_about_the_installation_is_remembered_once(store: PostgresStore) -> None:
    await OverLosses(LostAnswers(store._database)).set_meta("key", "value")
    assert await store.meta("key") == "value"


async def test_changes_of_writers_at_the_same_time_are_committed_in_the_order_of_their_numbers(
    store: PostgresStore, postgres18_dsn: str
) -> None:
    second = await PostgresStore.open(postgres18_dsn, ManualClock())
    applications = [an_application() for _ in range(40)]
    seen: list[str] = []

    async def follow() -> None:
        last = 0
        while len(seen) < len(applications):
            for change in await store.changes(last):
                seen.append(change.id)
                last = change.number

    following = asyncio.create_task(follow())
    stores = (store, second)
    await asyncio.gather(*(stores[number % 2].insert(one) for number, one in enumerate(applications)))
    async with asyncio.timeout(20):
        await following
    await second.close()
    assert sorted(seen) == sorted(one.id for one in applications)


async def test_a_writer_waits_for_the_change_that_was_numbered_before_its_own(
    store: PostgresStore, postgres18_dsn: str, other: asyncpg.Connection
) -> None:
    first, second = an_application(), an_application()
    is_in, may_go = asyncio.Event(), asyncio.Event()
    slow = await PostgresStore.open(postgres18_dsn, ManualClock())

    async def insert_slowly(connection: Connection, again: bool) -> None:
        class Inside(LostAnswers):
            async def write(self, job: Job, *, at_once: bool = False) -> Any:
                return await job(connection, again)

        await OverLosses(Inside(slow._database)).insert(first)
        is_in.set()
        await may_go.wait()

    slowly = asyncio.create_task(slow._database.write(insert_slowly))
    await is_in.wait()
    waiting = asyncio.create_task(store.insert(second))
    blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(10):
        while not await other.fetchval(blocked):  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0.01)
    assert await store.changes(0) == []
    may_go.set()
    await asyncio.gather(slowly, waiting)
    await slow.close()
    assert [change.id for change in await store.changes(0)] == [first.id, second.id]


async def test_the_tail_holds_rows_back_while_an_older_write_is_under_way(
    postgres18_dsn: str, other: asyncpg.Connection
) -> None:
    store = await PostgresStore.open(postgres18_dsn)
    cursor = (await store.tail(WORKSPACE, after=None, limit=10)).cursor
    now_ms = store.clock.now_ms()
    late = an_event(received_ms=now_ms)
    transaction = other.transaction()
    await transaction.start()
    fields = {column.name: getattr(late, column.name, None) for column in event_table.columns}
    values = fields | {"seq": now_ms << 20, "channels": ""}
    sql, arguments = spelled(event_table.insert().values(values))
    await other.execute(sql, *arguments)
    early = an_event(received_ms=now_ms)
    await store.append([a_unit(early, endpoints=())])

    held_back = await store.tail(WORKSPACE, after=cursor, limit=10)
    assert held_back.rows == []
    assert cursor <= held_back.cursor < now_ms << 20
    assert (await store.tail(WORKSPACE, after=None, limit=10)).cursor < now_ms << 20
    assert (await store.event(WORKSPACE, early.id)) == early

    await transaction.commit()
    page = await store.tail(WORKSPACE, after=held_back.cursor, limit=10)
    assert [row.id for row in page.rows] == [late.id, early.id]
    assert (await store.tail(WORKSPACE, after=page.cursor, limit=10)).rows == []
    await store.close()


async def test_what_strangers_write_in_the_database_holds_no_row_back(postgres18_dsn: str) -> None:
    store = await PostgresStore.open(postgres18_dsn)
    stranger = await asyncpg.connect(postgres18_dsn)
    cursor = (await store.tail(WORKSPACE, after=None, limit=10)).cursor
    async with stranger.transaction():
        await stranger.execute("CREATE TABLE theirs (id int)")
        event = an_event(received_ms=store.clock.now_ms())
        await store.append([a_unit(event, endpoints=())])
        page = await store.tail(WORKSPACE, after=cursor, limit=10)
    await stranger.close()
    await store.close()
    assert [row.id for row in page.rows] == [event.id]


@pytest.mark.parametrize("days", [-1, 1])
async def test_what_was_committed_on_another_day_than_its_id_says_is_found_all_the_same(
    store: PostgresStore, clock: ManualClock, days: int
) -> None:
    at_ms = clock.now_ms() + days * DAY_MS
    unit = an_inbox_unit(received_ms=at_ms, body=b"the body")
    assert unit.event is not None
    assert unit.request is not None
    delivery = a_unit(unit.event).deliveries[0]
    await store.append([replace(unit, deliveries=(delivery,))])
    event = replace(unit.event, payload=b"the body")
    assert await store.request(WORKSPACE, unit.request.id) == unit.request
    assert await store.event(WORKSPACE, event.id) == event
    assert (await store.delivery(WORKSPACE, delivery.id)) is not None
    assert (await store.events(EventQuery(workspace=WORKSPACE, with_payload=True))).rows == [event]
    assert await store.forget_payload(WORKSPACE, event.id) is True
    assert await store.event(WORKSPACE, event.id) == replace(event, payload=b"")


@pytest.mark.parametrize("odd", ODD)
async def test_a_text_that_cannot_be_stored_is_found_nowhere(store: PostgresStore, odd: str) -> None:
    await store.append([an_inbox_unit()])
    asked: dict[str, Any] = {"workspace": WORKSPACE}
    for found in (
        await store.request(WORKSPACE, odd),
        await store.event(WORKSPACE, odd),
        await store.event(WORKSPACE, ids.new_id(ids.EVENT, 0), application=odd),
        await store.delivery(WORKSPACE, odd),
        await store.attempt(WORKSPACE, odd),
        await store.thread(WORKSPACE, odd),
        await store.get(Kind.APPLICATION, WORKSPACE, odd),
        await store.get(Kind.ENDPOINT, WORKSPACE, "ep", parent=odd),
    ):
        assert found is None
    for page in (
        await store.requests(RequestQuery(**asked, source=odd)),
        await store.requests(RequestQuery(workspace=odd)),
        await store.events(EventQuery(**asked, types=(odd,))),
        await store.events(EventQuery(**asked, user=odd)),
        await store.events(EventQuery(**asked, channel=odd)),
        await store.deliveries(DeliveryQuery(**asked, event=odd)),
        await store.attempts(AttemptQuery(**asked, types=(odd,), channel=odd)),
        await store.attempts(AttemptQuery(**asked, endpoint=odd)),
        await store.decisions(DecisionQuery(**asked, profile=odd)),
    ):
        assert page.rows == []
    assert (await store.tail(odd, after=0, limit=10)).rows == []
    assert await store.forget_payload(WORKSPACE, odd) is False
    assert await store.forget_response(odd, "atmpt") is False
    assert await store.delete(Kind.APPLICATION, WORKSPACE, odd) is False


async def test_a_type_that_cannot_be_stored_hides_no_other_type(store: PostgresStore) -> None:
    unit = an_inbox_unit()
    assert unit.event is not None
    await store.append([unit])
    page = await store.events(EventQuery(workspace=WORKSPACE, types=("a\0", unit.event.type)))
    assert [row.id for row in page.rows] == [unit.event.id]


@pytest.mark.parametrize("descending", [True, False])
async def test_a_page_goes_on_from_a_name_that_cannot_be_stored(store: PostgresStore, *, descending: bool) -> None:
    for name in ("a", "a\x01", "b"):
        await store.insert(an_event_type(uid=name))
    query = ResourceQuery(kind=Kind.EVENT_TYPE, workspace=WORKSPACE, by_uid=True, after="a\0b", descending=descending)
    assert [one.uid for one in await store.page(query)] == (["a"] if descending else ["a\x01", "b"])
