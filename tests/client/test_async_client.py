"""The client for asyncio against a real server that misbehaves."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from intake_double import (
    API_KEY,
    CUT_SHORT,
    ERROR_500,
    GARBAGE,
    PORTAL,
    RESET,
    RESET_AFTER_STORING,
    WRITE_KEY,
    Fault,
    IntakeDouble,
)

from posthorn.client import (
    AsyncClient,
    ClientClosed,
    Counts,
    InvalidCall,
    Lost,
    NotSentInTime,
    Options,
    QueueFull,
    ServerRefused,
)

FAST: dict[str, Any] = {"first_retry_seconds": 0.01, "longest_retry_seconds": 0.02, "flush_after_seconds": 0.02}


def client_of(intake: IntakeDouble, on_lost: Callable[[Lost], None] | None = None, **options: Any) -> AsyncClient:
    return AsyncClient(
        intake.url, write_key=WRITE_KEY, api_key=API_KEY, on_lost=on_lost, options=Options(**{**FAST, **options})
    )


async def test_events_arrive_by_themselves_in_order_and_batched(intake: IntakeDouble) -> None:
    async with client_of(intake, batch_events=10) as client:
        sent = [client.track("x", user_id="u", properties={"n": n}) for n in range(25)]
        await asyncio.to_thread(intake.wait_for_events, 25)
    assert list(intake.events) == sent
    assert [len(request.ids) for request in intake.requests] == [10, 10, 5]


@pytest.mark.parametrize(
    "fault",
    [
        ERROR_500,
        Fault(status=429, headers={"retry-after": "0"}),
        RESET,
        RESET_AFTER_STORING,
        GARBAGE,
        CUT_SHORT,
        PORTAL,
    ],
    ids=["500", "429", "reset", "reset after storing", "garbage", "answer cut short", "captive portal"],
)
async def test_nothing_is_lost_and_nothing_gets_another_id_when_the_server(fault: Fault, intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    intake.faults.extend([fault] * 3)
    async with client_of(intake, lost.append, batch_events=5) as client:
        sent = [client.track("x", user_id="u") for _ in range(12)]
        published = [client.publish("x.y") for _ in range(3)]
        assert await client.flush(20)
        assert client.counts == Counts(waiting=0, delivered=15, lost=0)
    assert lost == []
    assert {message_id for request in intake.requests for message_id in request.ids} == {*sent, *published}
    assert [one for one in intake.events if one in sent] == sent


async def test_a_server_that_does_not_answer_is_asked_again(intake: IntakeDouble) -> None:
    release = threading.Event()
    intake.faults.append(Fault(hold=release))
    async with client_of(intake, request_seconds=0.1) as client:
        sent = client.track("x", user_id="u")
        assert await client.flush(20)
        release.set()
    assert [request.ids for request in intake.requests] == [[sent], [sent]]


async def test_flushing_says_that_time_ran_out(intake: IntakeDouble) -> None:
    release = threading.Event()
    intake.faults.append(Fault(hold=release, keeps=True))
    async with client_of(intake) as client:
        client.track("x", user_id="u")
        assert not await client.flush(0.05)
        release.set()
        assert await client.flush(20)


async def test_a_refusal_is_not_repeated_and_carries_the_servers_words(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    intake.faults.append(Fault(status=401, body=b'{"code":"authentication_failed","detail":"unknown write key"}'))
    async with client_of(intake, lost.append) as client:
        client.track("x", user_id="u")
        assert await client.flush(20)
    (one,) = lost
    assert isinstance(one.reason, ServerRefused)
    assert (one.reason.status, one.reason.detail) == (401, "unknown write key")
    assert len(intake.requests) == 1


async def test_a_full_queue_raises_or_tells_the_callback(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    async with client_of(intake, lost.append, queue_events=1) as client:
        client.track("x", user_id="u")
        with pytest.raises(QueueFull):
            client.track("x", user_id="u")
    async with client_of(intake, lost.append, queue_events=1, raise_when_full=False) as client:
        client.track("x", user_id="u")
        dropped = client.track("x", user_id="u")
    assert [(one.message_ids, type(one.reason)) for one in lost] == [((dropped,), QueueFull)]
    assert len(intake.events) == 2


async def test_closing_ends_in_time_and_reports_what_was_not_accepted(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    release = threading.Event()
    intake.faults.append(Fault(hold=release))
    client = client_of(intake, lost.append, batch_events=1)
    sent = client.track("x", user_id="u"), client.track("x", user_id="u")
    await asyncio.to_thread(intake.wait_for_requests, 1)
    began = time.monotonic()
    await client.close(0.2)
    assert time.monotonic() - began < 5
    release.set()
    assert [(one.message_ids, type(one.reason)) for one in lost] == [(sent, NotSentInTime)]
    await client.close()
    with pytest.raises(ClientClosed):
        client.track("x", user_id="u")


async def test_a_cancelled_task_loses_nothing(intake: IntakeDouble) -> None:
    release = threading.Event()
    intake.faults.append(Fault(hold=release))
    async with client_of(intake) as client:
        sent = client.track("x", user_id="u")
        await asyncio.to_thread(intake.wait_for_requests, 1)
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "posthorn-tracking"]
        task.cancel()
        await asyncio.wait([task])
        release.set()
        assert await client.flush(20)
    assert [request.ids for request in intake.requests] == [[sent], [sent]]


async def test_a_callback_may_close_the_client(intake: IntakeDouble) -> None:
    closing: list[asyncio.Task[None]] = []
    intake.faults.append(Fault(status=401))
    client = client_of(intake, lambda _: closing.append(asyncio.ensure_future(client.close())))
    client.track("x", user_id="u")
    assert await client.flush(20)
    await closing[0]
    assert client.counts == Counts(waiting=0, delivered=0, lost=1)


def test_what_a_loop_left_behind_is_sent_by_the_next_one(intake: IntakeDouble) -> None:
    client = client_of(intake, flush_after_seconds=60)

    async def track(user: str) -> None:
        client.track("x", user_id=user)

    async def close() -> None:
        await client.close()

    asyncio.run(track("u1"))
    asyncio.run(track("u2"))
    assert intake.events == {}
    asyncio.run(close())
    assert [event["userId"] for event in intake.events.values()] == ["u1", "u2"]


def test_outside_of_a_loop_it_says_which_client_to_take(intake: IntakeDouble) -> None:
    client = client_of(intake)
    with pytest.raises(InvalidCall, match="Client is for threads"):
        client.track("x", user_id="u")
    assert client.counts == Counts(waiting=0, delivered=0, lost=0)
