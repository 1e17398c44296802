"""Runs through the steps of flows: what waits, what goes on, and what ends."""

import json
from typing import Any

import msgspec
from deciding_world import World
from flow_parts import DAY, HOUR, on, send, wait
from stored_world import StoredWorld

from posthorn.engine.flows import Once, OncePerPeriod
from posthorn.engine.listening import call_type
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import DeliveryState, OutgoingRequest
from posthorn.engine.resources import Cap, Kind, Workspace
from posthorn.templating import ContentRequest, ContentResponse
from posthorn.testing.factories import WORKSPACE


async def test_steps_are_taken_in_order_and_a_wait_is_a_row_until_it_is_over(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[send("first"), wait(HOUR), send("second")])
    await world.happen()
    await world.decide_all()
    assert world.urls() == ["https://example.test/first"]
    assert world.runs() == [("", "active")]
    await world.pass_time(HOUR - 1)
    assert len(world.requests()) == 1
    await world.pass_time(2)
    assert world.urls() == ["https://example.test/first", "https://example.test/second"]
    assert world.runs() == [("", "completed")]
    assert world.footprints() == ["entered", "queued", "waits", "went_on", "queued", "completed"]


async def test_a_wait_until_a_time_of_day_ends_then_in_the_persons_zone(world: StoredWorld) -> None:
    steps = [{"type": "wait", "name": "morning", "until": "10:00"}, send()]
    await world.flow(triggers=[on()], steps=steps)
    changes = ProfileChange(time_zone="Asia/Tokyo")  # the clock starts at 00:00 UTC, 09:00 in Tokyo
    await world.happen(context=msgspec.json.encode(EventContext(changes=changes)))
    await world.decide_all()
    await world.pass_time(HOUR - 10)
    assert world.requests() == []
    await world.pass_time(11)
    assert len(world.requests()) == 1


async def test_an_abandoned_cart_gets_its_request_and_a_paid_one_nothing_at_once(world: StoredWorld) -> None:
    absence = {
        "type": "absence",
        "eventType": "cart_updated",
        "without": ["order_paid"],
        "seconds": HOUR,
        "key": "{{ event.data.cart }}",
    }
    await world.flow(triggers=[absence], steps=[send(path="{{ run.key }}")])
    for cart in ("a", "b"):
        await world.happen({"cart": cart}, type="cart_updated")
    await world.decide_all()
    await world.pass_time(HOUR / 2)
    await world.happen({"cart": "a"}, type="cart_updated")  # the time of this one begins anew
    await world.happen({"cart": "b"}, type="order_paid")
    await world.decide_all()
    assert world.runs() == [("a", "active"), ("b", "exited")]
    await world.pass_time(HOUR / 2 + 1)
    assert world.requests() == []
    await world.pass_time(HOUR / 2)
    assert world.urls() == ["https://example.test/a"]
    assert world.runs() == [("a", "completed"), ("b", "exited")]
    await world.pass_time(DAY)
    assert len(world.requests()) == 1


async def test_a_wait_for_an_event_goes_the_way_of_the_event_or_of_the_timeout(world: StoredWorld) -> None:
    waiting = {
        "type": "wait_for_event",
        "name": "reply",
        "eventTypes": ["replied"],
        "seconds": HOUR,
        "conditions": {"field": "event.data.ok", "operator": "eq", "value": True},
        "onEvent": [send("thanks", "{{ steps.reply.event.data.word }}")],
        "onTimeout": [send("reminder")],
    }
    await world.flow(triggers=[on()], steps=[waiting, send("after")])
    await world.happen(user="quick")
    await world.happen(user="slow")
    await world.decide_all()
    await world.happen({"ok": False}, user="quick", type="replied")
    await world.happen({"ok": True, "word": "yes"}, user="quick", type="replied")
    await world.decide_all()
    assert world.urls() == ["https://example.test/yes", "https://example.test/after"]
    await world.pass_time(HOUR + 1)
    assert world.urls()[2:] == ["https://example.test/reminder", "https://example.test/after"]
    assert [state for _, state in world.runs()] == ["completed", "completed"]


async def test_an_exit_event_ends_a_wait_at_once_and_takes_its_timer_off_the_queue(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[wait(HOUR), send()], exitOn=["unsubscribed"])
    await world.happen()
    await world.decide_all()
    await world.happen(type="unsubscribed")
    await world.decide_all()
    assert world.runs() == [("", "exited")]
    assert await world.timers() == []
    await world.pass_time(2 * HOUR)
    assert world.requests() == []


