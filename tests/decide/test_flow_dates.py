"""Dates of people: a lead before the day, and those born on 29 February; on every store."""

from datetime import datetime
from typing import Any

import pytest
from flow_parts import changing, send
from stored_world import StoredWorld

DUE = "{{ event.data.dueTime | slice: 0, 10 }}"
TURNS = ("02-28T09:59", "02-28T10:01", "02-29T09:59", "02-29T10:01", "03-01T09:59", "03-01T10:01")


async def born(world: StoredWorld, day: str, **fields: Any) -> None:
    """Let an automation know of a person who is born on a day."""
    await world.happen(type="hello", context=changing(set={"born": day}))
    await world.decide_all()
    trigger = {"type": "anniversary", "attribute": "born", "at": "10:00", **fields}
    await world.publish(await world.flow(triggers=[trigger], steps=[send(path=DUE)]))


async def be_at(world: StoredWorld, time: str) -> list[str]:
    """Go on to an instant of UTC and return the days that have come so far."""
    until_ms = int(datetime.fromisoformat(f"{time}:00+00:00").timestamp() * 1000)
    await world.pass_time((until_ms - world.clock.now_ms()) / 1000)
    return [url.rpartition("/")[2] for url in world.urls()]


@pytest.mark.parametrize(
    ("day", "lead", "expected"),
    [
        ("1990-05-20", 0, "2026-05-20"),
        ("1990-05-20", 7, "2026-05-13"),
        ("1990-01-03", 7, "2026-12-27"),  # for the birthday of the year after
        ("1990-03-01", 1, "2026-02-28"),
        ("1990-12-31", 300, "2026-03-06"),
    ],
)
async def test_a_birthday_is_told_so_many_days_before(world: StoredWorld, day: str, lead: int, expected: str) -> None:
    await born(world, day, leadDays=lead)
    assert await be_at(world, f"{expected}T09:59") == []
    assert await be_at(world, f"{expected}T10:01") == [expected]
    year_later = f"2027{expected[4:]}"
    assert await be_at(world, f"{year_later}T09:59") == [expected]
    assert await be_at(world, f"{year_later}T10:01") == [expected, year_later]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["2026-02-28", "2027-02-28", "2028-02-29"]),
        ({"leapDay": "feb28"}, ["2026-02-28", "2027-02-28", "2028-02-29"]),
        ({"leapDay": "mar1"}, ["2026-03-01", "2027-03-01", "2028-02-29"]),
        ({"leapDay": "leap_years_only"}, ["2028-02-29"]),
        ({"leapDay": "mar1", "leadDays": 1}, ["2026-02-28", "2027-02-28", "2028-02-28"]),
    ],
)
async def test_who_is_born_on_29_february_celebrates_as_the_automation_says(
    world: StoredWorld, fields: dict[str, Any], expected: list[str]
) -> None:
    await born(world, "1992-02-29", **fields)
    for year in (2026, 2027, 2028):
        for turn in TURNS:
            if "02-29" in turn and year != 2028:
                continue
            due = [day for day in expected if f"{day}T10:00" <= f"{year}-{turn}"]
            assert await be_at(world, f"{year}-{turn}") == due
