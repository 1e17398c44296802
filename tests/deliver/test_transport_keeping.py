"""How connections are kept, lost, cancelled and closed."""

import asyncio

import pytest
from loopback_world import OK, NewClient, Peer, Receivers, always, once_then_close, to

from posthorn.deliver.transport import FailureCode, HttpTransport, TransportOptions
from posthorn.testing.clock import ManualClock


async def test_a_kept_connection_is_used_again(receive: Receivers, client: HttpTransport) -> None:
    receiver = await receive(always(OK))
    responses = [await client.send(to(receiver.url(f"/{number}"))) for number in range(3)]
    assert [response.timings.reused for response in responses] == [False, True, True]
    assert responses[2].timings.connect_us == 0
    assert receiver.connections == 1


async def test_two_origins_share_no_connection(receive: Receivers, client: HttpTransport) -> None:
    first, second = await receive(always(OK)), await receive(always(OK))
    for receiver in (first, second, first, second):
        await client.send(to(receiver.url()))
    assert (first.connections, second.connections) == (1, 1)
    assert (len(first.requests), len(second.requests)) == (2, 2)


async def test_a_burst_opens_connections_and_keeps_as_many_as_allowed(
    receive: Receivers, client_with: NewClient
) -> None:
    client = client_with(options=TransportOptions(max_idle_per_origin=2))
    arrived = asyncio.Barrier(5)

    async def handler(peer: Peer) -> None:
        while True:
            await peer.request()
            await arrived.wait()
            await peer.send(OK)

    receiver = await receive(handler)
    for _ in range(2):
        responses = await asyncio.gather(*(client.send(to(receiver.url())) for _ in range(5)))
        assert {response.status for response in responses} == {200}
    assert receiver.connections == 5 + 3


async def test_the_number_of_kept_connections_is_capped_over_all_origins(
    receive: Receivers, client_with: NewClient
) -> None:
    client = client_with(options=TransportOptions(max_idle_total=1))
    first, second = await receive(always(OK)), await receive(always(OK))
    for receiver in (first, second, first, second):
        await client.send(to(receiver.url()))
    assert (first.connections, second.connections) == (1, 2)


@pytest.mark.parametrize(("seconds", "is_reused"), [(3.9, True), (4.0, False)])
async def test_a_connection_idle_for_four_seconds_is_not_used_again(
    receive: Receivers, client_with: NewClient, clock: ManualClock, seconds: float, is_reused: bool
) -> None:
    client = client_with(clock=clock)
    receiver = await receive(always(OK))
    await client.send(to(receiver.url()))
    clock.advance(seconds)
    assert (await client.send(to(receiver.url()))).timings.reused is is_reused


async def test_a_busy_connection_is_retired_by_age_so_that_dns_changes_take_effect(
    receive: Receivers, client_with: NewClient, clock: ManualClock
) -> None:
    client = client_with(clock=clock)
    receiver = await receive(always(OK))
    for _ in range(21):
        await client.send(to(receiver.url()))
        clock.advance(3)
    assert receiver.connections == 2


async def test_the_sweep_closes_connections_that_nobody_asks_for(
    receive: Receivers, client_with: NewClient, clock: ManualClock
) -> None:
    client = client_with(clock=clock)
    let_go = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.gone()
        let_go.set()

    receiver = await receive(handler)
    await client.send(to(receiver.url()))
    clock.advance(10)
    await let_go.wait()


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_kept_connection_that_dies_before_a_byte_is_replaced_within_the_same_send(
    receive: Receivers, client: HttpTransport, ending: str
) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.request()
        if peer.number == 1:
            if ending == "reset":
                peer.reset()
            return
        await peer.send(OK)

    receiver = await receive(handler)
    await client.send(to(receiver.url("/1")))
    response = await client.send(to(receiver.url("/2"), body=b"twice"))
    # The second connection answers its first request, which is the one that died on the first connection.
    assert response.status == 200
    assert not response.timings.reused
    assert receiver.connections == 2
    assert [received.body for received in receiver.requests] == [b"", b"twice", b"twice"]