async def test_a_branch_takes_the_first_way_that_holds(world: StoredWorld) -> None:
    def over(least: int, name: str) -> dict[str, Any]:
        return {
            "conditions": {"field": "event.data.total", "operator": "gt", "value": least},
            "steps": [send(name)],
        }

    branch = {"type": "branch", "name": "size", "ways": [over(100, "big"), over(10, "small")]}
    await world.flow(triggers=[on()], steps=[branch | {"otherwise": [send("tiny")]}, send("end")])
    for total in (500, 50, 5):
        await world.happen({"total": total})
    await world.decide_all()
    assert world.urls() == [f"https://example.test/{name}" for name in ("big", "end", "small", "end", "tiny", "end")]


async def test_a_split_is_sticky_and_keeps_to_its_percentages(world: StoredWorld) -> None:
    shares = [{"percent": 30, "steps": [send("a")]}, {"percent": 70, "steps": [send("b")]}]
    await world.flow(triggers=[on()], steps=[{"type": "split", "name": "test", "shares": shares}])
    ways: list[list[str]] = []
    for _ in range(2):
        before = len(world.requests())
        for number in range(200):
            await world.happen(user=f"u{number}")
        await world.decide_all()
        ways.append(world.urls()[before:])
    assert ways[0] == ways[1]
    assert 40 <= ways[0].count("https://example.test/a") <= 80


async def test_a_step_sees_the_answer_to_an_earlier_request(world: StoredWorld) -> None:
    steps = [send("ask", waitForAnswer=True), send("use", "{{ steps.ask.body.coupon }}-{{ steps.ask.status }}")]
    await world.flow(triggers=[on()], steps=steps)
    await world.happen()
    await world.decide_all()
    assert world.runs() == [("", "active")]
    await world.deliver(status=201, body=b'{"coupon": "C1"}')
    await world.decide_all()
    assert world.urls()[1:] == ["https://example.test/C1-201"]
    assert world.runs() == [("", "completed")]


async def test_requests_side_by_side_are_each_waited_for(world: StoredWorld) -> None:
    sends = [send("one", waitForAnswer=True), send("two", waitForAnswer=True), send("three")]
    for one in sends:
        del one["type"]
    test = {"field": "steps.two.state", "operator": "eq", "value": "exhausted"}
    branch = {"type": "branch", "name": "failed", "ways": [{"conditions": test, "steps": [send("tell")]}]}
    await world.flow(triggers=[on()], steps=[{"type": "send_all", "name": "all", "sends": sends}, branch])
    await world.happen()
    await world.decide_all()
    assert len(world.requests()) == 3
    await world.deliver(status=200, only="one")
    await world.decide_all()
    assert world.runs() == [("", "active")]
    await world.deliver(status=500, only="two", state=DeliveryState.EXHAUSTED)
    await world.decide_all()
    assert world.runs() == [("", "completed")]
    assert world.urls()[3:] == ["https://example.test/tell"]


async def test_a_step_changes_the_profile_and_other_automations_react_to_it(world: StoredWorld) -> None:
    update = {"type": "update_profile", "name": "tier", "changes": {"set": {"tier": "{{ event.data.tier }}"}}}
    await world.flow(triggers=[on()], steps=[update])
    gold = {"type": "attribute", "attribute": "tier", "to": ["gold"]}
    await world.flow("auto_2", triggers=[gold], steps=[send(path="{{ profile.attributes.tier }}")])
    for tier in ("silver", "gold", "gold"):
        await world.happen({"tier": tier})
    await world.decide_all()
    assert world.person().attributes == {"tier": "gold"}
    assert world.urls() == ["https://example.test/gold"]


async def test_an_emitted_event_is_decided_like_any_other(world: StoredWorld) -> None:
    emit = {"type": "emit_event", "name": "emit", "eventType": "vip", "data": '{"n": {{ event.data.n }}}'}
    await world.flow(triggers=[on()], steps=[emit])
    await world.flow("auto_2", triggers=[on("vip")], steps=[send(path="{{ event.data.n }}")])
    await world.happen({"n": 7})
    await world.decide_all()
    assert world.urls() == ["https://example.test/7"]


