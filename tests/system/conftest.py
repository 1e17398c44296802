"""A real server for each module (tests keep apart by their own applications), or one of a test's own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from posthorn_process import Launch, Posthorn
from raw_http import Api, Client
from recording_receiver import Receiver


@pytest.fixture(scope="module")
def posthorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Posthorn]:
    """Serve for all tests of a module."""
    process = Posthorn(tmp_path_factory.mktemp("shared") / "data")
    process.start()
    yield process
    process.kill()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Make servers that end with the test, each over a data folder of the test's own."""
    made: list[Posthorn] = []

    def make(name: str = "data", **options: Any) -> Posthorn:
        made.append(Posthorn(tmp_path / name, **options))
        return made[-1]

    yield make
    for process in made:
        process.kill()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.open()
    yield receiver
    await receiver.close()


@pytest.fixture
async def api(posthorn: Posthorn) -> AsyncIterator[Api]:
    async with Api(posthorn) as api:
        yield api


@pytest.fixture
async def inbox(posthorn: Posthorn) -> AsyncIterator[Client]:
    async with Client(posthorn.inbox_port) as inbox:
        yield inbox
