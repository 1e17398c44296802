"""Expand, then contract: a made-up next release beside this one on one database, and what each may do when."""

import asyncio
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from posthorn_process import Launch, Posthorn
from raw_http import Api
from recording_receiver import Receiver

import posthorn
from posthorn.errors import StartRefused
from posthorn.storage.postgres.migrate import HEAD
from posthorn.storage.postgres.store import PostgresStore
from posthorn.testing import factories
from posthorn.testing.clock import ManualClock
from posthorn.testing.conformance.model import run_random_history
from posthorn.testing.memory import MemoryStore
from posthorn.testing.postgres import PostgresServer

NEXT = f"{int(HEAD) + 1:04}"
FIRST = "0001"  # every schema until now has only added to it
NEXT_VERSION = "999.0"
EXPAND = """
ALTER TABLE application ADD COLUMN colour text;
ALTER TABLE event ADD COLUMN colour text;
CREATE TABLE palette (colour text PRIMARY KEY);
"""
CONTRACT = """
DROP INDEX request_source;
"""
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Release:
    """The folder that the made-up release is imported from."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
        command = [str(Path(sys.executable).with_name("posthorn")), "database", *arguments]
        return subprocess.run(command, env=ours | self.environ, capture_output=True, text=True, check=False)

    def must_run(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture(scope="module")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Make a copy of this release that calls itself newer and knows one more schema."""
    folder = tmp_path_factory.mktemp("next")
    package = folder / "posthorn"
    shutil.copytree(Path(posthorn.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    change(package / "__init__.py", rf'"{re.escape(posthorn.__version__)}"', f'"{NEXT_VERSION}"')
    change(package / "storage" / "postgres" / "migrate.py", f'^HEAD = "{HEAD}"', f'HEAD = "{NEXT}"')
    migrations = package / "storage" / "postgres" / "migrations"
    (migrations / f"{NEXT}_colours.sql").write_text(EXPAND)
    (migrations / f"{NEXT}_colours.contract.sql").write_text(CONTRACT)
    return Release(folder=folder)


def change(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count == 1, path
    path.write_text(text)


@pytest.fixture
def dsn(postgres18: PostgresServer) -> Iterator[str]:
    name = f"upgrade_{next(_numbers)}"
    yield postgres18.create_database(name)
    postgres18.drop_database(name)


async def test_this_release_works_on_the_schema_that_the_next_one_expanded(dsn: str, next_release: Release) -> None:
    clock = ManualClock()
    await (await PostgresStore.open(dsn, clock)).close()
    assert f"Schema  {HEAD} → {NEXT}" in next_release.must_run("migrate", "--database", dsn)
    store = await PostgresStore.open(dsn, clock)
    try:
        await run_random_history(store, MemoryStore(clock), seed=7, steps=100)
        application = factories.an_application(uid="one")
        await store.insert(application)
        await store.replace(application)
        assert await store.get(factories.resources.Kind.APPLICATION, application.workspace, "one") == application
        assert [change.id for change in await store.changes(0)] == [application.id] * 2
    finally:
        await store.close()


async def test_a_schema_made_by_the_next_release_serves_this_one_as_well(dsn: str, next_release: Release) -> None:
    next_release.must_run("migrate", "--database", dsn)
    clock = ManualClock()
    store = await PostgresStore.open(dsn, clock)
    await run_random_history(store, MemoryStore(clock), seed=8, steps=50)
    await store.close()


async def test_what_older_releases_need_goes_only_when_told_and_then_they_are_refused(
    dsn: str, next_release: Release
) -> None:
    told = next_release.must_run("migrate", "--database", dsn)
    assert f"Old parts of {NEXT} are kept for older releases; `--contract` takes them away." in told
    schema = json.loads(next_release.must_run("status", "--json", "--database", dsn))["schema"]
    assert (schema["revision"], schema["oldest"], schema["contracts"]) == (NEXT, FIRST, [NEXT])
    told = next_release.must_run("migrate", "--contract", "--database", dsn)
    assert f"Took away the old parts of {NEXT}." in told
    schema = json.loads(next_release.must_run("status", "--json", "--database", dsn))["schema"]
    assert (schema["revision"], schema["oldest"], schema["contracts"]) == (NEXT, NEXT, [])
    with pytest.raises(StartRefused, match=rf"newer Posthorn \(schema {NEXT}, which needs at least {NEXT}"):
        await PostgresStore.open(dsn)
    told = next_release.must_run("migrate", "--contract", "--database", dsn)
    assert f"Schema  {NEXT}: nothing to do." in told


async def test_two_that_contract_at_once_do_it_once(dsn: str, next_release: Release) -> None:
    next_release.must_run("migrate", "--database", dsn)
    contract = ("migrate", "--contract", "--database", dsn)
    told = await asyncio.gather(*(asyncio.to_thread(next_release.must_run, *contract) for _ in range(2)))
    assert sum("Took away the old parts" in each for each in told) == 1


async def test_both_releases_serve_one_database_side_by_side(
    dsn: str, next_release: Release, launch: Launch, receiver: Receiver
) -> None:
    old = launch("old", flags=flags(dsn))
    await asyncio.to_thread(old.start)
    key = next(line for line in (old.data / "master.key").read_text().splitlines() if not line.startswith("#"))
    new = launch("new", flags=flags(dsn), environ=next_release.environ | {"POSTHORN_MASTER_KEY": key})
    await asyncio.to_thread(new.start)
    nodes = json.loads(next_release.must_run("status", "--json", "--database", dsn))["nodes"]
    assert sorted(node["version"] for node in nodes) == sorted([posthorn.__version__, NEXT_VERSION])
    async with Api(old) as by_old, Api(new) as by_new:
        await by_old.post("/app", {"name": "Both", "uid": "both"})
        await by_new.eventually("/app", bool)
        await by_new.post("/app/both/endpoint", {"url": receiver.url("/both")})
        await by_old.eventually("/app/both/endpoint", bool)
        made = [await a_message(api, number) for number in range(20) for api in (by_old, by_new)]
        await receiver.wait_for(lambda: set(made) <= set(receiver.by_id))
    await contracting_waits_for_the_old_one(dsn, next_release, old)
    async with Api(new) as by_new:
        made = [await a_message(by_new, number) for number in range(20)]
        await receiver.wait_for(lambda: set(made) <= set(receiver.by_id))


async def contracting_waits_for_the_old_one(dsn: str, next_release: Release, old: Posthorn) -> None:
    contract = ("migrate", "--contract", "--database", dsn)
    refused = await asyncio.to_thread(next_release.run, *contract)
    assert refused.returncode == 1
    assert f"(Posthorn {posthorn.__version__}); upgrade or stop them, then run this again" in refused.stderr
    await asyncio.to_thread(old.stop)
    assert f"Took away the old parts of {NEXT}." in await asyncio.to_thread(next_release.must_run, *contract)
    ended = await asyncio.to_thread(old.refuse)
    assert ended.code == 1
    assert f"newer Posthorn (schema {NEXT}, which needs at least {NEXT}; this one knows {HEAD})" in ended.errors


async def a_message(api: Api, number: int) -> Any:
    return (await api.post("/app/both/msg", {"eventType": "a.b", "payload": {"n": number}}))["id"]


def flags(dsn: str) -> tuple[str, ...]:
    return ("--allow-target", "127.0.0.0/8", "--database", dsn)
