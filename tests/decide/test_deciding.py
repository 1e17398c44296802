"""If this, then that: matched, eligible, rendered, counted; each event exactly once, whatever breaks."""

import msgspec
import pytest
from deciding_world import World
from msgspec.structs import replace

from posthorn.engine.flows import AgainAfter, EventTrigger, Once, OncePerKey
from posthorn.engine.lanes import lane_shard
from posthorn.engine.records import OutgoingRequest
from posthorn.testing.factories import WORKSPACE
from posthorn.vault import VaultError

PAID = {"field": "event.data.paid", "operator": "eq", "value": True}


@pytest.fixture
def world() -> World:
    return World()


async def test_an_event_that_matches_is_queued_as_the_rendered_request(world: World) -> None:
    await world.automation(
        send={
            "url": "https://example.test/{{ event.data.id }}",
            "headers": {"X-A": "{{ user.id }}"},
            "body": '{"n": {{ event.data.n }}}',
        }
    )
    event = await world.happen({"id": "a/b", "n": 3})
    await world.decide_all()
    [request] = world.requests()
    assert (request.method, request.url, request.body) == ("POST", "https://example.test/a%2Fb", '{"n": 3}')
    assert request.headers == (("X-A", "u1"), ("posthorn-hops", "1"))
    [decision] = world.decisions(event)
    [delivery] = world.store._tables.deliveries.values()
    assert (decision.outcome, decision.delivery, delivery.endpoint) == ("fired", delivery.id, "auto_1/example.test")
    lane = (lane_shard("auto_1/example.test"), "auto_1/example.test")
    assert world.to_deliver.collect() == {lane: delivery.due_ms}


async def test_why_an_event_did_not_fire_is_on_record(world: World) -> None:
    await world.automation(conditions=PAID)
    await world.automation("auto_2", trigger=EventTrigger(event_type="order.paid", source="src_1"))
    await world.happen({"paid": False})
    await world.decide_all()
    assert sorted(world.outcomes()) == [("not_matched", "condition_failed"), ("not_matched", "source_differs")]
    assert world.requests() == []


async def test_a_disabled_automation_decides_nothing_and_the_event_is_counted_all_the_same(world: World) -> None:
    await world.automation(enabled=False)
    await world.happen()
    await world.decide_all()
    assert (world.decisions(), await world.counts()) == ([], [1])


async def test_once_fires_once_for_each_person_even_within_one_batch(world: World) -> None:
    await world.automation(eligibility=Once())
    for user in ("u1", "u1", "u2", None, None):
        await world.happen(user=user)
    await world.decide_all()
    assert [outcome for outcome, _ in world.outcomes()].count("fired") == 3
    await world.happen()
    await world.decide_all()
    assert world.outcomes()[-1] == ("not_eligible", "fired_before")


async def test_once_per_key_fires_once_for_each_key(world: World) -> None:
    await world.automation(eligibility=OncePerKey(key="{{ event.data.mode }}"))
    for mode in ("a", "b", "a"):
        await world.happen({"mode": mode})
    await world.happen({})
    await world.decide_all()
    outcomes = [outcome for outcome, _ in world.outcomes()]
    assert outcomes == ["fired", "fired", "not_eligible", "failed"]


async def test_again_after_fires_when_long_enough_ago(world: World) -> None:
    await world.automation(eligibility=AgainAfter(seconds=60))
    for wait in (0, 59, 1):
        world.clock.advance(wait)
        await world.happen()
        await world.own()
        await world.decide_all()
    assert [outcome for outcome, _ in world.outcomes()] == ["fired", "not_eligible", "fired"]


async def test_a_failed_firing_leaves_the_profile_eligible(world: World) -> None:
    await world.automation(eligibility=Once(), send={"body": "{{ event.data.must }}"})
    for data in ({}, {"must": 1}, {"must": 2}):
        await world.happen(data)
    await world.decide_all()
    assert [outcome for outcome, _ in world.outcomes()] == ["failed", "fired", "not_eligible"]
    assert "line 1, column" in world.decisions()[0].detail


async def test_a_secret_is_sealed_for_its_delivery_and_shown_masked(world: World) -> None:
    await world.secret("token", "s3cret")
    await world.automation(send={"headers": {"Authorization": "Bearer {{ secrets.token }}"}})
    await world.happen()
    await world.decide_all()
    [delivery] = world.store._tables.deliveries.values()
    assert delivery.rendered is not None
    assert delivery.rendered.sealed is not None
    assert b"s3cret" not in delivery.rendered.shown
    opened = world.key_ring.open(delivery.rendered.sealed, context=delivery.id)
    assert ("Authorization", "Bearer s3cret") in msgspec.json.decode(opened, type=OutgoingRequest).headers
    with pytest.raises(VaultError):
        world.key_ring.open(delivery.rendered.sealed, context="dlv_other")


