"""When an automation lets people in, and what becomes of those who are in it; on every store."""

import msgspec
from flow_parts import DAY, HOUR, changing, on, send, wait
from stored_world import StoredWorld

from posthorn.decide.footprints import track_of
from posthorn.engine.listening import call_type
from posthorn.testing.clock import START_MS

SECOND_MS = 1000


async def test_an_automation_lets_people_in_from_its_start_until_its_end(world: StoredWorld) -> None:
    times = {"startsMs": START_MS + HOUR * SECOND_MS, "endsMs": START_MS + 2 * HOUR * SECOND_MS}
    await world.flow(triggers=[on()], steps=[send(path="{{ profile.id }}")], **times)
    for user in ("early", "timely", "late"):
        await world.happen(user=user)
        await world.decide_all()
        await world.pass_time(HOUR)
    assert world.urls() == ["https://example.test/timely"]
    assert sorted(world.outcomes()) == [
        ("fired", "entered"),
        ("not_eligible", "ended"),
        ("not_eligible", "not_started"),
    ]


async def test_the_first_instant_is_within_and_the_last_is_not(world: StoredWorld) -> None:
    first_ms = START_MS + 4  # an event of this world comes 4 ms after the one before it
    await world.flow(triggers=[on()], steps=[send()], startsMs=first_ms, endsMs=first_ms + 4)
    for _ in range(2):
        await world.happen()
        await world.decide_all()
    assert sorted(world.outcomes()) == [("fired", "entered"), ("not_eligible", "ended")]


async def test_who_is_in_at_the_end_goes_on_to_the_last_step(world: StoredWorld) -> None:
    answer = {"type": "wait_for_event", "name": "reply", "eventTypes": ["replied"], "seconds": DAY}
    steps = [wait(HOUR), send("first"), answer | {"onEvent": [send("thanks")]}, send("last", waitForAnswer=True)]
    await world.flow(triggers=[on()], steps=[*steps, send("after")], endsMs=START_MS + 60 * SECOND_MS)
    await world.happen()
    await world.decide_all()
    await world.pass_time(HOUR + 1)
    await world.happen(type="replied")
    await world.decide_all()
    await world.deliver(status=200, only="last")
    await world.decide_all()
    assert [url.rpartition("/")[2] for url in world.urls()] == ["first", "thanks", "last", "after"]
    assert world.runs() == [("", "completed")]


async def test_who_is_watched_at_the_end_still_enters_when_nothing_comes(world: StoredWorld) -> None:
    absence = {"type": "absence", "eventType": "cart", "without": ["paid"], "seconds": HOUR}
    await world.flow(triggers=[absence], steps=[send(path="{{ profile.id }}")], endsMs=START_MS + 60 * SECOND_MS)
    for user in ("gone", "payer"):
        await world.happen(user=user, type="cart")
    await world.decide_all()
    await world.pass_time(HOUR / 2)
    await world.happen(user="payer", type="paid")
    await world.happen(user="gone", type="cart")  # it has ended: this one begins no wait anew
    await world.decide_all()
    await world.pass_time(HOUR / 2 + 1)
    assert world.urls() == ["https://example.test/gone"]
    assert world.outcomes().count(("not_eligible", "ended")) == 1


async def test_a_schedule_and_calls_after_the_end_let_nobody_in(world: StoredWorld) -> None:
    await world.happen(type="hello", context=changing(set={"vip": True}))
    await world.decide_all()
    hourly = {"type": "schedule", "cron": "0 * * * *", "timeZone": "UTC"}
    ends_ms = START_MS + 90 * 60 * SECOND_MS
    automation = await world.flow(triggers=[hourly, {"type": "call"}], steps=[send()], endsMs=ends_ms)
    await world.publish(automation)
    for _ in range(3):
        await world.pass_time(HOUR)
    assert len(world.requests()) == 1
    await world.happen(type=call_type(automation.id))
    await world.decide_all()
    assert len(world.requests()) == 1
    assert world.outcomes().count(("not_eligible", "ended")) == 3


async def test_who_is_held_out_gets_nothing_and_reaches_the_goal_all_the_same(world: StoredWorld) -> None:
    goal = {"eventType": "bought", "withinSeconds": HOUR}
    await world.flow(triggers=[on()], steps=[send(), wait(DAY), send("late")], holdoutPercent=100, goal=goal)
    for user in ("buyer", "too_late"):
        await world.happen(user=user)
    await world.decide_all()
    assert [reason for _, reason in world.outcomes()] == ["held_out"] * 2
    assert [state for _, state in world.runs()] == ["active"] * 2
    await world.happen(user="buyer", type="bought")
    await world.decide_all()
    await world.pass_time(HOUR + 1)
    await world.happen(user="too_late", type="bought")
    await world.decide_all()
    tracks = [track_of(run) for run in world.all_runs()]
    assert [track.is_held_out for track in tracks] == [True, True]
    assert sorted(track.goal_ms is not None for track in tracks) == [False, True]
    assert [state for _, state in world.runs()] == ["completed"] * 2
    await world.pass_time(2 * DAY)
    assert world.requests() == []


async def test_an_answer_is_seen_by_every_later_step(world: StoredWorld) -> None:
    paid = {"field": "steps.ask.body.open", "operator": "eq", "value": 0}
    emit = {"type": "emit_event", "name": "tell", "eventType": "known", "data": "{{ steps.ask.body | json }}"}
    update = {"type": "update_profile", "name": "keep", "changes": {"set": {"code": "{{ steps.ask.body.code }}"}}}
    branch = {"type": "branch", "name": "open", "ways": [{"conditions": paid, "steps": [emit, update]}]}
    steps = [send("ask", waitForAnswer=True), wait(HOUR), branch, send(path="{{ steps.ask.status }}")]
    await world.flow(triggers=[on()], steps=steps)
    await world.flow("auto_2", triggers=[on("known")], steps=[send("known", "{{ event.data.code }}")])
    await world.happen()
    await world.decide_all()
    await world.deliver(status=207, body=msgspec.json.encode({"code": "C1", "open": 0}))
    await world.decide_all()
    await world.pass_time(HOUR + 1)
    assert sorted(world.urls()[1:]) == ["https://example.test/207", "https://example.test/C1"]
    assert world.person().attributes == {"code": "C1"}


async def test_quiet_hours_are_those_of_the_persons_clock(world: StoredWorld) -> None:
    quiet = {"start": "22:00", "end": "08:00", "spreadSeconds": 0}
    await world.flow(triggers=[on()], steps=[send(path="{{ profile.id }}")], quietTime=quiet)
    for user, zone in (("tokyo", "Asia/Tokyo"), ("new_york", "America/New_York"), ("berlin", "Europe/Berlin")):
        await world.happen(user=user, context=changing(time_zone=zone))  # 09:00, 19:00 and 01:00 there
    await world.decide_all()
    assert sorted(world.urls()) == ["https://example.test/new_york", "https://example.test/tokyo"]
    await world.pass_time(7 * HOUR - 60)
    assert len(world.requests()) == 2
    await world.pass_time(60)
    assert world.urls()[2:] == ["https://example.test/berlin"]