async def test_a_circle_of_emitted_events_ends_and_says_so(world: StoredWorld) -> None:
    for name, listens, emits in (("auto_1", "ping", "pong"), ("auto_2", "pong", "ping")):
        step = {"type": "emit_event", "name": "emit", "eventType": emits}
        await world.flow(name, triggers=[on(listens)], steps=[step])
    await world.happen(type="ping")
    await world.decide_all()
    assert len(world.runs()) == 3
    [last] = [run for run in world.all_runs() if b'"loop"' in run.document]
    assert b"go round in a circle" in last.document


async def test_a_goal_ends_the_run_and_is_remembered(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[wait(DAY), send()], goal={"eventType": "bought", "withinSeconds": HOUR})
    await world.happen(user="buyer")
    await world.happen(user="late")
    await world.decide_all()
    await world.happen(user="buyer", type="bought")
    await world.decide_all()
    await world.pass_time(2 * HOUR)
    await world.happen(user="late", type="bought")
    await world.decide_all()
    assert sorted(state for _, state in world.runs()) == ["active", "completed"]


async def test_people_in_the_holdout_group_get_nothing_and_it_is_said(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[send()], holdoutPercent=50)
    for number in range(100):
        await world.happen(user=f"u{number}")
    await world.decide_all()
    held = [reason for _, reason in world.outcomes() if reason == "held_out"]
    assert 30 <= len(held) <= 70
    assert len(world.requests()) == 100 - len(held)


async def test_the_decision_to_hold_somebody_out_names_the_run_that_watches_them(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[send()], holdoutPercent=100)
    event = await world.happen()
    await world.decide_all()
    [run] = world.all_runs()
    [decision] = world.decisions(event)
    assert (decision.reason, json.loads(decision.data)) == ("held_out", {"run": run.id})


async def test_quiet_time_holds_a_request_until_its_end(world: StoredWorld) -> None:
    quiet = {"start": "22:00", "end": "08:00", "spreadSeconds": 600}
    await world.flow(triggers=[on()], steps=[send(), send("second")], quietTime=quiet)
    for number in range(20):
        await world.happen(user=f"u{number}")  # at midnight
    await world.decide_all()
    await world.pass_time(8 * HOUR - 60)
    assert world.requests() == []
    await world.pass_time(300)
    spread = len(world.requests())
    assert 0 < spread < 40
    await world.pass_time(600)
    assert len(world.requests()) == 40


async def test_a_cap_leaves_messages_out_and_the_run_goes_on(world: StoredWorld) -> None:
    cap = Cap(most=2, period="day")
    await world.put(Workspace(id=WORKSPACE, workspace=WORKSPACE, name="w", created_ms=0, updated_ms=0, caps=(cap,)))
    await world.flow(triggers=[on()], steps=[send(), {"type": "exit", "name": "exit"}])
    for _ in range(5):
        await world.happen()
    await world.decide_all()
    assert len(world.requests()) == 2
    assert [state for _, state in world.runs()] == ["exited"] * 5
    await world.pass_time(DAY)
    await world.happen()
    await world.decide_all()
    assert len(world.requests()) == 3


async def test_the_fifth_flight_counts_once_and_exactly(world: StoredWorld) -> None:
    fifth = {"type": "count", "eventType": "flight_booked", "count": 5}
    await world.flow(triggers=[fifth], steps=[send(path="{{ counts.flight_booked.count }}")])
    for number in range(12):
        await world.happen(type="flight_booked", user=f"u{number % 2}")
        if number == 6:
            await world.decide_all()
    await world.decide_all()
    assert world.urls() == ["https://example.test/5"] * 2
    reasons = [reason for outcome, reason in world.outcomes() if outcome == "not_matched"]
    assert reasons == ["count_differs"] * 10


async def test_once_a_day_means_the_day_of_the_person(world: StoredWorld) -> None:
    await world.automation(eligibility=OncePerPeriod(period="day"))
    changes = ProfileChange(time_zone="Asia/Tokyo")
    for seconds in (0, 14 * HOUR, 2 * HOUR):  # 09:00, 23:00 and 01:00 of the next day in Tokyo
        await world.pass_time(seconds)
        await world.happen(context=msgspec.json.encode(EventContext(changes=changes)))
        await world.decide_all()
    assert [outcome for outcome, _ in world.outcomes()] == ["fired", "not_eligible", "fired"]


