"""A simulation of days that were really decided says what was really sent, on every store."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from deciding_world import World
from rehearsing_desk import rehearsing

from posthorn.clock import DAY_MS, iso_text
from posthorn.decide.simulation import Simulated
from posthorn.engine.flows import AgainAfter, Flow, OncePerKey
from posthorn.engine.journal import DecisionQuery, EventQuery
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.records import DecisionOutcome, LaneRead, OutgoingRequest
from posthorn.engine.resources import Cap, Workspace
from posthorn.engine.shards import SHARDS
from posthorn.manage.automations import DraftFields
from posthorn.manage.rehearsals import SimulationOf, Trial
from posthorn.storage.postgres.store import PostgresStore
from posthorn.storage.sqlite.store import SqliteStore
from posthorn.testing.clock import ManualClock
from posthorn.testing.factories import WORKSPACE
from posthorn.testing.memory import MemoryStore

Sent = list[tuple[str, str | None]]

PHONE = {"field": "profile.attributes.phone", "operator": "exists", "value": True}
FLIGHT: dict[str, Any] = {
    "triggers": [{"type": "count", "eventType": "flight_booked", "count": 5, "every": True}],
    "steps": [
        {
            "type": "send",
            "name": "credit",
            "send": {
                "url": "https://air.test/{{ profile.id }}",
                "body": '{"booking": {{ event.data.booking }}, "n": {{ counts.flight_booked.count }}}',
            },
        }
    ],
}
CART: dict[str, Any] = {
    "triggers": [
        {
            "type": "absence",
            "eventType": "cart_updated",
            "without": ["order_paid"],
            "seconds": 3600,
            "key": "{{ event.data.cart }}",
        }
    ],
    "steps": [
        {"type": "send", "name": "first", "send": {"url": "https://shop.test/{{ profile.id }}/{{ run.key }}"}},
        {"type": "wait", "name": "day", "seconds": 86400},
        {
            "type": "send",
            "name": "second",
            "send": {"url": "https://shop.test/again/{{ profile.attributes.phone | default: 'none' }}", "body": "{}"},
        },
    ],
    "exitOn": ["order_paid"],
}
VISIT: dict[str, Any] = {
    "triggers": [{"type": "event", "eventType": "visited"}],
    "steps": [
        {
            "type": "wait_for_event",
            "name": "buys",
            "eventTypes": ["bought"],
            "seconds": 7200,
            "onTimeout": [
                {
                    "type": "send",
                    "name": "remind",
                    "send": {"url": "https://shop.test/{{ profile.id }}/{{ event.data.n }}", "body": "{}"},
                }
            ],
        }
    ],
    "quietTime": {"start": "22:00", "end": "07:00", "spreadSeconds": 0},
}
BIRTHDAY: dict[str, Any] = {
    "triggers": [{"type": "anniversary", "attribute": "birthday", "at": "09:00"}],
    "steps": [{"type": "send", "name": "wish", "send": {"url": "https://wish.test/{{ profile.id }}", "body": "{}"}}],
}
MORNING: dict[str, Any] = {
    "triggers": [{"type": "schedule", "cron": "0 9 * * *", "timeZone": "UTC"}],
    "steps": [{"type": "send", "name": "hi", "send": {"url": "https://hi.test/{{ profile.id }}", "body": "{}"}}],
}


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str | None:
    """Choose the store: a folder for SQLite, the address of PostgreSQL, nothing for the memory."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres18_dsn"))
    return tmp_path if request.param == "sqlite" else None


@pytest.fixture
async def world(where: Path | str | None) -> AsyncIterator[World]:
    clock = ManualClock()
    store: Any = MemoryStore(clock)
    if where is not None:
        store = await (SqliteStore.open(where, clock) if isinstance(where, Path) else PostgresStore.open(where, clock))
    made = World(store, clock)
    yield made
    await store.close()


