"""No hot statement walks through a table that grows: SQLite's own plans say so."""

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from posthorn.storage.sqlite.connection import DATABASE, connect
from posthorn.storage.sqlite.migrate import bring_up_to_date
from posthorn.storage.sqlite.prune import _PRUNE
from posthorn.storage.sqlite.statements import statement

NAMES = re.findall(r"^-- (\w+): ", files("posthorn.storage.sqlite").joinpath("hot.sql").read_text(), re.MULTILINE)
COLUMNS = {
    "claim_all": 7,
    "insert_requests": 17,
    "insert_events": 15,
    "insert_deliveries": 8,
    "insert_rendered": 3,
    "insert_decision_work": 4,
    "live_deliveries": 6,
    "insert_attempts": 25,
    "insert_cancelled": 5,
    "live_decisions": 5,
    "insert_decisions": 13,
    "put_firings": 5,
    "add_counts": 5,
}
# The 256 shards, the lanes found so far, and the rows that the statement itself brings.
SMALL = re.compile(r"SCAN (shard|lane|v|CONSTANT ROW|\d+ CONSTANT ROWS|\d+-ROW VALUES CLAUSE|\(subquery-\d+\))(?!\w)")
BY_HAND = [
    "DELETE FROM delivery WHERE id = ? RETURNING attempts, step",
    "DELETE FROM delivery WHERE id = ? RETURNING event, endpoint",
    "SELECT coalesce(max(number), 0) FROM attempt WHERE delivery = ?",
    "SELECT type, count, first_ms, last_ms FROM event_count WHERE profile = ? ORDER BY type",
    "SELECT coalesce(max(seq), 0) FROM event",
    "UPDATE request SET body = x'' WHERE id = ?",
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / DATABASE
    bring_up_to_date(path)
    connection = connect(path)
    yield connection
    connection.close()


def spelled_out(name: str) -> str:
    row = "(" + ",".join("?" * COLUMNS.get(name, 0)) + ")"
    return statement(name).replace(":rows", f"{row},{row}").replace(":list", "?,?")


def plan_of(database: sqlite3.Connection, sql: str) -> list[str]:
    if ":" in sql:
        parameters: object = dict.fromkeys(re.findall(r":(\w+)", sql), 1)
    else:
        parameters = [1] * sql.count("?")
    return [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]  # type: ignore[call-overload]


def walks(plan: list[str]) -> list[str]:
    return [step for step in plan if step.startswith("SCAN") and not SMALL.match(step)]


@pytest.mark.parametrize("name", NAMES)
def test_a_hot_statement_walks_through_no_table_that_grows(database: sqlite3.Connection, name: str) -> None:
    assert walks(plan_of(database, spelled_out(name))) == []


@pytest.mark.parametrize("sql", BY_HAND)
def test_a_statement_by_id_finds_its_row_by_an_index(database: sqlite3.Connection, sql: str) -> None:
    assert walks(plan_of(database, sql)) == []


@pytest.mark.parametrize("sql", _PRUNE)
def test_pruning_looks_only_at_what_is_old(database: sqlite3.Connection, sql: str) -> None:
    assert walks(plan_of(database, sql)) == []


@pytest.mark.parametrize("name", ["take", "take_decisions"])
def test_the_head_of_a_queue_is_read_in_order_without_sorting(database: sqlite3.Connection, name: str) -> None:
    assert [step for step in plan_of(database, spelled_out(name)) if "TEMP B-TREE" in step] == []


def test_a_walk_through_a_big_table_is_noticed(database: sqlite3.Connection) -> None:
    assert walks(plan_of(database, "SELECT id FROM event WHERE content_type = ?"))
