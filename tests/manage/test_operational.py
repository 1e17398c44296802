"""What Posthorn does by itself: an endpoint that is gone is switched off and told of, once."""

import asyncio

import msgspec
from msgspec.structs import replace

from posthorn.engine.directory import Directory
from posthorn.engine.records import Append, AppendResult
from posthorn.engine.resources import Kind
from posthorn.manage.operational import Operational
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import an_endpoint
from posthorn.testing.memory import MemoryStore


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.directory = Directory()
        self.told: list[object] = []
        telemetry = Telemetry(strict=True)
        telemetry.subscribe(lambda _name, facts: self.told.append(facts["endpoint"]), "endpoint.disabled")
        self.operational = Operational(
            registry=self.store,
            directory=self.directory,
            accept=self._accept,
            clock=self.clock,
            telemetry=telemetry,
        )

    async def _accept(self, unit: Append) -> AppendResult:
        await asyncio.sleep(0)
        return (await self.store.append([unit]))[0]

    async def with_endpoint(self) -> "World":
        await self.store.insert(an_endpoint(id="ep_1"))
        await self.directory.refresh(self.store)
        return self

    def events(self) -> list[tuple[str, object]]:
        rows = [numbered.row for numbered in self.store._tables.events.values()]
        return [(row.type, msgspec.json.decode(row.payload or b"")["attemptId"]) for row in rows]


async def test_an_endpoint_that_is_gone_is_disabled_and_told_of() -> None:
    world = await World().with_endpoint()
    await world.operational.endpoint_gone("ep_1", "atmpt_1")
    endpoint = world.directory.endpoint("ep_1")
    assert endpoint is not None
    assert (endpoint.disabled, endpoint.disabled_reason) == (True, "gone")
    assert (world.events(), world.told) == ([("endpoint.disabled", "atmpt_1")], ["ep_1"])


async def test_attempts_that_hear_it_at_the_same_time_or_later_tell_of_it_once() -> None:
    world = await World().with_endpoint()
    await asyncio.gather(*[world.operational.endpoint_gone("ep_1", f"atmpt_{number}") for number in range(5)])
    await world.operational.endpoint_gone("ep_1", "atmpt_9")
    assert (len(world.events()), world.told) == (1, ["ep_1"])


async def test_enabled_again_and_gone_again_it_is_told_of_again() -> None:
    world = await World().with_endpoint()
    await world.operational.endpoint_gone("ep_1", "atmpt_1")
    world.clock.advance(60)
    endpoint = world.directory.endpoint("ep_1")
    assert endpoint is not None
    await world.store.replace(replace(endpoint, disabled=False, updated_ms=world.clock.now_ms()))
    await world.directory.refresh(world.store)
    await world.operational.endpoint_gone("ep_1", "atmpt_2")
    assert [attempt for _, attempt in world.events()] == ["atmpt_1", "atmpt_2"]


async def test_an_edit_meanwhile_is_kept() -> None:
    world = await World().with_endpoint()
    stale = world.directory.endpoint("ep_1")
    assert stale is not None
    await world.store.replace(replace(stale, url="https://new.test/"))
    await world.operational.endpoint_gone("ep_1", "atmpt_1")
    endpoint = world.directory.endpoint("ep_1")
    assert endpoint is not None
    assert (endpoint.url, endpoint.disabled) == ("https://new.test/", True)


async def test_what_is_deleted_or_no_endpoint_is_left_alone() -> None:
    world = await World().with_endpoint()
    await world.operational.endpoint_gone("auto_1/example.test", "atmpt_1")
    assert world.events() == []
    endpoint = world.directory.endpoint("ep_1")
    assert endpoint is not None
    await world.store.delete(Kind.ENDPOINT, endpoint.workspace, "ep_1")
    await world.operational.endpoint_gone("ep_1", "atmpt_2")
    assert world.told == []
