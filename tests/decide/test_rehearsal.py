"""Previews and simulations: the real decider, and nothing that is stored or sent."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from deciding_world import World

from posthorn.clock import DAY_MS, HOUR_MS, SECOND_MS
from posthorn.decide.bygone import Window
from posthorn.decide.rehearsal import Rehearsed, preview, work_of
from posthorn.decide.simulation import Answer, Limits, Simulated, Simulation
from posthorn.engine.directory import Directory
from posthorn.engine.flows import AgainAfter, Flow, Once, OncePerKey, SendStep
from posthorn.engine.journal import EventQuery
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.records import Event
from posthorn.engine.resources import Automation, Segment
from posthorn.manage.asking import StoredPast
from posthorn.manage.bygone_days import window_of
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import WORKSPACE, an_automation, an_event

TRIAL = "auto_trial"
SEND = {"type": "send", "name": "send", "send": {"url": "https://example.test/{{ profile.id }}"}}


def trial(**fields: Any) -> Automation:
    """Make an automation that is not stored: a flow where there are steps, else the simplest form."""
    if "steps" not in fields:
        return an_automation(id=TRIAL, **fields)
    own = {name: fields.pop(name) for name in ("conditions", "eligibility") if name in fields}
    return an_automation(id=TRIAL, trigger=None, send=None, flow=msgspec.convert(fields, Flow), **own)


def alone(world: World, automation: Automation) -> Directory:
    directory = Directory()
    directory.fill([automation, *world.directory.every(Segment)])
    return directory


async def previewed(
    world: World, automation: Automation, event: Event, *, head: bytes | None = None, is_counted: bool = False
) -> Rehearsed:
    past = StoredPast(world.store, asyncio.get_running_loop())
    work, now_ms = work_of(event, head), world.clock.now_ms()
    return await asyncio.to_thread(preview, alone(world, automation), work, past, now_ms, is_counted=is_counted)


async def simulated(
    world: World,
    automation: Automation,
    *,
    window: Window | None = None,
    answers: Mapping[str, Answer] | None = None,
    limits: Limits | None = None,
) -> Simulated:
    past = StoredPast(world.store, asyncio.get_running_loop())
    simulation = Simulation(
        alone(world, automation), automation, past, answers=answers or {}, limits=limits or Limits()
    )
    return await asyncio.to_thread(simulation.go_through, window or await days(world))


async def days(world: World, since_ms: int = START_MS, most: int = 1000, most_bytes: int = 1 << 20) -> Window:
    now_ms = world.clock.now_ms()
    return await window_of(world.store, WORKSPACE, since_ms=since_ms, until_ms=now_ms, most=most, most_bytes=most_bytes)


async def change(world: World, user: str, **changes: Any) -> None:
    context = msgspec.json.encode(EventContext(changes=msgspec.convert(changes, ProfileChange)))
    await world.happen(user=user, type="identify", context=context)


def made_up(world: World, data: object = None, **fields: Any) -> Event:
    payload = msgspec.json.encode(data if data is not None else {})
    return an_event(**{"user": "ann", "received_ms": world.clock.now_ms(), "payload": payload} | fields)


def reasons(found: Rehearsed) -> list[str]:
    return [decision.reason for decision in found.decisions]


def urls(found: Simulated) -> list[str]:
    return [sample.request.url for sample in found.samples]


# ---- previews ----


async def test_a_preview_shows_the_request_for_a_person_with_masks_for_secrets() -> None:
    world = World()
    await change(world, "ann", set={"name": 'A"nn'})
    for _ in range(4):
        await world.happen(user="ann")
    await world.decide_all()
    send = SendStep(
        url="https://example.test/{{ secrets.TOKEN | md5 }}",
        body='{"n": {{ profile.attributes.name }}, "c": {{ counts["order.paid"].count }}}',
    )
    found = await previewed(world, trial(send=send), made_up(world))
    [request] = found.requests
    assert request.url == "https://example.test/••••••"
    assert request.body == '{"n": "A\\"nn", "c": 5}'
    assert (reasons(found), found.notes) == (["matched"], ())


async def test_a_preview_says_why_nothing_would_be_sent() -> None:
    conditions = {"field": "event.data.total", "operator": "gt", "value": 10}
    world = World()
    found = await previewed(world, trial(conditions=conditions), made_up(world, {"total": 3}))
    [decision] = found.decisions
    assert (decision.outcome, decision.reason) == ("not_matched", "condition_failed")
    assert "3" in decision.detail
    assert found.requests == ()


async def test_a_preview_of_a_flow_goes_to_the_first_wait() -> None:
    steps = [
        {"type": "send", "name": "hello", "send": {"url": "https://example.test/hello"}},
        {"type": "wait", "name": "wait", "seconds": 60},
        {"type": "send", "name": "later", "send": {"url": "https://example.test/later"}},
    ]
    automation = trial(triggers=[{"type": "event", "eventType": "order.paid"}], steps=steps)
    world = World()
    found = await previewed(world, automation, made_up(world))
    assert [request.url for request in found.requests] == ["https://example.test/hello"]
    assert [footprint.what for footprint in found.path] == ["entered", "queued", "waits"]


async def test_a_preview_knows_that_it_fired_before_for_the_key() -> None:
    world = World()
    rule = OncePerKey(key="{{ event.data.mode }}")
    automation = await world.automation(eligibility=rule)
    await world.happen({"mode": "quick"}, user="ann")
    await world.decide_all()
    assert reasons(await previewed(world, automation, made_up(world, {"mode": "quick"}))) == ["fired_before"]
    assert reasons(await previewed(world, automation, made_up(world, {"mode": "slow"}))) == ["matched"]
    assert reasons(await previewed(world, automation, made_up(world, {"mode": "quick"}, user="bob"))) == ["matched"]


async def test_a_preview_moves_and_ends_the_runs_that_are_under_way() -> None:
    world = World()
    cart = {"type": "absence", "eventType": "cart", "without": ["paid"], "seconds": 3600}
    automation = await world.flow(triggers=[cart], steps=[SEND])
    await world.happen(user="ann", type="cart")
    await world.decide_all()
    await world.pass_time(60)
    again = await previewed(world, automation, made_up(world, type="cart"))
    assert "it waits anew" in again.decisions[0].detail
    paid = await previewed(world, automation, made_up(world, type="paid"))
    assert [(footprint.what, footprint.detail) for footprint in paid.path] == [
        ("exited", "paid came: it did not stay away")
    ]
    assert (await previewed(world, automation, made_up(world, type="paid", user="bob"))).path == ()


async def test_a_preview_under_a_merged_id_is_for_the_person_behind_it() -> None:
    world = World()
    automation = await world.automation(eligibility=Once(), send={"url": "https://example.test/{{ profile.id }}"})
    await change(world, "ann", set={"phone": "1"})
    await change(world, "anonymous", mergeInto="ann")
    await world.decide_all()
    found = await previewed(world, automation, made_up(world, user="anonymous"))
    assert [request.url for request in found.requests] == ["https://example.test/ann"]
    await world.happen(user="ann")
    await world.decide_all()
    assert reasons(await previewed(world, automation, made_up(world, user="anonymous"))) == ["fired_before"]


async def test_a_preview_says_that_content_was_not_fetched() -> None:
    world = World()
    body = "{% connected_content https://prices.test/ :save price %}{{ price.now | default: 'unknown' }}"
    automation = trial(send=SendStep(url="https://example.test/", body=body, dialect="braze"))
    found = await previewed(world, automation, made_up(world))
    assert [request.body for request in found.requests] == ['"unknown"']
    assert "connected_content" in found.notes[0]


# ---- simulations ----


async def test_a_simulation_remembers_between_events_as_deciding_does() -> None:
    world = World()
    for number in range(60):
        await world.happen({"mode": number % 2}, user=f"u{number % 3}")
    await world.decide_all()
    found = await simulated(world, trial(eligibility=OncePerKey(key="{{ event.data.mode }}")))
    assert (found.events, found.people, found.requests, found.is_cut) == (60, 3, 6, False)
    assert found.outcomes == {"fired/matched": 6, "not_eligible/fired_before": 54}
    assert len(found.samples) == 6


async def test_a_simulation_knows_who_fired_before_it_and_forgets_who_fired_in_it() -> None:
    world = World()
    automation = await world.automation(eligibility=Once(), send={"url": "https://example.test/{{ profile.id }}"})
    await world.happen(user="ann")
    await world.pass_time(HOUR_MS / SECOND_MS)
    since_ms = world.clock.now_ms()
    for user in ("ann", "bob", "bob"):
        await world.happen(user=user)
    await world.decide_all()
    found = await simulated(world, automation, window=await days(world, since_ms))
    assert urls(found) == ["https://example.test/bob"]
    assert found.outcomes == {"fired/matched": 1, "not_eligible/fired_before": 2}


async def test_a_simulation_says_when_it_looked_up_no_more_earlier_firings() -> None:
    world = World()
    automation = await world.automation(eligibility=AgainAfter(seconds=2 * 3600))
    for user in ("ann", "bob"):
        await world.happen(user=user)
    await world.decide_all()
    await world.pass_time(3600)
    since_ms = world.clock.now_ms()
    for _ in range(2):
        for user in ("ann", "bob"):
            await world.happen(user=user)
        await world.decide_all()
        await world.pass_time(3600)
    window = await days(world, since_ms)
    found = await simulated(world, automation, window=window)
    assert ([sample.at_ms < since_ms + HOUR_MS for sample in found.samples], found.is_cut) == ([False, False], False)
    found = await simulated(world, automation, window=window, limits=Limits(firings=1))
    assert ([sample.at_ms < since_ms + HOUR_MS for sample in found.samples], found.is_cut) == ([True, False], True)
    assert "more than 1 people" in found.notes[0]


async def test_a_simulation_lets_waits_pass_between_events_and_until_its_end() -> None:
    world = World()
    absence = {"type": "absence", "eventType": "cart", "without": ["paid"], "seconds": 3600}
    for user in ("a", "b"):
        await world.happen(user=user, type="cart")
    await world.pass_time(1800)
    await world.happen(user="b", type="paid")
    await world.pass_time(7200)
    found = await simulated(world, trial(triggers=[absence], steps=[SEND]))
    assert urls(found) == ["https://example.test/a"]
    assert found.samples[0].at_ms == START_MS + 4 + HOUR_MS


async def test_a_simulation_answers_requests_that_a_run_waits_for() -> None:
    world = World()
    await world.happen(user="ann")
    await world.decide_all()
    ways = [{"conditions": {"field": "steps.ask.status", "operator": "eq", "value": 200}, "steps": [named("yes")]}]
    automation = trial(
        triggers=[{"type": "event", "eventType": "order.paid"}],
        steps=[
            named("ask", waitForAnswer=True),
            {"type": "branch", "name": "which", "ways": ways, "otherwise": [named("no")]},
            named("last", url="https://example.test/{{ steps.ask.body.who | default: 'nobody' }}"),
        ],
    )
    found = await simulated(world, automation)
    assert urls(found) == [f"https://example.test/{name}" for name in ("ask", "yes", "nobody")]
    assert "step ask were answered at once, with the status 200" in found.notes[0]
    chosen = await simulated(world, automation, answers={"ask": Answer(status=404, body=b'{"who": "eve"}')})
    assert urls(chosen) == [f"https://example.test/{name}" for name in ("ask", "no", "eve")]


def named(name: str, url: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "send", "name": name, "send": {"url": url or f"https://example.test/{name}"}} | fields


async def test_a_simulation_lets_people_into_segments_when_they_really_came_in() -> None:
    world = World()
    await world.segment("quiet", {"not": {"performed": {"event": "order.paid", "atLeast": 1, "withinSeconds": 3600}}})
    await world.happen(user="ann")
    await world.pass_time(0)
    since_ms = world.clock.now_ms() + 1
    for _ in range(4):
        await world.pass_time(1800)
    assert "seg_quiet" in world.person("ann").segments
    automation = trial(triggers=[{"type": "segment", "segment": "seg_quiet", "moves": "enters"}], steps=[SEND])
    await world.happen(user="ann", type="other")
    await world.decide_all()
    found = await simulated(world, automation, window=await days(world, since_ms))
    assert [(sample.at_ms, sample.request.url) for sample in found.samples] == [
        (world.person("ann").segments["seg_quiet"], "https://example.test/ann")
    ]


async def test_a_simulation_leaves_out_what_the_automation_itself_brought_about() -> None:
    world = World()
    steps = [{"type": "emit_event", "name": "tell", "eventType": "order.told"}, SEND]
    triggers = [{"type": "event", "eventType": "order.paid"}, {"type": "event", "eventType": "order.told"}]
    automation = await world.flow(triggers=triggers, steps=steps)
    await world.happen(user="ann")
    await world.decide_all()
    really = len(world.requests())
    found = await simulated(world, automation)
    assert (found.events, found.requests) == (1, really)


async def test_a_simulation_lets_the_event_of_a_merge_count_for_nobody() -> None:
    world = World()
    for _ in range(2):
        await world.happen(user="ann")
    await world.pass_time(1)
    since_ms = world.clock.now_ms()
    merge = msgspec.json.encode(EventContext(changes=ProfileChange(merge_into="ann")))
    await world.happen(user="anonymous", context=merge)
    for user in ("anonymous", "ann"):
        await world.happen(user=user)
    await world.decide_all()
    automation = trial(
        triggers=[{"type": "event", "eventType": "order.paid"}],
        steps=[named("n", url="https://example.test/{{ counts['order.paid'].count }}")],
    )
    found = await simulated(world, automation, window=await days(world, since_ms))
    assert urls(found) == ["https://example.test/3", "https://example.test/4"]


async def test_a_simulation_of_very_many_events_begins_later_and_counts_right() -> None:
    world = World()
    for _ in range(7):
        await world.happen(user="ann")
    await world.decide_all()
    automation = trial(
        triggers=[{"type": "count", "eventType": "order.paid", "count": 5}],
        steps=[named("five", url="https://example.test/{{ counts['order.paid'].count }}")],
    )
    found = await simulated(world, automation, window=await days(world, most=4))
    assert (found.events, found.is_cut, urls(found)) == (4, True, ["https://example.test/5"])
    assert found.since_ms > START_MS
    assert "more than 4 events" in found.notes[0]
    found = await simulated(world, automation, window=await days(world, most_bytes=4))
    assert (found.events, found.is_cut) == (2, True)


async def test_a_simulation_that_takes_too_long_ends_and_says_so() -> None:
    world = World()
    for _ in range(5):
        await world.happen(user="ann")
    await world.decide_all()
    found = await simulated(world, trial(), limits=Limits(works=3))
    assert (found.events, found.requests, found.is_cut) == (3, 3, True)
    assert "3 steps" in found.notes[0]
    found = await simulated(world, trial(), limits=Limits(is_late=lambda: True))
    assert (found.events, found.is_cut) == (0, True)
    assert "too long" in found.notes[0]


async def test_a_simulation_of_a_schedule_goes_through_so_many_people_and_says_when_there_are_more() -> None:
    world = World()
    for number in range(250):
        await world.happen(user=f"u{number:03}")
    await world.decide_all()
    await world.pass_time(DAY_MS / SECOND_MS)
    automation = trial(triggers=[{"type": "schedule", "cron": "0 9 * * *", "timeZone": "UTC"}], steps=[SEND])
    found = await simulated(world, automation)
    assert (found.people, found.is_cut) == (250, False)
    found = await simulated(world, automation, limits=Limits(people=200))
    assert (found.people, found.is_cut) == (200, True)
    assert "first 200 people" in found.notes[0]
    found = await simulated(world, automation, limits=Limits(waiting=10))
    assert found.people < 20
    assert "10 timers" in found.notes[0]


async def test_a_simulation_adds_to_numbers_what_was_really_added() -> None:
    world = World()
    await change(world, "ann", set={"points": 10, "level": {"now": 1}})
    await world.pass_time(1)
    since_ms = world.clock.now_ms()
    for _ in range(3):
        await change(world, "ann", increment={"points": 5, "level.now": 1})
    await world.decide_all()
    url = "https://example.test/{{ profile.attributes.points }}/{{ profile.attributes.level.now }}"
    automation = trial(triggers=[{"type": "event", "eventType": "identify"}], steps=[named("n", url=url)])
    found = await simulated(world, automation, window=await days(world, since_ms))
    assert urls(found) == [f"https://example.test/{way}" for way in ("15/2", "20/3", "25/4")]
    await change(world, "ann", set={"points": 0})
    await world.decide_all()
    found = await simulated(world, automation, window=await days(world, since_ms))
    assert urls(found)[-1] == "https://example.test/0/4"  # what was before it was set nobody knows any more


async def test_a_simulation_says_that_a_trigger_by_attribute_sees_too_little() -> None:
    world = World()
    await change(world, "ann", set={"plan": "gold"})
    await world.decide_all()
    found = await simulated(world, trial(triggers=[{"type": "attribute", "attribute": "plan"}], steps=[SEND]))
    assert found.requests == 0
    assert "trigger by attribute" in found.notes[0]


async def test_a_rehearsal_writes_nothing() -> None:
    world = World()
    automation = await world.automation()
    for user in ("ann", "bob"):
        await world.happen(user=user)
    await world.decide_all()
    before = await written(world)
    await previewed(world, automation, made_up(world))
    assert (await simulated(world, automation)).requests == 2
    assert await written(world) == before


async def written(world: World) -> Sequence[Any]:
    page = await world.store.events(EventQuery(workspace=WORKSPACE))
    return [world.store.figures()["commits"], page.rows, world.requests(), world.runs(), world.decisions()]
