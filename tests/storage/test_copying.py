"""A copy holds exactly what its source held, whichever database either of them is."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from copying_world import (
    CLUSTER,
    Contents,
    Damaging,
    ask,
    change_file,
    conformance_made,
    contents,
    copy,
    fill,
    new_database,
    new_folder,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, LargeBinary, SmallInteger, Table, Text

from posthorn.clock import DAY_MS
from posthorn.storage.copying.contents import COPIED, Limits, Row, columns
from posthorn.storage.copying.ends import CopyFailed
from posthorn.storage.copying.mark import COPYING
from posthorn.storage.copying.tally import Tally
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.testing import factories
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.postgres import PostgresServer


async def test_there_and_back_every_row_is_the_same(tmp_path: Path, postgres18: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first")
    dsn = new_database(postgres18)
    there = await copy(first, dsn)
    back = await copy(dsn, tmp_path / "back")
    original = await contents(first)
    assert [name for name, rows in original.items() if not rows] == []
    assert await contents(dsn) == original
    assert await contents(tmp_path / "back") == original
    assert [table.checksum for table in there.tables] == [table.checksum for table in back.tables]
    assert there.rows_now == sum(map(len, original.values()))


async def test_postgresql_15_holds_the_same_rows_too(tmp_path: Path, postgres15: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first", seed=2)
    dsn = new_database(postgres15)
    await copy(first, dsn)
    assert await contents(dsn) == await contents(first)


async def test_two_of_a_kind_can_be_copied_too(tmp_path: Path, postgres18: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first", seed=3)
    await copy(first, tmp_path / "second")
    one, two = new_database(postgres18), new_database(postgres18)
    await copy(tmp_path / "second", one)
    await copy(one, two)
    assert await contents(two) == await contents(first)


async def test_a_copied_store_works_on_where_the_first_left_off(tmp_path: Path, postgres18: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first")
    last_change = sqlite_sequence(first)
    dsn = new_database(postgres18)
    await copy(first, dsn)
    store = await PostgresStore.open(dsn, ManualClock())
    assert await store.meta("cluster_id") == CLUSTER
    assert await store.last_change() == last_change
    await store.insert(factories.an_application(uid="new"))
    assert await store.last_change() == last_change + 1
    await store.close()
    await copy(dsn, tmp_path / "back")
    assert sqlite_sequence(tmp_path / "back") == last_change + 1


async def test_numbers_of_changes_that_are_gone_are_not_given_out_again(
    tmp_path: Path, postgres18: PostgresServer
) -> None:
    first = fill(tmp_path / "first", {"change": [(7, "workspace", "ws_1", b"{}"), (9, "workspace", "ws_1", None)]})
    change_file(first, "DELETE FROM change WHERE number = 9")
    dsn = new_database(postgres18)
    await copy(first, dsn)
    await copy(dsn, tmp_path / "back")
    for place in (first, tmp_path / "back"):
        assert sqlite_sequence(place) == 9
    assert [row[0] for row in await ask(dsn, "SELECT nextval(pg_get_serial_sequence('change', 'number'))")] == [10]


async def test_an_empty_store_is_copied_too(tmp_path: Path, postgres18: PostgresServer) -> None:
    dsn = new_database(postgres18)
    assert (await copy(new_folder(tmp_path / "first"), dsn)).rows_now == 0
    await copy(dsn, tmp_path / "back")
    assert set(map(len, (await contents(tmp_path / "back")).values())) == {0}


async def test_leases_and_nodes_stay_behind(tmp_path: Path, postgres18: PostgresServer) -> None:
    first = await conformance_made(tmp_path / "first")
    dsn = new_database(postgres18)
    await copy(first, dsn)
    assert await ask(dsn, "SELECT 1 FROM node") == []
    assert [tuple(row) for row in await ask(dsn, "SELECT count(*), max(epoch), count(owner) FROM shard")] == [
        (512, 0, 0)
    ]


async def test_journal_rows_lie_in_the_partitions_of_their_days(tmp_path: Path, postgres18: PostgresServer) -> None:
    days = [0, 1, 40]
    rows = [an_event_row(number, (START_MS + day * DAY_MS) << 20) for number, day in enumerate(days)]
    dsn = new_database(postgres18)
    await copy(fill(tmp_path / "first", {"event": rows}), dsn)
    found = await ask(dsn, "SELECT tableoid::regclass::text FROM event ORDER BY seq")
    assert [row[0] for row in found] == [f"event_d{START_MS // DAY_MS + day}" for day in days]


async def test_text_that_postgresql_cannot_hold_is_replaced_and_counted(
    tmp_path: Path, postgres18: PostgresServer
) -> None:
    rows = [
        an_event_row(number, (START_MS << 20) + number, type=text) for number, text in enumerate(("a", "\0b\0", "c"))
    ]
    dsn = new_database(postgres18)
    copied = await copy(fill(tmp_path / "first", {"event": rows}), dsn)
    assert [row[0] for row in await ask(dsn, "SELECT type FROM event ORDER BY seq")] == ["a", "\ufffdb\ufffd", "c"]
    assert {table.table: table.replaced for table in copied.tables if table.replaced} == {"event": 1}


async def test_payloads_larger_than_a_batch_are_copied_one_by_one(tmp_path: Path, postgres18: PostgresServer) -> None:
    rows = [an_event_row(number, (START_MS << 20) + number, payload=bytes([number]) * 5_000) for number in range(9)]
    first = fill(tmp_path / "first", {"event": rows})
    dsn = new_database(postgres18)
    await copy(first, dsn, limits=Limits(rows=4, bytes=1_000, first_rows=2))
    await copy(dsn, tmp_path / "back", limits=Limits(rows=4, bytes=1_000, first_rows=2))
    assert await contents(tmp_path / "back") == await contents(first)


@pytest.mark.parametrize("is_postgres", [True, False])
@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE event SET payload = substr(payload, 2) WHERE seq = (SELECT max(seq) FROM event)", "event"),
        ("UPDATE delivery SET due_ms = due_ms + 1 WHERE id = (SELECT min(id) FROM delivery)", "delivery"),
        ("DELETE FROM attempt WHERE seq = (SELECT min(seq) FROM attempt)", "attempt"),
        ("INSERT INTO meta (key, value) VALUES ('one', 'more')", "meta"),
        ("UPDATE application SET uid = NULL WHERE uid IS NOT NULL", "application"),
    ],
)
async def test_a_row_that_differs_is_found_and_the_copy_cannot_be_used(
    statement: str, table: str, is_postgres: bool, tmp_path: Path, postgres18: PostgresServer
) -> None:
    first = await conformance_made(tmp_path / "first")
    target = new_database(postgres18) if is_postgres else tmp_path / "second"

    def damage() -> None:
        if isinstance(target, str):
            postgres18.query(statement, target.rpartition("/")[2])
        else:
            change_file(target, statement)

    with pytest.raises(CopyFailed, match=rf"differs from its source in the table {table}:"):
        await copy(first, target, Damaging(damage))
    # Nor does another run pass over it.
    with pytest.raises(CopyFailed, match=rf"differs from its source in the table {table}:"):
        await copy(first, target)
    query = f"SELECT value FROM meta WHERE key = '{COPYING}'"
    marks = await ask(target, query) if isinstance(target, str) else from_file(target, query)
    assert len(marks) == 1


async def test_rows_that_came_to_the_source_meanwhile_are_found(tmp_path: Path) -> None:
    """The lock keeps Posthorn out, and nothing keeps out whoever ignores it."""
    first = await conformance_made(tmp_path / "first")
    late = Damaging(lambda: change_file(first, "INSERT INTO meta (key, value) VALUES ('late', '')"))
    with pytest.raises(CopyFailed, match="table meta"):
        await copy(first, tmp_path / "second", late)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
BIG = st.integers(-(2**63), 2**63 - 1)
SMALL_NUMBERS = st.integers(-(2**15), 2**15 - 1)
INSTANTS = st.integers(START_MS, START_MS + 3 * DAY_MS)


def a_value(column: Column[Any]) -> st.SearchStrategy[Any]:
    kinds: dict[type, st.SearchStrategy[Any]] = {
        Text: TEXTS,
        LargeBinary: st.binary(max_size=40),
        SmallInteger: SMALL_NUMBERS,
        BigInteger: BIG,
    }
    values = INSTANTS if column.name == "seq" else kinds[type(column.type)]
    return st.none() | values if column.nullable else values


def some_rows(table: Table) -> st.SearchStrategy[list[Row]]:
    """Draw rows that no index refuses: what must differ gets a number of its own."""
    unique = {"id", "uid", "key", "delivery", *(column.name for column in table.primary_key.columns)}

    def numbered(rows: Sequence[tuple[Any, ...]]) -> list[Row]:
        return [
            tuple(
                _numbered(column, value, number) if column.name in unique and value is not None else value
                for column, value in zip(table.columns, row, strict=True)
            )
            for number, row in enumerate(rows)
        ]

    return st.lists(st.tuples(*map(a_value, table.columns)), max_size=12).map(numbered)


def _numbered(column: Column[Any], value: Any, number: int) -> Any:
    if column.name == "seq":
        return (value << 20) + number
    if column.name == "number":
        return number + 1
    return f"{value}{number}" if isinstance(value, str) else value


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.fixed_dictionaries({str(table.name): some_rows(table) for table in COPIED}))
def test_whatever_the_rows_they_come_back_the_same(rows: dict[str, list[Row]], postgres18: PostgresServer) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        first = fill(folder / "first", rows)
        dsn = new_database(postgres18)
        new_folder(folder / "back")

        async def there_and_back() -> tuple[Contents, Contents]:
            await copy(first, dsn)
            await copy(dsn, folder / "back")
            return await contents(first), await contents(folder / "back")

        before, after = asyncio.run(there_and_back())
        postgres18.drop_database(dsn.rpartition("/")[2])
    assert {name: sorted(map(repr, rows)) for name, rows in after.items()} == {
        name: sorted(repr(as_postgres_holds_it(row)) for row in rows) for name, rows in before.items()
    }


def as_postgres_holds_it(row: Row) -> Row:
    return tuple(value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in row)


@given(st.lists(st.tuples(TEXTS, BIG, st.none() | st.binary(max_size=9))), st.randoms(use_true_random=False))
def test_a_checksum_does_not_depend_on_the_order_or_the_batches(rows: list[Row], random: Random) -> None:
    at_once, in_pieces = Tally(), Tally()
    at_once.add(rows)
    shuffled = random.sample(rows, len(rows))
    for row in shuffled:
        in_pieces.add([row])
    assert at_once == in_pieces
    assert at_once.checksum == in_pieces.checksum


@given(st.lists(st.tuples(TEXTS, BIG), min_size=1), st.tuples(TEXTS, BIG))
def test_a_checksum_tells_one_row_from_another(rows: list[Row], other: Row) -> None:
    before, after = Tally(), Tally()
    before.add(rows)
    after.add([other, *rows[1:]])
    assert (before == after) == (rows[0] == other)


def test_a_checksum_tells_none_from_empty_and_text_from_bytes() -> None:
    values = [None, "", b"", 0, "0", b"0"]
    checksums = set()
    for value in values:
        tally = Tally()
        tally.add([(value,)])
        checksums.add(tally.checksum)
    assert len(checksums) == len(values)


def an_event_row(number: int, seq: int, **fields: Any) -> Row:
    """Make a row of `event` as the table has it."""
    values: dict[str, Any] = dict.fromkeys(columns_of("event")) | {
        "seq": seq,
        "id": f"evt_{number}",
        "workspace": "ws_1",
        "type": "a.b",
        "occurred_ms": START_MS,
        "received_ms": START_MS,
        "channels": "",
    }
    return tuple((values | fields).values())


def columns_of(name: str) -> list[str]:
    return next(columns(table) for table in COPIED if table.name == name)


def from_file(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        return connection.execute(query).fetchall()


def sqlite_sequence(folder: Path) -> int:
    ((number,),) = from_file(folder, "SELECT seq FROM sqlite_sequence WHERE name = 'change'")
    return int(number)