async def change(world: World, user: str, **changes: Any) -> None:
    context = msgspec.json.encode(EventContext(changes=msgspec.convert(changes, ProfileChange)))
    await world.happen(user=user, type="identify", context=context)


async def live(world: World, hours: float) -> None:
    """Let hours go by, deciding every half of one."""
    for _ in range(int(hours * 2)):
        await world.pass_time(1800)


async def sent(world: World) -> Sent:
    """List what waits to be delivered, in the order in which it was queued."""
    now_ms = world.clock.now_ms()
    lanes = await world.store.ready(range(SHARDS), after_ms=None, now_ms=now_ms)
    reads = [LaneRead(shard=lane.shard, endpoint=lane.endpoint, room=1000) for lane in lanes]
    works = [work for taken in await world.store.take(reads, now_ms=now_ms) for work in taken.works]
    works.sort(key=lambda work: (work.due_ms, work.id))
    shown = [msgspec.json.decode(work.rendered.shown, type=OutgoingRequest) for work in works if work.rendered]
    return [(request.url, request.body) for request in shown]


def said(found: Simulated) -> Sent:
    return [(sample.request.url, sample.request.body) for sample in found.samples]


async def written(world: World) -> Sequence[Any]:
    """Everything that a rehearsal could have left behind."""
    page = await world.store.events(EventQuery(workspace=WORKSPACE, limit=250))
    return [world.store.figures()["commits"], [event.id for event in page.rows], await sent(world)]


async def simulate(world: World, flow: dict[str, Any], *, days: int, **fields: Any) -> Simulated:
    """Simulate an automation that was never published: a draft under a uid of its own. Nothing may be left of it."""
    automations, rehearsals = rehearsing(world)
    draft = DraftFields(name="Draft", flow=msgspec.convert(flow, Flow), **fields)
    await automations.keep_draft(WORKSPACE, "on-trial", draft)
    before = await written(world)
    found = await rehearsals.simulate(WORKSPACE, "on-trial", SimulationOf(days=days))
    assert await written(world) == before
    return found


async def test_a_simulation_of_fifth_flights_says_what_was_really_sent(world: World) -> None:
    await world.flow(**FLIGHT, conditions=PHONE)
    await change(world, "ann", set={"phone": "1"})
    await change(world, "bob", set={"phone": "2"})
    for user, flights in (("ann", 4), ("bob", 1), ("cid", 4), ("old", 2)):
        for _ in range(flights):
            await world.happen({"booking": "before"}, user=user, type="flight_booked")
    await change(world, "old", mergeInto="bob")
    await live(world, 30)
    assert await sent(world) == []
    for number in range(12):
        for user in ("ann", "bob", "cid", "dan", "old"):
            await world.happen({"booking": f"{user}-{number}"}, user=user, type="flight_booked")
        await live(world, 1)
    really = await sent(world)
    assert [url for url, _ in really].count("https://air.test/ann") == 3
    found = await simulate(world, FLIGHT, days=1, conditions=PHONE)
    assert sorted(said(found), key=str) == sorted(really, key=str)
    assert (found.requests, found.people, found.is_cut) == (len(really), 2, False)


async def test_a_simulation_of_abandoned_carts_says_what_was_really_sent(world: World) -> None:
    once = OncePerKey(key="{{ event.data.cart }}")
    await world.flow(**CART, eligibility=once)
    await change(world, "u1", set={"phone": "1"})
    await live(world, 1)
    for number in range(4):
        for user in range(4):
            await world.happen({"cart": f"c{number % 3}"}, user=f"u{user}", type="cart_updated")
        await live(world, 0.5)
        await world.happen({"cart": f"c{number}"}, user=f"u{number % 3}", type="order_paid")
        await live(world, 9)
    await live(world, 30)
    really = await sent(world)
    assert len(really) > 10
    found = await simulate(world, CART, days=4, eligibility=once)
    assert sorted(said(found), key=str) == sorted(really, key=str)
    assert not found.is_cut


