"""Two real nodes on one PostgreSQL: what one is told the other knows, and shards go where the nodes are."""

import asyncio
import json
import secrets
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from posthorn_process import API_KEY, LOOPBACK, Launch, Posthorn, inbox_path
from raw_http import Api, Client
from recording_receiver import Behaviour, Received, Receiver, answering

MASTER_KEY = b64encode(secrets.token_bytes(32)).decode()
IN_FORCE_SECONDS = 1.0  # what the documentation promises for a change
SPREAD_SECONDS = 10.0
_LOOK_SECONDS = 0.02


@pytest.fixture
def environ(postgres18_dsn: str) -> dict[str, str]:
    return {"POSTHORN_DATABASE": postgres18_dsn, "POSTHORN_MASTER_KEY": MASTER_KEY}


@pytest.fixture
def node(launch: Launch, environ: dict[str, str]) -> Callable[..., Posthorn]:
    """Start nodes on the test's database."""

    def start(name: str, *flags: str) -> Posthorn:
        posthorn = launch(name, flags=(*LOOPBACK, *flags), environ=environ)
        posthorn.start()
        return posthorn

    return start


@pytest.fixture
async def two(node: Callable[..., Posthorn]) -> AsyncIterator[tuple[Api, Api]]:
    first, second = node("one"), node("two")
    async with Api(first) as one, Api(second) as two:
        await shares(one, [128, 128])
        yield one, two


async def shards(api: Api, stage: str = "delivering") -> list[int]:
    nodes = await api.get("/node")
    return sorted(standing[f"{stage}Shards"] for standing in nodes["data"])


async def shares(api: Api, wanted: list[int], stage: str = "delivering") -> float:
    """Wait until the living nodes own so many shards each; return how long that took."""
    began = time.monotonic()
    while (seen := await shards(api, stage)) != wanted:
        assert time.monotonic() - began < SPREAD_SECONDS, f"{seen} in place of {wanted}"
        await asyncio.sleep(_LOOK_SECONDS)
    return time.monotonic() - began


