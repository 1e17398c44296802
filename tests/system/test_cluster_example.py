"""The example cluster does what its page says: it starts, delivers, and goes on without a node."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from raw_http import Client, eventually

from posthorn.testing.postgres import lives

RUN = Path(__file__).parents[2] / "examples" / "cluster" / "run.py"
STAGES = ("decidingShards", "deliveringShards")
_SECONDS = 90.0
_READY = "Ctrl-C ends everything."


class Example:
    """The running example and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""

    async def read_until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_SECONDS):
            while line := (await self.process.stdout.readline()).decode():
                self.output += line
                if match := re.search(pattern, line):
                    return match
        raise AssertionError(f"it ended:\n{self.output}")

    def printed(self, pattern: str) -> list[Any]:
        return re.findall(pattern, self.output)


@pytest.fixture
async def example() -> AsyncIterator[Example]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(RUN), "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    example = Example(process)
    yield example
    # The group is left alone once it has ended by itself.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def nodes(port: str, key: str) -> list[Any]:
    program = Path(sys.executable).with_name("posthorn")
    process = await asyncio.create_subprocess_exec(
        str(program), "nodes", "--json", "--url", f"http://127.0.0.1:{port}", "--api-key", key,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: list[Any] = json.loads(output)
    return found


async def test_the_cluster_delivers_and_goes_on_without_one_of_its_nodes(example: Example) -> None:
    await example.read_until(re.escape(_READY))
    ports = example.printed(r"Node \d  http://127\.0\.0\.1:(\d+)")
    pids = [int(pid) for pid in example.printed(r"pid (\d+)")]
    (key,) = example.printed(r"API key  (\S+)")
    processes = [psutil.Process(pid) for pid in pids]
    assert (len(ports), len(pids)) == (3, 6)

    async with Client(int(ports[0]), [("authorization", f"Bearer {key}")]) as client:
        body = b'{"eventType": "order.paid", "payload": {"n": 1}}'
        accepted = await client.request("POST", "/api/v1/app/demo/msg", [("content-type", "application/json")], body)
    assert accepted.status == 202
    await example.read_until(f"received {accepted.json()['id']}: {re.escape('{')}")

    assert len(await nodes(ports[0], key)) == 3
    processes[4].kill()
    await example.read_until("node 2 is gone")
    await eventually(
        lambda: nodes(ports[2], key),
        lambda left: [sum(node[stage] for node in left) for stage in STAGES] == [256, 256] and len(left) == 2,
        seconds=25,
    )

    example.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(_SECONDS):
        assert await example.process.wait() == 0
    assert [process.pid for process in processes if lives(process)] == []
