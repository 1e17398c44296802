"""The delivering loop: what is owed goes out, and nothing that one lane does stops another."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from delivering_world import World

from posthorn.deliver.transport.exchange import OutboundRequest
from posthorn.engine.lanes import lane_shard
from posthorn.engine.ownership import Ownership
from posthorn.engine.records import Append, DeliveryState
from posthorn.engine.resources import Kind
from posthorn.testing.factories import a_delivery, a_message, a_rendered_request, an_automation
from posthorn.testing.transport import Outcome, RecordingTransport, response


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.start()
    yield world
    world.store.settle_is_down = world.store.reads_are_down = False
    world.transport.release()
    await world.dispatcher.stop()


async def test_what_is_owed_is_delivered_and_leaves_the_queue(world: World) -> None:
    await world.endpoint()
    [delivery] = await world.owe("ep_1")
    await world.until_settled(1)
    assert await world.state(delivery) == ("delivered", 1)
    assert not world.queue.lane(lane_shard("ep_1"), "ep_1").held


async def test_work_is_found_without_a_hint(world: World) -> None:
    await world.endpoint()
    [delivery] = await world.owe("ep_1", hint=False)
    world.clock.advance(0.2)
    world.hints.wake()
    await world.until_settled(1)
    assert await world.state(delivery) == ("delivered", 1)


async def test_a_failed_delivery_is_tried_again_when_its_schedule_says(world: World) -> None:
    await world.endpoint()
    world.transport.script(response(500))
    [delivery] = await world.owe("ep_1")
    await world.until_settled(1)
    assert await world.state(delivery) == ("pending", 1)
    world.clock.advance(6)
    world.hints.wake()
    await world.until_settled(2)
    assert await world.state(delivery) == ("delivered", 2)


async def test_a_retry_that_became_due_before_its_outcome_was_durable_is_found_within_a_minute(world: World) -> None:
    await world.endpoint(retry_schedule_seconds=(1,))
    world.transport.script(response(500))
    world.store.settle_is_down = True
    [delivery] = await world.owe("ep_1")
    await world.told.until(lambda: bool(world.told.of("store.unavailable")))
    world.clock.advance(10)
    world.hints.wake()
    world.store.settle_is_down = False
    await world.until_settled(1)
    await world.own()
    world.clock.advance(11)
    await world.own()
    for _ in range(4):
        world.clock.advance(11)
        await world.own()
    world.hints.wake()
    await world.until_settled(2)
    assert await world.state(delivery) == ("delivered", 2)


async def test_many_messages_to_many_endpoints_all_arrive_once(world: World) -> None:
    names = [f"ep_{number}" for number in range(20)]
    for name in names:
        await world.endpoint(name)
    await world.owe(*names, messages=30)
    await world.until_settled(600)
    sent = [(request.target.host, dict(request.headers)[b"webhook-id"]) for request in world.transport.requests]
    assert len(sent) == len(set(sent)) == 600
    assert not any(lane.held or lane.buffer for lane in world.queue.lanes())
    assert (world.queue.in_flight, world.queue.doubtful_in_flight) == (0, 0)


async def test_a_secret_that_does_not_open_stops_its_own_lane_only(world: World) -> None:
    broken = await world.endpoint("ep_broken", secrets=(world.sealed("somewhere else"),))
    await world.endpoint("ep_fine")
    [stuck, fine] = await world.owe("ep_broken", "ep_fine")
    await world.until_settled(1)
    assert await world.state(fine) == ("delivered", 1)
    assert await world.state(stuck) == ("pending", 0)
    assert [facts["where"] for facts in world.told.of("error.unexpected")] == ["lane ep_broken"]
    await world.owe("ep_fine")
    await world.until_settled(2)
    await world.change(msgspec.structs.replace(broken, secrets=(world.sealed("ep_broken"),)))
    world.clock.advance(1.5)
    world.hints.wake()
    await world.until_settled(3)
    assert await world.state(stuck) == ("delivered", 1)


async def test_a_rendered_request_that_does_not_open_is_put_off_and_harms_no_other(world: World) -> None:
    await world.endpoint()
    automation = an_automation(secrets=())
    await world.store.insert(automation)
    await world.directory.refresh(world.store)
    lane = f"{automation.id}/example.test"
    event = a_message()
    owed = a_delivery(event, endpoint=lane, shard=lane_shard(lane), rendered=a_rendered_request())
    await world.store.append([Append(event=event, deliveries=(owed,))])
    world.hints.add([(lane_shard(lane), lane)], due_ms=owed.due_ms)
    await world.owe("ep_1")
    await world.until_settled(2)
    assert await world.state(owed.id) == ("pending", 0)
    assert [facts["where"] for facts in world.told.of("error.unexpected")] == ["attempt"]
    assert len(world.transport.requests) == 1


async def test_the_rate_of_an_automation_is_kept_over_all_hosts_that_it_sends_to(world: World) -> None:
    automation = an_automation(id="auto_1", throttle_rate=2, secrets=(world.sealed("auto_1"),))
    await world.store.insert(automation)
    await world.directory.refresh(world.store)
    for number in range(6):
        lane = f"auto_1/{number}.test"
        event = a_message()
        shown = b'{"method":"POST","url":"https://%d.test/","headers":[],"body":"{}"}' % number
        request = a_rendered_request(shown=shown, sealed=None)
        owed = a_delivery(event, endpoint=lane, shard=lane_shard(lane), rendered=request)
        await world.store.append([Append(event=event, deliveries=(owed,))])
        world.hints.add([(lane_shard(lane), lane)], due_ms=owed.due_ms)
    for sent in range(1, 7):
        await world.until_settled(sent)
        for _ in range(20):  # whatever else could start would start now
            await asyncio.sleep(0)
        assert len(world.transport.requests) == sent
        world.clock.advance(0.5)
        world.hints.wake()


async def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled_again(world: World) -> None:
    endpoint = await world.endpoint("ep_off", disabled=True)
    await world.endpoint("ep_on")
    [waiting, other] = await world.owe("ep_off", "ep_on")
    await world.until_settled(1)
    assert await world.state(other) == ("delivered", 1)
    assert await world.state(waiting) == ("pending", 0)
    await world.change(msgspec.structs.replace(endpoint, disabled=False))
    world.clock.advance(1.5)
    world.hints.wake()
    await world.until_settled(2)
    assert await world.state(waiting) == ("delivered", 1)


async def test_an_endpoint_disabled_in_between_gets_nothing_of_what_was_read_ahead(world: World) -> None:
    endpoint = await world.endpoint()
    world.transport.hold()
    await world.owe("ep_1", messages=10)
    await world.transport.wait_for_requests(2)
    await world.change(msgspec.structs.replace(endpoint, disabled=True))
    world.transport.release()
    await world.until_settled(2)
    assert len(world.transport.requests) == 2
    assert world.queue.lane(lane_shard("ep_1"), "ep_1").held == set()


async def test_deliveries_of_a_deleted_endpoint_are_cancelled_however_many_they_are(world: World) -> None:
    endpoint = await world.endpoint()
    await world.store.delete(Kind.ENDPOINT, endpoint.workspace, endpoint.id)
    await world.directory.refresh(world.store)
    owed = await world.owe("ep_1", messages=3000)
    await world.until_settled(3000)
    assert {(await world.state(delivery))[0] for delivery in owed} == {"cancelled"}
    assert world.transport.requests == []
    assert world.told.of("error.unexpected") == []


async def test_a_store_that_cannot_be_read_for_a_moment_loses_no_turn(world: World) -> None:
    await world.endpoint()
    world.store.reads_are_down = True
    [delivery] = await world.owe("ep_1")
    await world.told.until(lambda: bool(world.told.of("store.unavailable")))
    world.store.reads_are_down = False
    await world.until_settled(1)
    assert await world.state(delivery) == ("delivered", 1)


async def test_deliveries_that_came_while_no_scan_was_possible_are_found_by_the_next(world: World) -> None:
    await world.endpoint()
    world.store.reads_are_down = True
    world.clock.advance(1)
    world.hints.wake()
    [delivery] = await world.owe("ep_1", hint=False)
    await world.told.until(lambda: bool(world.told.of("store.unavailable")))
    world.clock.advance(5)
    world.store.reads_are_down = False
    world.hints.wake()
    await world.until_settled(1)
    assert await world.state(delivery) == ("delivered", 1)


async def test_a_clock_set_back_does_not_stop_the_scans(world: World) -> None:
    await world.endpoint()
    await world.owe("ep_1")
    await world.until_settled(1)
    world.clock._now_ms -= 3_600_000
    await world.own()
    [delivery] = await world.owe("ep_1", hint=False)
    world.hints.wake()
    await world.until_settled(2)
    assert await world.state(delivery) == ("delivered", 1)


async def test_nothing_is_sent_without_ownership_and_all_of_it_afterwards(world: World) -> None:
    await world.endpoint()
    world.clock.advance(13)
    [delivery] = await world.owe("ep_1")
    world.hints.wake()
    await world.owe("ep_1")
    await world.own()
    world.hints.wake()
    await world.until_settled(2)
    assert await world.state(delivery) == ("delivered", 1)


async def test_an_outcome_under_a_lost_epoch_is_not_written_and_the_delivery_is_made_again(world: World) -> None:
    await world.endpoint()
    world.transport.hold()
    [delivery] = await world.owe("ep_1")
    await world.transport.wait_for_requests(1)
    world.clock.advance(20)
    other = Ownership(store=world.store, node="node_b", clock=world.clock, telemetry=world.telemetry)
    await other.renew(["node_b"])
    await other.release_all()
    await world.own()
    await world.own()
    world.transport.release()
    await world.told.until(lambda: bool(world.told.of("delivery.settled")))
    assert (await world.state(delivery), world.settled()) == (("pending", 0), 0)
    for _ in range(6):
        world.clock.advance(11)
        await world.own()
    world.hints.wake()
    await world.until_settled(1)
    assert await world.state(delivery) == ("delivered", 1)
    ids = {dict(request.headers)[b"webhook-id"] for request in world.transport.requests}
    assert (len(world.transport.requests), len(ids)) == (2, 1)


class PartlyHanging(RecordingTransport):
    """Some hosts do not answer before they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()

    async def send(self, request: OutboundRequest) -> Outcome:
        if request.target.host.startswith("ep-hangs"):
            await self.let.wait()
        return await super().send(request)


