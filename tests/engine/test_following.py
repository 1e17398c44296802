"""How a node learns what other nodes configured."""

import asyncio

import pytest

from posthorn.engine.directory import Directory
from posthorn.engine.following import POLL_SECONDS, Follower, found, nothing_new
from posthorn.engine.resources import Change
from posthorn.errors import NotFound, StoreUnavailable, Unauthenticated
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import an_endpoint
from posthorn.testing.memory import MemoryStore


class CountingStore(MemoryStore):
    """A registry that counts how often it was asked, answers when it is let, and can be down."""

    questions = 0
    is_down = False

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.let.set()

    async def changes(self, after: int) -> list[Change]:
        self.questions += 1
        if self.is_down:
            raise StoreUnavailable("down")
        answer = await super().changes(after)
        await self.let.wait()
        return answer


class World:
    def __init__(self, *, is_shared: bool = True) -> None:
        self.store = CountingStore()
        self.directory = Directory()
        self.clock = ManualClock()
        self.follower = Follower(
            registry=self.store,
            directory=self.directory,
            clock=self.clock,
            telemetry=Telemetry(strict=True),
            is_shared=is_shared,
        )


async def test_what_another_node_wrote_is_known_after_the_next_poll() -> None:
    world = World()
    await world.store.insert(an_endpoint(id="ep_1"))
    assert world.directory.endpoint("ep_1") is None
    assert await world.follower.run_once() == POLL_SECONDS < 1
    assert world.directory.endpoint("ep_1") is not None


async def test_a_store_that_is_down_is_asked_again() -> None:
    world = World()
    world.store.is_down = True
    assert await world.follower.run_once() == 1.0


async def test_a_node_that_has_the_store_to_itself_asks_nothing() -> None:
    world = World(is_shared=False)
    assert await world.follower.run_once() is None
    assert not await world.follower.catch_up()
    assert world.store.questions == 0


async def test_catching_up_sees_everything_that_was_committed_before_the_call() -> None:
    world = World()
    assert not await world.follower.catch_up()
    world.store.let.clear()
    first = asyncio.create_task(world.follower.catch_up())
    while world.store.questions < 2:
        world.clock.advance(1)
        await asyncio.sleep(0)
    await world.store.insert(an_endpoint(id="ep_1"))
    second = asyncio.create_task(world.follower.catch_up())
    await asyncio.sleep(0)
    world.store.let.set()
    assert not await first
    assert await second
    assert world.directory.endpoint("ep_1") is not None


async def test_many_callers_share_a_read() -> None:
    world = World()
    await asyncio.gather(*[world.follower.catch_up() for _ in range(100)])
    assert world.store.questions == 1


async def test_callers_do_not_queue_up_behind_a_store_that_hangs() -> None:
    """However many there are and however long it lasts: one read is under way, and one waits for all who came since."""
    world = World()
    world.store.let.clear()
    callers = []
    for _ in range(50):
        callers.append(asyncio.create_task(world.follower.catch_up()))
        for _ in range(5):
            world.clock.advance(1)
            await asyncio.sleep(0)
    world.store.let.set()
    await asyncio.gather(*callers)
    assert world.store.questions == 2


async def test_catching_up_with_a_store_that_is_down_raises_for_every_caller() -> None:
    world = World()
    world.store.is_down = True
    outcomes = await asyncio.gather(*[world.follower.catch_up() for _ in range(3)], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3


@pytest.mark.parametrize("unknown", [NotFound("no"), Unauthenticated("no")])
async def test_what_is_unknown_is_looked_up_once_more_after_catching_up(unknown: Exception) -> None:
    looked = 0

    def look() -> int:
        nonlocal looked
        looked += 1
        if looked == 1:
            raise unknown
        return looked

    async def something_new() -> bool:
        return True

    assert await found(look, something_new) == 2
    looked = 0
    with pytest.raises(type(unknown)):
        await found(look, nothing_new)
    assert looked == 1
