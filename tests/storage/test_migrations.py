"""The file's way to this release's schema and back, and the files that are refused."""

import re
import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from posthorn.clock import SystemClock
from posthorn.engine.cluster import Stage
from posthorn.errors import StartRefused
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.migrate import HEAD, bring_up_to_date, downgrade, upgrade, version_of
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.storage.tables import metadata

Schema = dict[str, str]


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(files("posthorn.storage.sqlite").joinpath("migrations")))
    return ScriptDirectory.from_config(config)


REVISIONS = [script.revision for script in reversed(list(scripts().walk_revisions()))]


def schema_of(path: Path) -> Schema:
    """Read what a file is made of, without what depends on who wrote the statements."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: normal(sql) for name, sql in rows if name not in {"alembic_version", "sqlite_sequence"}}


def normal(sql: str) -> str:
    sql = re.sub(r"\s+", " ", sql).replace('"', "").replace("( ", "(").replace(" )", ")")
    return sql.replace(" ,", ",").strip().lower()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / DATABASE


def test_the_migrations_add_up_to_the_declared_tables(path: Path, tmp_path: Path) -> None:
    bring_up_to_date(path)
    declared = tmp_path / "declared.sqlite3"
    engine = create_engine(f"sqlite:///{declared}")
    metadata.create_all(engine)
    engine.dispose()
    assert schema_of(path) == schema_of(declared)


def test_the_release_knows_its_newest_migration() -> None:
    assert scripts().get_current_head() == HEAD


@pytest.mark.parametrize("revision", REVISIONS)
def test_each_migration_can_be_undone_and_done_again(path: Path, revision: str) -> None:
    before = REVISIONS[: REVISIONS.index(revision)]
    if before:
        upgrade(path, before[-1])
    schema = schema_of(path)
    upgrade(path, revision)
    after = schema_of(path)
    assert after != schema
    downgrade(path, before[-1] if before else "base")
    assert schema_of(path) == schema
    upgrade(path, revision)
    assert schema_of(path) == after


def test_a_migration_that_fails_leaves_nothing_behind(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE workspace (obstacle TEXT)")
    connection.close()
    with pytest.raises(OperationalError):
        upgrade(path, HEAD)
    assert set(schema_of(path)) == {"workspace"}


async def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path, SystemClock())).close()
    first = (tmp_path / DATABASE).read_bytes()
    bring_up_to_date(tmp_path / DATABASE)
    assert (tmp_path / DATABASE).read_bytes() == first
    store = await SqliteStore.open(tmp_path, SystemClock())
    leases = await store.lease("node", Stage.DELIVER, now_ms=0, until_ms=1, most=256)
    await store.close()
    assert len(leases) == 256


def test_a_file_of_a_newer_release_is_refused_and_left_alone(path: Path) -> None:
    bring_up_to_date(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StartRefused, match=r"newer Posthorn \(schema 9999, this one knows 0003\)"):
        bring_up_to_date(path)
    assert version_of(path) == "9999"


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (id INTEGER)")
    connection.close()
    with pytest.raises(StartRefused, match=r"not a Posthorn store.*photos"):
        bring_up_to_date(path)
    assert set(schema_of(path)) == {"photos"}


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    content = b"not a database at all, but long enough to have a header" * 20
    path.write_bytes(content)
    with pytest.raises(StartRefused, match="not a Posthorn store"):
        bring_up_to_date(path)
    assert path.read_bytes() == content


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.touch()
    bring_up_to_date(path)
    assert version_of(path) == HEAD


async def test_a_refused_folder_is_let_go_of(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"nonsense" * 200)
    for _ in range(2):
        with pytest.raises(StartRefused, match="not a Posthorn store"):
            await SqliteStore.open(tmp_path, SystemClock())
    (tmp_path / DATABASE).unlink()
    await (await SqliteStore.open(tmp_path, SystemClock())).close()