async def test_endpoints_that_hang_delay_no_endpoint_that_works() -> None:
    transport = PartlyHanging()
    world = World(transport=transport)
    await world.start()
    names = [f"ep_hangs_{number}" for number in range(90)]
    for name in (*names, "ep_fine"):
        await world.endpoint(name)
    await world.owe("ep_fine")
    await world.until_settled(1)
    await world.owe(*names, messages=2)
    await world.owe("ep_fine", messages=20)
    await world.until_settled(21)
    assert world.dispatcher.in_flight == 50
    transport.let.set()
    await world.until_settled(201)
    await world.dispatcher.stop()


async def test_410_is_told_once_its_attempt_is_on_the_way_to_the_store(world: World) -> None:
    await world.endpoint()
    world.transport.script(response(410))
    [delivery] = await world.owe("ep_1")
    await world.until_settled(1)
    assert await world.state(delivery) == (DeliveryState.EXHAUSTED.value, 1)
    assert [endpoint for endpoint, _ in world.gone] == ["ep_1"]


async def test_stopping_lets_attempts_in_flight_end_and_settles_them() -> None:
    world = World()
    await world.start()
    await world.endpoint()
    world.transport.hold()
    owed = await world.owe("ep_1", messages=3)
    await world.transport.wait_for_requests(2)
    stopping = asyncio.create_task(world.dispatcher.stop())
    await asyncio.sleep(0)
    world.transport.release()
    await stopping
    assert sorted([await world.state(delivery) for delivery in owed]) == [
        ("delivered", 1),
        ("delivered", 1),
        ("pending", 0),
    ]


async def test_stopping_while_the_store_stays_down_ends_when_it_is_cancelled() -> None:
    world = World()
    await world.start()
    await world.endpoint()
    world.store.settle_is_down = True
    [delivery] = await world.owe("ep_1")
    await world.told.until(lambda: bool(world.told.of("store.unavailable")))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await world.dispatcher.stop()
    assert not world.dispatcher.running
    world.store.settle_is_down = False
    await world.settler.drain()
    assert await world.state(delivery) == ("delivered", 1)
