"""A world for each story, over each of the two stores.

In none of them may anything go wrong, a vendor refuse a request, or a secret show.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from story_world import Begin, StoryWorld


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request: pytest.FixtureRequest) -> str | None:
    """Choose the store: PostgreSQL at this address, or SQLite where there is none."""
    return request.getfixturevalue("postgres18_dsn") if request.param == "postgresql" else None


@pytest.fixture
async def begin(dsn: str | None, tmp_path: Path) -> AsyncIterator[Begin]:
    """Begin a story at an instant."""
    worlds: list[StoryWorld] = []

    async def start(start_ms: int) -> StoryWorld:
        world = StoryWorld(tmp_path, start_ms=start_ms, dsn=dsn)
        await world.start()
        worlds.append(world)
        return world

    yield start
    for world in worlds:
        leaks = await world.leaks()
        await world.stop()
        assert leaks == []
        assert world.node.troubles == []
        assert world.street.problems == {}
