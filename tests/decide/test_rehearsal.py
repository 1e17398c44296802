"""Previews and simulations: the real decider, and nothing that is stored or sent."""

from typing import Any

import msgspec
from deciding_world import World

from posthorn.decide.rehearsal import Rehearsal
from posthorn.engine.directory import Directory
from posthorn.engine.flows import Flow, OncePerKey, SendStep
from posthorn.engine.people import Profile
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Event, EventCount, Recalled
from posthorn.engine.resources import Automation
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import WORKSPACE, an_automation, an_event

HOUR_MS = 3_600_000


def rehearsal(**fields: Any) -> Rehearsal:
    if "steps" in fields:
        flow = msgspec.convert(fields, Flow)
        automation: Automation = an_automation(trigger=None, send=None, flow=flow)
    else:
        automation = an_automation(**fields)
    directory = Directory()
    directory.fill([automation])
    return Rehearsal(directory)


def happening(at_ms: int = START_MS, *, user: str | None = "ann", data: object = None, **fields: Any) -> Event:
    payload = msgspec.json.encode(data if data is not None else {})
    return an_event(received_ms=at_ms, user=user, payload=payload, **fields)


def test_a_preview_shows_the_request_for_a_person_with_masks_for_secrets() -> None:
    key = user_profile(WORKSPACE, "ann")
    person = Profile(key=key, workspace=WORKSPACE, user="ann", created_ms=0, updated_ms=0, attributes={"name": 'A"nn'})
    count = EventCount(profile=key, type="order.paid", count=4, first_ms=0, last_ms=0)
    send = SendStep(
        url="https://example.test/{{ secrets.TOKEN | md5 }}",
        body='{"n": {{ profile.attributes.name }}, "c": {{ counts["order.paid"].count }}}',
    )
    recalled = Recalled(profiles={key: person}, counts={(key, "order.paid"): count})
    found = rehearsal(send=send).preview(happening(), recalled, START_MS)
    [request] = found.requests
    assert request.url == "https://example.test/••••••"
    assert request.body == '{"n": "A\\"nn", "c": 5}'
    assert [decision.reason for decision in found.decisions] == ["matched"]


def test_a_preview_says_why_nothing_would_be_sent() -> None:
    conditions = {"field": "event.data.total", "operator": "gt", "value": 10}
    found = rehearsal(conditions=conditions).preview(happening(data={"total": 3}), Recalled(), START_MS)
    [decision] = found.decisions
    assert (decision.outcome, decision.reason) == ("not_matched", "condition_failed")
    assert "3" in decision.detail
    assert found.requests == ()


def test_a_preview_of_a_flow_goes_to_the_first_wait() -> None:
    steps = [
        {"type": "send", "name": "hello", "send": {"url": "https://example.test/hello"}},
        {"type": "wait", "name": "wait", "seconds": 60},
        {"type": "send", "name": "later", "send": {"url": "https://example.test/later"}},
    ]
    found = rehearsal(triggers=[{"type": "event", "eventType": "order.paid"}], steps=steps).preview(
        happening(), Recalled(), START_MS
    )
    assert [request.url for request in found.requests] == ["https://example.test/hello"]
    assert [footprint.what for footprint in found.path] == ["entered", "queued", "waits"]


def test_a_simulation_remembers_between_events_as_deciding_does() -> None:
    eligibility = OncePerKey(key="{{ event.data.mode }}")
    events = [happening(START_MS + n, user=f"u{n % 3}", data={"mode": n % 2}) for n in range(60)]
    found = rehearsal(eligibility=eligibility).simulate(events, most=1000)
    assert (found.events, found.people, found.requests, found.is_cut) == (60, 3, 6, False)
    assert found.outcomes == {"fired/matched": 6, "not_eligible/fired_before": 54}
    assert len(found.samples) == 6


def test_a_simulation_lets_waits_pass_between_events() -> None:
    absence = {"type": "absence", "eventType": "cart", "without": ["paid"], "seconds": 3600}
    send = {"type": "send", "name": "coupon", "send": {"url": "https://example.test/{{ profile.id }}"}}
    events = [
        happening(START_MS, user="a", type="cart"),
        happening(START_MS + 1, user="b", type="cart"),
        happening(START_MS + HOUR_MS // 2, user="b", type="paid"),
        happening(START_MS + 2 * HOUR_MS, user="c", type="other"),
    ]
    found = rehearsal(triggers=[absence], steps=[send]).simulate(events, most=1000)
    assert [(sample.user, sample.request.url) for sample in found.samples] == [("a", "https://example.test/a")]


def test_a_simulation_ends_where_it_is_told_to_and_says_so() -> None:
    found = rehearsal().simulate([happening(START_MS + n) for n in range(5)], most=3)
    assert (found.events, found.requests, found.is_cut) == (3, 3, True)


async def test_a_simulation_says_what_deciding_really_does() -> None:
    world = World()
    await world.automation(eligibility=OncePerKey(key="{{ event.data.mode }}"))
    events = [await world.happen({"mode": n % 4}, user=f"u{n % 7}") for n in range(100)]
    await world.decide_all()
    directory = Directory()
    directory.fill(world.directory.every(Automation))
    found = Rehearsal(directory).simulate(events, most=1000)
    assert found.requests == len(world.requests()) == 28