async def test_a_simulation_keeps_to_quiet_hours_and_caps_as_deciding_did(world: World) -> None:
    caps = (Cap(period="day", most=2),)
    await world.put(Workspace(id=WORKSPACE, workspace=WORKSPACE, name="w", caps=caps, created_ms=0, updated_ms=0))
    rule = AgainAfter(seconds=4 * 3600)
    await world.flow(**VISIT, eligibility=rule)
    await world.happen({"n": "before"}, user="u0", type="visited")
    await live(world, 24)
    for number in range(15):
        for user in range(3):
            await world.happen({"n": number}, user=f"u{user}", type="visited")
        await live(world, 1)
        await world.happen(user=f"u{number % 5}", type="bought")
        await live(world, 2)
    really = [one for one in await sent(world) if "before" not in one[0]]
    assert len(really) == 12
    found = await simulate(world, VISIT, days=2, eligibility=rule)
    assert sorted(said(found), key=str) == sorted(really, key=str)
    assert set(found.outcomes) == {"fired/entered", "not_eligible/fired_recently"}


async def test_a_simulation_of_an_automation_that_goes_on_knows_when_it_fired_last_before(world: World) -> None:
    automation = await world.automation(eligibility=AgainAfter(seconds=5 * 3600), send={"url": "https://a.test/"})
    for number in range(23):
        for user in ("ann", "bob"):
            if number % 3 or user == "ann":
                await world.happen({"n": number}, user=user)
        await world.decide_all()
        await live(world, 1)
    really = await sent(world)
    _, rehearsals = rehearsing(world)
    simulated = await rehearsals.simulate(WORKSPACE, automation.id, SimulationOf(days=1))
    assert simulated.requests == len(really) == 9
    await live(world, 12)
    for _ in range(9):
        for user in ("ann", "bob"):
            await world.happen(user=user)
        await world.decide_all()
        await live(world, 1)
    before = await written(world)
    simulated = await rehearsals.simulate(WORKSPACE, automation.id, SimulationOf(days=1))
    since_ms = world.clock.now_ms() - DAY_MS
    assert simulated.requests == len([at_ms for at_ms in await sent_at(world) if at_ms >= since_ms])
    assert await written(world) == before


async def sent_at(world: World) -> list[int]:
    page = await world.store.decisions(DecisionQuery(workspace=WORKSPACE, outcome=DecisionOutcome.FIRED, limit=250))
    return [decision.decided_ms for decision in page.rows]


@pytest.mark.parametrize(("flow", "expected"), [(BIRTHDAY, 2), (MORNING, 6)])
async def test_a_simulation_of_what_time_brings_says_what_was_really_sent(
    world: World, flow: dict[str, Any], expected: int
) -> None:
    begun_ms = world.clock.now_ms()
    for number in range(3):
        day = iso_text(begun_ms + number * DAY_MS)[5:10]
        await change(world, f"u{number}", set={"birthday": f"1990-{day}"})
    await world.decide_all()
    await world.publish(await world.flow(**flow))
    await live(world, 48)
    really = await sent(world)
    assert len(really) == expected
    found = await simulate(world, flow, days=2)
    assert sorted(said(found)) == sorted(really)


async def test_a_preview_leaves_nothing_behind(world: World) -> None:
    automation = await world.flow(**FLIGHT, conditions=PHONE)
    await change(world, "ann", set={"phone": "1"})
    for _ in range(4):
        await world.happen(user="ann", type="flight_booked")
    await world.decide_all()
    _, rehearsals = rehearsing(world)
    before = await written(world)
    trial = Trial(user="ann", type="flight_booked", data=msgspec.Raw(b'{"booking": "LX1"}'))
    found = await rehearsals.preview(WORKSPACE, automation.id, trial)
    assert [request.body for request in found.requests] == ['{"booking": "LX1", "n": 5}']
    assert await written(world) == before