async def test_a_secret_that_does_not_open_fails_its_automation_alone(world: World) -> None:
    await world.secret("token", "s3cret")
    secret = world.directory.secret(WORKSPACE, "token")
    assert secret is not None
    await world.store.replace(replace(secret, sealed=world.key_ring.seal(b"x", context="elsewhere")))
    await world.directory.refresh(world.store)
    await world.automation(send={"body": "{{ secrets.token }}"})
    await world.automation("auto_2")
    await world.happen()
    await world.decide_all()
    assert sorted(world.outcomes()) == [("failed", "internal_error"), ("fired", "matched")]


@pytest.mark.parametrize(
    "broken",
    [{"conditions": {"field": "event.data.x", "operator": "no such operator"}}, {"send": {"body": "{% if %}"}}],
)
async def test_a_stored_automation_that_does_not_compile_fails_alone(world: World, broken: dict) -> None:
    await world.automation(**broken)
    await world.automation("auto_2")
    await world.happen()
    await world.happen()
    await world.decide_all()
    assert sorted(world.outcomes()) == [("failed", "internal_error")] * 2 + [("fired", "matched")] * 2
    assert await world.counts() == [2]


async def test_json_nested_without_end_is_an_event_without_data(world: World) -> None:
    await world.automation(conditions=PAID)
    await world.automation("auto_2", send={"body": "{{ event.data | json }}"})
    await world.happen(payload=b"[" * 50_000)
    await world.happen(payload=b"[" * 900 + b"]" * 900)
    await world.decide_all()
    assert len(world.decisions()) == 4
    assert not world.store._tables.undecided


async def test_while_the_store_is_down_nothing_is_lost_and_nothing_doubled(world: World) -> None:
    await world.automation(eligibility=Once())
    await world.own()
    for _ in range(5):
        await world.happen()
    world.store.is_down = True
    await world.loop.start()
    await world.until(lambda: "store.unavailable" in dict(world.told))
    assert world.decisions() == []
    world.store.is_down = False
    await world.until(lambda: world.store.settled == 5)
    await world.loop.stop()
    assert [outcome for outcome, _ in world.outcomes()] == ["fired"] + ["not_eligible"] * 4
    assert (await world.counts(), len(world.requests())) == ([5], 1)


async def test_one_event_that_the_store_chokes_on_does_not_block_the_queue(world: World) -> None:
    await world.automation()
    events = [await world.happen() for _ in range(20)]
    world.store.poison = events[7].id
    await world.decide_all()
    assert not world.store._tables.undecided
    assert world.outcomes().count(("fired", "matched")) == 19
    assert [decision.reason for decision in world.decisions(events[7])] == ["internal_error"]
    assert await world.counts() == [20]
    assert world.loop._room > 1


async def test_nothing_is_decided_without_ownership_or_under_a_lost_epoch(world: World) -> None:
    await world.automation()
    await world.happen()
    assert await world.loop._decide_batch() == 0
    await world.own()
    world.store._tables.shards.update(
        {
            shard: type(owned)(node="node_b", epoch=owned.epoch + 1)
            for shard, owned in world.store._tables.shards.items()
        }
    )
    await world.loop._decide_batch()
    assert (world.decisions(), await world.counts()) == ([], [])


async def test_a_deleted_and_remade_automation_is_compiled_anew(world: World) -> None:
    automation = await world.automation()
    await world.happen()
    await world.decide_all()
    await world.store.replace(replace(automation, version=2, send=replace(automation.send, url="https://b.test/")))
    await world.directory.refresh(world.store)
    await world.happen()
    await world.decide_all()
    assert [request.url for request in world.requests()] == ["https://example.test/", "https://b.test/"]
    assert [decision.version for decision in world.decisions()] == [1, 2]


async def test_hundreds_of_events_are_decided_in_their_order(world: World) -> None:
    await world.automation(send={"body": "{{ event.data.n }}"})
    for number in range(600):
        await world.happen({"n": number})
    await world.decide_all()
    assert [request.body for request in world.requests()] == [str(number) for number in range(600)]