async def test_a_run_stays_in_its_version_moves_to_the_new_one_or_ends(world: StoredWorld) -> None:
    for in_flight, expected in (("stay", ["old"]), ("move", ["new"]), ("exit", [])):
        name = f"auto_{in_flight}"
        old = await world.flow(name, triggers=[on(name)], steps=[wait(HOUR), send("send", "old")])
        await world.keep_version(old)
        await world.happen(type=name, user=in_flight)
        await world.decide_all()
        before = len(world.requests())
        parts = {"triggers": [on(name)], "steps": [wait(HOUR), send("send", "new")], "inFlight": in_flight}
        await world.change(msgspec.structs.replace(old, version=2, flow=msgspec.convert(parts, type(old.flow))))
        await world.pass_time(HOUR + 1)
        assert [url.rpartition("/")[2] for url in world.urls()[before:]] == expected, in_flight
    assert sorted(state for _, state in world.runs()) == ["cancelled", "completed", "completed"]


async def test_a_paused_automation_lets_nobody_in_and_its_runs_wait(world: StoredWorld) -> None:
    automation = await world.flow(triggers=[on()], steps=[wait(HOUR), send()])
    await world.happen()
    await world.decide_all()
    await world.change(msgspec.structs.replace(automation, enabled=False))
    await world.happen()
    await world.pass_time(2 * HOUR)
    assert world.requests() == []
    assert world.runs() == [("", "active")]
    await world.change(msgspec.structs.replace(automation, enabled=True))
    await world.look_at_runs(automation.id)
    assert len(world.requests()) == 1


async def test_a_run_that_nobody_told_of_the_end_of_a_pause_sees_it_within_the_hour(world: StoredWorld) -> None:
    automation = await world.flow(triggers=[on()], steps=[wait(HOUR), send()])
    await world.happen()
    await world.decide_all()
    await world.change(msgspec.structs.replace(automation, enabled=False))
    await world.pass_time(2 * HOUR)
    await world.change(msgspec.structs.replace(automation, enabled=True))
    await world.pass_time(HOUR)
    assert len(world.requests()) == 1


async def test_what_a_run_waits_for_may_come_during_a_pause_and_is_not_lost(world: StoredWorld) -> None:
    answer = {"type": "wait_for_event", "name": "w", "eventTypes": ["paid"], "seconds": DAY}
    answer |= {"onEvent": [send("thanks")], "onTimeout": [send("sorry")]}
    automation = await world.flow(triggers=[on()], steps=[answer])
    await world.happen()
    await world.decide_all()
    await world.change(msgspec.structs.replace(automation, enabled=False))
    await world.happen(type="paid")
    await world.decide_all()
    await world.pass_time(2 * DAY)
    assert world.requests() == []
    assert world.runs() == [("", "active")]
    await world.change(msgspec.structs.replace(automation, enabled=True))
    await world.look_at_runs(automation.id)
    assert world.urls() == ["https://example.test/thanks"]
    assert world.runs() == [("", "completed")]


async def test_an_answer_that_comes_during_a_pause_is_not_lost(world: StoredWorld) -> None:
    automation = await world.flow(triggers=[on()], steps=[send("ask", waitForAnswer=True), send("then")])
    await world.happen()
    await world.decide_all()
    await world.change(msgspec.structs.replace(automation, enabled=False))
    await world.deliver(status=200, body=b"{}")
    await world.decide_all()
    assert len(world.requests()) == 1
    await world.change(msgspec.structs.replace(automation, enabled=True))
    await world.look_at_runs(automation.id)
    assert len(world.requests()) == 2


async def test_runs_of_a_deleted_automation_end_at_once(world: StoredWorld) -> None:
    automation = await world.flow(triggers=[on()], steps=[wait(30 * DAY), send()])
    for number in range(450):  # several pages
        await world.happen(user=f"u{number}")
    await world.decide_all()
    assert await world.store.delete(Kind.AUTOMATION, WORKSPACE, automation.id)
    await world.directory.refresh(world.store)
    await world.look_at_runs(automation.id)
    assert {state for _, state in world.runs()} == {"cancelled"}
    assert await world.timers() == []


async def test_runs_of_a_version_that_ends_its_runs_end_at_once(world: StoredWorld) -> None:
    old = await world.flow(triggers=[on()], steps=[wait(30 * DAY), send()], inFlight="exit")
    await world.keep_version(old)
    await world.happen()
    await world.decide_all()
    await world.change(msgspec.structs.replace(old, version=2))
    await world.happen(user="another")
    await world.look_at_runs(old.id)
    assert sorted(state for _, state in world.runs()) == ["active", "cancelled"]


async def test_a_template_that_cannot_be_filled_in_ends_the_run_and_says_where(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[send(path="{{ event.data.missing }}"), send("after")])
    await world.happen()
    await world.decide_all()
    assert world.runs() == [("", "failed")]
    assert world.footprints() == ["entered", "failed"]
    assert world.requests() == []


