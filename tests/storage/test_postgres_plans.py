"""Questions to a journal of thirty days read the rows that they answer with, and few others: PostgreSQL counts them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from filled_journal import BY_ID, BY_UID, OF_ENDPOINT, PAGES, WORKSPACE, FilledJournal

from posthorn.clock import DAY_MS
from posthorn.storage import journal_erasing
from posthorn.storage.postgres.database import spelled
from posthorn.storage.postgres.sessions import reader_settings
from posthorn.storage.questions import Questions
from posthorn.storage.tables import metadata
from posthorn.testing.postgres import PostgresServer

DAYS = 30
FEW_ROWS = 20
A_PAGE_OF_ROWS = 2_000  # of some 30,000: filters leave one row in forty, and there are 51 to find
JOURNAL = ("request", "event", "attempt", "decision")


@pytest.fixture(scope="module")
def journal() -> FilledJournal:
    return FilledJournal(days=DAYS, events_a_day=1_000)


@pytest.fixture(scope="module")
def filled_dsn(postgres18: PostgresServer, journal: FilledJournal) -> Iterator[str]:
    dsn = postgres18.create_database("filled", "migrated")
    asyncio.run(fill(dsn, journal))
    yield dsn
    postgres18.drop_database("filled")


async def fill(dsn: str, journal: FilledJournal) -> None:
    connection = await asyncpg.connect(dsn)
    last_day = journal.end_ms // DAY_MS
    for day in range(last_day - DAYS - 1, last_day + 3):
        for table in JOURNAL:
            first, end = day * DAY_MS << 20, (day + 1) * DAY_MS << 20
            if await connection.fetchval("SELECT to_regclass($1) IS NULL", f"{table}_d{day}"):
                values = f"FOR VALUES FROM ({first}) TO ({end})"
                await connection.execute(f"CREATE TABLE {table}_d{day} PARTITION OF {table} {values}")
    for table, rows in journal.rows.items():
        columns = [column.name for column in metadata.tables[table].columns]
        await connection.copy_records_to_table(table, columns=columns, records=rows)
    await connection.execute("ANALYZE")
    await connection.close()


@pytest.fixture
async def connection(filled_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(filled_dsn, server_settings=dict(reader_settings()))
    yield connection
    await connection.close()


async def plans_of(connection: asyncpg.Connection, questions: Questions[Any]) -> list[dict[str, Any]]:
    """Ask the questions, and return what PostgreSQL did for each of their statements."""
    plans: list[dict[str, Any]] = []
    try:
        question = next(questions)
        while True:
            sql, arguments = spelled(question)
            async with connection.transaction():
                explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
                plans.append(json.loads(explained)[0]["Plan"])
                question = questions.send(await connection.fetch(sql, *arguments))
    except StopIteration:
        return plans


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from steps(part)


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """List the tables and indexes that were really looked into."""
    return [step for step in steps(plan) if "Scan" in step["Node Type"] and step["Actual Loops"] > 0]


def rows_read(plan: dict[str, Any]) -> int:
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(
        sum(
            (scan["Actual Rows"] + sum(scan.get(name, 0) for name in removed)) * scan["Actual Loops"]
            for scan in scans(plan)
        )
    )


def joins(plan: dict[str, Any]) -> list[str]:
    return [step["Node Type"] for step in steps(plan) if step["Node Type"] in {"Hash Join", "Merge Join"}]


def partitions(plan: dict[str, Any]) -> set[str]:
    return {scan["Relation Name"] for scan in scans(plan) if "_d" in scan.get("Relation Name", "")}


@pytest.mark.parametrize("name", BY_ID)
async def test_what_is_asked_for_by_an_id_reads_its_own_rows(
    connection: asyncpg.Connection, journal: FilledJournal, name: str
) -> None:
    plans = await plans_of(connection, BY_ID[name](journal))
    own = sum(plan["Actual Rows"] for plan in plans)
    assert sum(map(rows_read, plans)) <= 4 * own + FEW_ROWS
    assert [joins(plan) for plan in plans if joins(plan)] == []


@pytest.mark.parametrize("name", ["a request", "an event", "a message", "an attempt"])
async def test_an_id_tells_the_day_to_look_into(
    connection: asyncpg.Connection, journal: FilledJournal, name: str
) -> None:
    for plan in await plans_of(connection, BY_ID[name](journal)):
        assert 1 <= len(partitions(plan)) <= 4


@pytest.mark.parametrize("name", BY_UID)
async def test_what_is_not_found_by_its_id_is_looked_for_by_indexes(
    connection: asyncpg.Connection, journal: FilledJournal, name: str
) -> None:
    assert sum(map(rows_read, await plans_of(connection, BY_UID[name](journal)))) <= FEW_ROWS


@pytest.mark.parametrize("name", PAGES | OF_ENDPOINT)
async def test_a_page_of_the_journal_reads_little_more_than_the_page(
    connection: asyncpg.Connection, journal: FilledJournal, name: str
) -> None:
    plans = await plans_of(connection, (PAGES | OF_ENDPOINT)[name](journal))
    assert max(map(rows_read, plans)) <= A_PAGE_OF_ROWS
    assert [joins(plan) for plan in plans if joins(plan)] == []


async def test_what_is_erased_is_found_by_an_index(connection: asyncpg.Connection, journal: FilledJournal) -> None:
    for erasing in (
        journal_erasing.forget_payload(WORKSPACE, journal.inbox_event),
        journal_erasing.forget_response(WORKSPACE, journal.attempt),
    ):
        assert sum(map(rows_read, await plans_of(connection, erasing))) <= FEW_ROWS


async def test_a_walk_through_the_whole_journal_is_noticed(connection: asyncpg.Connection) -> None:
    explained = await connection.fetchval(
        "EXPLAIN (ANALYZE, FORMAT JSON) SELECT id FROM event WHERE content_type = 'x'"
    )
    assert rows_read(json.loads(explained)[0]["Plan"]) > A_PAGE_OF_ROWS


@pytest.mark.parametrize(
    ("setting", "value"), [("plan_cache_mode", "force_custom_plan"), ("max_parallel_workers_per_gather", "0")]
)
async def test_long_reads_are_planned_for_their_own_values_and_leave_the_other_cores_alone(
    connection: asyncpg.Connection, setting: str, value: str
) -> None:
    # A plan that was made for no values knows neither the days nor the rarity of what is asked for.
    assert await connection.fetchval(f"SHOW {setting}") == value
