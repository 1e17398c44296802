"""Lane rules: compiled once per change, and never later than a key's expiry."""

import msgspec
import pytest
from delivering_world import World
from msgspec.structs import replace

from posthorn.deliver.targets import schedule_in_ms
from posthorn.engine.lanes import lane_shard
from posthorn.engine.marks import MASK
from posthorn.engine.resources import Kind
from posthorn.engine.shards import shard_of
from posthorn.errors import PosthornError
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import APPLICATION, an_application, an_automation


@pytest.fixture
def world() -> World:
    return World()


async def test_rules_are_compiled_once_and_again_after_a_change(world: World) -> None:
    endpoint = await world.endpoint()
    first = world.lanes.rules("ep_1", START_MS)
    assert first is not None
    assert world.lanes.rules("ep_1", START_MS + 1) is first
    await world.change(replace(endpoint, url="https://other.test/"))
    second = world.lanes.rules("ep_1", START_MS)
    assert second is not None
    assert (first.url, second.url) == ("https://ep-1.test/hook", "https://other.test/")


async def test_a_rotated_key_signs_until_it_expires_and_not_a_millisecond_longer(world: World) -> None:
    old = replace(world.sealed("ep_1"), expires_ms=START_MS + 1000)
    await world.endpoint(secrets=(world.sealed("ep_1"), old))
    before, after = world.lanes.rules("ep_1", START_MS + 999), world.lanes.rules("ep_1", START_MS + 1000)
    assert before is not None
    assert after is not None
    assert (len(before.keys), len(after.keys), after.keys_until_ms) == (2, 1, None)


async def test_what_is_gone_has_no_rules(world: World) -> None:
    endpoint = await world.endpoint()
    assert world.lanes.rules("ep_1", START_MS) is not None
    await world.store.delete(Kind.ENDPOINT, endpoint.workspace, endpoint.id)
    await world.directory.refresh(world.store)
    assert world.lanes.rules("ep_1", START_MS) is None
    assert world.lanes._compiled == {}


async def test_an_endpoints_throttle_comes_before_its_applications(world: World) -> None:
    await world.store.insert(an_application(id=APPLICATION, throttle_rate=7))
    await world.endpoint("ep_1")
    await world.endpoint("ep_2", throttle_rate=3)
    rates = [rules.rate for name in ("ep_1", "ep_2") if (rules := world.lanes.rules(name, START_MS)) is not None]
    assert rates == [7, 3]


async def test_a_change_of_an_applications_throttle_is_in_force_at_once(world: World) -> None:
    application = an_application(id=APPLICATION, throttle_rate=7)
    await world.store.insert(application)
    await world.endpoint("ep_1")
    first = world.lanes.rules("ep_1", START_MS)
    await world.store.replace(replace(application, throttle_rate=2))
    await world.directory.refresh(world.store)
    second = world.lanes.rules("ep_1", START_MS)
    assert first is not None
    assert second is not None
    assert (first.rate, second.rate) == (7, 2)


async def test_an_automations_lanes_share_its_rules(world: World) -> None:
    automation = an_automation(id="auto_1", throttle_rate=2, retry_schedule_seconds=(1,))
    await world.store.insert(automation)
    await world.directory.refresh(world.store)
    rules = world.lanes.rules("auto_1/example.test", START_MS)
    assert rules is not None
    assert world.lanes.rules("auto_1/other.test", START_MS) is rules
    assert (rules.url, rules.rate, rules.schedule_ms, rules.paused) == (None, 2, (0, 1000), False)


def test_the_lanes_of_one_automation_belong_to_one_node() -> None:
    assert len({lane_shard(f"auto_1/{number}.test") for number in range(100)}) == 1
    assert len({lane_shard(f"auto_{number}/a.test") for number in range(100)}) > 50
    assert lane_shard("ep_1") == shard_of("ep_1")


async def test_sealed_headers_are_opened_and_shown_masked(world: World) -> None:
    sealed = world.key_ring.seal(msgspec.json.encode({"X-Key": "s3cret"}), context="ep_1")
    await world.endpoint(headers_sealed=sealed)
    rules = world.lanes.rules("ep_1", START_MS)
    assert rules is not None
    assert rules.shown_headers == (("X-Key", MASK),)


async def test_a_secret_sealed_for_another_place_is_an_error_and_no_unsigned_request(world: World) -> None:
    await world.endpoint(secrets=(world.sealed("elsewhere"),))
    with pytest.raises(PosthornError):
        world.lanes.rules("ep_1", START_MS)


def test_the_first_attempt_of_any_schedule_is_at_once() -> None:
    assert schedule_in_ms(()) == (0,)
    assert schedule_in_ms((5, 60)) == (0, 5000, 60_000)
