"""No statement walks through a table that grows, save to cut a page out of it in its order: SQLite's plans say so."""

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from filled_journal import BY_ID, BY_UID, OF_ENDPOINT, PAGES, WORKSPACE, FilledJournal

from posthorn.engine.people import ProfileQuery
from posthorn.engine.profiles import user_profile
from posthorn.engine.runs import RunQuery, RunState
from posthorn.storage import journal_erasing, people_erasing, people_queries
from posthorn.storage.questions import Questions
from posthorn.storage.sqlite.connection import DATABASE, connect
from posthorn.storage.sqlite.database import spelled
from posthorn.storage.sqlite.migrate import bring_up_to_date
from posthorn.storage.sqlite.prune import _PRUNE
from posthorn.storage.sqlite.statements import statement

NAMES = re.findall(r"^-- (\w+): ", files("posthorn.storage.sqlite").joinpath("hot.sql").read_text(), re.MULTILINE)
COLUMNS = {
    "claim_all": 7,
    "insert_requests": 17,
    "insert_events": 16,
    "insert_deliveries": 8,
    "insert_rendered": 4,
    "insert_decision_work": 4,
    "live_deliveries": 6,
    "insert_attempts": 25,
    "insert_cancelled": 5,
    "live_decisions": 5,
    "live_timers": 5,
    "put_timers": 7,
    "tell_timers": 7,
    "put_profiles": 7,
    "put_members": 3,
    "put_runs": 11,
    "firings": 3,
    "counts": 2,
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
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / DATABASE
    bring_up_to_date(path)
    connection = connect(path)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def journal(database: sqlite3.Connection) -> FilledJournal:
    journal = FilledJournal(days=2, events_a_day=100)
    for table, rows in journal.rows.items():
        database.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(rows[0]))})", rows)
    return journal


def plans_of(database: sqlite3.Connection, questions: Questions[Any]) -> list[str]:
    """Ask the questions, and return the steps of the plans of their statements."""
    steps: list[str] = []
    try:
        question = next(questions)
        while True:
            sql, parameters = spelled(question)
            steps += [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
            question = questions.send(database.execute(sql, parameters).fetchall())
    except StopIteration:
        return steps


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


@pytest.mark.parametrize("name", ["take", "take_decisions", "take_timers"])
def test_the_head_of_a_queue_is_read_in_order_without_sorting(database: sqlite3.Connection, name: str) -> None:
    assert [step for step in plan_of(database, spelled_out(name)) if "TEMP B-TREE" in step] == []


def test_a_walk_through_a_big_table_is_noticed(database: sqlite3.Connection) -> None:
    assert walks(plan_of(database, "SELECT id FROM event WHERE content_type = ?"))


@pytest.mark.parametrize("name", [*BY_ID, *BY_UID])
def test_what_is_asked_for_by_its_id_is_found_by_an_index(
    database: sqlite3.Connection, journal: FilledJournal, name: str
) -> None:
    plan = plans_of(database, (BY_ID | BY_UID)[name](journal))
    assert walks(plan) == []
    assert [step for step in plan if "event_by_type" in step or "event_application" in step] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_journal_is_read_in_order_without_sorting(
    database: sqlite3.Connection, journal: FilledJournal, name: str
) -> None:
    assert [step for step in plans_of(database, PAGES[name](journal)) if "TEMP B-TREE" in step] == []


@pytest.mark.parametrize("name", OF_ENDPOINT)
def test_the_deliveries_of_an_endpoint_are_found_among_its_own_rows(
    database: sqlite3.Connection, journal: FilledJournal, name: str
) -> None:
    walked = walks(plans_of(database, OF_ENDPOINT[name](journal)))
    assert {step for step in walked if not step.startswith("SCAN cancelled USING INDEX")} == set()


def test_what_is_erased_is_found_by_an_index(database: sqlite3.Connection, journal: FilledJournal) -> None:
    for erasing in (
        journal_erasing.forget_payload(WORKSPACE, journal.inbox_event),
        journal_erasing.forget_response(WORKSPACE, journal.attempt),
    ):
        plan = plans_of(database, erasing)
        assert plan != []
        assert walks(plan) == []


PERSON = user_profile(WORKSPACE, "user7")
PEOPLE = {
    "people": people_queries.profiles(ProfileQuery(workspace=WORKSPACE, after="a")),
    "people backwards": people_queries.profiles(ProfileQuery(workspace=WORKSPACE, backwards=True)),
    "members": people_queries.profiles(ProfileQuery(workspace=WORKSPACE, segment="seg_1", after="a")),
    "runs": people_queries.runs(RunQuery(workspace=WORKSPACE, after="run_x")),
    "runs of an automation": people_queries.runs(RunQuery(workspace=WORKSPACE, automation="auto_1")),
    "active runs of an automation": people_queries.runs(
        RunQuery(workspace=WORKSPACE, automation="auto_1", state=RunState.ACTIVE)
    ),
    "runs of a person": people_queries.runs(RunQuery(workspace=WORKSPACE, profile=PERSON, automation="auto_1")),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_a_page_of_people_or_runs_is_read_in_order_without_sorting(database: sqlite3.Connection, name: str) -> None:
    plan = plans_of(database, PEOPLE[name])
    assert [step for step in plan if "TEMP B-TREE" in step] == []
    if name != "runs":
        assert walks(plan) == []


@pytest.mark.parametrize(
    "asked", [people_queries.one_profile(PERSON), people_queries.one_run(WORKSPACE, "run_1")], ids=["profile", "run"]
)
def test_a_person_and_a_run_are_found_by_an_index(database: sqlite3.Connection, asked: Questions[Any]) -> None:
    assert walks(plans_of(database, asked)) == []


def test_an_automations_runs_are_counted_in_an_index_alone(database: sqlite3.Connection) -> None:
    database.execute("INSERT INTO run VALUES ('run_1', ?, 'auto_1', 1, 'p', '', 'active', 1, 1, 1, x'')", (WORKSPACE,))
    plan = plans_of(database, people_queries.run_counts(WORKSPACE, "auto_1"))
    assert plan[-1].startswith("SEARCH run USING COVERING INDEX run_automation")
    assert walks(plan) == []


def test_whoever_is_forgotten_is_found_by_indexes(database: sqlite3.Connection, journal: FilledJournal) -> None:
    plan = plans_of(database, people_erasing.erase(PERSON, 5))
    assert len(plan) > 20
    assert walks(plan) == []