async def test_what_happens_in_a_segment_by_time_alone_lets_people_in_too(world: StoredWorld) -> None:
    performed = {"performed": {"event": "login", "atLeast": 1, "withinSeconds": DAY}}
    await world.segment("active", performed)
    leaves = {"type": "segment", "segment": "seg_active", "moves": "leaves"}
    await world.flow(triggers=[leaves], steps=[send("missed")])
    enters = {"type": "segment", "segment": "seg_active"}
    await world.flow("auto_2", triggers=[enters], steps=[send("welcome")])
    await world.happen(type="login")
    await world.decide_all()
    assert world.urls() == ["https://example.test/welcome"]
    await world.pass_time(DAY / 2)
    await world.happen(type="login")
    await world.decide_all()
    await world.pass_time(DAY - 10)
    assert len(world.requests()) == 1
    await world.pass_time(20)
    assert world.urls()[1:] == ["https://example.test/missed"]


async def test_a_person_who_turns_out_to_be_another_brings_counters_firings_and_runs_along(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[wait(HOUR), send(path="{{ profile.id }}")])
    await world.happen(user="$anonymous/x")
    await world.decide_all()
    merge = EventContext(changes=ProfileChange(merge_into="ann"))
    await world.happen(type="alias", user="$anonymous/x", context=msgspec.json.encode(merge))
    await world.happen(user="$anonymous/x")  # one that still names the old id
    await world.decide_all()
    assert world.person("ann").aliases == ("$anonymous/x",)
    assert await world.count("ann", "order.paid") == 2
    await world.pass_time(HOUR + 1)
    assert world.urls() == ["https://example.test/ann"] * 2


async def test_a_call_lets_a_person_in_with_its_own_data(world: StoredWorld) -> None:
    automation = await world.flow(triggers=[{"type": "call"}], steps=[send(path="{{ event.data.code }}")])
    await world.happen({"code": "x1"}, type=call_type(automation.id))
    await world.happen({"code": "x2"}, type=call_type("auto_other"))
    await world.decide_all()
    assert world.urls() == ["https://example.test/x1"]


async def test_a_run_is_cancelled_by_hand_and_only_by_its_own_person(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[wait(HOUR), send()])
    await world.happen()
    await world.decide_all()
    [run] = [run.id for run in world.all_runs()]
    cancels = msgspec.json.encode(EventContext(cancels=(run,)))
    await world.happen(user="somebody else", type="run.cancelled", context=cancels)
    await world.decide_all()
    assert world.runs() == [("", "active")]
    await world.happen(type="run.cancelled", context=cancels)
    await world.decide_all()
    assert world.runs() == [("", "cancelled")]
    await world.pass_time(HOUR + 1)
    assert world.requests() == []


async def test_a_schedule_lets_everybody_in_at_their_local_time_and_comes_again(world: StoredWorld) -> None:
    for user, name in (("tokyo", "Asia/Tokyo"), ("lisbon", "Europe/Lisbon")):
        changes = ProfileChange(time_zone=name)
        await world.happen(user=user, type="hello", context=msgspec.json.encode(EventContext(changes=changes)))
    await world.decide_all()
    daily = {"type": "schedule", "cron": "0 9 * * *"}
    automation = await world.flow(triggers=[daily], steps=[send(path="{{ profile.id }}")])
    await world.publish(automation)  # midnight in UTC: nine in Tokyo, and past it
    await world.pass_time(HOUR)
    assert world.requests() == []
    await world.pass_time(8 * HOUR)
    assert world.urls() == ["https://example.test/lisbon"]
    await world.pass_time(16 * HOUR)
    assert world.urls()[1:] == ["https://example.test/tokyo"]
    for _ in range(24):
        await world.pass_time(HOUR)
    assert sorted(world.urls()) == ["https://example.test/lisbon"] * 2 + ["https://example.test/tokyo"] * 2


async def test_a_schedule_goes_through_a_segment_in_pages_and_once_only(world: StoredWorld) -> None:
    await world.segment("all", {"field": "profile.attributes.vip", "operator": "eq", "value": True})
    for number in range(450):
        changes = ProfileChange(set={"vip": number < 420})
        context = msgspec.json.encode(EventContext(changes=changes))
        await world.happen(user=f"u{number:03}", type="hello", context=context)
    await world.decide_all()
    once = {"type": "schedule", "at": "2026-01-01T02:00:00Z", "segment": "seg_all"}
    automation = await world.flow(triggers=[once], steps=[send(path="{{ profile.id }}")])
    await world.publish(automation)
    await world.pass_time(3 * HOUR)
    assert sorted(world.urls()) == [f"https://example.test/u{number:03}" for number in range(420)]
    await world.pass_time(DAY)
    assert len(world.requests()) == 420


