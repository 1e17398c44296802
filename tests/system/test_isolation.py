"""Receivers that accept and never answer delay nobody but themselves."""

import asyncio

from posthorn_process import Launch
from raw_http import Api
from recording_receiver import HANGING, Receiver

ENDPOINTS = 50
HANG = ENDPOINTS // 5
MESSAGES = 60
DEADLINE_SECONDS = 15.0


async def test_healthy_endpoints_get_everything_while_a_fifth_of_all_hang(launch: Launch, receiver: Receiver) -> None:
    posthorn = launch()
    await asyncio.to_thread(posthorn.start)
    async with Api(posthorn) as api:
        await api.post("/app", {"name": "Mixed", "uid": "mixed"})
        hanging, healthy = [], []
        for number in range(ENDPOINTS):
            hangs = number % 5 == 0
            path = f"/{'hangs' if hangs else 'works'}/{number}"
            if hangs:
                receiver.behave(path, HANGING)
            endpoint = await api.post("/app/mixed/endpoint", {"url": receiver.url(path)})
            (hanging if hangs else healthy).append((path, endpoint["id"]))
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(send(api, number) for number in range(MESSAGES)))
        expected = MESSAGES * len(healthy)
        await receiver.wait_for(lambda: sum(row.path.startswith("/works/") for row in receiver.received) >= expected)
        # The first attempts at the others still hang: none of them has reached its deadline.
        assert asyncio.get_running_loop().time() - started < DEADLINE_SECONDS
        check_complete(receiver, healthy, hanging)
        assert len(hanging) == HANG
        for _, endpoint in hanging:
            rows = await api.rows(f"/delivery?endpoint={endpoint}&state=pending")
            assert len(rows) == MESSAGES
            assert {row["attempts"] for row in rows} == {0}
        for _, endpoint in healthy[:3]:
            delivered = f"/delivery?endpoint={endpoint}&state=delivered"
            await api.eventually(delivered, lambda rows: len(rows) == MESSAGES)


async def send(api: Api, number: int) -> None:
    await api.post("/app/mixed/msg", {"eventType": "a.b", "payload": {"n": number}})


def check_complete(receiver: Receiver, healthy: list[tuple[str, str]], hanging: list[tuple[str, str]]) -> None:
    for path, _ in healthy:
        rows = receiver.at(path)
        assert len({row.webhook_id for row in rows}) == len(rows) == MESSAGES
    for path, _ in hanging:
        assert 1 <= len(receiver.at(path)) < MESSAGES


async def test_an_endpoint_that_turns_dead_keeps_its_backlog_and_gets_it_once_it_lives(
    launch: Launch, receiver: Receiver
) -> None:
    posthorn = launch()
    await asyncio.to_thread(posthorn.start)
    receiver.behave("/sick", HANGING)
    async with Api(posthorn) as api:
        await api.post("/app", {"name": "Mixed", "uid": "mixed"})
        schedule = {"deadlineSeconds": 1, "retryScheduleSeconds": [1, 1, 1, 1, 1]}
        await api.post("/app/mixed/endpoint", {"url": receiver.url("/sick"), **schedule})
        await asyncio.gather(*(send(api, number) for number in range(8)))
        await receiver.wait_for_count("/sick", 2)
        receiver.behave("/sick", HANGING.__class__())
        await receiver.wait_for(lambda: len({row.webhook_id for row in receiver.at("/sick")}) == 8)
        await api.eventually("/delivery?state=delivered", lambda rows: len(rows) == 8)