async def test_the_replacement_is_not_replaced_again(receive: Receivers, client: HttpTransport) -> None:
    async def handler(peer: Peer) -> None:
        if peer.number == 1:
            await peer.answer(OK)
        await peer.request()

    receiver = await receive(handler)
    await client.send(to(receiver.url()))
    failure = await client.send(to(receiver.url()))
    assert failure.code is FailureCode.CONNECTION_CLOSED
    assert receiver.connections == 2


async def test_the_replacement_lives_within_the_same_deadline(receive: Receivers, client: HttpTransport) -> None:
    async def handler(peer: Peer) -> None:
        if peer.number == 1:
            await peer.answer(OK)
            await peer.request()
            return
        await peer.request()
        await peer.gone()

    receiver = await receive(handler)
    await client.send(to(receiver.url()))
    failure = await client.send(to(receiver.url(), deadline_seconds=0.2))
    assert failure.code is FailureCode.TIMEOUT
    assert 150_000 < failure.timings.total_us < 2_000_000


async def test_a_kept_connection_that_dies_after_a_byte_is_a_failure(receive: Receivers, client: HttpTransport) -> None:
    async def handler(peer: Peer) -> None:
        await peer.answer(OK)
        await peer.answer(b"H")

    receiver = await receive(handler)
    await client.send(to(receiver.url()))
    failure = await client.send(to(receiver.url()))
    assert failure.code is FailureCode.CONNECTION_CLOSED
    assert failure.timings.reused
    assert receiver.connections == 1


async def test_bytes_on_an_idle_connection_close_it(receive: Receivers, client: HttpTransport) -> None:
    speak, let_go = asyncio.Event(), asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.answer(OK)
        if peer.number == 1:
            await speak.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
            await peer.gone()
            let_go.set()

    receiver = await receive(handler)
    await client.send(to(receiver.url()))
    speak.set()
    await let_go.wait()
    response = await client.send(to(receiver.url()))
    assert response.body == b"ok"
    assert not response.timings.reused


async def test_a_connection_that_the_server_closed_while_it_was_idle_is_forgotten(
    receive: Receivers, client: HttpTransport
) -> None:
    receiver = await receive(once_then_close(OK))
    for _ in range(3):
        response = await client.send(to(receiver.url()))
        assert response.status == 200
    assert receiver.connections == 3


async def test_cancelling_a_send_drops_its_connection_and_harms_no_other(
    receive: Receivers, client: HttpTransport
) -> None:
    arrived, let_go = asyncio.Event(), asyncio.Event()

    async def handler(peer: Peer) -> None:
        if peer.number == 1:
            await peer.request()
            arrived.set()
            await peer.gone()
            let_go.set()
            return
        await always(OK)(peer)

    receiver = await receive(handler)
    sending = asyncio.create_task(client.send(to(receiver.url())))
    await arrived.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await let_go.wait()
    assert (await client.send(to(receiver.url()))).status == 200


async def test_cancelling_at_any_turn_of_the_loop_leaks_nothing(receive: Receivers, client: HttpTransport) -> None:
    receiver = await receive(always(OK))
    for turns in range(12):
        sending = asyncio.create_task(client.send(to(receiver.url())))
        for _ in range(turns):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert (await client.send(to(receiver.url()))).body == b"ok"
    # A connection that was left behind open would fail the test as an unclosed resource.


async def test_closing_fails_what_is_under_way_and_what_comes_later(receive: Receivers, client: HttpTransport) -> None:
    arrived = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.gone()

    receiver = await receive(handler)
    sending = asyncio.create_task(client.send(to(receiver.url())))
    await arrived.wait()
    await client.close()
    await client.close()
    assert (await sending).code is FailureCode.TRANSPORT_CLOSED
    later = await client.send(to(receiver.url()))
    assert later.code is FailureCode.TRANSPORT_CLOSED
    assert later.code.is_ours
    assert receiver.connections == 1