async def within(seconds: float, holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(_LOOK_SECONDS)


async def test_what_one_node_makes_the_other_knows_at_once(two: tuple[Api, Api], receiver: Receiver) -> None:
    one, other = two
    for number in range(10):
        uid = f"app-{number}"
        await one.post("/app", {"name": uid, "uid": uid})
        await other.post(f"/app/{uid}/endpoint", {"url": receiver.url(f"/{uid}"), "uid": "hook"})
        await other.post(f"/app/{uid}/msg", {"eventType": "order.paid", "payload": {"number": number}})
        await receiver.wait_for_count(f"/{uid}", 1)
        source = await other.post("/source", {"name": uid})
        async with Client(one.posthorn.inbox_port) as inbox:
            assert (await inbox.request("POST", inbox_path(source["url"]), body=b"{}")).status == 202
        key = await one.post("/api-key", {"name": uid})
        async with Api(other.posthorn, key["token"]) as stranger:
            await stranger.post("/event", {"type": "order.paid", "data": {}})
    assert await one.get("/app/app-3/endpoint/hook") == await other.get("/app/app-3/endpoint/hook")


async def test_a_change_made_at_one_node_is_in_force_at_the_other_within_a_second(
    two: tuple[Api, Api], receiver: Receiver
) -> None:
    one, other = two
    await one.post("/app", {"name": "a", "uid": "a"})
    await one.post("/app/a/endpoint", {"url": receiver.url("/old"), "uid": "hook"})
    await asyncio.sleep(IN_FORCE_SECONDS)
    body = {"eventType": "order.paid", "payload": {}}
    await other.post("/app/a/msg", body)
    await receiver.wait_for_count("/old", 1)
    for path in ("/new", "/newer"):
        changer, sender = (one, other) if path == "/new" else (other, one)
        await changer.put("/app/a/endpoint/hook", {"url": receiver.url(path)})
        await asyncio.sleep(IN_FORCE_SECONDS)
        before = len(receiver.received)
        for _ in range(10):
            await sender.post("/app/a/msg", body)
            await changer.post("/app/a/msg", body)
        await receiver.wait_for(lambda before=before: len(receiver.received) >= before + 20)
        assert {received.path for received in receiver.received[before:]} == {path}


async def test_a_rotated_secret_and_a_published_automation_are_in_force_everywhere_within_a_second(
    two: tuple[Api, Api], receiver: Receiver
) -> None:
    one, other = two
    automation = {
        "name": "greet",
        "trigger": {"eventType": "signed.up"},
        "eligibility": {"type": "once"},
        "send": {"url": receiver.url("/greet"), "body": "{{ event.data.name }}"},
    }
    await one.put("/automation/greet", automation)
    await asyncio.sleep(IN_FORCE_SECONDS)
    for number in range(20):
        await (one, other)[number % 2].post(
            "/event", {"type": "signed.up", "user": f"u{number % 5}", "data": {"name": "Ann"}}
        )
    await receiver.wait_for_count("/greet", 5)
    await one.put("/automation/greet", automation | {"send": {"url": receiver.url("/greet"), "body": "changed"}})
    await asyncio.sleep(IN_FORCE_SECONDS)
    for number in range(20):
        await other.post("/event", {"type": "signed.up", "user": f"v{number}", "data": {"name": "Ann"}})
    await receiver.wait_for_count("/greet", 25)
    assert {received.body for received in receiver.at("/greet")[5:]} == {b"changed"}


async def test_shards_are_spread_within_ten_seconds_of_joining_leaving_and_dying(
    two: tuple[Api, Api], node: Callable[..., Posthorn]
) -> None:
    one, other = two
    third = node("three")
    joined = await shares(one, [85, 85, 86])
    assert await shards(one, "deciding") == [85, 85, 86]
    third.terminate()
    left = await shares(one, [128, 128])
    assert third.wait().code == 0
    other.posthorn.kill()
    died = await shares(one, [256])
    print(f"spread {joined:.1f} s after joining, {left:.1f} s after leaving, {died:.1f} s after dying")  # noqa: T201 - a figure


async def test_a_node_that_leaves_under_load_repeats_no_delivery_and_loses_none(
    two: tuple[Api, Api], receiver: Receiver
) -> None:
    one, other = two
    receiver.behave("/slow", Behaviour(after_seconds=0.3))
    for number in range(20):
        await one.post("/app", {"name": "a", "uid": f"a{number}"})
        path = "/slow" if number % 2 else "/quick"
        await one.post(f"/app/a{number}/endpoint", {"url": receiver.url(path)})
    sent = 0
    stopping = False
    for round_number in range(60):
        if round_number == 20:
            other.posthorn.terminate()
            stopping = True
        for number in range(20):
            await one.post(f"/app/a{number}/msg", {"eventType": "order.paid", "payload": {"n": number}})
            sent += 1
    assert stopping
    assert other.posthorn.wait().code == 0
    await receiver.wait_for(lambda: len(receiver.by_id) == sent, 60)
    await shares(one, [256])
    assert set(receiver.by_id.values()) == {1}


async def test_a_retry_goes_on_at_the_node_that_takes_over(two: tuple[Api, Api], receiver: Receiver) -> None:
    one, other = two
    tried: list[Received] = []

    def first_fails(received: Received) -> Behaviour:
        tried.append(received)
        return answering(500) if len(tried) <= 20 else Behaviour()

    receiver.behave("/hook", first_fails)
    for number in range(20):
        await one.post("/app", {"name": "a", "uid": f"a{number}"})
        await one.post(f"/app/a{number}/endpoint", {"url": receiver.url("/hook")})
        await one.post(f"/app/a{number}/msg", {"eventType": "order.paid", "payload": {"n": number}})
    await receiver.wait_for_count("/hook", 20)
    other.posthorn.kill()
    await receiver.wait_for_count("/hook", 40, 60)
    assert all(count >= 2 for count in receiver.by_id.values())
    assert len(receiver.by_id) == 20


async def test_roles_divide_the_work(node: Callable[..., Posthorn], receiver: Receiver) -> None:
    receiving = node("receives", "--roles", "receive")
    deciding = node("decides", "--roles", "decide,receive")
    delivering = node("delivers", "--roles", "deliver,receive")
    async with Api(receiving) as api:
        await shares(api, [0, 0, 256])
        await shares(api, [0, 0, 256], "deciding")
        standings = {standing["name"]: standing for standing in (await api.get("/node"))["data"]}
        by_pid = {name.rpartition(":")[2]: standing for name, standing in standings.items()}
        assert by_pid[str(deciding.pid)]["decidingShards"] == 256
        assert by_pid[str(delivering.pid)]["deliveringShards"] == 256
        await api.put(
            "/automation/greet",
            {
                "name": "greet",
                "trigger": {"eventType": "signed.up"},
                "eligibility": {"type": "always"},
                "send": {"url": receiver.url("/greet"), "body": "hello"},
            },
        )
        await api.post("/event", {"type": "signed.up", "user": "u", "data": {}})
        await receiver.wait_for_count("/greet", 1)


def test_nodes_are_listed_by_the_command(node: Callable[..., Posthorn]) -> None:
    posthorn = node("one")
    command = [str(Path(sys.executable).with_name("posthorn")), "nodes", "--url", f"http://127.0.0.1:{posthorn.port}"]
    shown = subprocess.run([*command, "--api-key", API_KEY], capture_output=True, text=True, check=True).stdout
    assert f":{posthorn.pid}" in shown
    assert "256" in shown
    listed = subprocess.run([*command, "--json", "--api-key", API_KEY], capture_output=True, text=True, check=True)
    [only] = json.loads(listed.stdout)
    assert only["roles"] == ["receive", "decide", "deliver"]
    assert (only["decidingShards"], only["deliveringShards"]) == (256, 256)
    assert (only["decideLagMs"], only["deliverLagMs"]) == (0, 0)