async def test_a_birthday_comes_at_ten_in_the_morning_every_year(world: StoredWorld) -> None:
    birthday = {"type": "anniversary", "attribute": "born", "at": "10:00"}
    automation = await world.flow(triggers=[birthday], steps=[send(path="{{ profile.attributes.name }}")])
    early = ProfileChange(set={"born": "1992-02-29", "name": "leap"}, time_zone="Asia/Tokyo")
    await world.happen(user="a", type="hello", context=msgspec.json.encode(EventContext(changes=early)))
    await world.decide_all()
    await world.publish(automation)  # and those who were there before are found
    await world.pass_time((31 + 27) * DAY)  # 28 February 00:00 UTC: 09:00 in Tokyo
    assert world.requests() == []
    await world.pass_time(HOUR + 1)
    assert world.urls() == ["https://example.test/leap"]
    for _ in range(13):
        await world.pass_time(28 * DAY)
    assert len(world.requests()) == 1
    await world.pass_time(2 * DAY)
    assert len(world.requests()) == 2


async def test_a_birthday_that_is_taken_back_does_not_come(world: StoredWorld) -> None:
    birthday = {"type": "anniversary", "attribute": "born"}
    await world.flow(triggers=[birthday], steps=[send()])
    for born in ("1990-01-02", None):
        context = EventContext(changes=ProfileChange(set={"born": born}))
        await world.happen(type="hello", context=msgspec.json.encode(context))
        await world.decide_all()
    await world.pass_time(3 * DAY)
    assert world.requests() == []


async def test_a_template_of_the_braze_dialect_is_filled_in_and_may_abort(world: StoredWorld) -> None:
    body = '{% if {{custom_attribute.${vip}}} != true %}{% abort_message("no vip") %}{% endif %}'
    body += '{"n": "{{${first_name}}}"}'
    request = {"url": "https://example.test/", "body": body, "dialect": "braze"}
    await world.automation(send=request)
    for user, attributes in (("a", {"first_name": 'A"nn', "vip": True}), ("b", {"first_name": "Bob"})):
        context = EventContext(changes=ProfileChange(set=attributes))
        await world.happen(user=user, context=msgspec.json.encode(context))
    await world.decide_all()
    assert [request.body for request in world.requests()] == ['{"n": "A\\"nn"}']
    assert sorted(world.outcomes()) == [("fired", "matched"), ("not_eligible", "aborted")]


async def test_content_that_a_template_asks_for_is_fetched_once_for_a_batch(world: StoredWorld) -> None:
    asked: list[str] = []

    async def fetch(_: str, request: ContentRequest) -> ContentResponse:
        asked.append(request.url)
        return ContentResponse(status=200, body='{"price": 7}')

    world.loop._fetch = fetch
    body = "{% connected_content https://prices.test/x :save p %}{{p.price}}"
    await world.automation(send={"url": "https://example.test/", "body": body, "dialect": "braze"})
    for _ in range(3):
        await world.happen()
    await world.decide_all()
    assert [request.body for request in world.requests()] == ["7"] * 3
    assert set(asked) == {"https://prices.test/x"}


async def test_a_connector_is_called_with_its_inputs_and_the_secret_is_sealed(world: StoredWorld) -> None:
    await world.secret("BOT", "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11")
    call = {
        "connector": "telegram",
        "credentials": {"token": "BOT"},
        "inputs": {"chat_id": "{{ profile.attributes.telegram }}", "text": 'Hi "{{ event.data.name }}"'},
    }
    await world.flow(triggers=[on()], steps=[{"type": "send", "name": "tell", "connector": call}])
    context = EventContext(changes=ProfileChange(set={"telegram": "42"}))
    await world.happen({"name": "Ann"}, context=msgspec.json.encode(context))
    await world.decide_all()
    [request] = world.requests()
    assert request.url == "https://api.telegram.org/bot••••••/sendMessage"
    assert msgspec.json.decode(request.body or "")["text"] == 'Hi "Ann"'
    assert (request.account, request.paced_by) == (None, None)
    [row] = world.deliveries()
    assert row.rendered is not None
    assert row.rendered.sealed is not None
    real = msgspec.json.decode(world.key_ring.open(row.rendered.sealed, context=row.id), type=OutgoingRequest)
    assert real.paced_by == {"input.chat_id": "42"}  # what Telegram counts one message a second by


