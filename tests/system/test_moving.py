"""A store moves to PostgreSQL and back, and the work that waited in it goes on where it was."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from posthorn_process import LOOPBACK, Launch
from raw_http import Api
from recording_receiver import Behaviour, Receiver, answering

from posthorn.testing.postgres import PostgresServer


@pytest.fixture
def dsn(postgres18: PostgresServer) -> Iterator[str]:
    yield postgres18.create_database("moving")
    postgres18.drop_database("moving")


async def test_what_waited_is_delivered_from_the_copy_and_again_from_its_copy(
    dsn: str, launch: Launch, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.behave("/moved", answering(503))
    first = launch("first")
    await asyncio.to_thread(first.start)
    async with Api(first) as api:
        await api.post("/app", {"name": "Moving", "uid": "moving"})
        endpoint = {"url": receiver.url("/moved"), "headers": {"x-secret": "kept"}}
        await api.post("/app/moving/endpoint", endpoint)
        made = [await a_message(api, number) for number in range(10)]
        await receiver.wait_for(lambda: set(made) <= set(receiver.by_id))
    assert (await asyncio.to_thread(first.stop)).code == 0
    await copied(f"sqlite:{first.data}", dsn)

    second = launch("second", flags=(*LOOPBACK, "--database", dsn), environ={"POSTHORN_MASTER_KEY": key_in(first.data)})
    await asyncio.to_thread(second.start)
    receiver.behave("/moved", Behaviour())
    async with Api(second) as api:
        await all_delivered(api, made)
        made.append(await a_message(api, 10))
        await all_delivered(api, made)
    assert (await asyncio.to_thread(second.stop)).code == 0
    await copied(dsn, f"sqlite:{tmp_path / 'third'}")

    third = launch("third", environ={"POSTHORN_MASTER_KEY": key_in(first.data)})
    await asyncio.to_thread(third.start)
    async with Api(third) as api:
        made.append(await a_message(api, 11))
        await all_delivered(api, made)


async def a_message(api: Api, number: int) -> Any:
    return (await api.post("/app/moving/msg", {"eventType": "a.b", "payload": {"n": number}}))["id"]


async def all_delivered(api: Api, made: list[Any]) -> None:
    """Wait for it; a retry that is five seconds away is asked for at once."""
    for message in made:
        await api.post(f"/replay/{message}", {})
        await api.eventually(
            f"/app/moving/attempt/msg/{message}", lambda attempts: any(attempt["status"] == 0 for attempt in attempts)
        )


async def copied(source: str, target: str) -> None:
    command = [str(Path(sys.executable).with_name("posthorn")), "database", "copy", "--from", source, "--to", target]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
    done = await asyncio.to_thread(subprocess.run, command, env=ours, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def key_in(data: Path) -> str:
    lines = (data / "master.key").read_text().splitlines()
    return next(line for line in lines if line and not line.startswith("#"))
