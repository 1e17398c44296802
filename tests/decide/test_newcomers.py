"""Schedules by each person's clock ring early and go through everybody; who comes after that is not left out."""

from typing import Any

import msgspec
from stored_world import StoredWorld

from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.resources import Automation

HOUR = 3600
DAY = 24 * HOUR
NINE = {"type": "schedule", "cron": "0 9 * * *"}
VIP = {"field": "profile.attributes.vip", "operator": "eq", "value": True}


async def scheduled(world: StoredWorld, trigger: dict[str, Any] = NINE) -> Automation:
    step = {"type": "send", "name": "send", "send": {"url": "https://example.test/{{ profile.id }}"}}
    automation = await world.flow(triggers=[trigger], steps=[step])
    await world.publish(automation)
    await world.pass_time(1)
    return automation


async def tell(world: StoredWorld, user: str, **changes: Any) -> None:
    context = EventContext(changes=ProfileChange(**changes))
    await world.happen(user=user, type="hello", context=msgspec.json.encode(context))
    await world.decide_all()


async def pass_hours(world: StoredWorld, hours: int) -> None:
    for _ in range(hours):
        await world.pass_time(HOUR)


def users(world: StoredWorld) -> list[str]:
    return [url.rpartition("/")[2] for url in world.urls()]


async def test_who_is_new_since_the_sweep_is_let_in_at_their_own_time(world: StoredWorld) -> None:
    await scheduled(world)  # 1 January 2026, 00:00 UTC: the sweep for nine o'clock went through
    await pass_hours(world, 6)
    await tell(world, "lisbon", time_zone="Europe/Lisbon")
    await tell(world, "tokyo", time_zone="Asia/Tokyo")  # where it is three in the afternoon
    await tell(world, "chicago", time_zone="America/Chicago")  # where it is midnight
    await pass_hours(world, 4)
    assert users(world) == ["lisbon"]
    await pass_hours(world, 6)
    assert users(world) == ["lisbon", "chicago"]
    await pass_hours(world, 24)
    assert users(world) == ["lisbon", "chicago", "tokyo", "lisbon", "chicago"]


async def test_who_comes_into_the_segment_since_the_sweep_is_let_in(world: StoredWorld) -> None:
    await world.segment("vip", VIP)
    await tell(world, "ann")
    await tell(world, "bob")
    await scheduled(world, NINE | {"segment": "seg_vip"})
    await pass_hours(world, 6)
    await tell(world, "ann", set={"vip": True})
    await tell(world, "new", set={"vip": True})
    await pass_hours(world, 4)
    assert sorted(users(world)) == ["ann", "new"]


async def test_coming_back_into_the_segment_later_in_the_day_lets_nobody_in_twice(world: StoredWorld) -> None:
    await world.segment("vip", VIP)
    await tell(world, "ann", set={"vip": True})
    await scheduled(world, NINE | {"segment": "seg_vip"})
    await pass_hours(world, 10)
    assert users(world) == ["ann"]
    for vip in (False, True):
        await tell(world, "ann", set={"vip": vip})
    await pass_hours(world, 10)
    assert users(world) == ["ann"]


async def test_who_moves_before_their_time_is_let_in_by_the_new_clock(world: StoredWorld) -> None:
    await tell(world, "ann", time_zone="Europe/Lisbon")
    await scheduled(world)
    await pass_hours(world, 3)
    await tell(world, "ann", time_zone="America/Chicago")
    await pass_hours(world, 11)
    assert users(world) == []
    await pass_hours(world, 2)
    assert users(world) == ["ann"]


async def test_who_moves_west_after_their_time_is_not_let_in_twice(world: StoredWorld) -> None:
    await tell(world, "ann", time_zone="Europe/Lisbon")
    await scheduled(world)
    await pass_hours(world, 10)
    assert users(world) == ["ann"]
    await tell(world, "ann", time_zone="America/Chicago")
    await pass_hours(world, 8)
    assert users(world) == ["ann"]
    await pass_hours(world, 24)
    assert users(world) == ["ann", "ann"]


async def test_a_schedule_by_one_clock_for_all_meets_newcomers_at_its_own_time(world: StoredWorld) -> None:
    await scheduled(world, NINE | {"timeZone": "UTC"})
    await pass_hours(world, 6)
    await tell(world, "ann")
    await pass_hours(world, 4)
    assert users(world) == ["ann"]


async def test_a_single_time_is_not_missed_by_who_comes_shortly_before(world: StoredWorld) -> None:
    await scheduled(world, {"type": "schedule", "at": "2026-01-01T09:00:00"})
    await pass_hours(world, 8)
    await tell(world, "ann")
    await tell(world, "late", time_zone="Asia/Tokyo")
    await pass_hours(world, 40)
    assert users(world) == ["ann"]


async def test_many_times_a_day_are_caught_up_with_as_far_as_a_hundred(world: StoredWorld) -> None:
    await scheduled(world, {"type": "schedule", "cron": "*/5 * * * *"})
    await pass_hours(world, 1)
    await tell(world, "ann")
    await pass_hours(world, 8)
    assert len(users(world)) == 96