async def test_people_who_are_merged_into_each_other_stay_one_person_and_the_queue_goes_on(world: StoredWorld) -> None:
    for one, other in (("a", "b"), ("b", "a"), ("b", "b")):
        merge = EventContext(changes=ProfileChange(merge_into=other))
        await world.happen(type="alias", user=one, context=msgspec.json.encode(merge))
        await world.decide_all()
    for user in ("a", "b"):
        await world.happen(user=user)
    await world.decide_all()
    assert await world.count("b", "order.paid") == 2


async def test_two_merges_in_a_circle_at_the_same_time_leave_one_person() -> None:
    world = World()  # in memory, where a row can be broken
    for one, other in (("a", "b"), ("b", "a")):
        await world.happen(user=one)
        await world.decide_all()
        key = user_profile(WORKSPACE, one)
        tombstone = msgspec.structs.replace(world.person(one), merged_into=user_profile(WORKSPACE, other))
        world.store._tables.profiles[key] = tombstone  # as two nodes leave it that decide at the same time
    for user in ("a", "b"):
        await world.happen(user=user)
    await world.decide_all()
    assert await world.count("a", "order.paid") >= 3


async def test_a_new_segment_finds_those_who_are_in_it_already(world: StoredWorld) -> None:
    for number in range(450):
        context = EventContext(changes=ProfileChange(set={"vip": number % 2 == 0}))
        await world.happen(user=f"u{number:03}", type="hello", context=msgspec.json.encode(context))
    await world.decide_all()
    await world.segment("vip", {"field": "profile.attributes.vip", "operator": "eq", "value": True})
    enters = {"type": "segment", "segment": "seg_vip"}
    await world.flow(triggers=[enters], steps=[send("welcome")])
    await world.publish_segment("seg_vip")
    await world.pass_time(1)
    assert len(world.requests()) == 225
    assert len(await world.members("seg_vip")) == 225


async def test_who_left_the_segment_before_the_schedules_time_gets_nothing(world: StoredWorld) -> None:
    await world.segment("vip", {"field": "profile.attributes.vip", "operator": "eq", "value": True})
    for vip in (True, False):
        if not vip:
            at = {"type": "schedule", "at": "2026-01-01T09:00:00", "segment": "seg_vip"}
            automation = await world.flow(triggers=[at], steps=[send()])
            await world.publish(automation)
            await world.pass_time(HOUR)
        context = EventContext(changes=ProfileChange(set={"vip": vip}))
        await world.happen(type="hello", context=msgspec.json.encode(context))
        await world.decide_all()
    await world.pass_time(9 * HOUR)
    assert world.requests() == []


async def test_runs_of_a_paused_automation_still_hear_what_ends_them(world: StoredWorld) -> None:
    absence = {"type": "absence", "eventType": "cart", "without": ["paid"], "seconds": HOUR}
    automation = await world.flow(triggers=[absence], steps=[send()])
    await world.happen(type="cart")
    await world.decide_all()
    await world.change(msgspec.structs.replace(automation, enabled=False))
    await world.happen(type="paid")
    await world.decide_all()
    assert world.runs() == [("", "exited")]


async def test_runs_of_an_earlier_version_still_hear_what_that_version_heard(world: StoredWorld) -> None:
    old = await world.flow(triggers=[on()], steps=[wait(HOUR), send()], exitOn=["unsubscribed"])
    await world.keep_version(old)
    await world.happen()
    await world.decide_all()
    parts = {"triggers": [on()], "steps": [send()]}
    await world.change(msgspec.structs.replace(old, version=2, flow=msgspec.convert(parts, type(old.flow))))
    await world.happen(type="unsubscribed")
    await world.decide_all()
    assert world.runs() == [("", "exited")]


async def test_many_automations_that_remember_are_asked_for_at_once(world: StoredWorld) -> None:
    for number in range(150):
        await world.automation(f"auto_{number}", eligibility=Once())
    await world.happen()
    await world.decide_all()
    assert len(world.requests()) == 150


async def test_a_run_in_which_something_breaks_ends_and_says_so_and_the_others_go_on() -> None:
    world = World()  # in memory, where a row can be broken
    await world.flow(triggers=[on()], steps=[wait(HOUR), send()])
    await world.flow("auto_2", triggers=[on()], steps=[wait(HOUR), send("well")])
    await world.happen()
    await world.decide_all()
    broken = next(run for run in world.store._tables.runs.values() if run.automation == "auto_1")
    world.store._tables.runs[broken.id] = msgspec.structs.replace(broken, document=b"not JSON at all")
    await world.pass_time(HOUR + 1)
    assert world.urls() == ["https://example.test/well"]


async def test_an_answer_that_is_no_text_or_nested_without_end_is_an_answer_all_the_same(world: StoredWorld) -> None:
    for body in (b"[" * 16_000, b'{"name": "\\ud83d"}', b"\xff\xfe"):
        name = f"t{len(body)}"
        steps = [send("ask", waitForAnswer=True), send("after", "{{ steps.ask.status }}")]
        await world.flow(f"auto_{name}", triggers=[on(name)], steps=steps)
        await world.happen(type=name)
        await world.decide_all()
        await world.deliver(status=200, body=body)
        await world.decide_all()
    assert [state for _, state in world.runs()] == ["completed"] * 3


async def test_messages_of_a_channel_are_not_for_those_who_left_it(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[send()], channel="email")
    for user, state in (("a", "unsubscribed"), ("b", "subscribed"), ("c", None)):
        changes = ProfileChange(subscriptions={"email": state} if state else {})  # type: ignore[dict-item]
        await world.happen(user=user, context=msgspec.json.encode(EventContext(changes=changes)))
    await world.decide_all()
    assert len(world.requests()) == 2


async def test_caps_and_holdouts_hold_for_the_simplest_form_too(world: StoredWorld) -> None:
    cap = Cap(most=1, period="day")
    await world.put(Workspace(id=WORKSPACE, workspace=WORKSPACE, name="w", created_ms=0, updated_ms=0, caps=(cap,)))
    await world.automation()
    for _ in range(3):
        await world.happen()
    await world.decide_all()
    assert len(world.requests()) == 1
    assert world.outcomes().count(("not_eligible", "capped")) == 2


async def test_a_goal_counts_after_the_last_step_too(world: StoredWorld) -> None:
    await world.flow(triggers=[on()], steps=[send()], goal={"eventType": "bought", "withinSeconds": HOUR})
    await world.happen(user="buyer")
    await world.happen(user="other")
    await world.decide_all()
    await world.happen(user="buyer", type="bought")
    await world.pass_time(HOUR + 1)
    documents = [run.document for run in world.all_runs()]
    assert sum(b'"goal_ms":' in document for document in documents) == 1
    assert [state for _, state in world.runs()] == ["completed"] * 2


async def test_a_change_that_sets_itself_off_ends_and_says_so(world: StoredWorld) -> None:
    update = {"type": "update_profile", "name": "more", "changes": {"increment": {"n": 1}}}
    await world.flow(triggers=[{"type": "attribute", "attribute": "n"}], steps=[update, send()])
    context = EventContext(changes=ProfileChange(set={"n": 1}))
    await world.happen(type="hello", context=msgspec.json.encode(context))
    await world.decide_all()
    assert len(world.requests()) == 1
    assert ("not_eligible", "circle") in world.outcomes()


async def test_ids_that_a_template_asks_with_stay_when_a_batch_is_decided_anew(world: StoredWorld) -> None:
    asked: list[str] = []

    async def fetch(_: str, request: ContentRequest) -> ContentResponse:
        asked.append(request.url)
        return ContentResponse(status=200, body="ok")

    world.loop._fetch = fetch
    body = "{% connected_content https://a.test/{{delivery.id}} :save p %}{{p}}"
    await world.automation(send={"url": "https://example.test/", "body": body, "dialect": "braze"})
    await world.happen()
    await world.decide_all()
    assert len(asked) == 1
    assert len(world.requests()) == 1


async def test_a_request_names_its_automation_and_that_of_a_flow_its_step(world: World) -> None:
    about = "https://example.test/{{ automation.id }}/{{ automation.version }}"
    await world.automation("auto_plain", send={"url": about + "/{{ step.name | default: '-' }}"})
    await world.flow("auto_flow", triggers=[on()], steps=[send("tell", request={"url": about + "/{{ step.name }}"})])
    await world.happen()
    await world.decide_all()
    assert sorted(world.urls()) == ["https://example.test/auto_flow/1/tell", "https://example.test/auto_plain/1/-"]
